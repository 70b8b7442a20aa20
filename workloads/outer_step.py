"""
The outer optimizer: several sites' deltas become one step of the shared parameters.

DiLoCo (arXiv:2311.08105): the mean delta is the outer gradient, taken by SGD with Nesterov momentum, in the arithmetic
of torch.optim.SGD(nesterov=True). The step is broadcast in fewer bits; the hub takes the very step that the sites take
and keeps what the bits could not say for the next one. A slice at a time, so memory does not grow with the number of
sites. Where all is int8, which is the rule, one compiled pass over each slice does the same in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offers.matching.compiled import compiled, compiled_sums
from workloads.node.training import outer, quantise
from workloads.node.training.layout import Floats

BLOCK = 256  # Of int8.
# What is left of the momentum after a step without it. At rest it would wait, and throw the model back to where it was
# heading many rounds ago as soon as a second site is there again.
FADE = np.float32(0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What a site made of one round: theta - theta_site, packed; share: its part of the mean."""

    parts: Mapping[str, np.ndarray]
    codec: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What an outer step was. norms, cosines: of each delta, and of each with the mean of the others (alone: 1)."""

    fingerprint: str  # Of theta after it.
    norms: list[float]
    cosines: list[float]


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
    momentum_factor 0 the momentum plays no part and fades. update: arrays for `codec` of `size` numbers, filled with
    theta' - theta.
    """
    rate, factor = np.float32(lr), np.float32(momentum_factor)
    shares = np.array([delta.share for delta in deltas], np.float32)
    take = _in_int8 if all(each == "int8" for each in (codec, *(delta.codec for delta in deltas))) else _in_any

    def step(start: int, end: int) -> tuple[int, Floats]:
        state = (theta[start:end], momentum[start:end], remainder[start:end])
        given = [quantise.cut(delta.parts, delta.codec, start, end) for delta in deltas]
        place = quantise.cut(update, codec, start, end)
        products = take(*state, given, [delta.codec for delta in deltas], shares, rate, factor, codec, place)
        return outer.checksum(state[0]), products

    done = outer.in_slices(len(theta), step)
    squares, dots = np.sum([each for _, each in done], axis=0)
    fingerprint = outer.joined(each for each, _ in done)
    cosines = _with_the_others(shares.astype(np.float64), squares, dots)
    return Merged(fingerprint=fingerprint, norms=np.sqrt(squares).tolist(), cosines=cosines)


def _with_the_others(shares: Floats, squares: Floats, dots: Floats) -> list[float]:
    """squares: of each delta; dots: of each with the mean of all, which less its own part is that of the others."""
    if len(shares) == 1:
        return [1.0]
    whole = float(shares @ dots)  # The square of the mean.
    others = np.maximum(whole - 2 * shares * dots + shares**2 * squares, 0)
    products = dots - shares * squares
    return [float(each) for each in products / np.maximum(np.sqrt(squares * others), np.finfo(np.float64).tiny)]


def _in_any(
    theta: Floats, momentum: Floats, remainder: Floats, given: list[quantise.Parts], codecs: list[str],
    shares: Floats, rate: np.float32, factor: np.float32, codec: str, place: quantise.Parts,
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Take the step of one slice; return the squares of the deltas and their products with the mean: [2, deltas]."""
    size = len(theta)
    unpacked = [quantise.decode(parts, name, size=size) for parts, name in zip(given, codecs, strict=True)]
    mean = shares[0] * unpacked[0]
    for share, each in zip(shares[1:], unpacked[1:], strict=True):
        mean += share * each
    products = np.array([[np.vdot(one, one) for one in unpacked], [np.vdot(one, mean) for one in unpacked]], np.float64)
    direction = mean
    if factor:
        momentum *= factor
        momentum += mean
        direction = mean + factor * momentum
    else:
        momentum *= FADE
    wanted = remainder - rate * direction
    parts = quantise.encode(wanted, codec)
    applied = quantise.decode(parts, codec, size=size)
    for name, part in place.items():
        part[...] = parts[name]
    remainder[...] = wanted - applied
    theta += applied
    return products


def _in_int8(
    theta: Floats, momentum: Floats, remainder: Floats, given: list[quantise.Parts], codecs: list[str],
    shares: Floats, rate: np.float32, factor: np.float32, codec: str, place: quantise.Parts,
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Do the same as `_in_any`, to the bit, in one pass."""
    values, scales = (np.stack([parts[name] for parts in given]) for name in ("values", "scales"))
    products = np.zeros((2, len(given)))
    _pass(theta, momentum, remainder, values, scales, shares, rate, factor, place["values"], place["scales"], products)
    place["values"][len(theta) :] = 0  # Of the last stride, which the vector does not fill.
    place["scales"][-(-len(theta) // BLOCK) :] = 0
    return products


@compiled_sums
def _dot(values: npt.NDArray[np.int8], numbers: Floats) -> np.float32:
    """A figure to look at, so its last bits may differ from machine to machine."""
    total = np.float32(0)
    for i in range(BLOCK):
        total += np.float32(values[i]) * numbers[i]
    return total


@compiled
def _pass(
    theta: Floats, momentum: Floats, remainder: Floats, values: npt.NDArray[np.int8], scales: Floats, shares: Floats,
    rate: np.float32, factor: np.float32, out: npt.NDArray[np.int8], out_scales: Floats,
    products: npt.NDArray[np.float64],
) -> None:  # fmt: skip
    """
    values: [deltas, size], scales: [deltas, blocks]; sizes are multiples of BLOCK.

    Written so that each inner loop runs over one block without a branch: then the compiler uses wide registers.
    """
    wanted, mean = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    bits = wanted.view(np.int32)
    largest = np.empty(1, np.float32)
    largest_bits = largest.view(np.int32)
    for block in range(theta.size // BLOCK):
        span = slice(block * BLOCK, (block + 1) * BLOCK)
        t, m, r, o = theta[span], momentum[span], remainder[span], out[span]
        mean[:] = 0
        for one in range(shares.size):
            share, scale, v = shares[one], scales[one, block], values[one, span]
            for i in range(BLOCK):
                mean[i] += share * (np.float32(v[i]) * scale)
            total = np.int32(0)
            for i in range(BLOCK):
                total += np.int32(v[i]) * np.int32(v[i])
            products[0, one] += np.float64(total) * np.float64(scale) * np.float64(scale)
        for one in range(shares.size):
            v = values[one, span]
            products[1, one] += np.float64(_dot(v, mean)) * np.float64(scales[one, block])
        if factor != 0:
            for i in range(BLOCK):
                m[i] = m[i] * factor + mean[i]
                wanted[i] = r[i] - rate * (mean[i] + factor * m[i])
        else:
            for i in range(BLOCK):
                m[i] = m[i] * np.float32(0.5)  # FADE
                wanted[i] = r[i] - rate * mean[i]
        top = np.int32(0)
        for i in range(BLOCK):  # Numbers without their sign are in the order of their bits.
            top = max(top, bits[i] & np.int32(0x7FFFFFFF))
        largest_bits[0] = top
        scale = largest[0] / np.float32(127)
        out_scales[block] = scale
        divisor = scale if scale != 0 else np.float32(1)
        for i in range(BLOCK):
            # Adding and taking away 1.5 x 2^23 rounds to the nearest whole number, halves to the even one.
            step = (wanted[i] / divisor + np.float32(12582912)) - np.float32(12582912)
            o[i] = np.int8(np.int32(step))
            applied = step * scale
            r[i] = wanted[i] - applied
            t[i] += applied
