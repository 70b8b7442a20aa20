"""
Price lists -> the offer book.

A page is compared with the book by the digests of its lines, so that a poll writes what changed and nothing else. A
price list that fails keeps its last page, marked stale, and is asked later and later.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from offers import merge
from offers.lines import Line, LineRefused, PriceImpossible, line_of
from offers.models import Quarantined, Source
from providers.base import Listing, PriceList, ProviderError

logger = logging.getLogger(__name__)
FRESH_POLLS = 3  # So many polls may fail to come about before a page is stale; one that fails makes it stale at once.
FRESH_AT_LEAST = timedelta(minutes=1)  # However quick its polls: the clock looks every few seconds.
IMPORTED_FRESH_FOR = timedelta(days=30)  # A page that was brought by hand: nobody knows when the next will come.
PAUSE_MAX = timedelta(hours=1)
UNKNOWN_MAX = 200


@dataclass(slots=True)
class Page:
    """What became of a page: lines = changed + unchanged; the others are skipped or in quarantine, with the reason."""

    lines: int = 0
    changed: int = 0
    gone: int = 0
    quarantined: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)


class PageEmpty(ProviderError):
    """A price list that had lines has none: more likely its fault than the end of its business."""


def poll(price_list: PriceList, *, now: datetime, every: timedelta, leasable: bool = False) -> Page | None:
    """Refresh one price list's lines; None when it did not answer, and then its last page is stale."""
    began = time.monotonic()
    source, _ = Source.objects.get_or_create(provider=price_list.name)
    try:
        page, lines = _read(price_list, now, leasable)
        if not lines and source.lines:
            raise PageEmpty(f"no line is left of {source.lines}")
    except ProviderError as error:
        _failed(source, error, now=now, every=every, took_s=time.monotonic() - began)
        return None
    with transaction.atomic():
        _merge(price_list.name, page, lines, now=now, complete=True)
        Source.objects.filter(pk=source.pk).update(
            seen_at=now,
            fresh_until=now + max(FRESH_POLLS * every, FRESH_AT_LEAST),
            tried_at=now,
            next_try_at=now + every,
            failures=0,
            error="",
            took_s=time.monotonic() - began,
            lines=page.lines,
            skipped=dict(page.skipped.most_common(UNKNOWN_MAX)),
            unknown=dict(page.unknown.most_common(UNKNOWN_MAX)),
        )
    if page.unknown:
        logger.warning("offers.unknown-accelerators provider=%s labels=%d", price_list.name, len(page.unknown))
    return page


def _read(price_list: PriceList, now: datetime, leasable: bool) -> tuple[Page, dict[tuple[str, ...], Line]]:
    page = Page()
    lines = _lines(price_list.listings(), price_list.name, page, now=now, leasable=leasable)
    page.skipped.update(price_list.skipped)
    return page, lines


def _failed(source: Source, error: ProviderError, *, now: datetime, every: timedelta, took_s: float) -> None:
    failures = source.failures + 1
    pause = min(every * 2 ** min(failures, 10), PAUSE_MAX) * random.uniform(0.8, 1.0)
    if error.retry_after_s is not None:
        pause = max(pause, timedelta(seconds=min(error.retry_after_s, 86_400)))
    logger.warning("offers.poll-failed provider=%s failures=%d error=%s", source.pk, failures, error)
    Source.objects.filter(pk=source.pk).update(
        fresh_until=now,
        tried_at=now,
        next_try_at=now + pause,
        failures=failures,
        error=str(error)[:400] or type(error).__name__,
        took_s=took_s,
    )


def record(
    listings: Iterable[Listing],
    *,
    provider: str,
    now: datetime,
    complete: bool = False,
    leasable: bool = False,
    fresh_for: timedelta = IMPORTED_FRESH_FOR,
) -> Page:
    """Take in lines of a provider; `complete` means that what is not among them is gone."""
    page = Page()
    lines = _lines(listings, provider, page, now=now, leasable=leasable)
    with transaction.atomic():
        _merge(provider, page, lines, now=now, complete=complete)
        news: dict[str, Any] = {"seen_at": now, "fresh_until": now + fresh_for, "failures": 0, "error": ""}
        if complete:
            news |= {"lines": page.lines, "skipped": dict(page.skipped), "unknown": dict(page.unknown)}
        Source.objects.update_or_create(provider=provider, defaults=news)
    return page


def _lines(
    listings: Iterable[Listing], provider: str, page: Page, *, now: datetime, leasable: bool
) -> dict[tuple[str, ...], Line]:
    """Return the lines by their key; count in `page` what is none."""
    lines: dict[tuple[str, ...], Line] = {}
    for listing in listings:
        if listing.provider != provider:
            page.skipped["of another provider"] += 1
            continue
        try:
            line = line_of(listing, leasable=leasable)
        except PriceImpossible as why:
            page.quarantined += 1
            _quarantine(listing, str(why), now)
            continue
        except LineRefused as why:
            page.skipped[str(why)] += 1
            continue
        if line.key in lines:
            page.skipped["the same line twice"] += 1
            continue
        if not line.accelerator.known:
            page.unknown[line.accelerator.name] += 1
        lines[line.key] = line
    page.lines = len(lines)
    return lines


def _quarantine(listing: Listing, why: str, now: datetime) -> None:
    limit = Decimal(10) ** 15  # What the column holds.
    price = min(max(listing.usd_per_hour, -limit), limit) if listing.usd_per_hour.is_finite() else Decimal(0)
    news = {"usd_per_hour": price, "why": why, "seen_at": now}
    Quarantined.objects.update_or_create(
        provider=listing.provider,
        region=listing.region,
        zone=listing.zone,
        machine_type=listing.machine_type,
        market=str(listing.market),
        term=listing.term,
        defaults=news,
        create_defaults={**news, "since": now},
    )


def _merge(provider: str, page: Page, lines: dict[tuple[str, ...], Line], *, now: datetime, complete: bool) -> None:
    with connection.cursor() as cursor:
        merge.one_at_a_time(cursor, provider)
        known = merge.known_digests(cursor, provider)
        changed = [line for line in lines.values() if line.digest not in known]
        if changed:
            page.quarantined += merge.write(cursor, changed, now=now)
        page.changed = len(changed)
        if complete:
            page.gone = merge.take_out(cursor, provider, known - {line.digest for line in lines.values()}, now=now)
            merge.let_out_of_quarantine(cursor, provider, now=now)
