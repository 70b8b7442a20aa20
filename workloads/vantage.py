"""What is known of a workload and its market when the policy is asked: sites, speed, work left, other places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from typing import Any

from offers import availability, lessons, refusals
from offers import queries as market
from offers.matching import facts, outlook
from offers.matching import need as needs
from offers.matching.estimate import Speed
from offers.matching.need import Need
from offers.matching.outlook import Place, Way
from offers.matching.policy.open_end import Option
from offers.models import Offer
from workloads import bell, queries
from workloads.models import Lease, Placement, Training, Workload
from workloads.stalls import CHANGEOVER_S

GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be done. figures: what it was decided on; set: columns of the workload that change with it."""

    why: str
    figures: dict[str, Any]
    act: Callable[[], object] | None = None
    set: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A site that the workload has."""

    placement: Placement
    country: str
    accelerator: str
    market: str
    usd_per_hour: float
    since: datetime
    offers: tuple[int, ...]
    boot_s: float
    share: float  # Of the accelerators that it was placed with: some of its machines may be lost.

    @property
    def key(self) -> tuple[str, str, str]:
        """Its place."""
        return self.placement.provider, self.placement.region, self.accelerator


class Vantage:
    """One look at one workload."""

    def __init__(self, workload: Workload, sites: Sequence[Site], now: datetime) -> None:
        self.workload, self.sites, self.now = workload, sites, now
        self.need: Need = needs.parse(workload.quote.need)
        self.speed: Speed = queries.speed(workload)
        self.size = queries.site_size(workload)
        samples = queries.samples(workload.pk)
        self.total, self.work = samples["total"], samples["total"] - samples["merged"]

    @property
    def is_clear(self) -> bool:
        """Whether it is known what is left to do, and how fast the sites are."""
        return self.work > 0 and all(self.speed.of(site.accelerator) is not None for site in self.sites)

    @cached_property
    def places(self) -> list[Place]:
        """Where a site could be, those where one is included."""
        owner_id = self.workload.owner_id
        held = partial(queries.machines_held, owner_id=owner_id)
        barred = refusals.barred(owner_id=owner_id, now=self.now, held=held, cautious=True)
        scope = market.scope(owner_id=owner_id, now=self.now, barred=barred)
        here = [site.key for site in self.sites]
        book = market.open_book(now=self.now)
        return outlook.places(self.need, book, size=self.size, speed=self.speed, scope=scope, here=here)

    @property
    def move_usd(self) -> float:
        """What a new site reads before it trains: the data and the parameters, out of the store."""
        training = Training.objects.filter(pk=self.workload.pk).first()
        state_gib = training.state_bytes / GIB if training else 0.0
        return (state_gib + (self.need.data_gib or 0.0)) * facts.STORE_EGRESS_USD_PER_GIB

    def pace(self, accelerator: str) -> float:
        """Return the samples per second of a site of this accelerator."""
        return (self.speed.of(accelerator) or 0.0) * self.size

    def held(self, site: Site) -> Option:
        """Return a site as an option to stay at."""
        return Option(
            name=site.placement.site,
            usd_per_hour=site.usd_per_hour,
            pace=self.pace(site.accelerator) * site.share,
            losses_per_hour=market.losses_per_hour(site.offers).sum(axis=0),
            age_s=(self.now - site.since).total_seconds(),
            changeover_s=CHANGEOVER_S + site.boot_s,
        )

    def options(self) -> list[tuple[Way, Option]]:
        """Return what could be had now beside what the workload has, on the spot market and for good."""
        found = [
            (place, kind, way)
            for place in self.places
            for kind, way in (("spot", place.spot), ("on demand", place.on_demand))
            if way is not None and way.sites > 0 and self.allows(place, kind, way)
        ]
        ids = [way.lines[0][0] for _, _, way in found]
        up_s = availability.up_s(ids, now=self.now, tick_s=lessons.TICK_S, ticks=lessons.LOOKED_BACK)
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

    def allows(self, place: Place, kind: str, way: Way) -> bool:
        """Whether a site there keeps what the need says of all sites together, whichever site it is in place of."""
        need, sites = self.need, self.sites
        if any((site.placement.provider, site.placement.region) == (place.provider, place.region) for site in sites):
            return False
        shared = {"provider": [one.placement.provider for one in sites], "country": [one.country for one in sites],
                  "region": [one.placement.region for one in sites]}  # fmt: skip
        if need.spread is not None and getattr(place, need.spread) in shared[need.spread]:
            return False
        if need.max_spot_share is not None and kind == "spot":
            spot = 1 + sum(site.market == "spot" for site in sites)
            if spot > need.max_spot_share * max(self.workload.sites_wanted, 1):
                return False
        if need.max_usd_per_hour is not None:
            prices = sorted(site.usd_per_hour for site in sites)
            if sum(prices[:-1]) + way.usd_per_hour > float(need.max_usd_per_hour):
                return False
        return True

    def assign(self, found: Sequence[tuple[Way, int | None]]) -> None:
        """Assign machines, each beside the placement that leaves once they train, or (None) as one site more."""
        ids = [pk for way, _ in found for pk, _ in way.lines]
        costs = dict(Offer.objects.filter(pk__in=ids).values_list("pk", "usd_per_hour"))
        sites = [
            {
                "lines": [[pk, count, str(costs[pk]), str(market.sell_price(costs[pk]))] for pk, count in way.lines],
                "replaces": replaced,
            }
            for way, replaced in found
        ]
        mine = Workload.objects.filter(pk=self.workload.pk, assigned__isnull=True)
        if mine.update(assigned={"sites": sites}):
            bell.wake("workload", self.workload.pk, self.now)


def sites_of(workload: Workload) -> list[Site] | None:
    """Return the sites of a workload; None while one of them comes or goes: nothing is decided in between."""
    if workload.placements.exclude(state__in=(Placement.State.TRAINING, Placement.State.CLOSED)).exists():
        return None
    found = []
    for placement in queries.staying(workload.pk).prefetch_related("leases__offer"):
        leases = [lease for lease in placement.leases.all() if lease.state not in Lease.DEAD]
        if not leases:
            return None
        first, accelerators = leases[0].offer, sum(lease.accelerators for lease in leases)
        found.append(
            Site(
                placement=placement,
                country=first.country,
                accelerator=first.accelerator,
                market=first.market,
                usd_per_hour=float(sum(lease.sell_usd_per_hour for lease in leases)),
                since=min(lease.opened_at or placement.created_at for lease in leases),
                offers=tuple(lease.offer_id for lease in leases),
                boot_s=max(lease.offer.boot_s or 0.0 for lease in leases),
                share=accelerators / (placement.accelerators or accelerators),
            )
        )
    return found
