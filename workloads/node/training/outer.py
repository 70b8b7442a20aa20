"""
The outer optimizer: several sites' deltas become one step of the shared parameters. Numpy only, no torch.

DiLoCo (arXiv:2311.08105): the mean delta is the outer gradient, taken by SGD with Nesterov momentum, in the arithmetic
of torch.optim.SGD(nesterov=True). The step is broadcast in fewer bits; the hub takes the very step that the sites take
and keeps what the bits could not say for the next one. All is float32 by element, a slice at a time: the same input
gives the same bits on every machine, and memory does not grow with the model or the number of sites.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

import numpy as np

from . import quantise
from .layout import Floats

SLICE = 1 << 18  # Numbers; a multiple of every codec's stride.
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What a site made of one round: theta - theta_site, packed; share: its part of the mean."""

    parts: Mapping[str, np.ndarray]
    codec: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What an outer step was. norms, cosines: of each delta, and of each with the mean."""

    fingerprint: str  # Of theta after it.
    norms: list[float]
    cosines: list[float]


def weight(*, samples: int, steps: int) -> float:
    """How much a contribution counts: samples^2 / steps (Decoupled DiLoCo, arXiv:2604.21428, with tokens)."""
    return float(samples) ** 2 / max(1, steps)


def shares(weights: Sequence[float]) -> list[float]:
    """Return weights as parts of 1. Raises ValueError when there is none or they do not sum to a positive number."""
    total = sum(weights)
    if not weights or not total > 0:
        raise ValueError(f"{len(weights)} contributions with weights that sum to {total}: nothing to merge")
    return [each / total for each in weights]


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


def merge(
    theta: Floats,
    momentum: Floats,
    remainder: Floats,
    deltas: Sequence[Delta],
    *,
    lr: float,
    momentum_factor: float,
    codec: str,
    update: Mapping[str, np.ndarray],
) -> Merged:
    """
    Take one outer step in place.

    theta, momentum, remainder: [size]; momentum and remainder are zeros before the first step, and with
    momentum_factor 0 the momentum rests. update: arrays for `codec` of `size` numbers, filled with theta' - theta.
    """
    rate, factor = np.float32(lr), np.float32(momentum_factor)

    def step(start: int, end: int) -> tuple[bytes, list[float]]:
        unpacked = [_slice(delta.parts, delta.codec, start, end) for delta in deltas]
        mean = np.float32(deltas[0].share) * unpacked[0]
        for delta, each in zip(deltas[1:], unpacked[1:], strict=True):
            mean += np.float32(delta.share) * each
        squares = [float(np.vdot(each, each)) for each in unpacked]
        squares += [float(np.vdot(each, mean)) for each in unpacked] + [float(np.vdot(mean, mean))]
        direction = mean
        if momentum_factor:
            buffer = momentum[start:end]
            buffer *= factor
            buffer += mean
            direction = mean + factor * buffer
        wanted = remainder[start:end] - rate * direction
        parts = quantise.encode(wanted, codec)
        applied = quantise.decode(parts, codec, size=end - start)
        for name, place in quantise.cut(update, codec, start, end).items():
            place[...] = parts[name]
        remainder[start:end] = wanted - applied
        theta[start:end] += applied
        return sha256(theta[start:end]).digest(), squares

    done = _in_slices(len(theta), step)
    sums = np.array([squares for _, squares in done]).sum(axis=0)
    norms, dots, whole = np.sqrt(sums[: len(deltas)]), sums[len(deltas) : -1], np.sqrt(sums[-1])
    cosines = dots / np.maximum(norms * whole, np.finfo(np.float64).tiny)
    return Merged(fingerprint=_joined(digest for digest, _ in done), norms=norms.tolist(), cosines=cosines.tolist())


def apply(theta: Floats, update: Mapping[str, np.ndarray], codec: str) -> str:
    """Take the step that the hub took, in place; return the fingerprint of theta after it."""

    def step(start: int, end: int) -> bytes:
        theta[start:end] += _slice(update, codec, start, end)
        return sha256(theta[start:end]).digest()

    return _joined(_in_slices(len(theta), step))


def fingerprint(theta: Floats) -> str:
    """Return a SHA-256 in hex over the SHA-256 of each SLICE of float32 numbers, little-endian."""
    return _joined(_in_slices(len(theta), lambda start, end: sha256(theta[start:end]).digest()))


def packed(vector: Floats, codec: str, into: Mapping[str, np.ndarray]) -> None:
    """Pack a vector a slice at a time into the arrays of `codec` for its size."""

    def step(start: int, end: int) -> None:
        parts = quantise.encode(vector[start:end], codec)
        for name, place in quantise.cut(into, codec, start, end).items():
            place[...] = parts[name]

    _in_slices(len(vector), step)


def _slice(parts: Mapping[str, np.ndarray], codec: str, start: int, end: int) -> Floats:
    return quantise.decode(quantise.cut(parts, codec, start, end), codec, size=end - start)


def _in_slices(size: int, work: Callable[[int, int], Answer]) -> list[Answer]:
    """Return what the work made of each slice, in their order. NumPy and hashlib let other threads run meanwhile."""
    cuts = [(start, min(start + SLICE, size)) for start in range(0, size, SLICE)]
    if len(cuts) == 1:
        return [work(*cuts[0])]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(lambda cut: work(*cut), cuts))


def _joined(digests: object) -> str:
    return sha256(b"".join(digests)).hexdigest()  # type: ignore[call-overload]
