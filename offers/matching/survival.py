"""
What follows from a hazard: survival, life, losses to expect, the useful share of paid time.

A hazard is piecewise constant in age: `rates_per_hour: [..., ages]`, above zero, a column for each of AGES_S; its
leading axes are the caller's and broadcast against ages and times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Where the hazard may change. Losses fall about as 1 / age, so every age twice the one before holds about as many.
AGES_S: Floats = np.array([0, 900, 1800, 3600, 7200, 14400, 28800, 57600, 115200], dtype=np.float64)
AGE_ENDS_S: Floats = np.append(AGES_S[1:], np.inf)
STEPS = 256  # Of the renewal equation: a stretch of use is cut into so many.


def rate_at(rates_per_hour: Floats, age_s: ArrayLike) -> Floats:
    """Return losses per hour at an age."""
    column = np.searchsorted(AGES_S, np.asarray(age_s, dtype=np.float64), side="right") - 1
    shape = np.broadcast_shapes(rates_per_hour.shape[:-1], column.shape)
    rates = np.broadcast_to(rates_per_hour, (*shape, len(AGES_S)))
    return np.asarray(np.take_along_axis(rates, np.broadcast_to(column, shape)[..., None], axis=-1)[..., 0])


def time_in_ages(begin_s: ArrayLike, end_s: ArrayLike) -> Floats:
    """Return how much of [begin, end) lies in each of AGES_S. [...] -> [..., ages], seconds."""
    begin, end = (np.asarray(at_s, dtype=np.float64)[..., None] for at_s in (begin_s, end_s))
    return np.asarray(np.clip(np.minimum(end, AGE_ENDS_S) - np.maximum(begin, AGES_S), 0, None))


def survival(rates_per_hour: Floats, age_s: ArrayLike, horizon_s: ArrayLike) -> Floats:
    """Return the chance that a machine of an age is still there after the horizon."""
    inside_s = time_in_ages(age_s, np.add(age_s, horizon_s))
    return np.asarray(np.exp(-(rates_per_hour * inside_s).sum(axis=-1) / 3600))


def life_s(rates_per_hour: Floats, age_s: ArrayLike = 0.0, until_s: ArrayLike = np.inf) -> Floats:
    """Return the mean time that a machine of an age has left, counted at most until_s from now; exact."""
    per_s = rates_per_hour / 3600
    hazard = per_s * time_in_ages(age_s, np.add(age_s, until_s))
    before = np.cumsum(hazard[..., :-1], axis=-1)
    reached = np.exp(-np.concatenate([np.zeros_like(before[..., :1]), before], axis=-1))
    return np.asarray((reached * -np.expm1(-hazard) / per_s).sum(axis=-1))


def useful_share(rates_per_hour: Floats, *, dead_s: ArrayLike, age_s: ArrayLike = 0.0) -> Floats:
    """
    Return the useful share of paid time in the long run: machines are kept until they are lost, then replaced.

    dead_s: what each machine's time is cut by, changeover plus work done again (half the time between checkpoints).
    age_s: of every machine when it is taken. Closed form: a machine's mean useful time over its mean paid time.
    """
    useful_s = survival(rates_per_hour, age_s, dead_s) * life_s(rates_per_hour, np.add(age_s, dead_s))
    return np.asarray(useful_s / life_s(rates_per_hour, age_s))


@dataclass(frozen=True, slots=True)
class Use:
    """What to expect of a stretch of paid time in which every lost machine is replaced: [n] each."""

    losses: Floats
    useful_share: Floats


def use(
    rates_per_hour: Floats,
    use_s: ArrayLike,
    *,
    changeover_s: float,
    redone_s: float = 0.0,
    age_s: ArrayLike = 0.0,
    next_age_s: ArrayLike = 0.0,
) -> Use:
    """
    Return losses and the useful share of a finite stretch, by the renewal equation; the last machine is not lost.

    rates_per_hour: [n, ages]; use_s (above 0), age_s, next_age_s: [n] or a number. The first machine starts at age_s,
    what replaces it at next_age_s. changeover_s is spent by every machine, redone_s at most by each lost after it.
    Costs n x STEPS^2: for the few plans that are shown, not for every offer.
    """
    count = len(rates_per_hour)
    at_s = np.full(count, use_s, dtype=np.float64)[:, None] * np.linspace(0, 1, STEPS + 1)
    first, later = (
        _one_machine(rates_per_hour, np.full(count, age, dtype=np.float64), at_s, changeover_s, redone_s)
        for age in (age_s, next_age_s)
    )
    kernel = _kernel(rates_per_hour, np.full(count, next_age_s, dtype=np.float64), at_s)
    first_kernel = _kernel(rates_per_hour, np.full(count, age_s, dtype=np.float64), at_s)
    losses, useful_s = (
        own[:, -1] + (first_kernel[:, ::-1] * _renewed(own_later, kernel)).sum(axis=1)
        for own, own_later in zip(first, later, strict=True)
    )
    return Use(losses=losses, useful_share=np.clip(useful_s / at_s[:, -1], 0, 1))


def _one_machine(
    rates: Floats, age_s: Floats, at_s: Floats, changeover_s: float, redone_s: float
) -> tuple[Floats, Floats]:
    """Return for each time the chance that a machine is lost by then, and its mean useful time by then. [n, times]."""
    rates, age = rates[:, None, :], age_s[:, None]
    alive = survival(rates, age, at_s)
    dead_s = changeover_s + redone_s
    # Lost: what came after changeover and work done again. Alive: nothing was done again.
    counted = survival(rates, age, dead_s) * life_s(rates, age + dead_s, np.clip(at_s - dead_s, 0, None))
    return 1 - alive, counted + alive * np.clip(at_s - changeover_s, 0, redone_s)


def _kernel(rates: Floats, age_s: Floats, at_s: Floats) -> Floats:
    """
    Return the weights k of integral of total(t - u) d lost(u) = sum over i of k[i] x total(t - i steps). [n, times].

    Exact where total is linear within a step: a loss counts for the two times around it, by how near it is to each.
    """
    rates, age, step_s = rates[:, None, :], age_s[:, None], at_s[:, 1:2]
    alive = survival(rates, age, at_s)
    lived_s = np.diff(life_s(rates, age, at_s), axis=1)
    late = lived_s / step_s - alive[:, 1:]  # Of the losses in each step, what falls to its end; the rest to its begin.
    early = alive[:, :-1] - alive[:, 1:] - late
    return np.pad(early, ((0, 0), (0, 1))) + np.pad(late, ((0, 0), (1, 0)))


def _renewed(own: Floats, kernel: Floats) -> Floats:
    """Solve total(t) = own(t) + integral of total(t - u) d lost(u), which begins at 0. [n, times] each."""
    total = np.zeros_like(own)
    for step in range(1, own.shape[1]):
        older = (kernel[:, step - 1 : 0 : -1] * total[:, 1:step]).sum(axis=1)
        total[:, step] = (own[:, step] + older) / (1 - kernel[:, 0])
    return total
