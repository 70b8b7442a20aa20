"""What changed in the book since a reader looked; he may go on from the middle of it (offers.snapshots)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Q

from offers import pages, search, snapshots
from offers.snapshots import Snapshot

AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Place:
    """
    How far a reader has come: it has all that `seen` sees.

    until, version, offer: and of what `until` sees beyond that, all up to this offer of this transaction.
    """

    seen: Snapshot
    until: Snapshot | None = None
    version: int = 0
    offer: int = 0

    def __str__(self) -> str:
        """Return it as one word."""
        return f"{self.seen}" if self.until is None else f"{self.seen}~{self.until}~{self.version}-{self.offer}"


@dataclass(frozen=True, slots=True)
class Change:
    """An offer as it is after a change."""

    place: Place
    gone: bool
    text: str  # JSON.


def place(text: str) -> Place | None:
    """Read a place back; None when it is none."""
    first, *more = text.split("~")
    seen = snapshots.read(first)
    if seen is None or not more:
        return None if seen is None else Place(seen)
    until = snapshots.read(more[0])
    version, _, offer = more[-1].partition("-")
    if len(more) != 2 or until is None or not (version.isdecimal() and offer.isdecimal() and len(more[1]) < 39):
        return None
    return Place(seen, until, int(version), int(offer))


def here() -> Place:
    """Return the place of a reader that has all that can be seen now."""
    return Place(snapshots.now())


def any_since(seen: Snapshot) -> tuple[Snapshot, bool]:
    """Return what can be seen now, and whether an offer changed since: a question that costs next to nothing."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT pg_current_snapshot()::text, EXISTS (
                SELECT FROM offers_offer
                WHERE version >= %s AND NOT pg_visible_in_snapshot(version::text::xid8, %s::pg_snapshot)
            )
            """,
            [seen.xmin, str(seen)],
        )
        text, changed = cursor.fetchone()
    found = snapshots.read(text)
    assert found is not None
    return found, changed


def since(
    after: Place, wishes: Mapping[str, str], *, now: datetime, until: Snapshot | None = None
) -> tuple[list[Change], Place]:
    """
    Return changes after a place, in their order, and the place to go on from; where that has `until`, there are more.

    until: as far as that; None: as can be seen now. An offer that no longer fits the wishes is not told; one that is no
    longer offered is. Raises SearchInvalid.
    """
    book = search.matching({**wishes, "gone": "true"}, now=now)
    newest = until or snapshots.now()
    until = after.until or newest
    if after.seen.xmin > until.xmax:  # Of another life of the database.
        return [], here()
    if not until.is_after(after.seen):
        return [], after
    rows = book.filter(snapshots.between(after.seen, until, "version"))
    if after.until:
        rows = rows.filter(Q(version__gt=after.version) | Q(version=after.version, id__gt=after.offer))
    found = pages.objects(rows.order_by("version", "id")[:AT_ONCE], now=now)
    changes = [Change(Place(after.seen, until, version, pk), gone, text) for text, version, pk, gone in found]
    if len(changes) == AT_ONCE:
        return changes, changes[-1].place
    if after.until:
        more, place = since(Place(until), wishes, now=now, until=newest)
        return changes + more, place
    return changes, Place(until)
