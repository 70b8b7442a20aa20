"""How a followed workload is told: JSON lines, a bar on a terminal, or a plain line now and then."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gpuyard import objects
from gpuyard.cli.output import Output, duration, printable
from gpuyard.money import dollars

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PLAIN_EVERY_S = 30.0


class Teller:
    """Takes the objects that `Follower.watch` yields and tells them."""

    def __init__(self, out: Output) -> None:
        self.out = out
        self.workload: objects.Workload | None = None
        self.losses: dict[str, float] = {}
        self.told = ""
        self.told_version: int | None = None
        self.told_at = float("-inf")
        self.bar: Progress | None = None
        self.task: TaskID | None = None

    def __enter__(self) -> Self:
        """Put up the bar where a person reads."""
        if self.out.is_terminal:
            from rich.progress import BarColumn, Progress, TextColumn

            self.bar = Progress(TextColumn("{task.description}", markup=False), BarColumn(bar_width=24))
            self.task = self.bar.add_task("", total=None)
            self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.bar:
            self.bar.stop()

    def tell(self, seen: dict[str, Any]) -> None:
        """One object of the stream."""
        self.out.row(seen)
        if self.out.json:
            return
        if seen["type"] == "event":
            self.say(event_line(seen["event"]))
        elif seen["type"] == "metrics":
            row = seen["metrics"]
            if "loss" in row["values"]:
                self.losses[row["site"]] = row["values"]["loss"]
                self.show()
        else:
            self.workload = seen["workload"]
            self.show()

    def show(self) -> None:
        """Where the workload stands: on the bar, or a line when the version moved or half a minute passed."""
        if self.workload is None:
            return
        line = standing(self.workload, losses=self.losses)
        if self.bar and self.task is not None:
            samples = self.workload["samples"]
            self.bar.update(self.task, description=printable(line), total=samples["total"], completed=samples["merged"])
            return
        moved = self.workload["version"] != self.told_version
        if line != self.told and (moved or time.monotonic() - self.told_at >= PLAIN_EVERY_S):
            self.say(line)
            self.told, self.told_version, self.told_at = line, self.workload["version"], time.monotonic()

    def say(self, line: str) -> None:
        """A line above the bar, or just a line."""
        if self.bar:
            self.bar.console.print(printable(line), markup=False, highlight=False)
        else:
            self.out.line(line)


def event_line(event: objects.Event) -> str:
    """One move in one line."""
    left = f"{event['from']} -> " if event["from"] else ""
    why = f"  {event['why']}" if event["why"] else ""
    return f"{clock(event['at'])}  {event['subject']} {event['subject_id']}: {left}{event['to']}{why}"


def clock(at: str) -> str:
    """The time of day of an RFC 3339 string, in UTC as it came."""
    return at[11:19] or at


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
