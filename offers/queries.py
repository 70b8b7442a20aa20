"""Questions about the offer book and the hosts. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db.models import Count, QuerySet

from offers import accounts, lessons, marketplace, search, shelf
from offers.matching.book import Book, Line, OpenOffer, hazard_line
from offers.matching.constraints import Scope
from offers.matching.survival import Floats
from offers.models import Host, Offer, Quarantined, Rental, Reservation, Source
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


def open_book(*, now: datetime) -> Book:
    """Return what is offered, at the customer's price, stale sources included: `scope` tells which are fresh."""
    return SHELF.book()


def losses_per_hour(offer_ids: Sequence[int]) -> Floats:
    """Return how often one machine of each offer is lost in an hour, by age: [offers, ages], equal ones as often."""
    rows = {row[0]: row for row in Offer.objects.filter(pk__in=offer_ids).values_list(*shelf.COLUMNS)}
    return lessons.LESSONS.rates_per_hour([hazard_line(_sold(rows[pk])) for pk in offer_ids])


def scope(*, owner_id: int, now: datetime, barred: Mapping[Line, str] | None = None) -> Scope:
    """
    Return what of the book a team may be quoted now.

    barred: {line: why} of what is left alone for a while (offers.refusals).
    """
    mine = marketplace.supplied().filter(supplier_id=owner_id)
    names = [f"host-{pk}" for pk in mine.values_list("pk", flat=True)]
    own = Offer.objects.filter(provider=marketplace.NAME, machine_type__in=names) if names else Offer.objects.none()
    return Scope(
        fresh=frozenset(Source.objects.filter(fresh_until__gt=now).values_list("provider", flat=True)),
        rents_at=frozenset({*accounts.usable_by(owner_id), marketplace.NAME}),
        own=frozenset(own.values_list("pk", flat=True)),
        barred=barred or {},
    )


def reserved(*, owner_id: int, now: datetime, held: Mapping[int, int] | None = None) -> list[OpenOffer]:
    """
    Return the team's reserved capacity that is not in use, at price 0.

    held: {offer: machines} that the team holds of what it reserved.
    """
    own = list(accounts.accounts_of(owner_id))  # Without its account, what it reserved there is out of reach.
    found = Reservation.objects.filter(owner_id=owner_id, until__gt=now, offer__provider__in=own).order_by("id")
    machines: dict[int, int] = {}
    for pk, count in found.values_list("offer_id", "machines"):
        machines[pk] = machines.get(pk, 0) + count
    rows = Offer.objects.filter(pk__in=machines).values_list(*shelf.COLUMNS)
    mine = (shelf.offer_of(row, lambda usd: Decimal(0)) for row in rows)
    return [
        replace(one, reserved=True, leasable=True, available=max(machines[one.id] - (held or {}).get(one.id, 0), 0))
        for one in mine
    ]


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
    rows = book.values_list(*shelf.COLUMNS)
    found = (_sold(row) for row in (rows.iterator(chunk_size=shelf.CHUNK) if limit is None else rows))
    return [one if rents_at is None or one.provider in rents_at else replace(one, leasable=False) for one in found]


def _sold(row: shelf.Row) -> OpenOffer:
    return shelf.offer_of(row, sell_price)


SHELF = shelf.Shelf(_sold, lessons.LESSONS.rates_per_hour, lessons.LESSONS.learnt_from)


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


def offers_by_freshness(*, now: datetime) -> dict[tuple[str, bool, bool], int]:
    """Return {(provider, leasable, fresh): how many} of what is in the book; stale offers are not quoted."""
    fresh = set(Source.objects.filter(fresh_until__gt=now).values_list("provider", flat=True))
    rows = Offer.objects.filter(gone_at=None).order_by().values_list("provider", "leasable")
    return {
        (provider, leasable, provider in fresh): count for provider, leasable, count in rows.annotate(count=Count("id"))
    }


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
