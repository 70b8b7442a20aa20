"""Samples at hand: a thread leases the next ones while the loop trains, so that the loop does not wait for them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from . import data
from .line import Closing, Line, Mood

ASK_AGAIN_S = 0.3


class Leases(threading.Thread):
    """
    Leases positions whenever fewer than `wanted` are at hand.

    `changed` is held by whoever reads the attributes, and notified when one has changed.
    """

    def __init__(self, line: Line, mood: Mood, changed: threading.Condition, failed: Callable[[BaseException], None]):
        super().__init__(name="leases", daemon=True)
        self._line, self._mood, self._changed, self._failed = line, mood, changed, failed
        self._ready: data.Ranges = []
        self._number = 1
        self.wanted = 0
        self.is_dry = False  # There are none to be had now.
        self.is_drained = False  # The broker wants this site to leave.
        self.progress = 0.0  # The share of the run's samples that sites have got; it does not fall.
        self.done_version: int | None = None  # All are merged, in the state of this version.

    def take(self) -> data.Ranges:
        """Return what is at hand, now the loop's."""
        with self._changed:
            ready, self._ready = self._ready, []
            self._changed.notify_all()
        return ready

    def want(self, count: int) -> None:
        """Keep at least so many positions at hand."""
        with self._changed:
            self.wanted = count
            self._changed.notify_all()

    def has_any(self) -> bool:
        """Whether `take` would return something."""
        return bool(self._ready)

    def run(self) -> None:
        """Ask until all samples are merged, this site is to leave, or the session ends."""
        try:
            while not self._mood.closing.is_set() and self._ask():
                pass
        except Closing:
            pass
        except BaseException as failure:
            self._failed(failure)
        finally:
            self._line.close()

    def _ask(self) -> bool:
        """Ask once; return whether to go on."""
        with self._changed:
            while data.count(self._ready) >= self.wanted:
                self._changed.wait()
                if self._mood.closing.is_set():
                    return False
            count = self.wanted
        answer = self._line.ask("POST", "/v1/site/samples", {"number": self._number, "count": count})
        self._number += 1
        status = answer["status"]
        with self._changed:
            self._ready += [(int(start), int(end)) for start, end in answer["ranges"]]
            self.progress = max(self.progress, float(answer.get("progress", 0.0)))
            self.is_dry, self.is_drained = status == "wait", status == "drain"
            if status == "done":
                self.done_version = int(answer["version"])
            self._changed.notify_all()
        if status == "wait":
            self._mood.closing.wait(ASK_AGAIN_S)
        return status in ("leased", "wait")
