"""Questions about the offer book and the hosts. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db.models import QuerySet

from offers import marketplace
from offers.matching.solve import OpenOffer
from offers.models import Host, Offer, Rental
from providers import registry
from providers.base import Machine, Provider

LEASABLE_FOR = timedelta(minutes=15)  # An offer that was not seen for longer is not quoted.
MICRO = Decimal("0.000001")


def provider(name: str) -> Provider:
    """Return the connected provider of an offer. Raises KeyError for a price list at which nothing can be rented."""
    if name == marketplace.NAME:
        return marketplace.Marketplace()
    return registry.connect(name, **settings.PROVIDERS[name])


def find_machine(name: str, key: str) -> Machine | None:
    """Return the machine that bears the key, or None when the provider lists none. Raises ProviderError."""
    return next((machine for machine in provider(name).machines() if machine.key == key), None)


def sell_price(usd_per_hour: Decimal) -> Decimal:
    """Return what a customer pays for an hour that costs us so much."""
    return (usd_per_hour * (1 + Decimal(settings.MARGIN))).quantize(MICRO)


def open_offers(*, now: datetime, leasable_only: bool = False) -> list[OpenOffer]:
    """Return every offer, at the customer's price, for the matching engine; one not seen lately counts as gone."""
    book = Offer.objects.filter(leasable=True) if leasable_only else Offer.objects.all()
    rows = book.values_list(
        "id", "provider", "region", "country", "market", "accelerator", "accelerators", "memory_gib", "usd_per_hour",
        "leasable", "available", "seen_at",
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
            leasable=row[9] and row[11] > now - LEASABLE_FOR,
            available=row[10],
        )
        for row in rows.iterator(chunk_size=5000)
    ]


def offers_like(wishes: dict[str, str], *, sort: str) -> QuerySet[Offer]:
    """
    Return the book filtered by name = value and sorted by a column with `id` as the tie-breaker.

    Raises ValueError for a number that is none.
    """
    book = Offer.objects.all()
    for name, value in wishes.items():
        if name in ("provider", "region", "market", "accelerator", "country"):
            book = book.filter(**{f"{name}__iexact": value})
        elif name == "min_count":
            book = book.filter(accelerators__gte=int(value))
        elif name == "max_usd_per_gpu_hour":
            book = book.filter(usd_per_gpu_hour__lte=Decimal(value))
        elif name == "leasable":
            book = book.filter(leasable=value.lower() in ("1", "true", "yes"))
    return book.order_by(sort, "-id" if sort.startswith("-") else "id")


def rental_of(key: str) -> Rental | None:
    """Return the supplier's side of a lease key, or None when it is at a cloud."""
    return Rental.objects.filter(key=key).select_related("host").first()


def host_names(keys: Iterable[str]) -> dict[str, str]:
    """Return {lease key: host name} for those keys that are at suppliers' hosts."""
    return dict(Rental.objects.filter(key__in=list(keys)).values_list("key", "host__name"))


def hosts_of(supplier_id: int) -> QuerySet[Host]:
    """Return a supplier's hosts, oldest first."""
    return Host.objects.filter(supplier_id=supplier_id).order_by("id")
