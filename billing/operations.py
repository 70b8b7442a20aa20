"""Money's verbs."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction

from billing import accounts, metering, queries
from billing.models import Hold, LedgerEntry
from billing.money import usd_for
from workloads.models import Lease, Workload
from workloads.operations import request_stop

# What a stop may still cost: draining, a last round, giving the machines back. A run stops so long before its budget.
STOP_TAKES = timedelta(seconds=20)


class CreditExhausted(Exception):
    """The customer's credit does not cover the order."""

    def __init__(self, available_usd: Decimal, wanted_usd: Decimal) -> None:
        super().__init__(f"{wanted_usd} USD wanted, {available_usd} USD available")
        self.available_usd = available_usd
        self.wanted_usd = wanted_usd


def grant(*, team_id: int, amount_usd: Decimal, source: str, now: datetime) -> None:
    """Give a customer credit. The same source twice is once."""
    LedgerEntry.objects.get_or_create(
        source=source,
        defaults={
            "debit": accounts.GRANTS,
            "credit": accounts.customer(team_id),
            "amount_usd": amount_usd,
            "what": "credit",
            "at": now,
        },
    )


@transaction.atomic
def open_hold(*, workload: Workload, now: datetime) -> Hold:
    """Set a workload's budget aside. Raises CreditExhausted."""
    # The row lock makes two orders at once wait for each other: together they may not exceed the credit.
    type(workload.owner)._default_manager.select_for_update().get(pk=workload.owner_id)
    available = queries.available_usd(team_id=workload.owner_id, now=now)
    if workload.budget_usd > available:
        raise CreditExhausted(available, workload.budget_usd)
    return Hold.objects.create(owner=workload.owner, workload=workload, amount_usd=workload.budget_usd, opened_at=now)


def watch_budgets(*, now: datetime) -> int:
    """Ask every workload to stop that would pass its budget while it stops; return how many."""
    asked = 0
    for hold in Hold.objects.filter(closed_at=None, workload__stop_requested_at=None).select_related("workload"):
        spent = queries.spent_usd(workload_id=hold.workload_id, now=now)
        rate = queries.rate_usd_per_hour(hold.workload_id)
        stopping = usd_for(usd_per_hour=rate, seconds=Decimal(STOP_TAKES.total_seconds()))
        if spent + stopping >= hold.amount_usd and rate > 0:
            why = f"the budget of {hold.amount_usd} USD is used up: {spent} USD spent"
            request_stop(workload_id=hold.workload_id, reason="budget", why=why, now=now)
            asked += 1
    return asked


def settle(*, now: datetime) -> int:
    """Meter, then close the holds of workloads that have ended and are charged in full; return how many."""
    metering.meter(now=now)
    closed = 0
    for hold in Hold.objects.filter(closed_at=None, workload__state__in=Workload.FINAL):
        if not Lease.objects.filter(placement__workload=hold.workload_id).exclude(state__in=Lease.DEAD).exists():
            closed += Hold.objects.filter(pk=hold.pk, closed_at=None).update(closed_at=now)
    return closed
