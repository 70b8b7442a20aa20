"""What the policy of one gang is told and what it answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from offers.matching.policy.forecast import Bools
from offers.matching.survival import Floats

IDLE, SPOT, ON_DEMAND = "idle", "spot", "on_demand"


@dataclass(frozen=True, slots=True, kw_only=True)
class GangTerms:
    """
    What does not change while a workload runs as one gang. Prices are of the whole gang and an hour.

    on_demand_usd: [zones]. egress_usd: [zones, zones], moving the checkpoint. changeover_s: paid and useless, at every
    start. tick_s: between two decisions, and the unit of billing. deadline_s: from the start of the workload.
    """

    zones: tuple[str, ...]
    on_demand_usd: Floats
    egress_usd: Floats
    tick_s: float
    work_s: float
    deadline_s: float
    changeover_s: float

    @property
    def ticks(self) -> int:
        """Whole ticks until the deadline."""
        return int((self.deadline_s + 1e-6) // self.tick_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class GangSeen:
    """
    What is seen at one tick. up, spot_usd: [zones], whether spot would take the whole gang, and for how much.

    mode: idle, spot or on_demand, as left over from the last tick (idle after a loss). zone: an index, None before the
    first start. changeover_left_s: of what is held.
    """

    tick: int
    up: Bools
    spot_usd: Floats
    mode: str
    zone: int | None
    progress_s: float
    changeover_left_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GangDecision:
    """
    What to hold until the next tick, a word for it, and the figures it was decided on.

    act: stay, move, start, wait, buy_on_demand. zone: an index; of no meaning while the mode is idle.
    """

    act: str
    mode: str
    zone: int | None
    figures: Mapping[str, float | str | Mapping[str, float]]


def meets_deadline(terms: GangTerms, seen: GangSeen, *, mode: str, zone: int | None) -> bool:
    """
    Return whether on-demand, which never fails, can still finish in time whatever happens after this choice.

    The worst for a spot gang is to be lost when its changeover is done: what it did until then is nothing. From there a
    running gang loses no more time than on-demand would have taken, so it may stay for as long as it runs.
    """
    work_s = terms.work_s - seen.progress_s
    is_held = mode == seen.mode and zone == seen.zone
    dead_s = seen.changeover_left_s if is_held else terms.changeover_s
    if mode == IDLE:
        return seen.tick + 1 + _ticks(terms, work_s + terms.changeover_s) <= terms.ticks
    if mode == SPOT and _ticks(terms, work_s + dead_s) > 1:
        dead_s += terms.changeover_s
    return seen.tick + _ticks(terms, work_s + dead_s) <= terms.ticks


def _ticks(terms: GangTerms, seconds: float) -> int:
    return math.ceil(seconds / terms.tick_s - 1e-6)
