"""
The policy of one gang: where to run it now, on spot or on-demand, to finish by the deadline at the least cost.

At each decision every action worth a look (stay, move, wait, start, buy on-demand) is played out in a few hundred drawn
futures of the zones, each time followed by the simple rules of `rollout` (Tesauro and Galperin's rollout policy,
NIPS 1996). All actions see the same futures; those that are clearly dearer drop out early, so that most decisions take
a few dozen futures and only close ones take all. The deadline is not left to sampling: actions after which on-demand
could no longer finish in time are never considered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from offers.matching.policy import futures, rollout
from offers.matching.policy.forecast import Bools, Forecast, Ints, gang_ups, lives_h
from offers.matching.policy.gang_terms import IDLE, ON_DEMAND, SPOT, GangDecision, GangSeen, GangTerms, meets_deadline
from offers.matching.survival import Floats

MODES = (IDLE, SPOT, ON_DEMAND)
LOOK_S = 900.0  # With nothing new a choice holds so long.
ZONES_TRIED = 6
NEEDS = (0.004, 0.012, 0.03, 0.07, 0.15, 0.3)  # Hours of slack an hour of work may need.
STAGES = (16, 32, 64, 128, 256)  # Futures seen before each round of dropping out.
PLAYS_KEPT = (24, 16, 12, 8, 8)
FLIPS_SEEN_MAX = 80_000  # In all futures of one decision: fewer of them where zones flicker.
CLEAR = 2.5  # Standard errors behind the best at which a play drops out.
DOUBT = 1.0  # Standard errors, and
GAIN = 0.002  # the share of the cost, that must be gained for giving up what runs.
USUAL_AGE_H = 2.0
# Drawn futures are kinder than real ones (zones fail together more than is seen), so slack is guarded: rollouts see
# this share of it less, and an action is charged for what it spends at this share of what a usual rule pays for it.
HIDDEN_SHARE, CHARGED_SHARE = 0.15, 0.5
NEED_USUAL = 0.07

Action = tuple[str, int | None]


class GangPolicy:
    """Decides tick by tick for one gang; learns only from the past it is shown and from what it sees."""

    def __init__(self, terms: GangTerms, *, past: npt.NDArray[Any], known: Bools | None = None, seed: int = 0) -> None:
        """
        Begin with what was seen before the start, one tick apart. past: [zones, ticks], may have no tick.

        Either bools, whether the gang could have run, or counts of nodes, from which its size is guessed. known:
        False where a zone was not heard of yet; None: all were.
        """
        self.terms = terms
        self._past: npt.NDArray[Any] | None = past
        self._known = np.ones(past.shape, bool) if known is None else known
        self._forecast = Forecast(zones=len(terms.zones), tick_s=terms.tick_s)
        self._seed = seed
        self._chosen: Action | None = None
        self._chosen_tick = 0

    def decide(self, seen: GangSeen) -> GangDecision:
        """Return what to hold until the next tick."""
        is_news = bool((seen.up != self._forecast.up).any())
        self._learn(seen.up)
        held: Action = (seen.mode, seen.zone)
        figures = self._figures(seen)
        is_fresh = (seen.tick - self._chosen_tick) * self.terms.tick_s < LOOK_S
        if self._is_bargain(seen) and meets_deadline(self.terms, seen, mode=seen.mode, zone=seen.zone):
            action, figures["because"] = held, "no zone is cheaper"
        elif not is_news and held == self._chosen and is_fresh and self._may(seen, held):
            action, figures["because"] = held, "nothing new"
        else:
            action = self._plan(seen, figures)
            self._chosen_tick = seen.tick
        self._chosen = action
        return GangDecision(act=_word(held, action), mode=action[0], zone=action[1], figures=figures)

    def _learn(self, up: Bools) -> None:
        if self._past is not None and self._past.shape[1]:
            ups = self._past if self._past.dtype == bool else gang_ups(self._past, up)
            for tick in range(ups.shape[1]):
                self._forecast.see(ups[:, tick], self._known[:, tick])
        self._past = None
        self._forecast.see(up)

    def _figures(self, seen: GangSeen) -> dict[str, Any]:
        work_s = self.terms.work_s - seen.progress_s
        left_s = (self.terms.ticks - seen.tick) * self.terms.tick_s
        return {
            "work_h": round(work_s / 3600, 3),
            "slack_h": round((left_s - work_s) / 3600, 3),
            "progress_needed_per_h": round(work_s / left_s, 3) if left_s > 0 else math.inf,
        }

    def _is_bargain(self, seen: GangSeen) -> bool:
        """Whether it runs on spot where no other zone, up or not, has a lower price: nothing is gained by leaving."""
        return seen.mode == SPOT and seen.zone is not None and bool(seen.spot_usd[seen.zone] <= seen.spot_usd.min())

    def _may(self, seen: GangSeen, action: Action) -> bool:
        return meets_deadline(self.terms, seen, mode=action[0], zone=action[1])

    def _plan(self, seen: GangSeen, figures: dict[str, Any]) -> Action:
        """Return the action with the least expected cost, and write down the figures."""
        market, chances = self._market(seen)
        actions = [action for action in self._actions(seen, market) if self._may(seen, action)]
        if len(actions) < 2:
            figures["because"] = "the deadline leaves no choice"
            return actions[0] if actions else self._too_late(seen, market)
        race = self._race(seen, market, chances, actions)
        held = (seen.mode, seen.zone)
        runs = actions.index(held) if seen.mode != IDLE and held in actions else None
        best = race.best(runs, looks=max(LOOK_S / self.terms.tick_s, 1.0))
        usd = race.usd_by_action()
        figures["expected_usd"] = {self._name(action): usd[i] for i, action in enumerate(actions) if i in usd}
        figures["futures"] = race.usd.shape[1]
        figures["slack_usd_per_h"] = round(_charged_usd_per_h(market, self.terms.work_s - seen.progress_s), 4)
        if actions[best][0] == SPOT:
            figures["life_h"] = round(float(self._lives(market.life_h)[actions[best][1]]), 2)
        figures["because"] = "least expected cost"
        return actions[best]

    def _market(self, seen: GangSeen) -> tuple[rollout.Market, Floats]:
        terms, tick_h = self.terms, self._forecast.tick_h
        ticks = terms.ticks - seen.tick
        slack_s = ticks * terms.tick_s - (terms.work_s - seen.progress_s) - 2 * terms.changeover_s
        ticks -= max(int(HIDDEN_SHARE * slack_s / terms.tick_s), 0)
        chances = self._forecast.chances()
        life_h, useful_h = lives_h(
            chances[:, 1], tick_h=tick_h, changeover_h=terms.changeover_s / 3600, until_h=max(ticks, 1) * tick_h
        )
        usual = min(int(USUAL_AGE_H / tick_h), life_h.shape[1] - 1)
        spot_usd = np.asarray(seen.spot_usd, float)
        usual_usd = float((spot_usd * life_h[:, usual] / useful_h[:, usual]).min())
        return rollout.Market(
            spot_usd=spot_usd,
            on_demand_usd=terms.on_demand_usd,
            egress_usd=terms.egress_usd,
            life_h=life_h,
            useful_h=useful_h,
            tick_s=terms.tick_s,
            ticks=ticks,
            changeover_s=terms.changeover_s,
            usual_usd=usual_usd,
            saved_usd=max(float(terms.on_demand_usd.min()) - usual_usd, 0.01 * usual_usd),
        ), chances

    def _actions(self, seen: GangSeen, market: rollout.Market) -> list[Action]:
        """Return what is worth a look. What runs on spot is left only for something cheaper."""
        egress_usd = market.egress_usd[seen.zone] if seen.zone is not None else np.zeros(len(seen.up))
        life_h = self._lives(market.life_h)
        usd = (market.spot_usd * life_h + egress_usd) / self._lives(market.useful_h)
        ups = seen.up.copy()
        if seen.mode == SPOT:
            ups &= market.spot_usd < market.spot_usd[seen.zone]
        zones = sorted(np.flatnonzero(ups), key=lambda zone: usd[zone])[:ZONES_TRIED]
        actions: list[Action] = [(seen.mode, seen.zone), (IDLE, seen.zone), *((SPOT, int(zone)) for zone in zones)]
        if seen.mode != ON_DEMAND:
            hours = (self.terms.work_s - seen.progress_s + self.terms.changeover_s) / 3600
            actions.append((ON_DEMAND, int(np.argmin(market.on_demand_usd * hours + egress_usd))))
            if seen.zone is not None:
                actions.append((ON_DEMAND, seen.zone))
        return list(dict.fromkeys(actions))

    def _lives(self, table: Floats) -> Floats:
        """Return each zone's entry of a table by age. [zones, ages] -> [zones]."""
        return np.asarray(table[np.arange(len(table)), self._forecast.age])

    def _too_late(self, seen: GangSeen, market: rollout.Market) -> Action:
        """The deadline was never within reach: run on, else buy what is nearest."""
        if seen.mode != IDLE:
            return seen.mode, seen.zone
        return ON_DEMAND, seen.zone if seen.zone is not None else int(np.argmin(market.on_demand_usd))

    def _race(self, seen: GangSeen, market: rollout.Market, chances: Floats, actions: list[Action]) -> _Race:
        """Play all actions with all rules in ever more futures, dropping what is clearly dearer."""
        eager = (0.0, 1.0) if np.ptp(market.spot_usd) > 0.02 * market.spot_usd.max() else (0.0,)
        plays = np.array([
            (MODES.index(mode), -1 if zone is None else zone, need, moves)
            for mode, zone in actions for need in NEEDS for moves in eager
        ])  # fmt: skip
        held = rollout.Holding(
            mode=MODES.index(seen.mode),
            zone=-1 if seen.zone is None else seen.zone,
            left_s=float(seen.changeover_left_s),
            work_s=float(self.terms.work_s - seen.progress_s),
        )
        race = _Race(plays, np.repeat(np.arange(len(actions)), len(plays) // len(actions)), np.zeros((len(plays), 0)))
        flips = 0
        for count, keep in zip(STAGES, PLAYS_KEPT, strict=True):
            more = count - race.usd.shape[1]
            if flips / max(race.usd.shape[1], 1) * count > FLIPS_SEEN_MAX:
                break
            seed = (self._seed * 1_000_003 + seen.tick) * len(STAGES) + STAGES.index(count)
            drawn = futures.draw(self._forecast, chances, ticks=market.ticks, futures=more, seed=seed % 2**32)
            flips += int(drawn.flips.sum())
            usd = np.empty((len(race.plays), more))
            rollout.costs(market, drawn.ticks, drawn.zones, drawn.flips, drawn.up, drawn.age, held, race.plays, usd)
            race = race.after(usd + self._slack_usd(market, held, race.plays), keep)
            if len(set(race.actions.tolist())) == 1:
                break
        return race

    def _slack_usd(self, market: rollout.Market, held: rollout.Holding, plays: Floats) -> Floats:
        """Return what each play is charged for the slack that its first action spends: [plays, 1]."""
        waits = plays[:, 0] == rollout.IDLE
        spent_h = self.terms.changeover_s / 3600 + np.where(waits, self._forecast.tick_h, 0.0)
        spent_h[~waits & (plays[:, 0] == held.mode) & (plays[:, 1] == held.zone)] = 0.0
        return np.asarray(spent_h[:, None] * _charged_usd_per_h(market, held.work_s))

    def _name(self, action: Action) -> str:
        mode, zone = action
        return "wait" if mode == IDLE or zone is None else f"{mode} {self.terms.zones[zone]}"


@dataclass(frozen=True, slots=True)
class _Race:
    """Plays still in it, the action (an index) that each begins with, and what each cost: [plays, futures]."""

    plays: Floats
    actions: Ints
    usd: Floats

    def after(self, usd: Floats, keep: int) -> _Race:
        """Return the race after more futures, with at most so many plays."""
        usd = np.hstack([self.usd, usd])
        means = usd.mean(1)
        behind = usd - usd[np.argmin(means)]
        doubt = behind.std(1) / math.sqrt(usd.shape[1])
        order = np.argsort(means, kind="stable")[:keep]
        order = order[behind.mean(1)[order] <= CLEAR * doubt[order]]
        return _Race(self.plays[order], self.actions[order], usd[order])

    def best(self, held: int | None, *, looks: float = 1.0) -> int:
        """
        Return the action to take: the cheapest, unless it gains too little over what is held.

        looks: ticks until the next look. A rule may leave what is held at the next tick, which costs little; the policy
        itself would not look again so soon.
        """
        means = self.usd.mean(1)
        first = int(np.argmin(means))
        of_held = np.flatnonzero(self.actions == held) if held is not None else np.zeros(0, int)
        if of_held.size:
            stay = of_held[np.argmin(means[of_held])]
            behind = self.usd[stay] - self.usd[first]
            doubt = behind.std() / math.sqrt(len(behind))
            if looks * behind.mean() <= DOUBT * doubt + GAIN * means[first]:
                return int(self.actions[stay])
        return int(self.actions[first])

    def usd_by_action(self) -> Mapping[int, float]:
        """Return the expected cost of each action still in it, with the best rule for it."""
        means = self.usd.mean(1)
        still_in = sorted(set(self.actions.tolist()))
        return {action: round(float(means[self.actions == action].min()), 4) for action in still_in}


def _charged_usd_per_h(market: rollout.Market, work_s: float) -> float:
    """Return what an action is charged for an hour of slack, on top of what it costs in the rollouts."""
    return CHARGED_SHARE * rollout.slack_usd_per_hour(market, 0, work_s, NEED_USUAL)


def _word(held: Action, action: Action) -> str:
    if action[0] == IDLE:
        return "wait"
    if action == held:
        return "stay"
    if action[0] == ON_DEMAND:
        return "buy_on_demand"
    return "start" if held[0] == IDLE else "move"


def new_gang_policy(**terms: Any) -> TickByTick:
    """Return a policy for one gang in whole ticks; `history` is (counts [zones, ticks], prices) seen before."""
    past, _ = terms.pop("history")
    terms["zones"] = tuple(terms["zones"])
    for name in ("on_demand_usd", "egress_usd"):
        terms[name] = np.ascontiguousarray(terms[name], dtype=np.float64)
    return TickByTick(GangPolicy(GangTerms(**terms), past=np.asarray(past)))


class TickByTick:
    """The same policy for one who asks with plain arguments and wants (mode, zone)."""

    def __init__(self, policy: GangPolicy) -> None:
        self.policy = policy
        self.decision: GangDecision | None = None

    def step(
        self,
        *,
        tick: int,
        available: npt.ArrayLike,
        spot_usd: npt.ArrayLike,
        mode: str,
        zone: int | None,
        progress_s: float,
        changeover_left_s: float,
    ) -> tuple[str, int | None]:
        """Return what to hold during this tick."""
        seen = GangSeen(
            tick=tick,
            up=np.asarray(available, dtype=bool),
            spot_usd=np.asarray(spot_usd, dtype=np.float64),
            mode=mode,
            zone=zone,
            progress_s=progress_s,
            changeover_left_s=changeover_left_s,
        )
        self.decision = self.policy.decide(seen)
        return self.decision.mode, self.decision.zone
