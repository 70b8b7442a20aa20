"""How a followed workload is told where there is no live view: JSON lines, or a plain line now and then."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gpuyard import objects
from gpuyard.cli.output import Output, duration
from gpuyard.cli.times import moment
from gpuyard.money import dollars

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PLAIN_EVERY_S = 30.0


class Teller:
    """Takes the objects that `Follower.watch` yields and tells them as JSON or as plain lines."""

    types = ("event", "metrics")

    def __init__(self, out: Output, *, quiet: bool = False) -> None:
        """`quiet`: nothing at all but with --json."""
        self.out = out
        self.quiet = quiet
        self.workload: objects.Workload | None = None
        self.losses: dict[str, float] = {}
        self.told = ""
        self.told_version: int | None = None
        self.told_at = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """There is nothing to put away."""

    def notice(self, said: str) -> None:
        """A remark on the broker."""
        self.out.note(said)

    def tell(self, seen: dict[str, Any]) -> None:
        """One object of the stream."""
        self.out.row(seen)
        if self.out.json or self.quiet:
            return
        if seen["type"] == "event":
            self.out.line(event_line(seen["event"]))
        elif seen["type"] == "metrics":
            row = seen["metrics"]
            loss = row["values"].get("loss")
            if isinstance(loss, float | int):  # A loss that is no number comes as text.
                self.losses[row["site"]] = loss
                self.show()
        else:
            self.workload = seen["workload"]
            self.show()

    def show(self) -> None:
        """Where the workload stands, when the version moved or half a minute passed."""
        if self.workload is None:
            return
        line = standing(self.workload, losses=self.losses)
        moved = self.workload["version"] != self.told_version
        if line != self.told and (moved or time.monotonic() - self.told_at >= PLAIN_EVERY_S):
            self.out.line(line)
            self.told, self.told_version, self.told_at = line, self.workload["version"], time.monotonic()


def event_line(event: objects.Event) -> str:
    """One move in one line."""
    left = f"{event['from']} -> " if event["from"] else ""
    why = f"  {event['why']}" if event["why"] else ""
    return f"{moment(event['at'])}  {event['subject']} {event['subject_id']}: {left}{event['to']}{why}"


def standing(workload: objects.Workload, *, losses: dict[str, float]) -> str:
    """State, version, samples, loss and cost in one line."""
    parts = [f"workload {workload['id']} {workload['state']}"]
    if workload["version"] is not None:
        parts.append(f"version {workload['version']}")
    samples = workload["samples"]
    if samples["total"]:
        share = 100 * samples["merged"] // samples["total"]
        parts.append(f"{samples['merged']:,}/{samples['total']:,} samples ({share} %)")
    loss = workload["loss"] if workload["loss"] is not None else mean(losses)
    if loss is not None:
        parts.append(f"loss {loss:.4f}")
    parts.append(dollars(workload["spent_usd"]))
    return "  ".join(parts)


def mean(losses: dict[str, float]) -> float | None:
    """The mean of the sites' newest losses."""
    return sum(losses.values()) / len(losses) if losses else None


def ending(workload: objects.Workload) -> str:
    """How it ended, in one line."""
    reason = f" ({workload['end_reason']})" if workload["end_reason"] else ""
    why = f": {workload['why']}" if workload["why"] else ""
    return f"Workload {workload['id']} {workload['state']}{reason}{why}. Cost so far: {dollars(workload['spent_usd'])}."


class Bytes:
    """Progress of a download: a bar on a terminal, nothing elsewhere."""

    def __init__(self, *, shown: bool) -> None:
        self.shown = shown
        self.bar: Progress | None = None
        self.task: TaskID | None = None

    def __enter__(self) -> Self:
        if self.shown:
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

            self.bar = Progress(BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=Console(stderr=True))
            self.task = self.bar.add_task("", total=None)
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """So many bytes of so many are here."""
        if self.bar and self.task is not None:
            self.bar.update(self.task, completed=done, total=total)


def spans(workload: objects.Workload) -> str:
    """How long it has run, as far as it began and ended; "-" before it started."""
    from datetime import UTC, datetime

    if not workload["started_at"]:
        return "-"
    begun = datetime.fromisoformat(workload["started_at"])
    ended = datetime.fromisoformat(workload["ended_at"]) if workload["ended_at"] else datetime.now(UTC)
    return duration(max((ended - begun).total_seconds(), 0))
