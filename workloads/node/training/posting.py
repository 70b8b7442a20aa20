"""What the loop reports when it is placed: rows to the broker, from a thread, so that the loop never waits."""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ..link import Backoff, Link, Refused, Unreachable

POST_EVERY_S = 1.0
BATCH_ROWS = 500
KEPT_ROWS = 100_000  # Some 20 MB; beyond it the oldest go. Their numbers stay unused, so nothing is counted twice.


class Posted(threading.Thread):
    """Posts rows to /v1/site/metrics from a thread of its own, in order, each numbered once."""

    def __init__(self, *, connect: Callable[[], Link]) -> None:
        super().__init__(name="metrics", daemon=True)
        self._connect = connect
        self._rows: deque[dict[str, Any]] = deque(maxlen=KEPT_ROWS)
        self._batch: list[dict[str, Any]] = []
        # A site's script may run again: its rows are numbered on from where no earlier copy of it can have come.
        self._seq = self._first = time.time_ns() // 1000
        self._work, self._deadline_s = threading.Event(), float("inf")
        self._closing = False

    def report(self, *, step: int, version: int, values: dict[str, Any]) -> None:
        """Take a row. Values may be tensors: they are read in the thread, so that the loop does not wait for a GPU."""
        at = datetime.now(UTC).isoformat()
        self._rows.append({"seq": self._seq, "at": at, "step": step, "version": version, "values": values})
        self._seq += 1
        if self._seq == self._first + 1:  # "The first step is done" is news; the rest can wait a second.
            self._work.set()

    def close(self, *, timeout_s: float = 10.0) -> None:
        """Post what is there, for at most `timeout_s`."""
        self._deadline_s, self._closing = time.monotonic() + timeout_s, True
        self._work.set()
        self.join(timeout_s)

    def run(self) -> None:
        """Post until closed and empty."""
        link, backoff = self._connect(), Backoff(cap_s=10.0)
        try:
            while time.monotonic() < self._deadline_s:
                self._work.wait(POST_EVERY_S)
                self._work.clear()
                try:
                    while self._post(link):
                        backoff.reset()
                except Unreachable:
                    time.sleep(min(backoff.next_s(), 1.0 if self._closing else 10.0))
                    continue
                except Refused as refused:
                    sys.stderr.write(f"gpuyard: metrics were refused: {refused}\n")
                    return
                if self._closing and not self._rows:
                    return
        finally:
            link.close()

    def _post(self, link: Link) -> bool:
        if not self._batch:
            self._batch = [_readable(self._rows.popleft()) for _ in range(min(BATCH_ROWS, len(self._rows)))]
        if not self._batch:
            return False
        link.call("POST", "/v1/site/metrics", {"rows": self._batch}, timeout_s=10.0)
        self._batch = []
        return True


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    """The row with plain numbers. JSON has no NaN or infinity: those go as text."""
    numbers = {name: float(value) for name, value in row["values"].items()}
    finite = {name: value if abs(value) < float("inf") else str(value) for name, value in numbers.items()}
    return {**row, "values": finite}
