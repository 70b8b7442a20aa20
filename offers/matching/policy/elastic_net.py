"""The deadline's safety net: on-demand nodes, as few and as late as the worst case allows."""

from __future__ import annotations

from dataclasses import dataclass

from offers.matching.policy.elastic_terms import Observation, Terms

TOLERANCE_S = 1e-6


@dataclass(slots=True)
class Holding:
    """Nodes per zone to be held; the policy and the net change it in place."""

    spot: list[int]
    on_demand: list[int]

    @property
    def nodes(self) -> int:
        """All of them."""
        return sum(self.spot) + sum(self.on_demand)


def secure(holding: Holding, terms: Terms, seen: Observation, *, ticks_left: int) -> int:
    """
    Change the holding until the deadline holds even if every spot node is lost at the next tick; return nodes changed.

    The worst case: the work of this tick is done, then there is on-demand only, all free places start then. As long as
    this held at the last decision it can be met again: at the worst by keeping all on-demand and filling up with it.
    Where the deadline is out of reach, all places are filled with on-demand nodes.
    """
    cheapest = min(range(len(terms.zones)), key=lambda zone: terms.on_demand_usd[zone])
    changed = 0
    while _short_node_s(holding, terms, seen, ticks_left) > TOLERANCE_S:
        if not _add_one(holding, terms, seen, cheapest):
            break
        changed += 1
    return changed


def _short_node_s(holding: Holding, terms: Terms, seen: Observation, ticks_left: int) -> float:
    """Return the work that would be left over at the deadline in the worst case."""
    short_s = terms.work_node_s - seen.progress_node_s
    for left_s, nodes in zip(seen.spot_left_s, holding.spot, strict=True):
        short_s -= sum(max(terms.tick_s - left, 0.0) for left in _lefts(left_s, nodes, terms.changeover_s))
    for left_s, nodes in zip(seen.on_demand_left_s, holding.on_demand, strict=True):
        lefts = _lefts(left_s, nodes, terms.changeover_s)
        short_s -= sum(max(ticks_left * terms.tick_s - left, 0.0) for left in lefts)
    free = terms.nodes_max - sum(holding.on_demand)
    return short_s - free * max((ticks_left - 1) * terms.tick_s - terms.changeover_s, 0.0)


def _lefts(left_s: tuple[float, ...], nodes: int, changeover_s: float) -> list[float]:
    """Return the changeover left of each of so many nodes, the readiest first, new ones last."""
    return (sorted(left_s) + [changeover_s] * max(nodes - len(left_s), 0))[:nodes]


def _add_one(holding: Holding, terms: Terms, seen: Observation, cheapest: int) -> bool:
    """Keep one more node that is up, else buy on-demand, else swap the least ready spot node for it."""
    zones = range(len(terms.zones))
    given_up = [zone for zone in zones if holding.on_demand[zone] < len(seen.on_demand_left_s[zone])]
    if holding.nodes < terms.nodes_max:
        idle = [zone for zone in zones if holding.spot[zone] < len(seen.spot_left_s[zone])]
        if given_up:
            holding.on_demand[given_up[0]] += 1
        elif idle:
            holding.spot[min(idle, key=lambda zone: sorted(seen.spot_left_s[zone])[holding.spot[zone]])] += 1
        else:
            holding.on_demand[cheapest] += 1
        return True
    spot = [zone for zone in zones if holding.spot[zone]]
    if not spot:
        return False
    last_left = {z: _lefts(seen.spot_left_s[z], holding.spot[z], terms.changeover_s)[-1] for z in spot}
    holding.spot[max(spot, key=lambda zone: last_left[zone])] -= 1
    holding.on_demand[given_up[0] if given_up else cheapest] += 1
    return True
