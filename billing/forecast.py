"""When a run will be done and what it will have cost, if it goes on as it does now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from billing.money import MICRO
from billing.queries import rate_usd_per_hour, spent_usd
from workloads.models import Workload
from workloads.queries import samples_per_s

SECONDS_MAX = 10 * 365 * 86_400  # Beyond that nobody plans, and dates end.


@dataclass(frozen=True, slots=True)
class Forecast:
    """None: nobody can tell yet. over_budget: it will cost more than its budget, or does so now."""

    finish_at: datetime | None
    cost_usd: Decimal | None
    over_budget: bool


def forecast(workload: Workload, *, samples: dict[str, int], now: datetime) -> Forecast:
    """Return what comes of a workload at its sites' present speed and its leases' prices."""
    spent = spent_usd(workload_id=workload.pk, now=now)
    if workload.state in Workload.FINAL:
        return Forecast(None, spent, spent > workload.budget_usd)
    left, speed = samples["total"] - samples["merged"], samples_per_s(workload.pk)
    if not samples["total"] or not speed or left / speed > SECONDS_MAX:
        return Forecast(None, None, spent > workload.budget_usd)
    seconds = left / speed
    cost = spent + (rate_usd_per_hour(workload.pk) * Decimal(seconds) / 3600).quantize(MICRO)
    return Forecast(now + timedelta(seconds=seconds), cost, cost > workload.budget_usd)
