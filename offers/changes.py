"""
What changed in the book, in an order without gaps.

A transaction's number is given when it begins and its rows are seen when it ends, so numbers become visible out of
order. A reader therefore stops below the oldest transaction that still runs (pg_snapshot_xmin): what is below it has
ended for good.
Source: https://www.postgresql.org/docs/current/functions-info.html (Transaction ID and Snapshot Information Functions).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Q

from offers import pages, search

AT_ONCE = 500


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """How far a reader has come: everything up to this offer of this transaction."""

    version: int
    offer: int

    def __str__(self) -> str:
        return f"{self.version}-{self.offer}"


@dataclass(frozen=True, slots=True)
class Change:
    """An offer as it is after a change."""

    place: Place
    gone: bool
    text: str  # JSON.


def place(text: str) -> Place | None:
    """Read a place back; None when it is none."""
    version, _, offer = text.partition("-")
    if not (version.isdecimal() and offer.isdecimal() and len(version) < 19 and len(offer) < 19):
        return None
    return Place(int(version), int(offer))


def horizon() -> Place:
    """Return the place up to which everything can be read now."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        return Place(cursor.fetchone()[0], 0)


def since(after: Place, wishes: Mapping[str, str], *, now: datetime) -> tuple[list[Change], Place]:
    """
    Return at most AT_ONCE changes after a place, oldest first, and the place to go on from.

    An offer that no longer fits the wishes is not told; one that is no longer offered is. Raises SearchInvalid.
    """
    until = horizon()
    if after > until:  # Of another life of the database.
        return [], until
    book = search.matching({**wishes, "gone": "true"}, now=now)
    fresh = Q(version__gt=after.version) | Q(version=after.version, id__gt=after.offer)
    rows = book.filter(fresh, version__lt=until.version).order_by("version", "id")[:AT_ONCE]
    changes = [Change(Place(version, pk), gone, text) for text, version, pk, gone in pages.objects(rows, now=now)]
    return changes, changes[-1].place if len(changes) == AT_ONCE else until
