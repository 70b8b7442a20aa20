"""Where a run will end: how long it takes at its present pace, and what it costs by then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from gpuyard import objects


@dataclass(frozen=True)
class Forecast:
    """left_s: seconds to go; cost_usd: the cost at the end. None while nobody can say."""

    left_s: float | None = None
    cost_usd: Decimal | None = None

    def loss(self, losses: Mapping[str, Sequence[tuple[float, float]]]) -> float | None:
        """The mean of the sites' newest losses."""
        newest = [points[-1][1] for points in losses.values() if points]
        return sum(newest) / len(newest) if newest else None

    def overshoots(self, budget_usd: str | None) -> bool:
        """Whether the budget will end it first."""
        return self.cost_usd is not None and budget_usd is not None and self.cost_usd > Decimal(budget_usd)


def forecast(workload: objects.Workload, *, now: datetime) -> Forecast:
    """From the samples merged since the first step, and the price of what is leased now."""
    samples, first = workload["samples"], workload["first_step_at"]
    if workload["state"] != "running" or not first or not samples["total"] or not samples["merged"]:
        return Forecast()
    trained_s = (now - datetime.fromisoformat(first)).total_seconds()
    left = samples["total"] - samples["merged"]
    if trained_s <= 0 or left <= 0:
        return Forecast()
    left_s = left * trained_s / samples["merged"]
    nodes = [node for site in workload["sites"] for node in site["nodes"]]
    rate = sum(
        (Decimal(node["usd_per_hour"]) for node in nodes if node["opened_at"] and not node["closed_at"]), Decimal()
    )
    return Forecast(left_s, Decimal(workload["spent_usd"]) + rate * Decimal(left_s) / 3600)
