"""Questions about money. Nothing here writes."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Q, QuerySet, Sum

from billing import accounts
from billing.models import Hold, LedgerEntry
from billing.money import hours_of, seconds_between, usd_for
from offers.models import Host
from offers.queries import host_names
from workloads.models import Lease
from workloads.queries import leases_of, leases_open_between

ZERO = Decimal("0.000000")


def balance_usd(account: str) -> Decimal:
    """Return credits less debits of an account."""
    credits = LedgerEntry.objects.filter(credit=account).aggregate(sum=Sum("amount_usd"))["sum"]
    debits = LedgerEntry.objects.filter(debit=account).aggregate(sum=Sum("amount_usd"))["sum"]
    return (credits or ZERO) - (debits or ZERO)


def available_usd(*, team_id: int, now: datetime) -> Decimal:
    """Return what a customer can still order for: the balance less what open holds may yet cost."""
    held = ZERO
    for hold in Hold.objects.filter(owner_id=team_id, closed_at=None):
        charged = charged_usd(hold.workload_id)
        held += max(hold.amount_usd, spent_usd(workload_id=hold.workload_id, now=now)) - charged
    return balance_usd(accounts.customer(team_id)) - held


def spent_usd(*, workload_id: int, now: datetime) -> Decimal:
    """Return what a workload's spans cost until now, charged or not."""
    return sum((lease_usd(lease, now) for lease in leases_of(workload_id)), ZERO)


def lease_usd(lease: Lease, now: datetime) -> Decimal:
    """Return what a lease's span costs the customer until now."""
    assert lease.opened_at is not None
    pieces = hours_of(lease.opened_at, lease.closed_at or now)
    price = lease.sell_usd_per_hour
    return sum((usd_for(usd_per_hour=price, seconds=seconds_between(*piece)) for piece in pieces), ZERO)


def rate_usd_per_hour(workload_id: int) -> Decimal:
    """Return what a workload's open leases cost the customer an hour."""
    return sum((lease.sell_usd_per_hour for lease in leases_of(workload_id) if lease.closed_at is None), ZERO)


def charged_usd(workload_id: int) -> Decimal:
    """Return what the ledger has charged for a workload."""
    return LedgerEntry.objects.filter(workload_id=workload_id).aggregate(sum=Sum("amount_usd"))["sum"] or ZERO


def bill(*, workload_id: int, now: datetime) -> dict[str, Any]:
    """Return a workload's bill line by line: spans, frozen prices, and what the ledger says."""
    leases = list(leases_of(workload_id))
    names = host_names(lease.key for lease in leases)
    lines = [
        {
            "lease": lease.pk,
            "site": lease.placement.site,
            "provider": lease.offer.provider,
            "region": lease.offer.region,
            "host": names.get(lease.key),
            "usd_per_hour": lease.sell_usd_per_hour,
            "opened_at": lease.opened_at,
            "closed_at": lease.closed_at,
            "seconds": seconds_between(lease.opened_at, lease.closed_at or now),
            "usd": lease_usd(lease, now),
        }
        for lease in leases
        if lease.opened_at is not None
    ]
    hold = Hold.objects.filter(workload_id=workload_id).first()
    return {
        "workload": workload_id,
        "total_usd": sum((lease_usd(lease, now) for lease in leases), ZERO),
        "billed_usd": charged_usd(workload_id),
        "final": hold is not None and hold.closed_at is not None,
        "leases": lines,
    }


def entries_of(team_id: int) -> QuerySet[LedgerEntry]:
    """Return the entries that touch a team's accounts, oldest first."""
    mine = [accounts.customer(team_id), accounts.supplier(team_id)]
    return LedgerEntry.objects.filter(Q(debit__in=mine) | Q(credit__in=mine)).order_by("id")


def ledger_sum_usd(entries: QuerySet[LedgerEntry]) -> Decimal:
    """Return the sum of all balances that these entries make: every credit less every debit of every account."""
    total = ZERO
    plain = entries.order_by()
    for side, sign in (("credit", 1), ("debit", -1)):
        for row in plain.values(side).annotate(sum=Sum("amount_usd")):
            total += sign * row["sum"]
    return total


def earned_usd(host: Host) -> Decimal:
    """Return what a supplier's host has earned, as booked."""
    if host.supplier_id is None:
        return ZERO
    ids = [int(key.removeprefix("lease-")) for key in host.rentals.values_list("key", flat=True)]
    earned = LedgerEntry.objects.filter(credit=accounts.supplier(host.supplier_id), lease__in=ids)
    return earned.aggregate(sum=Sum("amount_usd"))["sum"] or ZERO


def daily_earnings(host: Host, *, days: int, now: datetime) -> list[dict[str, Any]]:
    """Return {day, usd, seconds} of a supplier's host, today (UTC) last: from its spans, booked or not."""
    today = now.astimezone(UTC).date()
    found = {today - timedelta(days=back): [ZERO, Decimal(0)] for back in range(days - 1, -1, -1)}
    first = datetime.combine(min(found), time(), UTC)
    ids = [int(key.removeprefix("lease-")) for key in host.rentals.values_list("key", flat=True)]
    for lease in leases_open_between(first, now).filter(pk__in=ids):
        assert lease.opened_at is not None
        for begin, end in hours_of(max(lease.opened_at, first), lease.closed_at or now):
            seconds = seconds_between(begin, end)
            day = found[begin.astimezone(UTC).date()]
            day[0] += usd_for(usd_per_hour=lease.cost_usd_per_hour, seconds=seconds)
            day[1] += seconds
    return [{"day": day, "usd": usd, "seconds": float(seconds)} for day, (usd, seconds) in found.items()]
