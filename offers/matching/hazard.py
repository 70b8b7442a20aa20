"""
How often machines are lost, by age: learnt from spells, shrunk towards what is known of their like.

A rate starts as the prior of its line (what the provider says, else what public figures say) and is multiplied, age by
age, by what was seen at three levels, each within the one before: (provider, market), (provider, market, accelerator),
and the place itself, (provider, region, zone, machine type). At each level the factor is gamma-Poisson empirical Bayes,
(k + losses) / (k + losses expected by the level before): near 1 with few losses, with many what was seen.

Age is how long the machine, or the capacity that it comes from, is known to have been there without a break.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from offers.matching import survival as curves
from offers.matching.hazard_prior import Key, Line, is_stated, prior_rates
from offers.matching.survival import AGES_S, Floats

LOSSES_PRIOR = 2.0  # The weight of a prior against the losses of a provider's market, all ages together.
LOSSES_LIKE = 5.0  # k of the factor of one age. 2 to 12 move the gain on the traces by 0.002.


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """
    A machine, or a gang at one place, that was watched from one age to another.

    Of a lease, began_age_s is for how long the offer had been there when it opened, 0 where that is not known.
    """

    key: Key
    accelerator: str
    market: str
    began_age_s: float
    ended_age_s: float
    lost: bool  # False: it was given back, or is still there.


@dataclass(frozen=True, slots=True)
class Hazards:
    """What was learnt; `learn` makes it. The dictionaries find rows of the arrays, whose last row is of the unknown."""

    place_rows: dict[tuple[Key, str], int]
    exposure_h: Floats  # [places + 1, ages]
    losses: Floats
    market_rows: dict[tuple[object, ...], int]
    market_factors: Floats  # [markets + 1, ages]
    like_rows: dict[tuple[object, ...], int]
    like_factors: Floats

    def rates_per_hour(self, lines: Sequence[Line]) -> Floats:
        """Return each line's losses per hour by age, [lines, ages], for the functions of `survival`."""
        markets = [self.market_rows.get(_market(line), -1) for line in lines]
        likes = [self.like_rows.get(_like(line), -1) for line in lines]
        places = [self.place_rows.get((line.key, line.market), -1) for line in lines]
        rates = prior_rates(lines) * self.market_factors[markets] * self.like_factors[likes]
        return rates * _factor(self.losses[places], self.exposure_h[places] * rates)

    def rate_per_hour(self, line: Line, age_s: ArrayLike = 0.0) -> Floats:
        """Return losses per hour of one line at some ages. age_s: [...]."""
        return curves.rate_at(self.rates_per_hour([line])[0], age_s)

    def survival(self, line: Line, age_s: ArrayLike, horizon_s: ArrayLike) -> Floats:
        """Return the chance that a machine of one line is still there after the horizon. age_s, horizon_s: [...]."""
        return curves.survival(self.rates_per_hour([line])[0], age_s, horizon_s)


def learn(spells: Iterable[Spell], lines: Iterable[Line] = ()) -> Hazards:
    """Return what spells teach. lines: what is said of their places, where anything is."""
    said = {(line.key, line.market): line for line in lines}
    rows: dict[tuple[Key, str], int] = {}
    seen: list[Line] = []
    of_spell, begins_s, ends_s, lost = [], [], [], []
    for spell in spells:
        place = (spell.key, spell.market)
        if place not in rows:
            rows[place] = len(rows)
            seen.append(said.get(place) or Line(key=spell.key, accelerator=spell.accelerator, market=spell.market))
        of_spell.append(rows[place])
        begins_s.append(spell.began_age_s)
        ends_s.append(spell.ended_age_s)
        lost.append(spell.lost)
    exposure_h, losses = _summed(
        len(seen) + 1,
        np.array(of_spell, dtype=np.intp),
        np.array(begins_s),
        np.array(ends_s),
        np.array(lost, dtype=bool),
    )
    market_rows, markets = _grouped([_market(line) for line in seen])
    like_rows, likes = _grouped([_like(line) for line in seen])
    factors = _shared(prior_rates(seen), exposure_h[:-1], losses[:-1], markets, likes)
    return Hazards(rows, exposure_h, losses, market_rows, factors[0], like_rows, factors[1])


def spells_of_counts(counts: NDArray[np.integer], *, nodes: int, tick_s: float, lines: Sequence[Line]) -> list[Spell]:
    """
    Return the spells of a gang in an availability trace: a gang is up while its zone grants `nodes` machines or more.

    counts: [zones, ticks], a line each. A loss is dated to the middle of the tick in which it was found. A spell that
    was going on when the trace began counts from there.
    """
    zones, begins, ends, lost = _runs(counts >= nodes)
    return [
        Spell(key=lines[zone].key, accelerator=lines[zone].accelerator, market=lines[zone].market,
              began_age_s=0.0, ended_age_s=float(end - begin) * tick_s, lost=bool(gone))
        for zone, begin, end, gone in zip(zones, begins, ends, lost, strict=True)
    ]  # fmt: skip


class Watch:
    """
    The same model over zones that are seen tick by tick: fast, and it learns on as they go.

    `age_s: [zones]` is how long each has been up, as far as was seen; 0 while it is down.
    """

    def __init__(self, history: NDArray[np.bool_], *, tick_s: float, lines: Sequence[Line]) -> None:
        """Learn from what was seen before. history: [zones, ticks], True: up, may have no tick; lines: a zone each."""
        self.tick_s, self.priors = tick_s, prior_rates(lines)
        self.markets = _grouped([_market(line) for line in lines])[1]
        self.likes = _grouped([_like(line) for line in lines])[1]
        zones, begins, ends, lost = _runs(history)
        ages_s = (ends - begins) * tick_s
        self.exposure_h, self.losses = _summed(len(lines), zones, np.zeros_like(ages_s), ages_s, lost)
        self.is_up = history[:, -1].copy() if history.shape[1] else np.zeros(len(lines), dtype=bool)
        self.age_s = np.zeros(len(lines))
        self.age_s[zones[~lost]] = ages_s[~lost]

    def observe(self, is_up: NDArray[np.bool_]) -> None:
        """Learn from one more tick. is_up: [zones]."""
        stayed, gone = self.is_up & is_up, self.is_up & ~is_up
        lived_s = np.where(stayed, self.tick_s, np.where(gone, self.tick_s / 2, 0.0))
        exposure_h, losses = _summed(len(is_up), np.arange(len(is_up)), self.age_s, self.age_s + lived_s, gone)
        self.exposure_h += exposure_h
        self.losses += losses
        self.age_s = np.where(stayed, self.age_s + self.tick_s, 0.0)
        self.is_up = is_up.copy()

    def rates_per_hour(self) -> Floats:
        """Return each zone's losses per hour by age, [zones, ages], for the functions of `survival`."""
        of_markets, of_likes = _shared(self.priors, self.exposure_h, self.losses, self.markets, self.likes)
        rates = self.priors * of_markets[self.markets] * of_likes[self.likes]
        return rates * _factor(self.losses, self.exposure_h * rates)

    def survival(self, horizon_s: ArrayLike) -> Floats:
        """Return the chance that each zone, if it is up now, stays up through the horizon. [zones]."""
        return curves.survival(self.rates_per_hour(), self.age_s, horizon_s)


def _market(line: Line) -> tuple[object, ...]:
    return (line.key[0], line.market, is_stated(line))  # What is stated may be wrong in its own way.


def _like(line: Line) -> tuple[object, ...]:
    return (*_market(line), line.accelerator)


def _grouped(names: list[tuple[object, ...]]) -> tuple[dict[tuple[object, ...], int], NDArray[np.intp]]:
    """Number distinct names; return the numbers by name, and of each."""
    numbers: dict[tuple[object, ...], int] = {}
    of_each = [numbers.setdefault(name, len(numbers)) for name in names]
    return numbers, np.array(of_each, dtype=np.intp)


def _runs(
    is_up: NDArray[np.bool_],
) -> tuple[NDArray[np.intp], Floats, Floats, NDArray[np.bool_]]:
    """
    Return the zone, first tick, end and whether it was lost, of every stretch of True in [zones, ticks].

    The end is the last tick seen, or half a tick later where the next one found it lost.
    """
    padded = np.pad(is_up, ((0, 0), (1, 1))).astype(np.int8)
    turns = np.diff(padded, axis=1)
    zones, begins = np.nonzero(turns == 1)
    after = np.nonzero(turns == -1)[1]
    lost = after < is_up.shape[1]
    return zones, begins.astype(np.float64), after - 1 + lost / 2, lost


def _summed(
    rows: int, of_each: NDArray[np.intp], begins_s: Floats, ends_s: Floats, lost: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Return the hours that were watched and the losses by row and age: [rows, ages] each."""
    exposure_h, losses = np.zeros((rows, len(AGES_S))), np.zeros((rows, len(AGES_S)))
    np.add.at(exposure_h, of_each, curves.time_in_ages(begins_s, ends_s) / 3600)
    ages = np.searchsorted(AGES_S, ends_s[lost], side="right") - 1
    np.add.at(losses, (of_each[lost], ages), 1.0)
    return exposure_h, losses


def _shared(
    priors: Floats, exposure_h: Floats, losses: Floats, markets: NDArray[np.intp], likes: NDArray[np.intp]
) -> tuple[Floats, Floats]:
    """
    Return the factors of the markets and of the likes by age, [groups + 1, ages] each; their last row is 1.

    A prior's level is the least sure of all, so a market first gets one factor for all ages.
    """
    seen, expected = _by_group(markets, losses), _by_group(markets, exposure_h * priors)
    level = (LOSSES_PRIOR + seen.sum(axis=1, keepdims=True)) / (LOSSES_PRIOR + expected.sum(axis=1, keepdims=True))
    of_markets = level * _factor(seen, expected * level)
    expected = _by_group(likes, exposure_h * priors * of_markets[markets])
    return of_markets, _factor(_by_group(likes, losses), expected)


def _by_group(groups: NDArray[np.intp], values: Floats) -> Floats:
    """Return the sums of rows by group, and a row of zeros: [groups + 1, ages]."""
    sums = np.zeros((groups.max(initial=-1) + 2, values.shape[1]))
    np.add.at(sums, groups, values)
    return sums


def _factor(losses: Floats, expected: Floats) -> Floats:
    return (LOSSES_LIKE + losses) / (LOSSES_LIKE + expected)
