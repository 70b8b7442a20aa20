"""How often a machine would be lost, by age, before anything of its like was seen: what is said, and public figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from offers.matching.survival import Floats, time_in_ages

Key = tuple[str, ...]  # Provider, region, zone, machine type.

# Losses an hour of spot machines at each of AGES_S: 1,456 losses in the first halves of three public traces of single
# machines (K80 and V100 at AWS 2022 and 2023, github.com/skypilot-org/spot-traces; H100 at Google 2025, SkyNomad,
# arXiv 2601.06520). Chips, clouds and years differ, yet up to an age of two hours each is within 1.5 times of this.
SPOT_PER_HOUR: Floats = np.array([1.6, 1.6, 0.8, 0.45, 0.25, 0.17, 0.12, 0.06, 0.03])
DAY_S = 86400.0
SPOT_FIRST_DAY = float((SPOT_PER_HOUR * time_in_ages(0, DAY_S)).sum() / DAY_S)  # Their mean, 0.18.
# 419 unexpected interruptions in 54 days on 16,384 GPUs: Llama 3, arXiv 2407.21783, section 3.3.4.
FAILURES_PER_GPU_HOUR = 419 / (54 * 24 * 16384)
# Losses over what age leads to expect, on the first half of the H100 trace: 1.5 with fewer than eight machines free
# above those asked for, 0.5 with twelve and more.
BY_STOCK = {"none": 1.5, "low": 1.5, "high": 0.5}
# A machine that is down comes back so late. A guess: it turns the share of time that it is up into a rate.
REPAIR_H = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the book as far as losing its machines goes. None: nobody says."""

    key: Key
    accelerator: str
    market: str
    accelerators: int = 1
    interruptions_per_hour: float | None = None  # The chance to be taken within an hour, 0 to 1.
    placement_score: float | None = None
    stock: str | None = None
    reliability: float | None = None
    is_community: bool = False  # A person's host, who may reclaim it at any moment, however it is sold.


def is_stated(line: Line) -> bool:
    """Return whether the provider says itself how often it takes machines back."""
    return line.interruptions_per_hour is not None


def prior_rates(lines: Sequence[Line]) -> Floats:
    """Return losses per hour of each line by age: [lines, ages]. What is taken back falls with age, failures do not."""
    failing = np.array([failures_per_hour(line) for line in lines]).reshape(-1, 1)
    taken = np.array([taken_per_hour(line) for line in lines]).reshape(-1, 1)
    return np.asarray(failing + taken * SPOT_PER_HOUR / SPOT_FIRST_DAY)


def failures_per_hour(line: Line) -> float:
    """Return how often the machine breaks down or is switched off."""
    breaking = FAILURES_PER_GPU_HOUR * max(line.accelerators, 1)
    if line.reliability is None:
        return breaking
    up = min(max(line.reliability, 0.01), 1.0)
    return breaking + (1 - up) / (up * REPAIR_H)


def taken_per_hour(line: Line) -> float:
    """Return how often the machine is taken back, as a mean over its first day."""
    if line.interruptions_per_hour is not None:
        return -math.log1p(-min(max(line.interruptions_per_hour, 0.0), 0.99))
    if line.market != "spot" and not line.is_community:
        return 0.0
    level = SPOT_FIRST_DAY * BY_STOCK.get(line.stock or "", 1.0)
    # A launch that is likely to succeed finds free capacity. Which way is certain, how far (half to double) is a guess.
    return level if line.placement_score is None else level * 2 ** (1 - 2 * line.placement_score)
