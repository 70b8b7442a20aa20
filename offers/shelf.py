"""
The open book in this process's memory, as columns, kept current by reading news.

Rows are read once; from then on only those that a transaction wrote which had not ended for good when the shelf last
looked (offers.changes tells how that is known). What is not settled yet is read again each time, so that a process sees
its own writes, and forgets them when they were rolled back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from django.db import connection
from django.db.models import Q

from offers.matching.book import PRIOR, Book, OpenOffer, Rates, book_of
from offers.models import STOCK, Offer

COLUMNS = (
    "id", "version", "gone_at", "provider", "region", "country", "market", "accelerator", "accelerators", "memory_gib",
    "usd_per_hour", "leasable", "available", "stock", "zone", "machine_type", "interconnect", "interruptions_per_hour",
    "boot_s", "egress_usd_per_gib", "gco2_per_kwh", "placement_score", "reliability", "internet_mbit_per_s",
)  # fmt: skip
GONE_AT = COLUMNS.index("gone_at")
CHUNK = 5000
Row = tuple[Any, ...]  # COLUMNS.
Open = Callable[[Row], OpenOffer]
Marks = Mapping[tuple[str, str], Any]


class Shelf:
    """One book for the threads of a process. `rates` tells how often machines are lost, when a row is taken in."""

    def __init__(self, open_offer: Open, rates: Rates = PRIOR, learnt_from: Callable[[], Marks] = dict) -> None:
        """
        Begin without a book.

        open_offer: makes an offer at the customer's price of a row. learnt_from: {(provider, market): anything}; where
        it tells something else than before, the rows there are rated anew.
        """
        self.open_offer, self.rates, self.learnt_from = open_offer, rates, learnt_from
        self._lock = threading.Lock()
        self._book: Book | None = None
        self._file = -1  # The table's file: another one when it was emptied.
        self._settled = 0  # Below this transaction, all that was written is in the book.
        self._unsettled: dict[int, Row] = {}
        self._rated_from: Marks = {}

    def book(self) -> Book:
        """Return the open offers as they are now, at the customer's price."""
        with self._lock:
            file, horizon = _state()
            if self._book is None or file != self._file or horizon < self._settled:
                self._load(horizon)
            else:
                self._read_news()
                self._rate_anew()
            self._file, self._settled = file, horizon
            assert self._book is not None
            return self._book

    def forget(self) -> None:
        """Read everything again when next asked: prices or rates mean something else now."""
        with self._lock:
            self._book = None

    def _load(self, horizon: int) -> None:
        self._unsettled = {row[0]: row for row in _rows(Q(version__gte=horizon))}
        self._rated_from = self.learnt_from()
        rows = Offer.objects.filter(gone_at=None).values_list(*COLUMNS).iterator(chunk_size=CHUNK)
        self._book = book_of(map(self.open_offer, rows), rates=self.rates)

    def _read_news(self) -> None:
        assert self._book is not None
        seen = {row[0]: row for row in _rows(Q(version__gte=self._settled))}
        lost = [pk for pk in self._unsettled if pk not in seen]
        back = {row[0]: row for row in _rows(Q(pk__in=lost))} if lost else {}
        news = [row for pk, row in (seen | back).items() if self._unsettled.get(pk) != row]
        self._unsettled = seen
        open_now = [self.open_offer(row) for row in news if row[GONE_AT] is None]
        gone = [row[0] for row in news if row[GONE_AT] is not None] + [pk for pk in lost if pk not in back]
        if open_now or gone:
            self._book = self._book.changed(open_now, gone=gone, rates=self.rates)

    def _rate_anew(self) -> None:
        """Take in the rows again of which something was learnt."""
        assert self._book is not None
        marks = self.learnt_from()
        if marks == self._rated_from:
            return
        changed = [place for place in {*marks, *self._rated_from} if marks.get(place) != self._rated_from.get(place)]
        rows = chain.from_iterable(_rows(Q(gone_at=None, provider=who, market=market)) for who, market in changed)
        self._book = self._book.changed(map(self.open_offer, rows), rates=self.rates)
        self._rated_from = marks


def offer_of(row: Sequence[Any], sell_price: Callable[[Any], Any]) -> OpenOffer:
    """Return a row of COLUMNS as an offer at the price that sell_price makes of the provider's."""
    named = dict(zip(COLUMNS, row, strict=True))
    stock, egress = named.pop("stock"), named.pop("egress_usd_per_gib")
    del named["version"], named["gone_at"]
    named["usd_per_hour"] = sell_price(named["usd_per_hour"])
    if stock == 0:
        named["available"] = 0
    return OpenOffer(
        **named,
        stock=None if stock is None else STOCK[stock],
        egress_usd_per_gib=None if egress is None else float(egress),
    )


def _state() -> tuple[int, int]:
    """Return the table's file and the oldest transaction that still runs."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_relation_filenode(%s::regclass)::bigint, pg_snapshot_xmin(pg_current_snapshot())::text::bigint",
            [Offer._meta.db_table],
        )
        file, horizon = cursor.fetchone()
    return int(file), int(horizon)


def _rows(which: Q) -> Iterable[Row]:
    return Offer.objects.filter(which).values_list(*COLUMNS)
