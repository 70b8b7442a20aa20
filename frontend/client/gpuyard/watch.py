"""Follow a workload: what changed since the last look, for as long as it takes, through a broker's absence.

The broker's stream of it is read where there is one, so that all is told as it happens; else it is looked at again and
again. Either way each row is told once.

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar, cast

from gpuyard import exits, objects, stream
from gpuyard.errors import AuthError, BrokerFailed, BrokerUnreachable, GpuyardError

if TYPE_CHECKING:
    from gpuyard.client import Client

PAGE = 500
LONGEST_WAIT_S = 15.0
FAILURES_ENDURED = 20  # answers of the kind 500 in a row; an absent broker is waited for without end
LOOK_AFTER_S = 10.0  # While the stream is silent on it, the workload is looked at again after so long.
LISTS = {"event": "events", "metrics": "metrics", "log": "logs"}  # By the type of what is yielded.
TYPES = {"event": "event", "metric": "metrics", "log": "log"}  # By the stream's kind.

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
        self.last: objects.Workload | None = None
        self.looked_at = 0.0
        self.away = False

    def watch(self, types: Sequence[str] = ("event", "metrics")) -> Iterator[dict[str, Any]]:
        """The workload's changes and the rows of these types (of LISTS) until it has ended.

        Raises: GpuyardError (not for absence).
        """
        yield from self.look(types)
        try:
            yield from self.streamed(types)
        except AuthError:
            raise
        except GpuyardError:
            pass  # An older broker, or something between us that does not let a stream through.
        while not self.ended:
            time.sleep(self.poll_s)
            yield from self.look(types)

    @property
    def ended(self) -> bool:
        """Whether it had ended when it was last seen."""
        return self.last is not None and self.last["state"] in objects.ENDED

    def look(self, types: Sequence[str]) -> Iterator[dict[str, Any]]:
        """One look: the workload if it changed, then all rows that were not told yet."""
        yield from self.changed(self.persist(lambda: self.client.workload(self.workload_id)))
        yield from self.grown(types)

    def grown(self, types: Sequence[str]) -> Iterator[dict[str, Any]]:
        """All rows that were not told yet."""
        for name in types:
            for row in self.new_rows(LISTS[name]):
                yield {"type": name, name: row}

    def changed(self, workload: objects.Workload) -> Iterator[dict[str, Any]]:
        """The workload, if it is not as it was."""
        self.looked_at = time.monotonic()
        if workload != self.last:
            self.last = workload
            yield {"type": "workload", "workload": workload}

    def streamed(self, types: Sequence[str]) -> Iterator[dict[str, Any]]:
        """As the stream tells it, until it has ended; after each connection a look, so that nothing is missed."""
        path = f"/v1/workloads/{self.workload_id}/stream"
        retry_s = min(self.poll_s, stream.RETRY_S)
        events = stream.events(self.client.transport, path, query={}, retry_s=retry_s, away=self.heard)
        with closing(events) as told:
            while not self.ended:
                each = next(told, None)
                yield from self.taken(each, types)
                if each is None:
                    return

    def taken(self, each: stream.Told | None, types: Sequence[str]) -> Iterator[dict[str, Any]]:
        """What one event of the stream tells that is new; None = the stream is over."""
        if each is None or each.kind in (stream.OPEN, stream.END):
            yield from self.look(types)
        elif each.kind == "workload":
            yield from self.changed(each.data)
            if self.ended:
                yield from self.grown(types)  # What came with its end.
        elif TYPES.get(each.kind) in types:
            yield from self.fresh(TYPES[each.kind], each.data)
        if not self.ended and time.monotonic() - self.looked_at > LOOK_AFTER_S:
            yield from self.changed(self.persist(lambda: self.client.workload(self.workload_id)))

    def fresh(self, name: str, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A row of the stream, if it was not told yet."""
        if row["id"] > self.after[LISTS[name]]:
            self.after[LISTS[name]] = row["id"]
            yield {"type": name, name: row}

    def heard(self, error: GpuyardError | None) -> None:
        """Tell once that the broker is away, and once that it is back."""
        if error and not self.away:
            self.notice(f"broker unreachable, waiting ({error.message})")
        elif not error and self.away:
            self.notice("broker is back")
        self.away = error is not None

    def follow(self, what: str) -> Iterator[Any]:
        """The rows of `events`, `metrics` or `logs` until the workload has ended and all of them were given."""
        (name,) = (each for each, rows in LISTS.items() if rows == what)
        for seen in self.watch([name]):
            if seen["type"] == name:
                yield seen[name]

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
        while True:
            try:
                answer = ask()
            except (BrokerUnreachable, BrokerFailed) as error:
                failures = failures + 1 if isinstance(error, BrokerFailed) else 0
                if failures >= FAILURES_ENDURED:
                    raise
                self.heard(error)
                time.sleep(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
            else:
                self.heard(None)
                return answer


def exit_code_of(workload: objects.Workload) -> int:
    """The exit code that tells how a workload ended (`gpuyard.exits`).

    Without capacity before its first step there was none (4); after it, it was preempted out (12).
    """
    if workload["state"] == "succeeded":
        return exits.OK
    if workload["end_reason"] == "no_capacity":
        return exits.PREEMPTED_OUT if workload["first_step_at"] else exits.NO_CAPACITY
    if workload["end_reason"] == "budget":
        return exits.OVER_BUDGET
    return exits.CANCELLED if workload["state"] == "cancelled" else exits.FAILED
