"""What of an offer was free when, and what it cost: the past of the book on a grid of ticks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.db.models import Q
from numpy.typing import NDArray

from offers.models import PriceSample

MANY = 64  # Machines that a provider who names no number is taken to have.


@dataclass(frozen=True, slots=True)
class Past:
    """Ticks before now, oldest first; before an offer was first seen it had nothing."""

    machines: NDArray[np.int64]  # [offers, ticks]: free at the beginning of the tick.
    usd_per_hour: NDArray[np.float64]  # [offers, ticks]: one machine's, as the provider charges it; nan: not offered.
    known: NDArray[np.bool_]  # [offers, ticks]: False before the offer was first seen.


def past(offer_ids: Sequence[int], *, now: datetime, tick_s: float, ticks: int) -> Past:
    """Return what the book knew at each of so many ticks before now, one row an offer."""
    starts = [now - timedelta(seconds=tick_s * (ticks - i)) for i in range(ticks)]
    at = np.array([start.timestamp() for start in starts])
    machines = np.zeros((len(offer_ids), ticks), dtype=np.int64)
    usd = np.full((len(offer_ids), ticks), np.nan)
    known = np.zeros((len(offer_ids), ticks), dtype=np.bool_)
    samples = _samples(offer_ids, since=starts[0] if starts else now, until=now)
    for row, pk in enumerate(offer_ids):
        seen = samples.get(pk, [])
        if not seen:
            continue
        last = np.searchsorted(np.array([one[0] for one in seen]), at, side="right") - 1
        known[row] = last >= 0
        machines[row, known[row]] = np.array([one[1] for one in seen])[last[known[row]]]
        usd[row, known[row]] = np.array([one[2] for one in seen])[last[known[row]]]
    return Past(machines, usd, known)


def up_s(offer_ids: Sequence[int], *, now: datetime, tick_s: float, ticks: int) -> list[float]:
    """Return for how many seconds each offer has been there without a break, as far back as so many ticks."""
    gone = past(offer_ids, now=now, tick_s=tick_s, ticks=ticks).machines[:, ::-1] <= 0
    since = np.where(gone.any(axis=1), gone.argmax(axis=1), ticks)
    return [float(count) * tick_s for count in since]


def _samples(ids: Sequence[int], *, since: datetime, until: datetime) -> dict[int, list[tuple[float, int, float]]]:
    """Return {offer: [(time, machines, price)]} of a span, with the last one before it, oldest first."""
    before = PriceSample.objects.filter(offer__in=ids, seen_at__lt=since).order_by("offer_id", "-seen_at")
    columns = ("offer_id", "seen_at", "usd_per_hour", "available", "stock")
    rows = [*before.distinct("offer_id").values_list(*columns)]
    within = PriceSample.objects.filter(Q(seen_at__gte=since) & Q(seen_at__lt=until), offer__in=ids)
    rows += within.order_by("offer_id", "seen_at").values_list(*columns)
    found: dict[int, list[tuple[float, int, float]]] = defaultdict(list)
    for pk, seen_at, usd, available, stock in rows:
        offered = usd is not None and stock != 0
        free = 0 if not offered else MANY if available is None else available
        found[pk].append((seen_at.timestamp(), free, float(usd) if usd is not None else np.nan))
    return found
