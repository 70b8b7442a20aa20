"""
A tick: all waiting jobs against limited stock at once.

First by rank, then by cost. Who is placed is settled job by job from the highest rank; where they are placed is then
chosen for all of them together, at the least cost to finish: see `tick_rank`, then `tick_columns`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from offers.matching import tick_columns, tick_rank
from offers.matching.tick_drain import machines_held
from offers.matching.tick_fill import Pairs, stock_of
from offers.matching.tick_jobs import Ints, Job, Machines, Offers, Running
from offers.matching.tick_rank import Standing

MOVING_SHARE = 0.4  # Of the time, for placing jobs by moving those placed before them.


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What to buy, what to drain for it, and what waits."""

    placed: Mapping[int, Machines]  # By job.
    unplaced: Mapping[int, str]  # By job: why, in words.
    drain: tuple[int, ...]  # Running workloads; they wait afterwards.
    kept: Mapping[int, Machines]  # By job that waits: free machines that were sold to nobody, for its sake.
    cost_usd: float  # To finish all that is placed.
    bound_usd: float  # No assignment of the same jobs to the same machines costs less.

    @property
    def gap(self) -> float:
        """How much dearer than the bound it is at most; 0.01 is 1 %."""
        return self.cost_usd / self.bound_usd - 1 if self.bound_usd > 0 else 0.0


def assign(
    jobs: Sequence[Job],
    offers: Offers,
    running: Sequence[Running] = (),
    *,
    recent_gpu_s: Mapping[str, float],
    now: datetime,
    clock: Callable[[], float],
    time_limit_s: float,
    seed: int = 0,
) -> Assignment:
    """
    Place as many jobs as rank allows, each whole or not at all, no machine twice, at the least cost found in the time.

    recent_gpu_s: by team. clock: seconds of any origin, such as `time.monotonic`. The offers of `running` are rows of
    `offers`, with none free where they are sold out.
    """
    end = clock() + time_limit_s
    order = tick_rank.ranked(jobs, recent_gpu_s, now)
    stock = stock_of(offers, order)
    pairs = Pairs(offers, order, stock + machines_held(running, len(stock)).sum(axis=1))
    standing = tick_rank.place_by_rank(
        pairs, running, stock, now=now, left_s=lambda: end - (1 - MOVING_SHARE) * time_limit_s - clock(), seed=seed
    )
    cost, bound = _cheapened(pairs, standing, left_s=lambda: end - clock(), seed=seed)
    return Assignment(
        placed={order[at].id: tuple(sorted(line for gang in gangs for line in gang.machines))
                for at, gangs in standing.placed.items()},
        unplaced={order[at].id: why for at, why in standing.why.items()},
        drain=_needed(standing, stock),
        kept={order[at].id: machines for at, machines in standing.kept.items()},
        cost_usd=cost,
        bound_usd=bound,
    )  # fmt: skip


def _cheapened(pairs: Pairs, standing: Standing, *, left_s: Callable[[], float], seed: int) -> tuple[float, float]:
    """Put the placed jobs where they cost least together; return the cost and its lower bound."""
    if not standing.placed:
        return 0.0, 0.0
    order = sorted(standing.placed)
    used = tick_rank.machines_of([gang for gangs in standing.placed.values() for gang in gangs], len(standing.left))
    stock = standing.left + used
    here = pairs
    if len(order) < len(pairs.jobs) or (stock != pairs.stock).any():
        here = Pairs(pairs.offers, [pairs.jobs[at] for at in order], stock)
    start = tick_columns.start_in(here, {at: standing.placed[index] for at, index in enumerate(order)})
    best, bound = tick_columns.cheapest(here, start, left_s=left_s, seed=seed)
    standing.placed = {index: best[at] for at, index in enumerate(order)}
    return tick_columns.usd(best), bound


def _needed(standing: Standing, stock: Ints) -> tuple[int, ...]:
    """Return who is still to be drained once all is placed: cheaper places may have made some drains needless."""
    gangs = [gang for gangs in standing.placed.values() for gang in gangs]
    lack = tick_rank.machines_of(gangs, len(stock)) - stock
    for machines in standing.kept.values():
        for offer, count in machines:
            lack[offer] += count
    drained = sorted(standing.drained, key=lambda one: (-one.gpu_s_lost, one.id))
    for one in list(drained):
        others = machines_held([other for other in drained if other is not one], len(stock))
        if (lack <= others.sum(axis=1)).all():
            drained.remove(one)
    return tuple(one.id for one in drained)
