"""What is known of one run while it is followed: the material of the live view and of `yard top`."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from gpuyard import objects
from gpuyard.cli.times import seconds_of

POINTS_MAX = 4000
WINDOW_S = 180.0  # Samples come in by rounds, so their pace is that of some minutes.
ROWS_KEPT = 100


class Curve:
    """Losses over time. A point stands for ever more of them, all for the same number: a run may last for weeks."""

    def __init__(self) -> None:
        self.points: list[tuple[float, float]] = []
        self.each = 1  # So many losses a point, but for the last one.
        self.last = 0
        self.newest: dict[str, float] = {}  # By site.

    def add(self, at: float, loss: float, *, site: str) -> None:
        """One more."""
        self.newest[site] = loss
        if 0 < self.last < self.each:
            (then, mean), count = self.points[-1], self.last
            self.points[-1] = (then * count + at) / (count + 1), (mean * count + loss) / (count + 1)
            self.last += 1
            return
        if len(self.points) >= POINTS_MAX:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points = [((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, b in pairs]
            self.each *= 2
        self.points.append((at, loss))
        self.last = 1


class Pace:
    """How fast samples are merged, from what was seen of it."""

    def __init__(self) -> None:
        self.seen: deque[tuple[float, int]] = deque()

    def take(self, now: float, merged: int) -> None:
        """So many were merged then."""
        if self.seen and merged < self.seen[-1][1]:
            self.seen.clear()  # It went back to an older version.
        if not self.seen or merged != self.seen[-1][1]:
            self.seen.append((now, merged))
        while len(self.seen) > 2 and now - self.seen[1][0] > WINDOW_S:
            self.seen.popleft()

    def samples_per_s(self, workload: objects.Workload, now: float) -> float | None:
        """Of the last minutes; else, of what runs, since its first step; None = nobody knows yet."""
        merged = workload["samples"]["merged"]
        if len(self.seen) >= 2:
            (then, before), (last, after) = self.seen[0], self.seen[-1]
            # A round that is overdue slows the pace down.
            return (after - before) / max(now - then if now - last > WINDOW_S else last - then, 1e-9)
        begun = workload["first_step_at"]
        if not begun or not merged or workload["resumes"] or workload["state"] in objects.ENDED:
            return None
        return merged / max(now - seconds_of(begun), 1.0)


@dataclass
class Story:
    """One run, as far as it was told."""

    workload: objects.Workload | None = None
    quote: objects.Quote | None = None
    events: deque[objects.Event] = field(default_factory=lambda: deque(maxlen=ROWS_KEPT))
    logs: deque[objects.LogLine] = field(default_factory=lambda: deque(maxlen=ROWS_KEPT))
    curve: Curve = field(default_factory=Curve)
    pace: Pace = field(default_factory=Pace)
    notice: str = ""

    def take(self, seen: dict[str, Any], *, now: float) -> None:
        """One object of `Follower.watch`."""
        if seen["type"] == "workload":
            self.workload = seen["workload"]
            self.pace.take(now, self.workload["samples"]["merged"])
        elif seen["type"] == "event":
            self.events.append(seen["event"])
        elif seen["type"] == "log":
            self.logs.append(seen["log"])
        elif isinstance(loss := seen["metrics"]["values"].get("loss"), float | int):
            self.curve.add(seconds_of(seen["metrics"]["at"]), loss, site=seen["metrics"]["site"])

    @property
    def loss(self) -> float | None:
        """The mean of the sites' newest losses; else what the broker knows."""
        if self.curve.newest:
            return sum(self.curve.newest.values()) / len(self.curve.newest)
        return self.workload["loss"] if self.workload else None


def usd_per_hour(workload: objects.Workload) -> float:
    """What its machines cost an hour now."""
    nodes = [node for site in open_sites(workload) for node in site["nodes"] if node["closed_at"] is None]
    return sum(float(node["usd_per_hour"]) for node in nodes if node["state"] in ("booting", "held", "releasing"))


def open_sites(workload: objects.Workload) -> list[objects.Site]:
    """Where it runs now."""
    return [site for site in workload["sites"] if site["state"] != "closed"]


def left_s(workload: objects.Workload, now: float) -> float | None:
    """Seconds until it is done, as the broker foretells; None = nobody knows, or it has ended."""
    finish_at = workload["forecast"]["finish_at"]
    return max(seconds_of(finish_at) - now, 0.0) if finish_at else None


def forecast_usd(workload: objects.Workload) -> str | None:
    """What it will have cost at its end, as the broker foretells; None = nobody knows, or it has ended."""
    return None if workload["state"] in objects.ENDED else workload["forecast"]["cost_usd"]
