"""
How many steps sites train between two exchanges, and in how many bits they exchange, from what the last round cost.

Sites go on training while an exchange is under way, so a slow link costs no time; but what comes back late is mixed
into parameters that have moved on, and that costs loss. Pure: numbers in, numbers out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median_high

FIRST_STEPS, FIRST_CODEC = 50, "int8"
# Rounds of 50 steps kept most (docs/training.md); beyond 500 nothing was measured here or in the DiLoCo paper.
STEPS_MIN, STEPS_MAX = 50, 500
LATE_SHARE = 0.1  # Of a round's steps are taken while the exchange is under way: with 5 of 50, .96 was kept.
FEWER_BITS = {"int8": "int4"}  # At no loss that could be measured, so this comes before longer rounds.
MORE_BITS = {fewer: more for more, fewer in FEWER_BITS.items()}
CHANGE_MIN = 1.25  # A round length this near the present one is left alone.


@dataclass(frozen=True, slots=True)
class Pace:
    """Optimizer steps of a round, and the codec."""

    steps: int
    codec: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What a round cost one site: seconds of one step, and of sending and fetching."""

    step_s: float
    exchange_s: float


def chosen(pace: Pace, costs: Sequence[Cost], *, steps_too: bool, codec_too: bool) -> Pace:
    """Return the pace of the next round; steps_too, codec_too: what may change. The middle site decides."""
    late = [cost.exchange_s / cost.step_s for cost in costs if cost.step_s > 0]
    if not late:
        return pace
    late_steps, codec = median_high(late), pace.codec
    if codec_too and codec in FEWER_BITS and late_steps > LATE_SHARE * STEPS_MIN:
        codec, late_steps = FEWER_BITS[codec], late_steps / 2
    elif codec_too and codec in MORE_BITS and 4 * late_steps <= LATE_SHARE * STEPS_MIN:
        codec, late_steps = MORE_BITS[codec], late_steps * 2
    steps = min(max(ceil(late_steps / LATE_SHARE), STEPS_MIN), STEPS_MAX) if steps_too else pace.steps
    is_near = 1 / CHANGE_MIN < steps / pace.steps < CHANGE_MIN
    return Pace(pace.steps if is_near else steps, codec)
