"""
What was committed between two looks, exactly: nothing twice, nothing left out, and no waiting for others.

A transaction's number is given when it begins and its rows are seen when it ends, so numbers become visible out of
order. A reader therefore remembers not the last number but Postgres' own snapshot: which transactions had ended when it
looked. What is new is what a later snapshot sees and this one did not. A transaction that lasts for minutes holds up
only what it writes itself.
Source: https://www.postgresql.org/docs/current/functions-info.html (Transaction ID and Snapshot Information Functions).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.db import connection, models
from django.db.models import F, Q, Value

FORM = re.compile(r"(\d{1,19}):(\d{1,19}):((?:\d{1,19},)*\d{1,19})?", re.ASCII)
LONGEST = 4000  # Of its text; a transaction that runs takes up to twenty characters.


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All below `xmin` had ended, all from `xmax` on had not begun, `running` are those between that had not ended."""

    xmin: int
    xmax: int
    running: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Return it as Postgres writes it."""
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, self.running))}"

    def is_after(self, other: Snapshot) -> bool:
        """Whether it sees more than another one of the same database may."""
        return (self.xmin, self.xmax, -len(self.running)) > (other.xmin, other.xmax, -len(other.running))

    def below(self, transaction: int) -> Snapshot:
        """Return the part of it that ends before a transaction."""
        running = tuple(one for one in self.running if one < transaction)
        return Snapshot(min(self.xmin, transaction), min(self.xmax, transaction), running)


class _Sees(models.Func):
    """Whether the snapshot sees what this transaction wrote."""

    template = "pg_visible_in_snapshot(%(expressions)s::pg_snapshot)"
    arg_joiner = "::text::xid8, "
    output_field = models.BooleanField()


def read(text: str) -> Snapshot | None:
    """Read a snapshot back; None when it is none."""
    found = FORM.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        return None
    xmin, xmax = int(found[1]), int(found[2])
    running = tuple(map(int, found[3].split(","))) if found[3] else ()
    in_order = all(a < b for a, b in zip((xmin - 1, *running), (*running, xmax), strict=True))
    return Snapshot(xmin, xmax, running) if 0 < xmin <= xmax < 2**63 and in_order else None


def now() -> Snapshot:
    """Return what can be seen now."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_snapshot()::text")
        found = read(cursor.fetchone()[0])
    assert found is not None
    return found


def between(before: Snapshot, after: Snapshot, column: str) -> Q:
    """Return the condition for rows that only the later one sees; column: the transaction that wrote them."""
    unseen = Q(**{f"{column}__gte": before.xmin}) & ~Q(_Sees(F(column), Value(str(before))))
    return unseen & Q(**{f"{column}__lt": after.xmax}) & Q(_Sees(F(column), Value(str(after))))
