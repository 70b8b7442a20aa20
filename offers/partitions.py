"""The months of PriceSample: a partition each, made before the first row of the month is written."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any


def ensure(cursor: Any, since: datetime, until: datetime | None = None) -> None:
    """Make the partitions of every month of [since, until] that are missing; rows of a month that had none move in."""
    for month in months(since, until or since):
        if not _exists(cursor, month):
            _make(cursor, month)


def months(since: datetime, until: datetime) -> list[date]:
    """Return the first days of the months that [since, until] touches, in UTC."""
    month, last = since.astimezone(UTC).date().replace(day=1), until.astimezone(UTC).date()
    found = []
    while month <= last:
        found.append(month)
        month = _next(month)
    return found


def _exists(cursor: Any, month: date) -> bool:
    cursor.execute("SELECT to_regclass(%s)", [_name(month)])
    return cursor.fetchone()[0] is not None


def _make(cursor: Any, month: date) -> None:
    name, until = _name(month), _next(month)
    # Two workers may meet here at the first poll of a month.
    cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [name])
    if _exists(cursor, month):
        return
    cursor.execute(f"CREATE TABLE {name} (LIKE offers_pricesample INCLUDING ALL)")
    bounds = f"seen_at >= '{month} 00:00+00' AND seen_at < '{until} 00:00+00'"
    # Rows that came before their month had a partition; truncating what was copied keeps the table append-only.
    cursor.execute(f"INSERT INTO {name} SELECT * FROM offers_pricesample_other WHERE {bounds}")
    if cursor.rowcount:
        cursor.execute(
            f"CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM offers_pricesample_other WHERE NOT ({bounds})"
        )
        cursor.execute("TRUNCATE offers_pricesample_other")
        cursor.execute("INSERT INTO offers_pricesample_other SELECT * FROM kept")
        cursor.execute("DROP TABLE kept")
    cursor.execute(
        f"ALTER TABLE offers_pricesample ATTACH PARTITION {name}"
        f" FOR VALUES FROM ('{month} 00:00+00') TO ('{until} 00:00+00')"
    )


def _name(month: date) -> str:
    return f"offers_pricesample_{month:%Y_%m}"


def _next(month: date) -> date:
    return month.replace(year=month.year + 1, month=1) if month.month == 12 else month.replace(month=month.month + 1)
