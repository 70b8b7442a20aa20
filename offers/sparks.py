"""What lines cost at a few instants of the last days: small charts, many at once, in one question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

POINTS = 24
OFFERS_MAX = 200


@dataclass(frozen=True, slots=True)
class Sparks:
    """at: the instants, the last is now; usd: {offer: USD per GPU-hour at each, None while it was not offered}."""

    at: list[datetime]
    usd: dict[int, list[str | None]]


def sparks(offers: Sequence[int], *, days: float, now: datetime) -> Sparks:
    """Return the prices in force at POINTS instants, evenly over the last `days`; an unknown offer is left out."""
    step = timedelta(days=days) / (POINTS - 1)
    at = [now - step * back for back in range(POINTS - 1, -1, -1)]
    with connection.cursor() as cursor:
        # Twenty-four look-ups of one row each: a spot line may have thousands of samples in a week.
        cursor.execute(
            """
            SELECT o.id, (
                SELECT array_agg(round(s.usd_per_hour / o.accelerators, 6)::text ORDER BY i.at)
                FROM unnest(%(at)s::timestamptz[]) AS i (at)
                LEFT JOIN LATERAL (
                    SELECT p.usd_per_hour FROM offers_pricesample p
                    WHERE p.offer_id = o.id AND p.seen_at <= i.at ORDER BY p.seen_at DESC LIMIT 1
                ) s ON true
            )
            FROM offers_offer o WHERE o.id = ANY(%(offers)s::bigint[])
            """,
            {"at": at, "offers": list(offers)},
        )
        return Sparks(at, dict(cursor.fetchall()))
