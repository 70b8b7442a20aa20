"""How good predicted chances were: Brier score against a base rate, and predicted against observed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from offers.matching.survival import Floats


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions from `begin` up to `end`: how many, their mean, the share that came true. None in an empty bin."""

    begin: float
    end: float
    count: int
    predicted: float | None
    observed: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """What `calibration` found. Brier scores are mean squared errors of a chance: less is better."""

    bins: tuple[Bin, ...]
    error: float  # Expected calibration error: the mean of |predicted - observed| over the bins, by their counts.
    brier: float
    base_brier: float
    gain: float  # 1 - brier / base_brier.


def calibration(
    predicted: Floats, observed: ArrayLike, *, base_rate: float | Floats | None = None, bins: int = 10
) -> Calibration:
    """
    Compare chances with what came, in so many bins of equal width.

    predicted, observed: [n], n at least 1. base_rate: what the score is held against; None: the mean of `observed`,
    which nobody could have known and is therefore the hardest of constants.
    """
    came = np.asarray(observed, dtype=np.float64)
    of_each = np.minimum((predicted * bins).astype(int), bins - 1)
    counts = np.bincount(of_each, minlength=bins)
    sums, hits = (np.bincount(of_each, weights=values, minlength=bins) for values in (predicted, came))
    brier = float(np.mean((predicted - came) ** 2))
    base_brier = float(np.mean((came - (came.mean() if base_rate is None else base_rate)) ** 2))
    return Calibration(
        bins=tuple(
            Bin(i / bins, (i + 1) / bins, int(n), sums[i] / n if n else None, hits[i] / n if n else None)
            for i, n in enumerate(counts)
        ),
        error=float(np.abs(sums - hits).sum() / len(came)),
        brier=brier,
        base_brier=base_brier,
        gain=1 - brier / base_brier if base_brier else 0.0,
    )
