"""
What spot supply to expect: how long a node lasts, and futures of the counts.

A zone that grants `count` nodes has levels 1 to `count` up. The i-th node we hold stands on the i-th level, so a
level's age is known before we ever held a node there, and the lowest levels, the oldest, are the safest.
"""

from __future__ import annotations

import numpy as np

from offers.matching.policy.elastic_terms import Bools, Floats, Ints

# Losses per hour of a level up for less than 1 hour, less than 6, and longer, before anything was seen, and the hours
# of zone such a belief is worth. Of the order of the published spot lives (SkyNomad, arXiv 2601.06520: hours).
AGE_EDGES_H = (1.0, 6.0)
LOSSES_PER_H = np.array([0.25, 0.08, 0.03])
BELIEF_H = np.array([4.0, 12.0, 24.0])
# Levels of one zone fall together: all of them count as so many independent ones.
INDEPENDENT_LEVELS = 4
MEMORY_H = 48.0  # Half-life of what was seen of a zone's losses,
RECENT_H = 6.0  # and of the measure of how it behaves just now,
RECENT_BELIEF = 2.0  # which so many losses of usual behaviour hold down.
PAST_H = 14 * 24.0  # Older history is not looked at.

FUTURES = 64
STEPS = 16  # Of equal length, to the deadline.
SPELL_H = (1.0, 24.0)  # A future keeps a count for a mean time out of this range, even in the logarithm.
STRANGE_H = 24.0  # Hours of history after which half of the draws come from a zone's own past.
STRANGE_UNIFORM = 0.3  # Of draws from elsewhere: any count at all, the rest being the past of another zone.


class NodeLives:
    """Expected life of the node on each level of each zone, learnt from counts seen one tick apart."""

    def __init__(self, *, zones: int, levels: int, tick_s: float) -> None:
        self._tick_h = tick_s / 3600
        self._levels = np.arange(1, levels + 1)
        self._weight = INDEPENDENT_LEVELS / levels
        self._up = np.zeros((zones, levels), bool)
        self._age_h = np.zeros((zones, levels))
        self._losses, self._hours = np.zeros((zones, 3)), np.zeros((zones, 3))
        self._recent_losses, self._recent_hours = np.zeros((zones, 3)), np.zeros((zones, 3))

    def see(self, count: Ints) -> None:
        """Take in the counts, [zones], of the next tick."""
        up = count[:, None] >= self._levels
        kept, kept_recent = 0.5 ** (self._tick_h / MEMORY_H), 0.5 ** (self._tick_h / RECENT_H)
        for past, keep in (
            (self._losses, kept),
            (self._hours, kept),
            (self._recent_losses, kept_recent),
            (self._recent_hours, kept_recent),
        ):
            past *= keep
        for band, among in enumerate(self._bands()):
            losses = (among & ~up).sum(1) * self._weight
            hours = among.sum(1) * self._weight * self._tick_h
            self._losses[:, band] += losses
            self._hours[:, band] += hours
            self._recent_losses[:, band] += losses
            self._recent_hours[:, band] += hours
        self._age_h = np.where(up, self._age_h + self._tick_h, 0.0)
        self._up = up

    def life_h(self) -> Floats:
        """Return the hours each level is expected to stay up, [zones, levels]; levels that are down count as new."""
        rates = self._losses_per_h()[:, :, None]
        life = np.broadcast_to(1 / rates[:, 2], self._age_h.shape)
        for band, end_h in ((1, AGE_EDGES_H[1]), (0, AGE_EDGES_H[0])):
            begin_h = AGE_EDGES_H[0] if band else 0.0
            rest_h = np.clip(end_h - np.maximum(self._age_h, begin_h), 0.0, None)
            through = np.exp(-rates[:, band] * rest_h)
            life = (1 - through) / rates[:, band] + through * life
        return np.minimum.accumulate(life, axis=1)  # The level above is always lost first.

    def _bands(self) -> list[Bools]:
        young, grown = self._age_h < AGE_EDGES_H[0], self._age_h < AGE_EDGES_H[1]
        return [self._up & young, self._up & grown & ~young, self._up & ~grown]

    def _losses_per_h(self) -> Floats:
        """Return [zones, ages]: a zone's own losses, held to those of all zones, times how it behaves just now."""
        everywhere = (self._losses.sum(0) + LOSSES_PER_H * BELIEF_H) / (self._hours.sum(0) + BELIEF_H)
        usual = (self._losses + everywhere * BELIEF_H / 2) / (self._hours + BELIEF_H / 2)
        expected = (self._recent_hours * usual).sum(1)
        unrest = (self._recent_losses.sum(1) + RECENT_BELIEF) / (expected + RECENT_BELIEF)
        return np.asarray(usual * unrest[:, None])


class Futures:
    """
    Draws of the counts to come: each zone keeps its count for a while, then takes one out of the past.

    Zones that change in the same step take the same past tick, so that what failed together may fail together again.
    The same random numbers serve every tick: two decisions differ by what was seen, not by luck.
    """

    def __init__(self, *, zones: int, nodes_max: int, tick_s: float, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self._nodes_max = nodes_max
        self._tick_h = tick_s / 3600
        shape = (FUTURES, STEPS, zones)
        shortest, longest = np.log(SPELL_H)
        self._spell_h = np.exp(random.uniform(float(shortest), float(longest), (FUTURES, 1, 1)))
        self._change = random.random(shape)
        self._when = random.random((FUTURES, STEPS))
        self._strange, self._uniform = random.random(shape), random.random(shape) < STRANGE_UNIFORM
        self._other_zone = random.integers(0, zones, shape)
        self._any_count = random.integers(0, nodes_max + 1, shape)

    def draw(self, past: Ints, left_h: float) -> Ints:
        """
        Return counts, [futures, steps, zones], over the hours left.

        past: [ticks, zones], the last row is now.
        """
        steps_h = np.full((1, STEPS, 1), left_h / STEPS)
        steps_h[:, 0] /= 2  # The middle of the first step is half a step away.
        changes = self._change < -np.expm1(-steps_h / self._spell_h)
        when = (self._when * len(past)).astype(np.int64)
        elsewhere = np.where(self._uniform, self._any_count, past[when[:, :, None], self._other_zone])
        strange = STRANGE_H / (STRANGE_H + len(past) * self._tick_h)
        drawn = np.where(self._strange < strange, elsewhere, past[when])
        last_change = np.maximum.accumulate(np.where(changes, np.arange(STEPS)[:, None], -1), axis=1)
        later = np.take_along_axis(drawn, np.maximum(last_change, 0), axis=1)
        return np.where(last_change < 0, past[-1], later)
