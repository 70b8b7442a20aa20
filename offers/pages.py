"""Pages of the book as JSON, made by Postgres: what is shown often is not turned into objects and back."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.core.exceptions import EmptyResultSet, ValidationError
from django.db import OperationalError, connection, transaction
from django.db.models import F, Q, QuerySet

from offers import search
from offers.models import Offer

COUNT_MS = 50
# Money as text with six places; times in RFC 3339; `stale` and `seen_at` are those of the page that it is on.
OBJECT = """json_build_object(
    'id', t.id, 'provider', t.provider, 'region', t.region, 'zone', t.zone, 'country', t.country,
    'latitude', t.latitude, 'longitude', t.longitude, 'instance_type', t.machine_type, 'market', t.market,
    'term', t.term, 'accelerator', t.accelerator, 'vendor', t.vendor, 'accelerators', t.accelerators,
    'memory_gib', t.memory_gib, 'vcpus', t.vcpus, 'ram_gib', t.ram_gib, 'disk_gib', t.disk_gib,
    'usd_per_hour', t.usd_per_hour::text, 'usd_per_gpu_hour', t.usd_per_gpu_hour::text, 'leasable', t.leasable,
    'available', t.available, 'stock', (ARRAY['none', 'low', 'medium', 'high'])[t.stock + 1],
    'interruptions_per_hour', t.interruptions_per_hour, 'placement_score', t.placement_score,
    'reliability', t.reliability, 'egress_usd_per_gib', t.egress_usd_per_gib::text,
    'internet_mbit_per_s', t.internet_mbit_per_s, 'interconnect', t.interconnect, 'boot_s', t.boot_s,
    'gco2_per_kwh', t.gco2_per_kwh, 'carbon_source', t.carbon_source, 'ends_at', t.ends_at,
    'changed_at', t.changed_at, 'gone_at', t.gone_at,
    'seen_at', (SELECT s.seen_at FROM offers_source s WHERE s.provider = t.provider),
    'stale', NOT EXISTS (SELECT FROM offers_source s WHERE s.provider = t.provider AND s.fresh_until > %s)
)::text"""


def page(
    book: QuerySet[Offer], *, sort: str, after: tuple[Any, int] | None, limit: int, now: datetime
) -> tuple[str, tuple[Any, int] | None]:
    """
    Return one page as the text of a JSON array, and where the next begins (None: nowhere).

    after: (value of the sorted column, id) of the last offer of the page before. Raises SearchInvalid.
    """
    column = sort.lstrip("-")
    rows = search.ordered(book, sort)
    if after is not None:
        try:
            rows = rows.filter(_beyond(column, after, down=sort.startswith("-")))
        except (ValueError, TypeError, ArithmeticError, ValidationError):
            raise search.SearchInvalid(
                "cursor: not one of this order", "take it from `next` of the page before"
            ) from None
    found = _texts(rows[: limit + 1], now, column)
    shown = [text for text, _, _ in found[:limit]]
    last = found[limit - 1] if len(found) > limit else None
    return f"[{','.join(shown)}]", (last[1], last[2]) if last else None


def count(book: QuerySet[Offer]) -> tuple[int, bool]:
    """Return how many offers there are and whether that is exact: what takes too long to count is estimated."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = %s", [COUNT_MS])
            found = book.count()
            cursor.execute("SET LOCAL statement_timeout = DEFAULT")
            return found, True
    except OperationalError:
        plan = json.loads(book.order_by().values("id").explain(format="json"))
        return int(plan[0]["Plan"]["Plan Rows"]), False


def objects(rows: QuerySet[Offer], *, now: datetime) -> list[tuple[str, int, int, bool]]:
    """Return (JSON text of the offer, its version, its id, whether it is gone) for each, in the order of the rows."""
    return _fetch(f"{OBJECT}, t.version, t.id, t.gone_at IS NOT NULL", rows, now)


def _beyond(column: str, after: tuple[Any, int], *, down: bool) -> Q:
    value, pk = after
    later = Q(pk__lt=pk) if down else Q(pk__gt=pk)
    if column == "id":
        return later
    if value is None:  # We are among those that nobody knows, which come last.
        return Q(**{f"{column}__isnull": True}) & later
    beyond = Q(**{f"{column}__{'lt' if down else 'gt'}": value}) | (Q(**{column: value}) & later)
    if column not in search.NEVER_NULL:
        return beyond | Q(**{f"{column}__isnull": True})
    return Q(**{f"{column}__{'lte' if down else 'gte'}": value}) & beyond  # So that an index begins there.


def _texts(rows: QuerySet[Offer], now: datetime, column: str) -> list[tuple[str, Any, int]]:
    # A value that the cursor brings back must compare as it did here: numbers as text lose nothing.
    return _fetch(f"{OBJECT}, t.sorted_by::text, t.id", rows.annotate(sorted_by=F(column)), now)


def _fetch(columns: str, rows: QuerySet[Offer], now: datetime) -> list[Any]:
    try:
        sql, params = rows.query.sql_with_params()
    except EmptyResultSet:  # Django sees that nothing can fit.
        return []
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM ({sql}) t", [now, *params])
        return list(cursor.fetchall())
