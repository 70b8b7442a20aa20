"""The clock: rings for rows that are due, and sends what stands in the timetable."""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import current_app
from django.core.management.base import BaseCommand
from django.db import DatabaseError, close_old_connections, connection
from django.utils import timezone
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from broker.celery import TICK_S, TIMETABLE
from workloads import tick

logger = logging.getLogger(__name__)
LOCK = 0x59415244  # "YARD": one clock ticks, however many run.


class Command(BaseCommand):
    """Run until killed. Any number may run; the one that holds the advisory lock ticks."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        """Tick for ever."""
        sent_at: dict[str, float] = {}
        while True:
            started = time.monotonic()
            try:
                if _is_mine():
                    tick.ring(timezone.now())
                    _send_due(sent_at, started)
            except (DatabaseError, OperationalError, RedisError, OSError) as error:
                logger.warning("tick.world-away error=%s", type(error).__name__)
                close_old_connections()
            time.sleep(max(0.05, TICK_S - (time.monotonic() - started)))


def _is_mine() -> bool:
    """Take, or keep, the session's advisory lock: it is released when this process or its connection dies."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
        if cursor.fetchone()[0]:
            return True
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


def _send_due(sent_at: dict[str, float], now_s: float) -> None:
    for name, entry in TIMETABLE.items():
        if now_s - sent_at.get(name, float("-inf")) >= entry.every_s:
            # A task that was not started before it is due again would only pile up behind a dead worker.
            current_app.send_task(entry.task, retry=False, expires=max(entry.every_s, 5))
            sent_at[name] = now_s
