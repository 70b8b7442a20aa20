"""Futures of the zones, drawn from a forecast: when each goes up and down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from offers.matching.compiled import compiled
from offers.matching.policy.forecast import Bools, Forecast, Ints
from offers.matching.survival import Floats

MARKET_SPREAD = 0.2  # Of the logarithm of what makes all zones better or worse together, for as long as a job runs.
FLIPS_MAX = 8192  # Of all zones in one future, shared equally; later ones are left out.


@dataclass(frozen=True, slots=True)
class Futures:
    """
    Drawn futures, ticks from now: a zone of `zones[future, flip]` flips at `ticks[future, flip]`, in order of time.

    flips: [futures], how many there are of each. up, age: [zones], as it is now.
    """

    ticks: Ints
    zones: Ints
    flips: Ints
    up: Bools
    age: Ints


def draw(forecast: Forecast, chances: Floats, *, ticks: int, futures: int, seed: int) -> Futures:
    """Return so many futures of so many ticks. chances: the forecast's, [zones, state, ages]."""
    hazard = np.zeros((*chances.shape[:2], chances.shape[2] + 1))
    np.cumsum(-np.log1p(-chances), axis=2, out=hazard[:, :, 1:])
    drawn = Futures(
        ticks=np.empty((futures, FLIPS_MAX), np.int64),
        zones=np.empty((futures, FLIPS_MAX), np.int64),
        flips=np.zeros(futures, np.int64),
        up=forecast.up,
        age=forecast.age,
    )
    sureness = forecast.sureness()
    _draw(hazard, sureness, MARKET_SPREAD, seed, ticks, drawn.up, drawn.age, drawn.ticks, drawn.zones, drawn.flips)
    return drawn


@compiled
def _draw(
    hazard: Floats, sureness: Floats, spread: float, seed: int, ticks: int,
    up: Bools, age: Ints, at: Ints, zone_at: Ints, flips: Ints,
) -> None:  # fmt: skip
    np.random.seed(seed)
    zones = up.size
    times = np.empty(at.shape[1], np.int64)
    places = np.empty(at.shape[1], np.int64)
    for future in range(at.shape[0]):
        found = 0
        market = np.exp(spread * np.random.normal(0.0, 1.0))
        for zone in range(zones):
            down_level = np.random.gamma(sureness[zone, 0], 1.0) / sureness[zone, 0] / market
            up_level = np.random.gamma(sureness[zone, 1], 1.0) / sureness[zone, 1] * market
            is_up, now, from_age = up[zone], 0, age[zone]
            most = found + at.shape[1] // zones
            while found < most:
                need = np.random.exponential(1.0) / (up_level if is_up else down_level)
                now += _ticks_until(hazard[zone, 1 if is_up else 0], from_age, need)
                if now >= ticks:
                    break
                times[found], places[found] = now, zone
                found += 1
                is_up, from_age = not is_up, 0
        flips[future] = found
        _sort_by_time(times, places, found, ticks, at[future], zone_at[future])


@compiled
def _ticks_until(hazard: Floats, age: int, need: float) -> int:
    """Return the least number of ticks, 1 or more, in which so much hazard is met; straight on after the table."""
    last = hazard.size - 1
    goal = hazard[age] + need
    if goal >= hazard[last]:
        beyond = (goal - hazard[last]) / (hazard[last] - hazard[last - 1])
        return last - age + 1 + int(min(beyond, 1e9))
    low, high = age, last
    while high - low > 1:
        middle = (low + high) // 2
        if hazard[middle] >= goal:
            high = middle
        else:
            low = middle
    return max(high - age, 1)


@compiled
def _sort_by_time(times: Ints, places: Ints, found: int, ticks: int, at: Ints, zone_at: Ints) -> None:
    """Counting sort of the first `found` into at and zone_at."""
    begins = np.zeros(ticks + 1, np.int64)
    for flip in range(found):
        begins[times[flip] + 1] += 1
    for tick in range(1, ticks + 1):
        begins[tick] += begins[tick - 1]
    for flip in range(found):
        slot = begins[times[flip]]
        begins[times[flip]] += 1
        at[slot], zone_at[slot] = times[flip], places[flip]
