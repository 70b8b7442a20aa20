"""Spans and prices to amounts: one function, one rounding rule."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

MICRO = Decimal("0.000001")
HOUR = timedelta(hours=1)


def seconds_between(begin: datetime, end: datetime) -> Decimal:
    """Return end - begin in seconds, exact to the microsecond; 0 when end is not after begin."""
    span = end - begin
    micros = (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds
    return Decimal(max(micros, 0)) / 1_000_000


def usd_for(*, usd_per_hour: Decimal, seconds: Decimal) -> Decimal:
    """Return the price of so many seconds in USD, rounded half-even to six places."""
    return (usd_per_hour * seconds / 3600).quantize(MICRO, rounding=ROUND_HALF_EVEN)


def hours_of(begin: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Cut [begin, end) at full hours UTC. Amounts are rounded per piece, so a bill and the ledger agree."""
    while begin < end:
        cut = min(begin.replace(minute=0, second=0, microsecond=0) + HOUR, end)
        yield begin, cut
        begin = cut
