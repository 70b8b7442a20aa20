"""
What prices were: charts from buckets, and the past as providers publish it.

A bucket holds the lowest, the median and the highest price per GPU-hour that was in force during an hour or a day: a
price counts from its sample on until the line's next one, and each that was true in a bucket counts once in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction

from offers import gpus, partitions
from offers.lines import KEY, UNFIT
from offers.models import PriceBucket
from providers.base import PricePoint, Provider

WIDTHS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
HOURS_FOR = timedelta(days=8)  # A chart over a longer time is drawn in days.
FINE_FOR = timedelta(days=32)  # So long hours are kept; days are kept for ever.
BY = ("", "provider", "region", "market")
POINTS_AT_ONCE = 50_000
LOCK_SPACE = 0x6F68  # "oh": keeps this advisory lock apart from others'.


class HistoryInvalid(Exception):
    """The chart that was asked for cannot be drawn; the argument says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What to draw: lines for a GPU (by name or family) over [since, until), one for each value of `by`."""

    gpu: str
    since: datetime
    until: datetime
    provider: str = ""
    region: str = ""
    market: str = ""
    by: str = ""
    width: str = ""  # "hour" or "day"; empty: whichever suits the time.


@dataclass(slots=True)
class Kept:
    """What became of published prices: read = kept + known + no_line + unfit."""

    read: int = 0
    kept: int = 0
    known: int = 0
    no_line: int = 0  # The book has no line of that name: nobody knows which chip it would be.
    unfit: int = 0


def chart(wish: Chart) -> list[dict[str, Any]]:
    """
    Return the lines of a chart: {gpu, provider, region, market, width, points}, points {at, min, median, max, prices}.

    USD per GPU-hour; an empty provider, region or market means all together. Raises HistoryInvalid.
    """
    if wish.by not in BY:
        raise HistoryInvalid(f"by: {wish.by!r} is none of {', '.join(BY[1:])}")
    if wish.until <= wish.since:
        raise HistoryInvalid("the time asked for is empty")
    width = wish.width or ("hour" if wish.until - wish.since <= HOURS_FOR else "day")
    if width not in WIDTHS:
        raise HistoryInvalid(f"width: {width!r} is none of {', '.join(WIDTHS)}")
    rows = PriceBucket.objects.filter(
        width=width,
        accelerator__in=gpus.meant_by(wish.gpu),
        at__gte=_floor(wish.since, width),
        at__lt=wish.until,
    )
    for name in ("provider", "region", "market"):
        wanted = getattr(wish, name)
        if wanted:
            rows = rows.filter(**{name: wanted})
        elif wish.by != name and not (name == "provider" and (wish.region or wish.by == "region")):
            rows = rows.filter(**{name: ""})
        else:
            rows = rows.exclude(**{name: ""})
    columns = ("accelerator", "provider", "region", "market", "at", "min_usd", "median_usd", "max_usd", "prices")
    lines: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows.order_by(*columns[:5]).values_list(*columns):
        point = {"at": row[4], "min": row[5], "median": row[6], "max": row[7], "prices": row[8]}
        lines.setdefault(row[:4], []).append(point)
    names = ("gpu", "provider", "region", "market")
    return [{**dict(zip(names, key, strict=True)), "width": width, "points": points} for key, points in lines.items()]


def draw_newest(*, now: datetime) -> None:
    """Draw the current hour and day anew, and those before them while late news may still change them."""
    for width, span in WIDTHS.items():
        for at in {_floor(now - span / 12, width), _floor(now, width)}:
            draw(width, at)
    PriceBucket.objects.filter(width="hour", at__lt=now - FINE_FOR).delete()


def draw_all(*, since: datetime, until: datetime) -> None:
    """Draw every day of [since, until] anew, and every hour of it that is still kept."""
    for width, span in WIDTHS.items():
        at = _floor(since if width == "day" else max(since, until - FINE_FOR), width)
        while at <= until:
            draw(width, at)
            at += span


@transaction.atomic
def draw(width: str, at: datetime) -> None:
    """Compute one bucket for every GPU, from the samples."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, 0)", [LOCK_SPACE])  # The clock and an import may meet here.
        cursor.execute("DELETE FROM offers_pricebucket WHERE width = %s AND at = %s", [width, at])
        cursor.execute(
            """
            WITH in_force AS (
                SELECT o.accelerator, o.provider, o.region, o.market, before.usd_per_hour / o.accelerators AS usd
                FROM offers_offer o CROSS JOIN LATERAL (
                    SELECT s.usd_per_hour FROM offers_pricesample s
                    WHERE s.offer_id = o.id AND s.seen_at < %(at)s ORDER BY s.seen_at DESC LIMIT 1
                ) before
                WHERE before.usd_per_hour IS NOT NULL
                UNION ALL
                SELECT o.accelerator, o.provider, o.region, o.market, s.usd_per_hour / o.accelerators
                FROM offers_pricesample s JOIN offers_offer o ON o.id = s.offer_id
                WHERE s.seen_at >= %(at)s AND s.seen_at < %(until)s AND s.usd_per_hour IS NOT NULL
            )
            INSERT INTO offers_pricebucket
                (width, at, accelerator, provider, region, market, min_usd, median_usd, max_usd, prices)
            SELECT %(width)s, %(at)s, accelerator, coalesce(provider, ''), coalesce(region, ''), coalesce(market, ''),
                round(min(usd), 6), round(percentile_disc(0.5) WITHIN GROUP (ORDER BY usd), 6), round(max(usd), 6),
                count(*)
            FROM in_force
            GROUP BY GROUPING SETS (
                (accelerator), (accelerator, market), (accelerator, provider), (accelerator, provider, market),
                (accelerator, provider, region), (accelerator, provider, region, market)
            )
            """,
            {"width": width, "at": at, "until": at + WIDTHS[width]},
        )


def import_published(provider: Provider, *, since: datetime, until: datetime) -> Kept:
    """Keep the prices of [since, until) that a provider publishes, and draw those days anew. Raises ProviderError."""
    kept = Kept()
    if not provider.keeps_price_history:
        return kept
    for points in _in_parts(provider.price_history(since=since, until=until)):
        _keep(points, kept)
    if kept.kept:
        draw_all(since=since, until=until)
    return kept


def _in_parts(points: Iterable[PricePoint]) -> Iterator[list[PricePoint]]:
    part: list[PricePoint] = []
    for point in points:
        part.append(point)
        if len(part) == POINTS_AT_ONCE:
            yield part
            part = []
    if part:
        yield part


@transaction.atomic
def _keep(points: list[PricePoint], kept: Kept) -> None:
    kept.read += len(points)
    names = ", ".join(KEY)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS offers_past")
        cursor.execute(
            f"CREATE TEMP TABLE offers_past ON COMMIT DROP AS"
            f" SELECT {names}, usd_per_hour, changed_at AS seen_at FROM offers_offer WITH NO DATA"
        )
        fit = [point for point in points if _is_fit(point)]
        kept.unfit += len(points) - len(fit)
        with cursor.copy(f"COPY offers_past ({names}, usd_per_hour, seen_at) FROM STDIN") as copy:
            for point in fit:
                copy.write_row(
                    (
                        *(point.provider, point.region, point.zone, point.machine_type, str(point.market), ""),
                        point.usd_per_hour,
                        point.at,
                    )
                )
        if fit:
            partitions.ensure(cursor, min(point.at for point in fit), max(point.at for point in fit))
        cursor.execute(f"SELECT count(*) FROM offers_past p WHERE NOT EXISTS (SELECT FROM offers_offer o WHERE {SAME})")
        no_line = cursor.fetchone()[0]
        cursor.execute(
            f"""
            INSERT INTO offers_pricesample (offer_id, seen_at, usd_per_hour)
            SELECT o.id, p.seen_at, p.usd_per_hour FROM offers_past p JOIN offers_offer o ON {SAME}
            ON CONFLICT DO NOTHING
            """
        )
        kept.no_line += no_line
        kept.kept += cursor.rowcount
        kept.known += len(fit) - no_line - cursor.rowcount


SAME = " AND ".join(f"o.{name} = p.{name}" for name in KEY)


def _is_fit(point: PricePoint) -> bool:
    names = (point.provider, point.region, point.zone, point.machine_type)
    return point.usd_per_hour.is_finite() and 0 < point.usd_per_hour < 10**11 and not any(map(UNFIT.search, names))


def _floor(at: datetime, width: str) -> datetime:
    utc = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return utc if width == "hour" else utc.replace(hour=0)
