"""
Wake a row: Postgres remembers that it is due, a bell only rings so that nobody waits for the next tick.

Workers hear it through Redis. The hub, which closes rounds, hears Postgres itself: a tenth of a second counts there.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from celery import current_app
from django.apps import apps
from django.db import connection, transaction
from django.db.models import Model
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)
EXPIRES_S = 30
CHANNEL = "gpuyard_round"


def wake(kind: str, pk: int, now: datetime) -> None:
    """
    Make a row due now and ring for it once this transaction is committed.

    kind: model name in lower case ("lease").
    """
    model: type[Model] = apps.get_model("workloads", kind)
    if model._default_manager.filter(pk=pk, wake_at__gt=now).update(wake_at=now):
        transaction.on_commit(lambda: ring(kind, pk))


def ring(kind: str, pk: int) -> None:
    """Ask a worker, or the hub, to look at the row. A bell that does not ring costs a tick, nothing else."""
    if kind == "round":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(pk)])
        return
    _send("advance", kind=kind, pk=pk)


class Listener:
    """Hears the bells of rounds, on this thread's connection. Raises DatabaseError."""

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")

    def wait(self, seconds: float) -> None:
        """Return when a bell rings, or after so many seconds."""
        with connection.wrap_database_errors:
            for _ in connection.connection.notifies(timeout=seconds, stop_after=1):
                pass


def ring_for_seekers() -> None:
    """Ask a worker to look for machines for the workloads that lack some."""
    _send("seek")


def _send(task: str, **kwargs: Any) -> None:
    try:
        # A bell that nobody heard in time is worth nothing: the next tick rings again.
        current_app.send_task(f"workloads.tasks.{task}", kwargs=kwargs, retry=False, expires=EXPIRES_S)
    except (OperationalError, RedisError, OSError) as error:
        logger.warning("bell.silent task=%s %s error=%s", task, kwargs, type(error).__name__)
