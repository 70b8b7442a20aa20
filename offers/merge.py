"""
The page of a provider, merged into the book in SQL: COPY into a temporary table, then one statement for each step.

Source: https://www.postgresql.org/docs/current/sql-copy.html (text format).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any
from zlib import crc32

from offers import partitions
from offers.lines import COLUMNS, KEY, Line

NAMES = ", ".join(COLUMNS)
SAME_LINE = " AND ".join(f"o.{name} = p.{name}" for name in KEY)
NEWS = ", ".join(f"{name} = EXCLUDED.{name}" for name in (*COLUMNS[len(KEY) :], "changed_at", "digest"))
THIS_TRANSACTION = "pg_current_xact_id()::text::bigint"
LOCK_SPACE = 0x6F66  # "of": keeps these advisory locks apart from others'.
ABSURD_FACTOR = 10  # From its own median.
MEDIAN_OVER, QUARANTINE_MAX = "90 days", "24 hours"  # A price that stays for a day is what they really charge.
COPY_LINES = 1000


def one_at_a_time(cursor: Any, provider: str) -> None:
    """Wait until no other transaction merges a page of this provider."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LOCK_SPACE, crc32(provider.encode()) - 2**31])


def known_digests(cursor: Any, provider: str) -> set[int]:
    """Return the digests of the provider's lines that are in the book now."""
    cursor.execute("SELECT digest FROM offers_offer WHERE provider = %s AND gone_at IS NULL", [provider])
    return {digest for (digest,) in cursor}


def write(cursor: Any, lines: Iterable[Line], *, now: datetime) -> int:
    """Bring new and changed lines into the book and remember their prices; return how many went into quarantine."""
    cursor.execute("DROP TABLE IF EXISTS offers_page")
    cursor.execute(
        f"CREATE TEMP TABLE offers_page ON COMMIT DROP AS SELECT {NAMES}, digest FROM offers_offer WITH NO DATA"
    )
    with cursor.copy(f"COPY offers_page ({NAMES}, digest) FROM STDIN") as copy:
        batch: list[str] = []
        for line in lines:
            batch.append(f"{line.text}\t{line.digest}\n")
            if len(batch) == COPY_LINES:
                copy.write("".join(batch))
                batch.clear()
        copy.write("".join(batch))
    quarantined = _quarantine_absurd(cursor, now)
    partitions.ensure(cursor, now)
    _upsert(cursor, now)
    return quarantined


def _quarantine_absurd(cursor: Any, now: datetime) -> int:
    """Take out of the page what costs ten times its own median or a tenth, unless it has done so for a day."""
    cursor.execute(
        f"""
        WITH own AS (
            SELECT p.ctid AS line, p.usd_per_hour, {", ".join(f"p.{name}" for name in KEY)}, m.median
            FROM offers_page p JOIN offers_offer o ON {SAME_LINE}
            CROSS JOIN LATERAL (
                SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY s.usd_per_hour) AS median
                FROM offers_pricesample s
                WHERE s.offer_id = o.id AND s.seen_at > %(now)s::timestamptz - interval '{MEDIAN_OVER}'
            ) m
        ), absurd AS (
            SELECT own.* FROM own LEFT JOIN offers_quarantined o USING ({", ".join(KEY)})
            WHERE (own.usd_per_hour > own.median * {ABSURD_FACTOR} OR own.usd_per_hour * {ABSURD_FACTOR} < own.median)
            AND (o.since IS NULL OR o.since > %(now)s::timestamptz - interval '{QUARANTINE_MAX}')
        ), kept_out AS (
            INSERT INTO offers_quarantined ({", ".join(KEY)}, usd_per_hour, why, since, seen_at)
            SELECT {", ".join(KEY)}, usd_per_hour,
                'its own median is ' || round(median::numeric, 6) || ' USD an hour', %(now)s, %(now)s
            FROM absurd
            ON CONFLICT ({", ".join(KEY)}) DO UPDATE
            SET usd_per_hour = EXCLUDED.usd_per_hour, why = EXCLUDED.why, seen_at = EXCLUDED.seen_at
        )
        DELETE FROM offers_page WHERE ctid IN (SELECT line FROM absurd)
        """,
        {"now": now},
    )
    return int(cursor.rowcount)


def _upsert(cursor: Any, now: datetime) -> None:
    # What was before goes to a table of its own: the planner takes a join over many columns for a single row, and would
    # compare every written line with every line from before.
    cursor.execute("DROP TABLE IF EXISTS offers_before")
    cursor.execute(
        f"""
        CREATE TEMP TABLE offers_before ON COMMIT DROP AS
        SELECT o.id, o.usd_per_hour, o.available, o.stock, o.gone_at
        FROM offers_page p JOIN offers_offer o ON {SAME_LINE}
        """
    )
    cursor.execute(
        f"""
        WITH written AS (
            INSERT INTO offers_offer ({NAMES}, digest, changed_at)
            SELECT {NAMES}, digest, %(now)s FROM offers_page
            ON CONFLICT ({", ".join(KEY)}) DO UPDATE SET {NEWS}, gone_at = NULL, version = {THIS_TRANSACTION}
            RETURNING id, usd_per_hour, available, stock
        )
        INSERT INTO offers_pricesample (offer_id, seen_at, usd_per_hour, available, stock)
        SELECT w.id, %(now)s, w.usd_per_hour, w.available, w.stock
        FROM written w LEFT JOIN offers_before b USING (id)
        WHERE b.id IS NULL OR b.gone_at IS NOT NULL
            OR (b.usd_per_hour, b.available, b.stock) IS DISTINCT FROM (w.usd_per_hour, w.available, w.stock)
        ON CONFLICT DO NOTHING
        """,
        {"now": now},
    )


def take_out(cursor: Any, provider: str, digests: Collection[int], *, now: datetime) -> int:
    """Mark the lines that are no longer on the page as gone, and remember it; return how many."""
    if not digests:
        return 0
    cursor.execute(
        f"""
        WITH gone AS (
            UPDATE offers_offer SET gone_at = %(now)s, changed_at = %(now)s, version = {THIS_TRANSACTION}
            WHERE provider = %(provider)s AND gone_at IS NULL AND digest = ANY(%(digests)s)
            RETURNING id
        )
        INSERT INTO offers_pricesample (offer_id, seen_at) SELECT id, %(now)s FROM gone ON CONFLICT DO NOTHING
        """,
        {"now": now, "provider": provider, "digests": list(digests)},
    )
    return int(cursor.rowcount)


def let_out_of_quarantine(cursor: Any, provider: str, *, now: datetime) -> None:
    """Forget the quarantined lines of a provider that its page no longer has, or has at a price that can be."""
    cursor.execute("DELETE FROM offers_quarantined WHERE provider = %s AND seen_at < %s", [provider, now])
