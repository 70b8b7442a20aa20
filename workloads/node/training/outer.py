"""The outer optimizer: several sites' deltas become one step of the shared parameters. Numpy only, no torch.

DiLoCo (arXiv:2311.08105): the mean delta is the outer gradient, taken by SGD with Nesterov momentum. The arithmetic is
that of torch.optim.SGD(nesterov=True), in float32, summed in the order given: the same input gives the same bits.
"""

from collections.abc import Mapping, Sequence

import numpy as np

Tensors = dict[str, np.ndarray]


def weight(*, samples: int, steps: int) -> float:
    """How much a contribution counts: samples^2 / steps (Decoupled DiLoCo, arXiv:2604.21428, with tokens)."""
    return float(samples) ** 2 / max(1, steps)


def settings(planned_rounds: int) -> tuple[float, float]:
    """(outer learning rate, momentum) for a run of so many rounds.

    Measured on a small character model: at 12 rounds 1.0/.5 was best and the papers' .7/.9 worse than no second site;
    at 48 rounds .9/.8 was best; .7/.9 is DiLoCo's own figure, for hundreds of rounds. Between the measured points the
    nearest is taken. With ONE site only the hub uses lr 1, momentum 0 instead: the average of a single contributor
    is the identity, and outer momentum would only disturb what is then plain training.
    """
    if planned_rounds < 20:
        return 1.0, 0.5
    if planned_rounds <= 200:
        return 0.9, 0.8
    return 0.7, 0.9


def mean(deltas: Sequence[tuple[float, Mapping[str, np.ndarray]]]) -> Tensors:
    """The weighted mean of deltas [(weight, tensors)], summed in the order given. Raises ValueError when there is none
    or the weights do not sum to a positive number."""
    total = sum(share for share, _ in deltas)
    if not deltas or not total > 0:
        raise ValueError(f"{len(deltas)} contributions with weights that sum to {total}: nothing to merge")
    first = deltas[0][1]
    averaged: Tensors = {}
    for name in first:
        accumulated = np.zeros_like(first[name], dtype=np.float32)
        for share, delta in deltas:
            accumulated += np.float32(share / total) * delta[name]
        averaged[name] = accumulated
    return averaged


def merge(
    theta: Mapping[str, np.ndarray],
    momentum: Mapping[str, np.ndarray] | None,
    deltas: Sequence[tuple[float, Mapping[str, np.ndarray]]],
    lr: float,
    momentum_factor: float,
) -> tuple[Tensors, Tensors]:
    """One outer step. Returns (theta', momentum'), both new float32 tensors named as in `theta`.

    `deltas`: [(weight, theta - theta_site)]; `momentum` None before the first step. Raises ValueError (see mean).
    """
    gradient = mean(deltas)
    rate, factor = np.float32(lr), np.float32(momentum_factor)
    stepped: Tensors = {}
    buffers: Tensors = {}
    for name, old in theta.items():
        outer_gradient = gradient[name]
        if momentum_factor == 0:
            buffers[name], direction = np.zeros_like(outer_gradient), outer_gradient
        else:
            # torch's first step takes the gradient itself as the buffer; zeros before it come to the same.
            buffers[name] = outer_gradient if momentum is None else factor * momentum[name] + outer_gradient
            direction = outer_gradient + factor * buffers[name]
        stepped[name] = np.asarray(old - rate * direction, dtype=np.float32)
    return stepped, buffers
