"""
Whether a workload that runs is where it should be: the policy's question, asked every few minutes of what is known now.

What comes out is an Event with its figures (`yard explain`), and, where something is to change, a site that is assigned
beside or in place of another: the old one leaves when the new one trains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings

from offers import availability, lessons, refusals
from offers import queries as market
from offers.matching import facts, outlook
from offers.matching import need as needs
from offers.matching.estimate import Speed
from offers.matching.need import Need
from offers.matching.outlook import Place, Way
from offers.matching.policy import open_end
from offers.matching.policy.open_end import Option
from offers.models import Offer
from workloads import bell, queries
from workloads.machine import Nap
from workloads.models import Lease, Placement, Training, Workload
from workloads.stalls import CHANGEOVER_S

GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be done. figures: what it was decided on."""

    why: str
    figures: dict[str, Any]
    act: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A site that the workload has, as the policy sees it."""

    placement: Placement
    accelerator: str
    market: str
    usd_per_hour: float
    since: datetime
    offers: tuple[int, ...]
    boot_s: float

    @property
    def key(self) -> tuple[str, str, str]:
        """Its place."""
        return self.placement.provider, self.placement.region, self.accelerator


def is_due(workload: Workload, now: datetime) -> bool:
    """Whether it is time to look at a workload again."""
    last = workload.judged_at or workload.started_at
    return last is None or now - last >= timedelta(seconds=settings.POLICY_EVERY_S)


def judge(workload: Workload, now: datetime) -> Nap:
    """Look at a workload, and note what was decided."""
    sites = _sites(workload)
    verdict = _verdict(workload, sites, now) if sites else None
    if verdict is None:
        return Nap(seconds=2, set={"judged_at": now})
    return Nap(seconds=2, why=verdict.why, figures=verdict.figures, then=verdict.act, set={"judged_at": now})


def _verdict(workload: Workload, sites: list[Site], now: datetime) -> Verdict | None:
    """Decide for a workload; None while nobody knows what it still has to do and how fast it is."""
    need, speed, size = needs.parse(workload.quote.need), queries.speed(workload), queries.site_size(workload)
    left = queries.samples(workload.pk)
    work = left["total"] - left["merged"]
    if work <= 0 or any(speed.of(site.accelerator) is None for site in sites):
        return None
    scope = market.scope(owner_id=workload.owner_id, now=now, barred=_barred(workload, now))
    book, here = market.open_book(now=now), [site.key for site in sites]
    places = outlook.places(need, book, size=size, speed=speed, scope=scope, here=here)
    busy = {(site.placement.provider, site.placement.region) for site in sites}
    options = _options([place for place in places if (place.provider, place.region) not in busy], now)
    decision = open_end.decide(
        [_held(site, speed, size, now) for site in sites],
        [option for _, option in options],
        samples=work / len(sites),
        move_usd=_move_usd(workload, need),
    )
    if decision.held is None or decision.to is None:
        return Verdict(why="stay", figures=decision.figures)
    site, (way, option) = sites[decision.held], options[decision.to]
    why = f"move from {site.placement.site} to {option.name}, {decision.figures['gain_usd']} USD less to finish"
    return Verdict(why=why, figures=decision.figures, act=partial(_move, workload, site, way, now))


def _sites(workload: Workload) -> list[Site]:
    """The sites that it keeps, if all of them train: nothing is moved while something else changes."""
    if workload.placements.exclude(state__in=(Placement.State.TRAINING, Placement.State.CLOSED)).exists():
        return []
    found = []
    for placement in queries.staying(workload.pk).prefetch_related("leases__offer"):
        leases = [lease for lease in placement.leases.all() if lease.state not in Lease.DEAD]
        first = leases[0].offer
        found.append(
            Site(
                placement=placement,
                accelerator=first.accelerator,
                market=first.market,
                usd_per_hour=float(sum(lease.sell_usd_per_hour for lease in leases)),
                since=min(lease.opened_at or placement.created_at for lease in leases),
                offers=tuple(lease.offer_id for lease in leases),
                boot_s=max(lease.offer.boot_s or 0.0 for lease in leases),
            )
        )
    return found


def _held(site: Site, speed: Speed, size: int, now: datetime) -> Option:
    return Option(
        name=site.placement.site,
        usd_per_hour=site.usd_per_hour,
        pace=(speed.of(site.accelerator) or 0.0) * size,
        losses_per_hour=market.losses_per_hour(site.offers).sum(axis=0),
        age_s=(now - site.since).total_seconds(),
        changeover_s=CHANGEOVER_S + site.boot_s,
    )


def _options(places: list[Place], now: datetime) -> list[tuple[Way, Option]]:
    """What could be had now, on the spot market and for good."""
    found = [
        (place, kind, way)
        for place in places
        for kind, way in (("spot", place.spot), ("on demand", place.on_demand))
        if way is not None and way.sites > 0
    ]
    ids = [way.lines[0][0] for _, _, way in found]
    up_s = availability.up_s(ids, now=now, tick_s=lessons.TICK_S, ticks=lessons.LOOKED_BACK)
    return [
        (
            way,
            Option(
                name=f"{place}, {place.accelerator} {kind}",
                usd_per_hour=way.usd_per_hour,
                pace=place.pace,
                losses_per_hour=way.losses_per_hour,
                age_s=age_s,
                changeover_s=CHANGEOVER_S + way.boot_s,
            ),
        )
        for (place, kind, way), age_s in zip(found, up_s, strict=True)
    ]


def _barred(workload: Workload, now: datetime) -> dict[refusals.Line, str]:
    held = partial(queries.machines_held, owner_id=workload.owner_id)
    return refusals.barred(owner_id=workload.owner_id, now=now, held=held, cautious=True)


def _move_usd(workload: Workload, need: Need) -> float:
    """What a new site reads before it trains: the data and the parameters, out of the store."""
    training = Training.objects.filter(pk=workload.pk).first()
    state_gib = training.state_bytes / GIB if training else 0.0
    return (state_gib + (need.data_gib or 0.0)) * facts.STORE_EGRESS_USD_PER_GIB


def _move(workload: Workload, site: Site, way: Way, now: datetime) -> None:
    """Assign the machines beside the site that leaves once they train."""
    costs = dict(Offer.objects.filter(pk__in=[pk for pk, _ in way.lines]).values_list("pk", "usd_per_hour"))
    lines = [[pk, count, str(costs[pk]), str(market.sell_price(costs[pk]))] for pk, count in way.lines]
    assigned = {"sites": [{"lines": lines, "replaces": site.placement.pk}]}
    if Workload.objects.filter(pk=workload.pk, assigned__isnull=True).update(assigned=assigned):
        bell.wake("workload", workload.pk, now)
