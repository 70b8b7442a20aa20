"""
Lease spans -> ledger entries, one window of an hour at a time. Safe to run twice, late or in any order.

A window of a lease is charged once it cannot change any more: the hour is over, or the lease is closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing import accounts
from billing.models import Hold, LedgerEntry
from billing.money import hours_of, seconds_between, usd_for
from offers.queries import rental_of
from workloads.models import Lease


def meter(*, now: datetime) -> int:
    """Charge every final window that is not charged yet; return how many were."""
    settled = Hold.objects.filter(closed_at__isnull=False).values("workload_id")
    unsettled = Lease.objects.filter(opened_at__isnull=False).exclude(placement__workload__in=settled)
    unsettled = unsettled.select_related("placement__workload", "offer").order_by("id")
    return sum(_charge(lease, begin, end) for lease in unsettled for begin, end in windows(lease, now))


def windows(lease: Lease, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield the final [begin, end) of the lease, cut at full hours UTC."""
    assert lease.opened_at is not None
    over = now.replace(minute=0, second=0, microsecond=0)
    yield from hours_of(lease.opened_at, lease.closed_at or max(lease.opened_at, over))


@transaction.atomic
def _charge(lease: Lease, begin: datetime, end: datetime) -> bool:
    seconds = seconds_between(begin, end)
    cost = usd_for(usd_per_hour=lease.cost_usd_per_hour, seconds=seconds)
    sell = usd_for(usd_per_hour=lease.sell_usd_per_hour, seconds=seconds)
    shares = ((_seller(lease), cost), (accounts.MARGIN, sell - cost))
    made = False
    for account, amount in shares:
        if amount > 0:
            made |= _book(lease, account, amount, seconds, begin, end)
    return made


def _book(lease: Lease, account: str, amount: Decimal, seconds: Decimal, begin: datetime, end: datetime) -> bool:
    workload = lease.placement.workload
    _, made = LedgerEntry.objects.get_or_create(
        source=f"lease-{lease.pk}/{begin:%Y-%m-%dT%H}Z/{account}",
        defaults={
            "debit": accounts.customer(workload.owner_id),
            "credit": account,
            "amount_usd": amount,
            "what": f"{seconds:.6f} s of {lease.placement.site}",
            "workload": workload,
            "lease": lease,
            "at": end,
        },
    )
    return made


def _seller(lease: Lease) -> str:
    rental = rental_of(lease.key)
    supplier_id = rental.host.supplier_id if rental else None  # A machine at a cloud has our agent and no supplier.
    return accounts.provider(lease.offer.provider) if supplier_id is None else accounts.supplier(supplier_id)
