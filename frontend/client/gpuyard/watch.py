"""Follow a workload: what changed since the last look, for as long as it takes, through a broker's absence.

`watch` yields JSON objects, and `yard run --json` and `yard watch --json` print them one a line:

    {"type": "program", "sha256", "size_bytes", "script", "files"}       run only: what was packed
    {"type": "quotes", "quotes": [...], "excluded": [...], ...}          run only: the broker's answer to the need
    {"type": "workload", "workload": Workload}                           at first, and whenever it changed
    {"type": "event", "event": Event}                                    each move, once
    {"type": "metrics", "metrics": MetricRow}                            each reported row, once
    {"type": "end", "workload": Workload, "artifact": Artifact | null, "file": PATH | null, "exit_code": N}
    {"type": "detached", "workload": ID}                                 instead of "end": --detach, or Ctrl-C
    {"type": "dry_run", "program": SHA256}                               instead of "end": --dry-run
    {"type": "error", "error": {...}}                                    whatever went wrong; the last line

`logs -f --json` prints LogLine objects, `events -f --json` prints Event objects, as the broker gives them.
"""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

from gpuyard import objects
from gpuyard.errors import BrokerFailed, BrokerUnreachable

if TYPE_CHECKING:
    from gpuyard.client import Client

PAGE = 500
LONGEST_WAIT_S = 15.0
FAILURES_ENDURED = 20  # answers of the kind 500 in a row; an absent broker is waited for without end

Read = TypeVar("Read")
Notice = Callable[[str], None]


class Follower:
    """Looks at one workload again and again; keeps its place while the broker is away."""

    def __init__(self, client: "Client", workload_id: int, *, poll_s: float, notice: Notice) -> None:
        """`poll_s`: seconds between two looks; `notice` hears once that the broker is away, once that it is back."""
        self.client = client
        self.workload_id = workload_id
        self.poll_s = poll_s
        self.notice = notice
        self.after = {"events": 0, "metrics": 0, "logs": 0}

    def watch(self) -> Iterator[dict[str, Any]]:
        """The workload's changes, events and metrics until it has ended. Raises: GpuyardError (not for absence)."""
        last: objects.Workload | None = None
        while True:
            workload = self.persist(lambda: self.client.workload(self.workload_id))
            if workload != last:
                yield {"type": "workload", "workload": workload}
                last = workload
            for event in self.new_rows("events"):
                yield {"type": "event", "event": event}
            for row in self.new_rows("metrics"):
                yield {"type": "metrics", "metrics": row}
            if workload["state"] in objects.ENDED:
                return
            time.sleep(self.poll_s)

    def follow(self, what: str) -> Iterator[Any]:
        """The rows of `events` or `logs` until the workload has ended and all of them were given."""
        while True:
            workload = self.persist(lambda: self.client.workload(self.workload_id))
            yield from self.new_rows(what)
            if workload["state"] in objects.ENDED:
                return
            time.sleep(self.poll_s)

    def new_rows(self, what: str) -> Iterator[Any]:
        """The rows that were not given yet, page by page."""
        ask = cast(Callable[..., list[Any]], getattr(self.client, what))
        while True:
            rows = self.persist(lambda: ask(self.workload_id, after=self.after[what], limit=PAGE))
            for row in rows:
                self.after[what] = max(self.after[what], row["id"])
                yield row
            if len(rows) < PAGE:
                return

    def persist(self, ask: Callable[[], Read]) -> Read:
        """Ask until there is an answer. Raises: GpuyardError (BrokerFailed only after many in a row)."""
        failures = 0
        wait_s = min(max(self.poll_s, 0.1), LONGEST_WAIT_S)
        away = False
        while True:
            try:
                answer = ask()
            except (BrokerUnreachable, BrokerFailed) as error:
                failures = failures + 1 if isinstance(error, BrokerFailed) else 0
                if failures >= FAILURES_ENDURED:
                    raise
                if not away:
                    self.notice(f"broker unreachable, waiting ({error.message})")
                    away = True
                time.sleep(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
            else:
                if away:
                    self.notice("broker is back")
                return answer


def exit_code_of(workload: objects.Workload) -> int:
    """The exit code that tells how a workload ended: 0, 4 no capacity, 5 budget, 10 failed, 11 cancelled."""
    if workload["state"] == "succeeded":
        return 0
    if workload["end_reason"] == "no_capacity":
        return 4
    if workload["end_reason"] == "budget":
        return 5
    return 11 if workload["state"] == "cancelled" else 10
