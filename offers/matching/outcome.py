"""
What may become of a plan: a few hundred futures of each, drawn with the same luck for all, so that they compare.

Every site lives through its own losses: a life drawn from its hazard by age, the work since it last handed in undone, a
wait for another machine, that one's boot and price. The speed of a kind of accelerator errs alike for all its sites.
The plan is done when its sites together have done the work.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offers.matching import facts
from offers.matching.book import MICRO, Floats, Ints
from offers.matching.need import Need
from offers.matching.plans import Paces, Plans
from offers.matching.survival import AGES_S

FUTURES = 256
SEED = 4
KINDS = 64  # Accelerators whose speeds err apart; more share their luck.
LIVES_MAX = 24  # Of one site; what comes after is taken at its average.
LIVES_TOGETHER = (2, 6, LIVES_MAX)  # Plans that need so many lives at most are drawn together.
FAR_H = 1e6
ROUNDS_MAX = 2 * LIVES_MAX
SAME = 1e-3  # Of the time; a loss delays by more.
QUANTILES = (0.1, 0.5, 0.9)
Singles = NDArray[np.float32]  # Seven digits are plenty for what is drawn, and half as much to move.


@dataclass(frozen=True, slots=True)
class Range:
    """Three quantiles of a quantity."""

    p10: float
    p50: float
    p90: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What may become of one plan. None: there is no deadline or budget, or nobody knows how dirty the power is."""

    finish_s: Range
    cost_usd: Range
    expected_usd: Decimal
    egress_usd: Decimal  # Part of the cost, expected.
    storage_usd: Decimal
    deadline_chance: float | None
    budget_chance: float | None
    losses: float  # Machines lost on the way, expected.
    loss_chance: float  # Of at least one.
    energy_kwh: float
    carbon_kg: float | None  # CO2e.
    late_s: float  # Done by then with the chance that is wanted.

    def as_json(self) -> dict[str, Any]:
        """Return it with money as strings, for storing and for the API."""
        shown = asdict(self)
        for name in ("expected_usd", "egress_usd", "storage_usd"):
            shown[name] = str(shown[name])
        shown["cost_usd"] = {name: f"{usd:.6f}" for name, usd in shown["cost_usd"].items()}
        return shown


@dataclass(frozen=True, slots=True)
class _Luck:
    """What is drawn for the sites of a plan by their order, the same for every plan: [lives, sites, futures]."""

    hazards: Singles  # To be lived through.
    waits_h: Singles
    boots: Singles  # Of the time told; one more than lives.
    undone_h: Singles
    prices: Singles  # Of the first; one more than lives.
    speed: Singles  # Standard normal, of each kind of accelerator: [KINDS, futures].


def outcomes(need: Need, plans: Plans, chosen: Ints) -> list[Outcome]:
    """Draw futures of some plans whose work is known, in their order."""
    found: dict[int, Outcome] = {}
    lives = _lives(plans, chosen)
    for few, many in pairwise((0, *LIVES_TOGETHER)):
        of_these = chosen[(few < lives) & (lives <= many)]
        if len(of_these):
            found |= zip(of_these.tolist(), _drawn(need, plans, of_these, many), strict=True)
    return [found[plan] for plan in chosen.tolist()]


def _lives(plans: Plans, chosen: Ints) -> Ints:
    """Return how many lives the most unlucky site of each plan may live until the work is done."""
    assert plans.hours is not None
    members = plans.members[chosen]
    rate = np.where(members >= 0, plans.paces.losses_per_h[members], 0).max(axis=1)
    losses = rate * plans.hours[chosen]
    return np.asarray(np.clip(np.ceil(losses + 3 * np.sqrt(losses)).astype(np.int64) + 1, 1, LIVES_MAX))


def _drawn(need: Need, plans: Plans, chosen: Ints, lives: int) -> list[Outcome]:
    assert need.samples is not None
    sites = _Sites(plans, chosen, lives)
    bill = _Bill(need, plans.paces, sites, sites.finish_h(need.samples / plans.efficiency[chosen]))
    return [_outcome(need, bill, plan) for plan in range(len(chosen))]


@lru_cache(maxsize=4)
def _luck(sites: int) -> _Luck:
    """
    Return the same luck every time, so that a need is told the same again.

    What moves most is spread evenly over its distribution: so few futures then give their quantiles well.
    """
    random = np.random.default_rng(SEED)
    shape, longer = (LIVES_MAX, sites, FUTURES), (LIVES_MAX + 1, sites, FUTURES)
    even = (np.arange(FUTURES) + 0.5) / FUTURES
    normal = np.array([NormalDist().inv_cdf(share) for share in even])

    def evenly(values: Floats, many: int) -> Floats:
        return np.stack([random.permutation(values) for _ in range(many)])

    def single(values: Floats) -> Singles:
        return values.astype(np.float32)

    hazards = random.exponential(size=shape)
    hazards[0] = evenly(-np.log1p(-even), sites)
    prices = np.exp(facts.REPLACEMENT_SIGMA * random.standard_normal(longer))
    prices[0] = 1.0  # The first machine's price is promised.
    return _Luck(
        hazards=single(hazards / np.exp(facts.HAZARD_SIGMA * evenly(normal, sites))),
        waits_h=single(random.exponential(facts.WAIT_S / 3600, shape)),
        boots=single(np.exp(facts.BOOT_SIGMA * random.standard_normal(longer))),
        undone_h=single(random.uniform(0, facts.ROUND_S / 3600, shape)),
        prices=single(prices),
        speed=single(evenly(normal, KINDS)),
    )


class _Sites:
    """
    The sites of some plans, those of a plan one after another. Times in hours of the clock.

    Arrays: [lives, sites, futures], so that what happens to all of them in one life lies together, or [sites, futures].
    """

    def __init__(self, plans: Plans, chosen: Ints, lives: int) -> None:
        """Let every site live through so many losses, whether or not the work is done by then."""
        paces, members = plans.paces, plans.members[chosen]
        self.plan, slot = np.nonzero(members >= 0)
        self.fill = members[self.plan, slot]
        self.starts = np.flatnonzero(np.diff(self.plan, prepend=-1))
        chip = paces.fills.book.accelerator[paces.fills.first[self.fill]] % KINDS
        luck = _luck(max(members.shape[1], 3))
        full, sigma, head_h = (
            one[self.fill, None].astype(np.float32) for one in (paces.full, paces.sigma, paces.head_h)
        )
        self.rates = full * np.exp(sigma * luck.speed[chip])
        self.prices, self.waits = luck.prices[: lives + 1, slot], luck.waits_h[:lives, slot]
        lived = _lives_h(paces.fills.losses_per_hour[self.fill], luck.hazards[:lives, slot])
        boots = luck.boots[: lives + 1, slot] * head_h
        self.ends = np.cumsum(lived + self.waits, axis=0) - self.waits  # Of each life.
        undone = np.minimum(luck.undone_h[:lives, slot], np.maximum(lived - boots[:-1], 0))
        boots[1:-1] = np.minimum(boots[1:-1], lived[1:])
        self.head = np.minimum(boots[0], lived[0])
        self.down = undone + self.waits + boots[1:]  # What each loss costs the site.
        self.through = np.cumsum(np.concatenate([self.head[None], self.down]), axis=0)
        self.later = _later(paces, self.fill)[:, None]

    def finish_h(self, work: Floats) -> Singles:
        """Return when the work is done: [plans, futures]. work: of each plan, in samples."""
        whole = self.of_plans(self.rates)
        alone = work[:, None].astype(np.float32) / whole
        done_at = alone
        for _ in range(ROUNDS_MAX):  # Every loss before the end delays it, and so may let another come before it.
            before, done_at = done_at, alone + self.of_plans(self.rates * self._lost(done_at)) / whole
            if (done_at - before <= SAME * done_at).all():
                break
        if len(self.fill) == len(work):
            return done_at
        # A site that is down when the others finish need not come back: T = h(T) from above, by Aitken's extrapolation.
        first = alone + self.of_plans(self.rates * (self._lost(done_at) - self._spared(done_at))) / whole
        second = alone + self.of_plans(self.rates * (self._lost(first) - self._spared(first))) / whole
        gap, rest = done_at - first, first - second
        share = np.where(gap > SAME * first, np.clip(rest / np.maximum(gap, 1e-9), 0, 0.99), 0)
        done_at = second - rest * share / (1 - share)
        return np.asarray(
            alone + self.of_plans(self.rates * (self._lost(done_at) - self._spared(done_at))) / whole, np.float32
        )

    def _lost(self, done_at: Singles) -> Singles:
        """Return the time that each site has lost by then."""
        until = done_at[self.plan]
        losses = (self.ends < until).sum(axis=0, dtype=np.int64)
        lost = np.take_along_axis(self.through, losses[None], axis=0)[0]
        return np.asarray(lost + self.later * np.maximum(until - self.ends[-1] - self.down[-1], 0))

    def _spared(self, done_at: Singles) -> Singles:
        """Return how much of the first boot or of the last loss by then is still to come."""
        until = done_at[self.plan]
        passed = until - self.ends
        to_come = np.where(passed > 0, np.maximum(self.down - passed, 0), 0).sum(axis=0)
        return np.asarray(to_come + np.maximum(self.head - until, 0))

    def of_plans(self, values: Singles) -> Singles:
        """Add up the sites of each plan."""
        return np.asarray(np.add.reduceat(values, self.starts, axis=0))

    def held_h(self, done_at: Singles) -> tuple[Singles, Singles, Singles]:
        """Return of each site the hours paid for, the same weighed with their prices, and its losses until then."""
        until = done_at[self.plan]
        begins = self.ends + self.waits
        held = np.minimum(until, self.ends)
        held[1:] -= begins[:-1]
        np.maximum(held, 0, out=held)
        last = np.maximum(until - begins[-1], 0)
        losses = (self.ends < until).sum(axis=0, dtype=np.float32)
        return held.sum(axis=0) + last, (held * self.prices[:-1]).sum(axis=0) + last * self.prices[-1], losses


def _lives_h(losses_per_hour: Floats, hazards: Singles) -> Singles:
    """Return how long each life lasts, where its cumulated hazard reaches what was drawn: [lives, sites, futures]."""
    knots_h = np.append(AGES_S / 3600, FAR_H)
    through = np.cumsum(np.diff(knots_h) * losses_per_hour, axis=1)
    through = np.concatenate([np.zeros((len(through), 1)), through], axis=1)
    lives = np.empty_like(hazards)
    for site, curve in enumerate(through):
        lives[:, site] = np.interp(hazards[:, site], curve, knots_h)
    return lives


def _later(paces: Paces, fill: Ints) -> Singles:
    """Return the share of time that is lost after the last life that was drawn."""
    each_h = paces.losses_per_h[fill] * (paces.head_h[fill] + (facts.ROUND_S / 2 + facts.WAIT_S) / 3600)
    return np.asarray(each_h / (1 + each_h), np.float32)


class _Bill:
    """What the futures of plans cost: [plans, futures]."""

    def __init__(self, need: Need, paces: Paces, sites: _Sites, hours: Singles) -> None:
        """hours: when each is done."""
        held, weighed, losses = sites.held_h(hours)
        fills, fill = paces.fills, sites.fill
        data, state = need.data_gib or 0.0, need.checkpoint_gib or 0.0

        def of_site(values: Floats) -> Singles:
            return values[fill, None].astype(np.float32)

        handed_in = of_site(fills.egress_usd_per_gib * state) * (1 + held * (3600 / facts.ROUND_S))
        read = data * facts.STORE_EGRESS_USD_PER_GIB * (1 + losses)
        stored_per_h = (data + state) * facts.STORAGE_USD_PER_GIB_MONTH / facts.HOURS_PER_MONTH
        on = sites.of_plans
        self.hours = hours
        self.losses = on(losses)
        self.egress = on(handed_in + read)
        self.storage = stored_per_h * hours * on(np.ones_like(held))
        self.usd = on(of_site(fills.micro_usd / MICRO) * weighed) + self.egress + self.storage
        self.hours_quantiles = np.quantile(hours, (*QUANTILES, need.wanted_chance), axis=1)
        self.usd_quantiles = np.quantile(self.usd, QUANTILES, axis=1)
        self.kwh = on(of_site(paces.kwh_per_h / paces.paid_share) * held)
        self.kg = on(of_site(paces.kg_per_h / paces.paid_share) * held)
        unknown = np.isnan(fills.book.gco2_per_kwh[fills.first[fill]])
        self.knows_grid = np.add.reduceat(unknown.astype(int), sites.starts) == 0


def _outcome(need: Need, bill: _Bill, plan: int) -> Outcome:
    hours, usd = bill.hours[plan], bill.usd[plan]
    deadline, budget = need.deadline_hours, need.budget_usd
    return Outcome(
        finish_s=Range(*(bill.hours_quantiles[:3, plan] * 3600).tolist()),
        cost_usd=Range(*bill.usd_quantiles[:, plan].tolist()),
        expected_usd=_usd(usd.mean()),
        egress_usd=_usd(bill.egress[plan].mean()),
        storage_usd=_usd(bill.storage[plan].mean()),
        deadline_chance=None if deadline is None else float((hours <= deadline).mean()),
        budget_chance=None if budget is None else float((usd <= float(budget)).mean()),
        losses=float(bill.losses[plan].mean()),
        loss_chance=float((bill.losses[plan] > 0).mean()),
        energy_kwh=float(bill.kwh[plan].mean()),
        carbon_kg=float(bill.kg[plan].mean()) if bill.knows_grid[plan] else None,
        late_s=float(bill.hours_quantiles[3, plan] * 3600),
    )


def _usd(value: float) -> Decimal:
    return Decimal(f"{value:.6f}")
