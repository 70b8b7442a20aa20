"""Questions about the offer book and the hosts. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db.models import Count, QuerySet

from offers import accounts, marketplace, search
from offers.matching.solve import OpenOffer
from offers.models import Host, Quarantined, Rental, Source
from providers import registry
from providers.base import Provider

MICRO = Decimal("0.000001")


def provider(name: str, owner_id: int | None = None) -> Provider:
    """
    Return the provider of an offer, connected with the owner's account or else the broker's (offers.accounts).

    Raises Rejected where nothing can be rented: there is no account, or it cannot be opened.
    """
    if name == marketplace.NAME:
        return marketplace.Marketplace()
    return accounts.open_account(name, owner_id)


def sell_price(usd_per_hour: Decimal) -> Decimal:
    """Return what a customer pays for an hour that costs us so much."""
    return (usd_per_hour * (1 + Decimal(settings.MARGIN))).quantize(MICRO)


def open_offers(
    *,
    now: datetime,
    owner_id: int | None = None,
    leasable_only: bool = False,
    wishes: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> list[OpenOffer]:
    """
    Return the offers that may be quoted, at the customer's price: none that is stale, gone or in quarantine.

    owner_id: leasable is what this team can rent, with its own account or the broker's; None: what anybody can.
    wishes: filters as in offers.search; limit: only so many, the cheapest per GPU-hour. Raises SearchInvalid.
    """
    book = search.matching({**(wishes or {}), "fresh": "true"}, now=now)
    rents_at = None if owner_id is None else {*accounts.usable_by(owner_id), marketplace.NAME}
    if leasable_only:
        book = book.filter(leasable=True)
        book = book if rents_at is None else book.filter(provider__in=rents_at)
    if limit is not None:
        book = search.ordered(book, "usd_per_gpu_hour")[:limit]
    rows = book.values_list(
        "id", "provider", "region", "country", "market", "accelerator", "accelerators", "memory_gib", "usd_per_hour",
        "leasable", "available",
    )  # fmt: skip
    return [
        OpenOffer(
            id=row[0],
            provider=row[1],
            region=row[2],
            country=row[3],
            market=row[4],
            accelerator=row[5],
            accelerators=row[6],
            memory_gib=row[7],
            usd_per_hour=sell_price(row[8]),
            leasable=row[9] and (rents_at is None or row[1] in rents_at),
            available=row[10],
        )
        for row in (rows.iterator(chunk_size=5000) if limit is None else rows)
    ]


def sources(*, now: datetime) -> list[dict[str, Any]]:
    """Return every source with its state: the fields of Source, `stale`, and how many of its lines are quarantined."""
    kept_out = dict(Quarantined.objects.order_by().values_list("provider").annotate(count=Count("id")))
    return [
        {
            **row,
            "stale": row["fresh_until"] is None or row["fresh_until"] <= now,
            "quarantined": kept_out.get(row["provider"], 0),
        }
        for row in Source.objects.order_by("provider").values()
    ]


def history_keepers() -> list[str]:
    """Return the providers with an account that publish what their prices were."""
    known = sorted(accounts.connected() & set(registry.PROVIDERS))
    return [name for name in known if registry.keeps_price_history(name)]


def rental_of(key: str) -> Rental | None:
    """Return the host's side of a lease key: a supplier's, or our own record of a cloud's; None when there is none."""
    return Rental.objects.filter(key=key).select_related("host").first()


def host_names(keys: Iterable[str]) -> dict[str, str]:
    """Return {lease key: host name}; a machine at a cloud is named by its key."""
    return dict(Rental.objects.filter(key__in=list(keys)).values_list("key", "host__name"))


def hosts_of(supplier_id: int) -> QuerySet[Host]:
    """Return a supplier's hosts, oldest first."""
    return Host.objects.filter(supplier_id=supplier_id).order_by("id")
