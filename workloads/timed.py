"""
With a deadline: how many sites, where, and bought how. The policies of one gang and of many sites decide.

Sites of a faster chip count as what they cost for the work of the reference: the price is divided by how much faster
they are. Where the need fixes the number of sites, the policy may move them and buy on-demand, but sends none home.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
from django.conf import settings

from offers import availability
from offers.matching.outlook import Place, Way
from offers.matching.policy.elastic import ElasticPolicy
from offers.matching.policy.elastic_terms import Ints, Observation, Terms
from offers.matching.policy.gang import GangPolicy
from offers.matching.policy.gang_terms import GangSeen, GangTerms
from workloads import operations
from workloads.stalls import CHANGEOVER_S
from workloads.vantage import Site, Vantage, Verdict

HISTORY = timedelta(hours=48)
# Where nothing can be bought for good, the dearest known price, and half of it more, stands for it: somebody has some.
UNHEARD_OF = 1.5


@dataclass(slots=True)
class Zone:
    """A place with the sites that are there, as the policy sees it."""

    name: str
    pace: float
    place: Place | None
    spot_sites: list[Site] = field(default_factory=list)
    sure_sites: list[Site] = field(default_factory=list)

    def way(self, market: str) -> Way | None:
        """What could be had there now."""
        if self.place is None:
            return None
        way = self.place.spot if market == "spot" else self.place.on_demand
        return way if way is not None and way.sites > 0 else None


def verdict(seen: Vantage) -> Verdict:
    """Decide, and say what is to be done."""
    zones, most = _zones(seen), _most(seen)
    terms, observation, past = _asked(seen, zones, most)
    spot, sure, told = (_of_one if most == 1 else _of_many)(seen, zones, terms, observation, past)
    starts, leaves = _changes(seen, zones, spot, sure)
    left_h = (terms.deadline_s - observation.elapsed_s) / 3600
    figures = {"deadline_h_left": round(left_h, 3), "sites_at_most": most, **told}
    if seen.need.sites is not None:
        leaves = leaves[: len(starts)]
    moves = list(zip(starts, leaves, strict=False))
    more, fewer = starts[len(moves) :], leaves[len(moves) :]
    more = more[: max(most - len(seen.sites), 0)]
    if not (moves or more or fewer):
        return Verdict(why="stay", figures=figures)
    found = [(way, site.placement.pk) for (_, way), site in moves] + [(way, None) for _, way in more]
    wanted = max(len(seen.sites) + len(more) - len(fewer), 0)
    return Verdict(
        why="; ".join(_told(moves, more, fewer)),
        figures=figures,
        act=partial(_act, seen, found, fewer),
        set={"sites_wanted": wanted},
    )


Targets = tuple[Sequence[int], Sequence[int], dict[str, Any]]  # Spot and on-demand sites of each zone, and figures.


def _of_many(seen: Vantage, zones: list[Zone], terms: Terms, observation: Observation, past: Ints) -> Targets:
    decision = ElasticPolicy(terms, past=np.maximum(past, 0)).decide(observation)
    figures = {name: _rounded(value) for name, value in decision.figures.items() if not isinstance(value, tuple)}
    prices = decision.figures["zone_usd"]
    assert isinstance(prices, tuple)
    figures["usd_per_hour_of_work"] = {zone.name: _rounded(usd) for zone, usd in zip(zones, prices, strict=True)}
    return decision.spot_target, decision.on_demand_target, figures


def _of_one(seen: Vantage, zones: list[Zone], terms: Terms, observation: Observation, past: Ints) -> Targets:
    """One site is a gang: the policy of gangs looks further ahead."""
    gang = GangTerms(
        zones=terms.zones,
        on_demand_usd=np.array(terms.on_demand_usd),
        egress_usd=np.array(terms.egress_usd),
        tick_s=terms.tick_s,
        work_s=terms.work_node_s,
        deadline_s=terms.deadline_s,
        changeover_s=terms.changeover_s,
    )
    at = next((index for index, zone in enumerate(zones) if zone.spot_sites or zone.sure_sites), None)
    mode = "idle" if at is None else "spot" if zones[at].spot_sites else "on_demand"
    decision = GangPolicy(gang, past=past > 0, known=past >= 0).decide(
        GangSeen(
            tick=int(observation.elapsed_s // terms.tick_s),
            up=np.array(observation.available) > 0,
            spot_usd=np.array(observation.spot_usd),
            mode=mode,
            zone=at,
            progress_s=observation.progress_node_s,
            changeover_left_s=0.0,
        )
    )
    spot = [int(decision.mode == "spot" and index == decision.zone) for index in range(len(zones))]
    sure = [int(decision.mode == "on_demand" and index == decision.zone) for index in range(len(zones))]
    return spot, sure, dict(decision.figures)


def _most(seen: Vantage) -> int:
    quoted = seen.workload.quote.lines.values("site_index").distinct().count()
    return seen.need.sites or max(seen.need.max_sites or 0, quoted, 1)


def _zones(seen: Vantage) -> list[Zone]:
    found: dict[tuple[str, str, str], Zone] = {}
    for place in seen.places:
        key = (place.provider, place.region, place.accelerator)
        found[key] = Zone(name=f"{place}, {place.accelerator}", pace=place.pace, place=place)
    for site in seen.sites:
        zone = found.setdefault(
            site.key, Zone(f"{site.placement.site}, {site.accelerator}", seen.pace(site.accelerator), None)
        )
        (zone.spot_sites if site.market == "spot" else zone.sure_sites).append(site)
    return list(found.values())


def _asked(seen: Vantage, zones: list[Zone], most: int) -> tuple[Terms, Observation, Ints]:
    """Put the policy's question: prices per hour of work at the reference pace, which is the slowest zone's."""
    pace = min(zone.pace for zone in zones)
    spot = [_usd(zone.spot_sites, zone.way("spot")) / zone.pace * pace for zone in zones]
    sure = [_usd(zone.sure_sites, zone.way("on_demand")) / zone.pace * pace for zone in zones]
    known = [usd for usd in spot + sure if np.isfinite(usd)]
    none = UNHEARD_OF * max(known, default=1.0)
    began = seen.workload.created_at
    terms = Terms(
        zones=tuple(zone.name for zone in zones),
        on_demand_usd=tuple(usd if np.isfinite(usd) else none for usd in sure),
        egress_usd=tuple(tuple(0.0 if a is b else seen.move_usd for b in zones) for a in zones),
        tick_s=settings.POLICY_EVERY_S,
        work_node_s=seen.total / pace,
        # A tick earlier: what a site does between two rounds is lost with it.
        deadline_s=(seen.need.deadline_hours or 0.0) * 3600 - settings.POLICY_EVERY_S,
        changeover_s=CHANGEOVER_S + max((way.boot_s for zone in zones if (way := zone.way("spot"))), default=0.0),
        nodes_max=most,
    )
    observation = Observation(
        elapsed_s=(seen.now - began).total_seconds(),
        available=tuple(max(len(zone.spot_sites), 1 if zone.way("spot") else 0) for zone in zones),
        spot_usd=tuple(usd if np.isfinite(usd) else none for usd in spot),
        spot_left_s=tuple((0.0,) * len(zone.spot_sites) for zone in zones),
        on_demand_left_s=tuple((0.0,) * len(zone.sure_sites) for zone in zones),
        progress_node_s=(seen.total - seen.work) / pace,
    )
    return terms, observation, _past(seen, zones)


def _usd(sites: list[Site], way: Way | None) -> float:
    """What a site there costs an hour: what is paid now, else what one would cost."""
    if sites:
        return sites[0].usd_per_hour
    return way.usd_per_hour if way is not None else float("inf")


def _past(seen: Vantage, zones: list[Zone]) -> Ints:
    """Return [zones, ticks]: whether a spot site could have been had; -1 before the place was heard of."""
    ticks = int(HISTORY / timedelta(seconds=settings.POLICY_EVERY_S))
    lines = [zone.place.spot.lines[0] if zone.place and zone.place.spot else (0, 1) for zone in zones]
    past = availability.past([pk for pk, _ in lines], now=seen.now, tick_s=settings.POLICY_EVERY_S, ticks=ticks)
    wanted = np.array([count for _, count in lines])[:, None]
    return np.where(past.known, np.minimum(past.machines // wanted, 1), -1)


def _changes(
    seen: Vantage, zones: list[Zone], spots: Sequence[int], sures: Sequence[int]
) -> tuple[list[tuple[str, Way]], list[Site]]:
    """Return what is to be started, and the sites that are to leave, the dearest first."""
    starts: list[tuple[str, Way]] = []
    leaves: list[Site] = []
    for zone, spot, sure in zip(zones, spots, sures, strict=True):
        for market, sites, target in (("spot", zone.spot_sites, spot), ("on_demand", zone.sure_sites, sure)):
            leaves += sites[target:]
            way = zone.way(market)
            if target > len(sites) and way is not None and zone.place is not None:
                if seen.allows(zone.place, market, way):
                    starts.append((f"{zone.name} {market.replace('_', '-')}", way))
    return starts, sorted(leaves, key=lambda site: -site.usd_per_hour)


def _told(moves: list[tuple[tuple[str, Way], Site]], more: list[tuple[str, Way]], fewer: list[Site]) -> list[str]:
    told = [f"move from {site.placement.site} to {name}" for (name, _), site in moves]
    told += [f"grow by {name}" for name, _ in more]
    return told + [f"shrink: leave {site.placement.site}, which costs more than its work is worth" for site in fewer]


def _act(seen: Vantage, found: list[tuple[Way, int | None]], fewer: list[Site]) -> None:
    if found:
        seen.assign(found)
    for site in fewer:
        why = "the policy waits for cheaper machines: there is time until the deadline"
        operations.request_drain(placement_id=site.placement.pk, why=why, now=seen.now)


def _rounded(value: float) -> float:
    return round(float(value), 4)
