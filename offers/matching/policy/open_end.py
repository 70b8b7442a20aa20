"""
When to move a site that runs, where there is no deadline: it is worth it when finishing elsewhere costs clearly less.

Both ends are priced alike: the work at the place's pace, stretched by what changeovers and work done again take of
paid time there (survival.useful_share), and for a move its own changeover and what carrying the data costs. A twentieth
must be gained, so that two places of nearly one price are not swapped for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from offers.matching import survival
from offers.matching.facts import REDONE_S
from offers.matching.survival import Floats

GAIN = 0.05  # Of what staying costs; and at least GAIN_USD.
GAIN_USD = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A place for a site. losses_per_hour: of any of its machines, by age; age_s: since when they are there."""

    name: str
    usd_per_hour: float
    pace: float  # Samples a second.
    losses_per_hour: Floats
    age_s: float
    changeover_s: float  # Of every start there.

    def usd(self, samples: float, *, starts: bool) -> float:
        """Return what so much work costs there. starts: its changeover is still to be paid."""
        dead_s = self.changeover_s + REDONE_S
        share = survival.useful_share(
            self.losses_per_hour[None, :], dead_s=np.array([dead_s]), age_s=np.array([self.age_s])
        )
        paid_h = samples / self.pace / 3600 / max(float(share[0]), 1e-3)
        return self.usd_per_hour * (paid_h + (self.changeover_s / 3600 if starts else 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Stay, or move the site `held` (an index) to the option `to`. figures: what it was decided on."""

    action: str  # stay, move.
    held: int | None = None
    to: int | None = None
    figures: dict[str, object] = field(default_factory=dict)


def decide(held: Sequence[Option], options: Sequence[Option], *, samples: float, move_usd: float) -> Decision:
    """
    Return the one move that saves most, or to stay.

    samples: that each site still has to do. move_usd: what carrying state and data costs once.
    """
    stays = [one.usd(samples, starts=False) for one in held]
    goes = [one.usd(samples, starts=True) + move_usd for one in options]
    figures: dict[str, object] = {
        "samples_left_each": round(samples),
        "move_usd": round(move_usd, 4),
        "gain_wanted": GAIN,
        "usd_to_finish": {
            **{f"stay at {one.name}": round(usd, 4) for one, usd in zip(held, stays, strict=True)},
            **{f"move to {one.name}": round(usd, 4) for one, usd in zip(options, goes, strict=True)},
        },
    }
    if not stays or not goes:
        return Decision(action="stay", figures=figures)
    dearest, best = int(np.argmax(stays)), int(np.argmin(goes))
    gain = stays[dearest] - goes[best]
    figures["gain_usd"] = round(gain, 4)
    if gain <= max(GAIN * stays[dearest], GAIN_USD):
        return Decision(action="stay", figures=figures)
    return Decision(action="move", held=dearest, to=best, figures=figures)
