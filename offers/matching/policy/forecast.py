"""
How long zones stay up and down: chances by age, learnt tick by tick, shrunk to all zones together and to a prior.

`hazard` knows how machines are lost; a policy that may wait needs the way back as well, and how unsure both are, so the
same model (gamma-Poisson factors by age, within those of all zones) is kept here for the two states of a zone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from offers.matching.compiled import compiled
from offers.matching.hazard_prior import SPOT_PER_HOUR
from offers.matching.survival import AGES_S, Floats

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

DOWN, UP = 0, 1
# Weights of what is known before against flips seen: of the prior at each age, of all zones, of one zone's level.
PRIOR_FLIPS, POOL_FLIPS, ZONE_FLIPS = 3.0, 6.0, 4.0
LEVEL_FLIPS_MAX = 25.0  # A zone's level is never surer than after so many flips: markets change.
FIRST_AGE_S = 7200.0  # Of a zone when first seen: long spells are met more often than short ones.
CHANCE_MAX = 0.95


class Forecast:
    """
    Flips and hours watched by zone, state and age; `up` and `age` (ticks since the last flip) are as last seen.

    Ages beyond the last of AGES_S are one: tables by age have `ages` columns.
    """

    def __init__(self, *, zones: int, tick_s: float) -> None:
        self.tick_h = tick_s / 3600
        self.ages = int(np.ceil(AGES_S[-1] / tick_s)) + 1
        self.column = np.searchsorted(AGES_S, np.arange(self.ages) * tick_s + 1e-6, side="right") - 1
        self.flips = np.zeros((zones, 2, len(AGES_S)))
        self.hours = np.zeros((zones, 2, len(AGES_S)))
        self.up: Bools = np.zeros(zones, bool)
        self.age: Ints = np.full(zones, min(int(FIRST_AGE_S / tick_s), self.ages - 1), np.int64)
        self._known: Bools = np.zeros(zones, bool)

    def see(self, up: Bools, known: Bools | None = None) -> None:
        """Learn from one more tick. up: [zones]; known: of which zones anything is known yet, None: of all."""
        known = np.ones(len(up), bool) if known is None else known
        before = self._known & known
        flipped = (up != self.up) & before
        cell = (np.arange(len(up)), self.up.astype(np.int64), self.column[self.age])
        self.hours[cell] += self.tick_h * before
        self.flips[cell] += flipped
        self.age = np.where(flipped, 0, np.minimum(self.age + before, self.ages - 1))
        self.up, self._known = up & known, known.copy()

    def chances(self) -> Floats:
        """Return the chance that a zone flips at the next tick: [zones, state, ages]."""
        pool = (PRIOR_FLIPS + self.flips.sum(0)) / (PRIOR_FLIPS / SPOT_PER_HOUR + self.hours.sum(0))
        level = (ZONE_FLIPS + self.flips.sum(2)) / (ZONE_FLIPS + (self.hours * pool).sum(2))
        expected = level[:, :, None] * pool
        rates = (POOL_FLIPS + self.flips) / (POOL_FLIPS / expected + self.hours)
        return np.asarray(np.minimum(rates[:, :, self.column] * self.tick_h, CHANCE_MAX))

    def sureness(self) -> Floats:
        """Return the shape of the gamma by which a zone's level may still be off: [zones, state]."""
        return np.asarray(np.minimum(ZONE_FLIPS + self.flips.sum(2), LEVEL_FLIPS_MAX))


def lives_h(chances: Floats, *, tick_h: float, changeover_h: float, until_h: float) -> tuple[Floats, Floats]:
    """
    Return the mean hours that a zone which is up has left, and those of them after a changeover: [zones, ages] each.

    chances: of going down, [zones, ages]. until_h: lives are counted up to here.
    """
    stays = 1 - chances
    life = np.empty_like(chances)
    _fill_lives(stays, tick_h, until_h, life)
    whole = int(np.ceil(changeover_h / tick_h - 1e-9))
    ahead = np.arange(chances.shape[1])
    reached = np.ones_like(chances)
    for _ in range(whole):
        reached *= stays[:, ahead]
        ahead = np.minimum(ahead + 1, chances.shape[1] - 1)
    after = life[:, ahead] + whole * tick_h - changeover_h
    return life, np.maximum(reached * after, 1e-3 * tick_h)


@compiled
def _fill_lives(stays: Floats, tick_h: float, until_h: float, life: Floats) -> None:
    """Fill life from the oldest age down: [zones, ages]."""
    for zone in range(stays.shape[0]):
        to_come = min(tick_h / (1 - stays[zone, -1]), until_h)
        life[zone, -1] = to_come
        for age in range(stays.shape[1] - 2, -1, -1):
            to_come = min(tick_h + stays[zone, age] * to_come, until_h)
            life[zone, age] = to_come


def gang_ups(counts: npt.NDArray[np.integer], now: Bools) -> Bools:
    """
    Return when a gang of unknown size could have run, [zones, ticks], from counts of nodes seen before.

    now: whether each zone has the gang at the tick after the counts. Of the sizes that tell the most zones' states
    right from their last count, the one whose past share of ups is nearest to now's.
    """
    sizes = np.unique(counts[counts > 0])
    if not sizes.size:
        return np.asarray(counts > 0)
    right = [float(((counts[:, -1] >= size) == now).sum()) for size in sizes]
    near = [abs(float((counts >= size).mean() - now.mean())) for size in sizes]
    return np.asarray(counts >= sizes[int(np.argmax(np.array(right) - np.array(near)))])
