"""
One look for all who wait: streams of this process share one question to the database, whatever their number.

What streams ask runs on a few threads of their own, each with one connection while it asks, so that streams never take
the connections that requests need.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from django.db import DatabaseError, connection

logger = logging.getLogger(__name__)
Mark = TypeVar("Mark")
Answer = TypeVar("Answer")
AWAY_S = 1.0
_threads = ThreadPoolExecutor(4, thread_name_prefix="stream")


async def aside(ask: Callable[..., Answer], *args: Any) -> Answer:
    """Ask the database on one of the streams' threads."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _and_leave, ask, args)


def _and_leave(ask: Callable[..., Answer], args: tuple[Any, ...]) -> Answer:
    try:
        return ask(*args)
    finally:
        connection.close()  # A stream is open for an hour; its connection goes back to the pool between looks.


class Watch(Generic[Mark]):
    """
    Looks at what is watched, and wakes those who wait for it when its mark differs.

    look: takes the keys that are watched, returns {key: mark}. It runs while somebody watches.
    """

    def __init__(self, look: Callable[[Collection[int]], dict[int, Mark]], every_s: float) -> None:
        self._look, self._every_s = look, every_s
        self._watched: Counter[int] = Counter()
        self._marks: dict[int, Mark] = {}
        self._shared: dict[Hashable, asyncio.Task[Any]] = {}
        self._turned = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def of(self, key: int) -> Iterator[None]:
        """Watch a key meanwhile."""
        self._watched[key] += 1
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._watched -= Counter([key])
            if key not in self._watched:
                self._marks.pop(key, None)
            if not self._watched and self._task is not None:
                task, self._task = self._task, None
                task.cancel()

    async def news(self, key: int, known: Mark | None, *, within_s: float) -> Mark | None:
        """Return the mark of a key once it is none or differs from what is known, or after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._marks.get(key, known) == known:
                    await self._turned.wait()
        return self._marks.get(key, known)

    async def together(self, question: Hashable, ask: Callable[[], Answer]) -> Answer:
        """Ask once for all who ask the same until the next turn."""
        task = self._shared.get(question)
        if task is None:
            task = self._shared[question] = asyncio.ensure_future(aside(ask))
        return await asyncio.shield(task)

    async def _run(self) -> None:
        while True:
            pause_s = self._every_s
            try:
                marks = await aside(self._look, tuple(self._watched))
            except DatabaseError as error:
                logger.warning("watch.database-away error=%s", type(error).__name__)
                marks, pause_s = self._marks, AWAY_S
            except Exception:
                logger.exception("watch.stumbled")
                marks, pause_s = self._marks, AWAY_S
            if marks != self._marks:
                self._marks = {key: mark for key, mark in marks.items() if key in self._watched}
                self._shared = {}
                turned, self._turned = self._turned, asyncio.Event()
                turned.set()
            await asyncio.sleep(pause_s)


class PerLoop(Generic[Mark]):
    """The watch of this event loop: a server has one, tests have many."""

    def __init__(self, make: Callable[[], Watch[Mark]]) -> None:
        self._make = make
        self._watches: WeakKeyDictionary[asyncio.AbstractEventLoop, Watch[Mark]] = WeakKeyDictionary()

    def __call__(self) -> Watch[Mark]:
        """Return it."""
        loop = asyncio.get_running_loop()
        if loop not in self._watches:
            self._watches[loop] = self._make()
        return self._watches[loop]
