"""
What really becomes of a plan: one run after another, event by event, by rules of its own.

It shares no code with offers.matching.outcome: lives are drawn by thinning, rounds end on the clock of the site, boots
are gamma and prices uniform where the engine takes logarithms of both for normal, and how wrong the hazards are is
drawn from a gamma distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from offers.matching import facts
from offers.matching.book import STRANGERS
from offers.matching.estimate import MULTI_SITE_EFFICIENCY
from offers.matching.need import Need
from offers.matching.solve import SitePlan
from offers.matching.survival import AGES_S

AGES_H = [age / 3600 for age in AGES_S]
PRICE_SPREAD = 0.26  # Uniform about the first price: the standard deviation is 0.15.
BOOT_SHAPE = 11.0  # Of a gamma distribution: the standard deviation is 0.3 of the mean.
HAZARD_SHAPE = 6.0


@dataclass(slots=True)
class Site:
    """One site as the world sees it. Hours of the clock; losses_per_h: of any machine, by age."""

    usd_per_h: float
    samples_per_h: float
    boot_h: float
    losses_per_h: Sequence[float]
    egress_usd_per_gib: float
    chip: str
    sigma: float  # Of the logarithm of its chip's speed.

    state: str = "booting"
    until_h: float = 0.0  # The boot or the wait is over then.
    dies_h: float = 0.0
    price: float = 1.0  # Of the machine it has, against the first.
    began_h: float = 0.0  # Training, on this machine.
    kept: float = 0.0  # Samples handed in.


def cost_and_hours(need: Need, sites: Sequence[Site], *, share: float, random: Random) -> tuple[float, float]:
    """Run a plan once. share: of the time that rounds between sites leave for training."""
    assert need.samples is not None
    speed = {site.chip: random.lognormvariate(0, site.sigma) for site in sites}
    wrong = random.gammavariate(HAZARD_SHAPE, 1 / HAZARD_SHAPE)
    state_gib, data_gib = need.checkpoint_gib or 0.0, need.data_gib or 0.0
    usd = sum((site.egress_usd_per_gib * state_gib + data_gib * facts.STORE_EGRESS_USD_PER_GIB) for site in sites)
    now = 0.0
    for site in sites:
        _boot(site, now, wrong, random)
    while True:
        paces = [site.samples_per_h * share * speed[site.chip] if site.state == "training" else 0.0 for site in sites]
        done = sum(site.kept for site in sites)
        since = sum(pace * (now - site.began_h) for pace, site in zip(paces, sites, strict=True))
        left = need.samples - done - since
        finish = now + left / sum(paces) if any(paces) else float("inf")
        event = min(min(site.dies_h if site.state != "waiting" else site.until_h for site in sites),
                    min((site.until_h for site in sites if site.state == "booting"), default=float("inf")))  # fmt: skip
        until = min(finish, event)
        usd += sum(_held_usd(site, until - now, state_gib) for site in sites)
        usd += (
            (state_gib + data_gib)
            * len(sites)
            * (until - now)
            * facts.STORAGE_USD_PER_GIB_MONTH
            / facts.HOURS_PER_MONTH
        )
        now = until
        if finish <= event:
            return usd, now
        for site, pace in zip(sites, paces, strict=True):
            if site.state != "waiting" and site.dies_h <= now:
                _lose(site, now, pace, random)
                usd += data_gib * facts.STORE_EGRESS_USD_PER_GIB
            elif site.state == "booting" and site.until_h <= now:
                site.state, site.began_h = "training", now
            elif site.state == "waiting" and site.until_h <= now:
                site.price = random.uniform(1 - PRICE_SPREAD, 1 + PRICE_SPREAD)
                _boot(site, now, wrong, random)


def share_of(need: Need, plan: Sequence[SitePlan]) -> float:
    """Return the share of the time that rounds leave for training: steps are added to a round until they are rare."""
    if len(plan) == 1:
        return 1.0
    if need.checkpoint_gib is None:
        return MULTI_SITE_EFFICIENCY
    links = [one.internet_mbit_per_s or (100 if one.provider in STRANGERS else 1000)
             for site in plan for one, _ in site.lines]  # fmt: skip
    away_s = 2 * need.checkpoint_gib * 8 * 1024**3 / (min(links) * 1e6) + 4 * 0.05
    step_s, steps = 900 / 500, 20
    while steps < 500 and away_s > 0.05 * (away_s + steps * step_s):
        steps += 1
    return steps * step_s / (steps * step_s + away_s)


def _held_usd(site: Site, hours: float, state_gib: float) -> float:
    if site.state == "waiting":
        return 0.0
    handed_in = site.egress_usd_per_gib * state_gib * 3600 / facts.ROUND_S
    return hours * (site.usd_per_h * site.price + handed_in)


def _boot(site: Site, now: float, wrong: float, random: Random) -> None:
    site.state = "booting"
    site.until_h = now + site.boot_h * random.gammavariate(BOOT_SHAPE, 1 / BOOT_SHAPE)
    site.dies_h = now + _life_h(site.losses_per_h, wrong, random)


def _lose(site: Site, now: float, pace: float, random: Random) -> None:
    """What was done since the last round ended is lost."""
    if site.state == "training":
        round_h = facts.ROUND_S / 3600
        site.kept += pace * round_h * int((now - site.began_h) / round_h)
    site.state = "waiting"
    site.until_h = now + random.expovariate(3600 / facts.WAIT_S)


def _life_h(by_age: Sequence[float], wrong: float, random: Random) -> float:
    """Draw a life by thinning: candidates at the highest rate, of which each is taken as its age's rate says."""
    most = max(by_age) * wrong
    age = 0.0
    while True:
        age += random.expovariate(most)
        rate = next(rate for at, rate in zip(reversed(AGES_H), reversed(by_age), strict=True) if age >= at)
        if random.random() * most <= rate * wrong or age > 1e5:
            return age


def site_of(plan: SitePlan, *, samples_per_s: float, sigma: float, losses_per_h: Sequence[float]) -> Site:
    """Return a site of a plan as it is before anything has happened."""
    return Site(
        usd_per_h=float(plan.usd_per_hour),
        samples_per_h=samples_per_s * plan.accelerators * 3600,
        boot_h=max(one.boot_s or 0.0 for one, _ in plan.lines) / 3600,
        losses_per_h=losses_per_h,
        egress_usd_per_gib=max(one.egress_usd_per_gib or 0.0 for one, _ in plan.lines),
        chip=plan.accelerator,
        sigma=sigma,
    )
