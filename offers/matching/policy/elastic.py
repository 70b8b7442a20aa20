"""
The elastic policy: any number of nodes in any zones, growing and shrinking, at the least cost by a deadline.

It asks one question: what is an hour of one node's work worth? In each of some dozens of futures of the spot counts
the supply is sorted by price until it does the work that is left; the price of the last hour needed, on-demand where
spot falls short, is what one more hour of work saves in that future. The mean over the futures is the shadow price.
Whatever earns more work than it costs at that price is held, best first; the rest waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from offers.matching.policy import elastic_net
from offers.matching.policy.elastic_net import Holding
from offers.matching.policy.elastic_supply import PAST_H, Futures, NodeLives
from offers.matching.policy.elastic_terms import Decision, Floats, Ints, Observation, Terms

# Idle time kept back for changeovers to come: so many of them per place, at most this share of the time left. Once
# there is no idle time, a node that fell back to on-demand can never afford to leave it again.
RESERVE_CHANGEOVERS = 4.0
RESERVE_SHARE_MAX = 0.1
# On-demand ahead of the net: bought where nine of ten futures need it, kept where six do,
BUY_CHANCE, KEEP_CHANCE = 0.9, 0.6
# and left for a new spot node only if what this saves over its life is so many changeovers at the price of on-demand.
LEAVE_CHANGEOVERS = 4.0
STAY_BONUS = 0.07  # Of the shadow price: what a node that is up may earn less than the market before it is given up.
EARNS_USD = -1e-9  # At least; the dearest zone needed earns nothing.
WORTH_CHANGEOVERS = 5.0  # Of work wait for each node that is started: few nodes do the last of it.
USED_SHARE = 0.7  # Of nodes_max, held on average: no life counts beyond the time in which the work would be done.


@dataclass(frozen=True, slots=True)
class _Outlook:
    """
    What a decision is made on, at one tick.

    shadow_usd, zone_usd, on_demand_usd: per node-hour of work, changeovers included. worth_s: work to start a node for.
    buy_share, keep_share: of the places spot leaves empty, what on-demand has to fill. life_h: [zones, levels].
    """

    shadow_usd: float
    short_chance: float
    supply_node_s: float
    buy_share: float
    keep_share: float
    zone_usd: Floats
    on_demand_usd: float
    life_h: Floats
    worth_s: float


class ElasticPolicy:
    """Decides tick by tick for one workload; learns only from the counts it is shown."""

    def __init__(self, terms: Terms, *, past: Ints, seed: int = 0) -> None:
        """past: counts seen before the start, [zones, ticks], one tick apart; may be empty."""
        self.terms = terms
        zones, levels = len(terms.zones), terms.nodes_max
        self._lives = NodeLives(zones=zones, levels=levels, tick_s=terms.tick_s)
        self._futures = Futures(zones=zones, nodes_max=levels, tick_s=terms.tick_s, seed=seed)
        newest = past[:, -int(PAST_H * 3600 / terms.tick_s) :] if past.size else np.zeros((zones, 0))
        self._past = np.minimum(newest, levels).astype(np.int64).T
        for count in self._past:
            self._lives.see(count)
        self._state_in = np.zeros(zones, bool)  # Zones that have a copy of the state.

    def decide(self, seen: Observation) -> Decision:
        """Return what to hold until the next tick."""
        terms = self.terms
        count = np.minimum(np.asarray(seen.available, np.int64), terms.nodes_max)
        self._past = np.vstack([self._past, count])
        self._lives.see(count)
        ticks_left = int((terms.deadline_s - seen.elapsed_s + 1e-6) // terms.tick_s)
        outlook = self._look(seen, max(ticks_left, 1))
        holding = self._choose(seen, count, outlook)
        forced = elastic_net.secure(holding, terms, seen, ticks_left=ticks_left)
        self._state_in |= np.add(holding.spot, holding.on_demand) > 0
        work_s = terms.work_node_s - seen.progress_node_s
        figures: dict[str, float | tuple[float, ...]] = {
            "shadow_usd": outlook.shadow_usd,
            "zone_usd": tuple(float(usd) for usd in outlook.zone_usd),
            "on_demand_usd": outlook.on_demand_usd,
            "work_node_h": work_s / 3600,
            "supply_node_h": outlook.supply_node_s / 3600,
            "slack_node_h": (terms.nodes_max * ticks_left * terms.tick_s - work_s) / 3600,
            "short_chance": outlook.short_chance,
            "forced_nodes": float(forced),
        }
        return Decision(
            spot_target=tuple(holding.spot),
            on_demand_target=tuple(holding.on_demand),
            actions=_actions(seen, holding),
            figures=figures,
        )

    def _look(self, seen: Observation, ticks_left: int) -> _Outlook:
        """Price an hour of work, and say how much of the idle places on-demand has to fill."""
        terms = self.terms
        left_s = ticks_left * terms.tick_s
        work_s = terms.work_node_s - seen.progress_node_s
        worth_s = min(WORTH_CHANGEOVERS * terms.changeover_s, left_s / 2)
        finish_s = terms.changeover_s + max(work_s / (USED_SHARE * terms.nodes_max), min(work_s, worth_s))
        finish_s = max(min(finish_s, left_s), terms.tick_s)
        life_h = np.minimum(self._lives.life_h(), finish_s / 3600)
        useful = _useful_share(life_h, self._past[-1], terms.changeover_s / 3600)
        zone_usd = np.asarray(seen.spot_usd) / useful
        dearest = min(terms.on_demand_usd) / (1 - min(terms.changeover_s / left_s, 0.9))
        order = np.argsort(zone_usd)
        order = order[zone_usd[order] < dearest]

        counts = self._futures.draw(self._past, left_s / 3600)[:, :, order]
        nodes = np.minimum(np.cumsum(counts, axis=2), terms.nodes_max)
        gained = np.diff(nodes, axis=2, prepend=0).mean(axis=1) * useful[order]
        supply_s = np.pad(np.cumsum(gained, axis=1), ((0, 0), (1, 0))) * left_s  # [futures, 1 + zones], from none.

        reserve_s = min(RESERVE_CHANGEOVERS * terms.changeover_s, RESERVE_SHARE_MAX * left_s) * terms.nodes_max
        wanted_s = work_s + reserve_s
        prices = np.append(zone_usd[order], dearest)
        last_usd = prices[(supply_s[:, 1:] < wanted_s).sum(axis=1)]
        idle_s = np.maximum(terms.nodes_max * left_s - supply_s[:, -1], 1e-9)
        fill = np.clip(1 - (terms.nodes_max * left_s - wanted_s) / idle_s, 0.0, 1.0)
        return _Outlook(
            shadow_usd=float(last_usd.mean()),
            short_chance=float((supply_s[:, -1] < wanted_s).mean()),
            supply_node_s=float(supply_s[:, -1].mean()),
            buy_share=float(np.quantile(fill, 1 - BUY_CHANCE)),
            keep_share=float(np.quantile(fill, 1 - KEEP_CHANCE)),
            zone_usd=zone_usd,
            on_demand_usd=float(dearest),
            life_h=life_h,
            worth_s=worth_s,
        )

    def _choose(self, seen: Observation, count: Ints, outlook: _Outlook) -> Holding:
        """Take nodes by what they earn an hour, best first, then fill with the on-demand that the futures need."""
        terms = self.terms
        zones = len(terms.zones)
        work_s = terms.work_node_s - seen.progress_node_s
        life_h = outlook.life_h
        left_s = np.full(life_h.shape, terms.changeover_s)
        held = np.zeros(life_h.shape, bool)
        for zone, lefts in enumerate(seen.spot_left_s):
            left_s[zone, : len(lefts)] = sorted(lefts)
            held[zone, : len(lefts)] = True
        usd = np.asarray(seen.spot_usd)[:, None]
        earns = outlook.shadow_usd * (1 - np.minimum(left_s / 3600 / life_h, 1)) - usd
        earns -= (self._copy_usd() / (life_h[:, 0] * np.maximum(count, 1)))[
            :, None
        ]  # Shared by all that may run there.
        earns += STAY_BONUS * outlook.shadow_usd * held
        earns[np.arange(terms.nodes_max) >= count[:, None]] = -np.inf
        leaving_usd = LEAVE_CHANGEOVERS * outlook.on_demand_usd * terms.changeover_s / 3600
        pays_to_leave = (min(terms.on_demand_usd) - usd) * life_h > leaving_usd

        on_demand = self._on_demand(seen, outlook, idle=max(terms.nodes_max - int((earns >= EARNS_USD).sum()), 0))
        kept = min(on_demand, sum(map(len, seen.on_demand_left_s)))
        holding = Holding(spot=[0] * zones, on_demand=[0] * zones)
        done_s = 0.0  # Of the work left, by the nodes taken: those that are up within this tick, new ones their share.
        for place in np.lexsort((~held.ravel(), -earns.ravel())):
            zone, level = divmod(int(place), terms.nodes_max)
            if earns[zone, level] < EARNS_USD or holding.nodes >= terms.nodes_max or done_s >= work_s:
                break
            if holding.nodes + kept >= terms.nodes_max:
                if not held[zone, level] and not pays_to_leave[zone, level]:
                    continue
                kept -= 1
            holding.spot[zone] += 1
            done_s += max(terms.tick_s - left_s[zone, level], 0.0 if held[zone, level] else outlook.worth_s)
        if done_s < work_s:
            _fill(holding, terms, seen, min(on_demand, terms.nodes_max - holding.nodes))
        return holding

    def _copy_usd(self) -> Floats:
        """Return what bringing the state to each zone costs, [zones]: nothing where it is, or before the start."""
        if not self._state_in.any():
            return np.zeros(len(self.terms.zones))
        copy_usd = np.asarray(self.terms.egress_usd)[self._state_in].min(axis=0)
        return np.where(self._state_in, 0.0, copy_usd)

    def _on_demand(self, seen: Observation, outlook: _Outlook, *, idle: int) -> int:
        """Return how many on-demand nodes the futures call for, with `idle` places not taken by spot."""
        up = sum(map(len, seen.on_demand_left_s))
        wanted = int(np.ceil(outlook.buy_share * idle - 1e-9))
        return min(max(wanted, up if outlook.keep_share > 0 else 0), self.terms.nodes_max)


def _useful_share(life_h: Floats, count: Ints, changeover_h: float) -> Floats:
    """Return the share of paid time that is work, [zones], for the levels that are up, or all where none is."""
    up = np.arange(life_h.shape[1]) < count[:, None]
    up |= ~up.any(axis=1, keepdims=True)
    mean_h = (life_h * up).sum(axis=1) / up.sum(axis=1)
    return np.asarray(1 - np.minimum(changeover_h / mean_h, 0.95))


def _fill(holding: Holding, terms: Terms, seen: Observation, nodes: int) -> None:
    """Hold so many on-demand nodes: those that are up first, cheapest first, then new ones in the cheapest zone."""
    by_price = sorted(range(len(terms.zones)), key=lambda zone: terms.on_demand_usd[zone])
    for zone in by_price:
        holding.on_demand[zone] = min(len(seen.on_demand_left_s[zone]), nodes)
        nodes -= holding.on_demand[zone]
    holding.on_demand[by_price[0]] += nodes


def _actions(seen: Observation, holding: Holding) -> tuple[str, ...]:
    """Return a word per zone for what changes."""
    spot_before = [len(lefts) for lefts in seen.spot_left_s]
    before = [spot + len(lefts) for spot, lefts in zip(spot_before, seen.on_demand_left_s, strict=True)]
    after = [spot + other for spot, other in zip(holding.spot, holding.on_demand, strict=True)]
    given_up = any(new < old for new, old in zip(after, before, strict=True))
    words = []
    for zone, (old, new) in enumerate(zip(before, after, strict=True)):
        if holding.on_demand[zone] > len(seen.on_demand_left_s[zone]):
            words.append("buy_on_demand")
        elif holding.spot[zone] > spot_before[zone]:
            words.append("move" if given_up or new <= old else "grow")
        elif new < old:
            words.append("shrink")
        else:
            words.append("stay" if new else "wait")
    return tuple(words)


def new_elastic_policy(**terms: Any) -> TickByTick:
    """Return a policy for one workload in whole ticks; `history` is (counts [zones, ticks], prices) seen before."""
    past, _ = terms.pop("history")
    terms["zones"] = tuple(terms["zones"])
    terms["on_demand_usd"] = tuple(float(usd) for usd in terms["on_demand_usd"])
    terms["egress_usd"] = tuple(tuple(float(usd) for usd in row) for row in terms["egress_usd"])
    return TickByTick(ElasticPolicy(Terms(**terms), past=np.asarray(past)))


class TickByTick:
    """Keeps the changeover of each node, for one who is told only how many nodes are held."""

    def __init__(self, policy: ElasticPolicy) -> None:
        self.policy = policy
        self.decision: Decision | None = None
        zones = len(policy.terms.zones)
        self._spot_left_s: list[list[float]] = [[] for _ in range(zones)]
        self._on_demand_left_s: list[list[float]] = [[] for _ in range(zones)]

    def step(
        self,
        *,
        tick: int,
        available: Sequence[int],
        spot_usd: Sequence[float],
        spot_held: Sequence[int],
        on_demand_held: Sequence[int],
        progress_node_s: float,
    ) -> tuple[list[int], list[int]]:
        """Return (spot, on-demand) nodes to hold in each zone during this tick."""
        spot = [lefts[:held] for lefts, held in zip(self._spot_left_s, spot_held, strict=True)]
        on_demand = [lefts[:held] for lefts, held in zip(self._on_demand_left_s, on_demand_held, strict=True)]
        seen = Observation(
            elapsed_s=tick * self.policy.terms.tick_s,
            available=tuple(int(nodes) for nodes in available),
            spot_usd=tuple(float(usd) for usd in spot_usd),
            spot_left_s=tuple(map(tuple, spot)),
            on_demand_left_s=tuple(map(tuple, on_demand)),
            progress_node_s=progress_node_s,
        )
        self.decision = self.policy.decide(seen)
        self._spot_left_s = self._after_tick(spot, self.decision.spot_target)
        self._on_demand_left_s = self._after_tick(on_demand, self.decision.on_demand_target)
        return list(self.decision.spot_target), list(self.decision.on_demand_target)

    def _after_tick(self, before: list[list[float]], targets: tuple[int, ...]) -> list[list[float]]:
        """Return the changeover left at the next tick, the readiest first."""
        terms = self.policy.terms
        held = [(lefts + [terms.changeover_s] * nodes)[:nodes] for lefts, nodes in zip(before, targets, strict=True)]
        return [[max(left - terms.tick_s, 0.0) for left in lefts] for lefts in held]
