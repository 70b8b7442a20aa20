"""Wake a row: Postgres remembers that it is due, Redis only rings the bell so that nobody waits for the next tick."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from celery import current_app
from django.apps import apps
from django.db import transaction
from django.db.models import Model
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)
EXPIRES_S = 30


def wake(kind: str, pk: int, now: datetime) -> None:
    """
    Make a row due now and ring for it once this transaction is committed.

    kind: model name in lower case ("lease").
    """
    model: type[Model] = apps.get_model("workloads", kind)
    if model._default_manager.filter(pk=pk, wake_at__gt=now).update(wake_at=now):
        transaction.on_commit(lambda: ring(kind, pk))


def ring(kind: str, pk: int) -> None:
    """Ask a worker to look at the row. A bell that does not ring costs a tick, nothing else."""
    _send("advance", kind=kind, pk=pk)


def ring_for_seekers() -> None:
    """Ask a worker to look for machines for the workloads that lack some."""
    _send("seek")


def _send(task: str, **kwargs: Any) -> None:
    try:
        # A bell that nobody heard in time is worth nothing: the next tick rings again.
        current_app.send_task(f"workloads.tasks.{task}", kwargs=kwargs, retry=False, expires=EXPIRES_S)
    except (OperationalError, RedisError, OSError) as error:
        logger.warning("bell.silent task=%s %s error=%s", task, kwargs, type(error).__name__)
