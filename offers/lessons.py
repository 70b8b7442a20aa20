"""What became of machines, ours and those of imported traces, and the hazards that are learnt from it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from django.db.models import Count, Max
from django.utils import timezone

from offers import availability
from offers.matching import hazard
from offers.matching.hazard_prior import Line
from offers.matching.survival import Floats
from offers.models import Offer, Spell

LEASE = "lease"
KEPT_FOR = timedelta(days=180)  # What is older says little about today's market.
LEARNT_FOR = timedelta(minutes=10)
TICK_S, LOOKED_BACK = 600.0, 288  # How long capacity was there before we took it: two days back, in ten minutes.


Marks = Mapping[tuple[str, str], tuple[int, int]]  # (spells, last spell) by (provider, market).


class Lessons:
    """The hazards of one process. Every LEARNT_FOR it looks for spells that came or grew old, and learns anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hazards: hazard.Hazards | None = None
        self._at: datetime | None = None
        self._learnt_from: Marks = {}

    def rates_per_hour(self, lines: Sequence[Line]) -> Floats:
        """Return losses per hour of each line by age: [lines, ages]."""
        with self._lock:
            return self._learnt().rates_per_hour(lines)

    def learnt_from(self) -> Marks:
        """Return what marks the spells behind the rates; where a mark is another, so are the rates."""
        with self._lock:
            self._learnt()
            return self._learnt_from

    def forget(self) -> None:
        """Look again when next asked."""
        with self._lock:
            self._at = None

    def _learnt(self) -> hazard.Hazards:
        now = timezone.now()
        if self._hazards is None or self._at is None or not timedelta(0) <= now - self._at < LEARNT_FOR:
            self._at, marks = now, _marks(now)
            if self._hazards is None or marks != self._learnt_from:
                self._hazards, self._learnt_from = hazard.learn(spells(now=now)), marks
        return self._hazards


LESSONS = Lessons()


def _marks(now: datetime) -> Marks:
    kept = Spell.objects.filter(at__gt=now - KEPT_FOR).order_by()
    marked = kept.values_list("provider", "market").annotate(Count("id"), Max("id"))
    return {(provider, market): (count, last) for provider, market, count, last in marked}


def spells(*, now: datetime) -> Iterable[hazard.Spell]:
    """Return what is remembered."""
    columns = (
        "provider",
        "region",
        "zone",
        "machine_type",
        "accelerator",
        "market",
        "began_age_s",
        "ended_age_s",
        "lost",
    )
    for *key, accelerator, market, began, ended, lost in Spell.objects.filter(at__gt=now - KEPT_FOR).values_list(
        *columns
    ):
        yield hazard.Spell(
            key=tuple(key), accelerator=accelerator, market=market, began_age_s=began, ended_age_s=ended, lost=lost
        )  # fmt: skip


def note_lease(*, offer: Offer, opened_at: datetime, closed_at: datetime, lost: bool) -> None:
    """Remember how long a machine of ours lasted. lost: it was taken away, and not given back."""
    before = availability.up_s([offer.pk], now=opened_at, tick_s=TICK_S, ticks=LOOKED_BACK)[0]
    Spell.objects.create(
        source=LEASE,
        provider=offer.provider,
        region=offer.region,
        zone=offer.zone,
        machine_type=offer.machine_type,
        accelerator=offer.accelerator,
        market=offer.market,
        began_age_s=before,
        ended_age_s=before + max((closed_at - opened_at).total_seconds(), 0.0),
        lost=lost,
        at=closed_at,
    )


def import_trace(
    *, source: str, counts: Sequence[Sequence[int]], tick_s: float, nodes: int, lines: Sequence[Line], at: datetime
) -> int:
    """
    Remember a trace of what zones granted; asked twice it replaces itself. Return how many spells it holds.

    counts: [zones, ticks]; a zone is up while it grants `nodes` machines; lines: a zone each; at: when the trace ended.
    """
    import numpy as np

    found = hazard.spells_of_counts(np.asarray(counts), nodes=nodes, tick_s=tick_s, lines=lines)
    Spell.objects.filter(source=source).delete()
    Spell.objects.bulk_create(
        Spell(
            source=source,
            **dict(zip(("provider", "region", "zone", "machine_type"), one.key, strict=True)),
            accelerator=one.accelerator,
            market=one.market,
            began_age_s=one.began_age_s,
            ended_age_s=one.ended_age_s,
            lost=one.lost,
            at=at,
        )
        for one in found
    )
    LESSONS.forget()
    return len(found)
