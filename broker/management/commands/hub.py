"""The hub: closes rounds of training as soon as somebody rings, or at the latest when they are due."""

from __future__ import annotations

import logging
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, close_old_connections, connection
from django.utils import timezone

from workloads import bell
from workloads.steps.round import round_machine

logger = logging.getLogger(__name__)
LOOK_S = 0.1  # So often, whether or not somebody rang: a round waits for a silent site no longer than it has to.
RENEW_S = 1.0  # A third of what a claim lasts.
AWAY_S = 1.0


class Command(BaseCommand):
    """Run until killed. Any number may run: each round is claimed, and a claim that is not renewed is another's."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the number of rounds that are merged at once."""
        parser.add_argument("--threads", type=int, default=4)

    def handle(self, *args: Any, threads: int, **options: Any) -> None:
        """Close rounds until told to stop; then finish what was begun."""
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        done = threading.Event()
        threading.Thread(target=_renew, args=(done,), name="renew", daemon=True).start()
        with ThreadPoolExecutor(threads, thread_name_prefix="hub") as pool:
            _serve(pool, threads, stop)
        done.set()  # Not before what was begun is finished.


def _serve(pool: ThreadPoolExecutor, threads: int, stop: threading.Event) -> None:
    busy: set[int] = set()
    lock = threading.Lock()

    def close(pk: int) -> None:
        try:
            round_machine.drive(pk, timezone.now)
        except DatabaseError as error:
            logger.warning("hub.world-away error=%s", type(error).__name__)
            close_old_connections()
        except Exception:
            logger.exception("hub.stumbled round=%s", pk)
        finally:
            with lock:
                busy.discard(pk)

    while not stop.is_set():
        try:
            listener = bell.Listener()
            while not stop.is_set():
                due = round_machine.due(timezone.now()).values_list("pk", flat=True)
                with lock:
                    new = [pk for pk in due[: 2 * threads] if pk not in busy]
                    busy.update(new)
                for pk in new:
                    pool.submit(close, pk)
                listener.wait(LOOK_S)
        except DatabaseError as error:
            logger.warning("hub.world-away error=%s", type(error).__name__)
            connection.close()
            time.sleep(AWAY_S)


def _renew(done: threading.Event) -> None:
    """Hold what is being merged, however long it takes."""
    while not done.wait(RENEW_S):
        try:
            round_machine.renew(timezone.now())
        except DatabaseError:
            close_old_connections()
