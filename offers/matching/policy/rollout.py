"""
What simple policies cost in sampled futures: one action now, then a rule until the work is done.

Idle time before the deadline (slack) is the currency: it never comes back, every changeover and every hour of waiting
spends it. The rule prices it: an hour of slack is worth more, the less of it there is for the work that is left. `need`
is the slack an hour of work is thought to need; a rule with a small one waits for good zones, with a large one it does
not. `eager` rules leave a zone for one that is cheaper.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from offers.matching.compiled import compiled
from offers.matching.policy.forecast import Bools, Ints
from offers.matching.survival import Floats

IDLE, SPOT, ON_DEMAND = 0, 1, 2
SLACK_HOURS_MAX = 20.0  # The most that an hour of slack is worth, in hours of what spot saves.
BUY_AT, DROP_AT = 1.2, 0.7  # In the same unit: from here on-demand is bought, below it is given up again.
LOOK_H = 0.5  # Who waits looks again at least so often.
LATE_USD = 1e9


class Market(NamedTuple):
    """
    What does not change in a rollout; ticks: until the deadline.

    spot_usd, on_demand_usd: [zones], per hour. egress_usd: [zones, zones]. life_h, useful_h: [zones, ages] of
    forecast.lives_h. usual_usd: what an hour of work costs on spot; saved_usd: what it saves over on-demand.
    """

    spot_usd: Floats
    on_demand_usd: Floats
    egress_usd: Floats
    life_h: Floats
    useful_h: Floats
    tick_s: float
    ticks: int
    changeover_s: float
    usual_usd: float
    saved_usd: float


class Holding(NamedTuple):
    """What is held, and what is still to do. zone: -1 before the first start."""

    mode: int
    zone: int
    left_s: float
    work_s: float


@compiled
def costs(
    market: Market, at: Ints, zone_at: Ints, flips: Ints, up: Bools, age: Ints,
    held: Holding, plays: Floats, usd: Floats,
) -> None:  # fmt: skip
    """Fill usd[play, future]. plays: [plays, 4] of (mode, zone, need, eager); futures as in futures.Futures."""
    for future in range(flips.size):
        for play in range(plays.shape[0]):
            mode, zone = int(plays[play, 0]), int(plays[play, 1])
            need, eager = plays[play, 2], plays[play, 3] > 0
            seen = at[future, : flips[future]]
            usd[play, future] = _cost(market, seen, zone_at[future], up.copy(), -age, held, mode, zone, need, eager)


@compiled
def _cost(
    market: Market, at: Ints, zone_at: Ints, up: Bools, born: Ints, held: Holding, mode: int, zone: int, need: float,
    eager: bool,
) -> float:  # fmt: skip
    """USD until the work is done in one future. up and born (the tick of the last flip) are used up."""
    usd, left_s, work_s = 0.0, held.left_s, held.work_s
    if mode == IDLE:
        zone, left_s = held.zone, 0.0
    elif mode != held.mode or zone != held.zone:
        left_s = market.changeover_s
        usd += market.egress_usd[held.zone, zone] if held.zone >= 0 else 0.0
    now, flip, until = 0, 0, 1
    while True:
        if mode != IDLE:
            done = math.ceil((work_s + left_s) / market.tick_s - 1e-7)
            ticks = min(until - now, done)
            price_usd = market.spot_usd[zone] if mode == SPOT else market.on_demand_usd[zone]
            usd += ticks * market.tick_s / 3600 * price_usd
            if ticks == done:
                return float(usd)
            work_s -= max(ticks * market.tick_s - left_s, 0.0)
            left_s = max(left_s - ticks * market.tick_s, 0.0)
        now = until
        if now > 2 * market.ticks + 100:
            return LATE_USD
        while flip < at.size and at[flip] <= now:
            other = zone_at[flip]
            up[other], born[other] = not up[other], at[flip]
            if mode == SPOT and other == zone and not up[other]:
                mode, left_s = IDLE, 0.0
            flip += 1
        slack_usd = slack_usd_per_hour(market, now, work_s, need)
        to_mode, to = _choose(market, now, work_s, slack_usd, up, born, mode, zone, eager)
        if to_mode != IDLE and (to_mode != mode or to != zone):
            left_s = market.changeover_s
            usd += market.egress_usd[zone, to] if zone >= 0 else 0.0
        mode, zone = to_mode, to
        until, flip = _next_look(market, now, work_s, slack_usd, at, zone_at, flip, up, born, mode, zone, eager)


@compiled
def slack_usd_per_hour(market: Market, now: int, work_s: float, need: float) -> float:
    """Return what an hour of slack is worth."""
    slack_s = (market.ticks - now) * market.tick_s - work_s - market.changeover_s
    if slack_s < market.tick_s:
        return SLACK_HOURS_MAX * market.saved_usd
    return float(market.saved_usd * min((need * work_s / slack_s) ** 1.5, SLACK_HOURS_MAX))


@compiled
def _choose(
    market: Market, now: int, work_s: float, slack_usd: float, up: Bools, born: Ints, mode: int, zone: int, eager: bool
) -> tuple[int, int]:
    """Return the rule's mode and zone."""
    changeover_h = market.changeover_s / 3600
    is_last_call = now + math.ceil((work_s + market.changeover_s) / market.tick_s - 1e-9) >= market.ticks
    best, best_usd, life_h = _best_zone(market, now, work_s, slack_usd, up, born, mode, zone)
    move_usd = market.egress_usd[zone, best] if best >= 0 and zone >= 0 else 0.0
    if mode == SPOT:
        if best >= 0 and eager and _pays(market, zone, best, life_h, slack_usd):
            return SPOT, best
        return SPOT, zone
    if mode == ON_DEMAND:
        leaving_usd = changeover_h * (market.on_demand_usd[zone] + 2 * slack_usd) + move_usd
        if best >= 0 and (market.on_demand_usd[zone] - market.spot_usd[best]) * life_h > leaving_usd:
            return SPOT, best
        if slack_usd < DROP_AT * market.saved_usd and not is_last_call:
            return IDLE, zone
        return ON_DEMAND, zone
    if best >= 0 and best_usd <= market.usual_usd + slack_usd:
        return SPOT, best
    if is_last_call or slack_usd > BUY_AT * market.saved_usd:
        return ON_DEMAND, _on_demand_zone(market, work_s, zone)
    return IDLE, zone


@compiled
def _best_zone(
    market: Market, now: int, work_s: float, slack_usd: float, up: Bools, born: Ints, mode: int, zone: int
) -> tuple[int, float, float]:
    """Return the zone where an hour of work costs least after a start, that cost, and its life; -1: none may start."""
    best, best_usd, best_life_h = -1, np.inf, 0.0
    if now + math.ceil((work_s + 2 * market.changeover_s) / market.tick_s - 1e-9) > market.ticks:
        return best, best_usd, best_life_h
    reach_h = (work_s + market.changeover_s) / 3600
    for other in range(up.size):
        if not up[other] or (mode == SPOT and other == zone):
            continue
        age = min(now - born[other], market.life_h.shape[1] - 1)
        life_h, useful_h = market.life_h[other, age], market.useful_h[other, age]
        if life_h > reach_h:
            useful_h = max(useful_h - (life_h - reach_h), work_s / 7200)
            life_h = reach_h
        usd = market.spot_usd[other] * life_h + slack_usd * (life_h - useful_h)
        usd = (usd + (market.egress_usd[zone, other] if zone >= 0 else 0.0)) / useful_h
        if usd < best_usd:
            best, best_usd, best_life_h = other, usd, life_h
    return best, best_usd, best_life_h


@compiled
def _pays(market: Market, zone: int, to: int, life_h: float, slack_usd: float) -> bool:
    """Whether leaving a zone for a cheaper one pays for its changeover over the life there."""
    changeover_h = market.changeover_s / 3600
    gain_usd = (market.spot_usd[zone] - market.spot_usd[to]) * (life_h - changeover_h)
    return bool(gain_usd > market.egress_usd[zone, to] + changeover_h * (market.spot_usd[to] + slack_usd))


@compiled
def _on_demand_zone(market: Market, work_s: float, zone: int) -> int:
    best, best_usd = 0, np.inf
    for other in range(market.on_demand_usd.size):
        usd = market.on_demand_usd[other] * (work_s + market.changeover_s) / 3600
        usd += market.egress_usd[zone, other] if zone >= 0 else 0.0
        if usd < best_usd:
            best, best_usd = other, usd
    return best


@compiled
def _next_look(
    market: Market, now: int, work_s: float, slack_usd: float, at: Ints, zone_at: Ints, flip: int,
    up: Bools, born: Ints, mode: int, zone: int, eager: bool,
) -> tuple[int, int]:  # fmt: skip
    """Return the next tick at which the rule may change its mind, and the first flip not yet seen by then."""
    if mode == IDLE:
        last_call = market.ticks - math.ceil((work_s + market.changeover_s) / market.tick_s - 1e-9)
        until = max(min(now + max(int(LOOK_H * 3600 / market.tick_s), 1), last_call), now + 1)
        return (min(until, at[flip]) if flip < at.size else until), flip
    if mode == ON_DEMAND:
        return (at[flip] if flip < at.size else now + market.ticks * 2), flip
    while flip < at.size:
        other = zone_at[flip]
        if other == zone:
            return at[flip], flip
        if eager and not up[other] and market.spot_usd[other] < market.spot_usd[zone]:
            if _pays(market, zone, other, market.life_h[other, 0], slack_usd):
                return at[flip], flip
        up[other], born[other] = not up[other], at[flip]
        flip += 1
    return now + market.ticks * 2, flip
