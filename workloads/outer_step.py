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

from offers.matching.compiled import compiled, compiled_sums, inlined, int8s_at, prefetch
from workloads.node.training import outer, quantise
from workloads.node.training.layout import Floats

BLOCK = 256  # Of int8.
GROUP = 4  # Deltas that the compiled pass adds up in registers.
# Numbers that the compiled pass has the cache fetch before their turn, and what a line of the cache has of them.
AHEAD, LINE, BYTES_LINE = 1024, 16, 64
# What is left of the momentum after a step without it. At rest it would wait, and throw the model back to where it was
# heading many rounds ago as soon as a second site is there again.
FADE = np.float32(0.5)
EXACT = 1e-15

Bytes = npt.NDArray[np.int8]
Addresses = npt.NDArray[np.intp]
Products = npt.NDArray[np.float64]
Four = tuple[np.float32, np.float32, np.float32, np.float32]


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
        return take(*state, given, [delta.codec for delta in deltas], shares, rate, factor, codec, place)

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
    others = np.maximum(whole - 2 * shares * dots + shares**2 * squares, EXACT * whole)  # What float64 can tell.
    products = dots - shares * squares
    cosines = products / np.maximum(np.sqrt(squares * others), np.finfo(np.float64).tiny)
    return [float(each) for each in np.clip(cosines, -1, 1)]


def _in_any(
    theta: Floats, momentum: Floats, remainder: Floats, given: list[quantise.Parts], codecs: list[str],
    shares: Floats, rate: np.float32, factor: np.float32, codec: str, place: quantise.Parts,
) -> tuple[int, npt.NDArray[np.float64]]:  # fmt: skip
    """
    Take the step of one slice.

    Return the checksum of theta after it; the squares of the deltas and their products with the mean: [2, deltas].
    """
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
    return outer.checksum(theta), products


def _in_int8(
    theta: Floats, momentum: Floats, remainder: Floats, given: list[quantise.Parts], codecs: list[str],
    shares: Floats, rate: np.float32, factor: np.float32, codec: str, place: quantise.Parts,
) -> tuple[int, npt.NDArray[np.float64]]:  # fmt: skip
    """Do the same as `_in_any`, to the bit, in one pass."""
    size, count = len(theta), len(given)
    padded = given + given[-1:] * (-count % GROUP)  # With one that has no share.
    groups = []
    for at in range(0, count, GROUP):
        parts = padded[at : at + GROUP]
        weights = np.zeros(GROUP, np.float32)
        weights[: count - at] = shares[at : at + GROUP]
        values = np.array([each["values"].ctypes.data for each in parts], np.intp)
        groups.append((values, np.stack([each["scales"] for each in parts]), weights))
    begun = len(groups) > 1
    mean = np.empty(size if begun else BLOCK, np.float32)
    for number, group in enumerate(groups[:-1]):
        _begin(mean, *group, number > 0)
    columns, products = np.zeros(BLOCK // 2, np.uint64), np.zeros((len(groups), 2, GROUP))
    state, out, out_scales = (theta, momentum, remainder), place["values"], place["scales"]
    _pass(*state, *groups[-1], mean, begun, rate, factor, out, out_scales, columns, products[-1])
    for number, (values, scales, _) in enumerate(groups[:-1]):
        _look_back(mean, values, scales, products[number])
    out[size:] = 0  # Of the last stride, which the vector does not fill.
    out_scales[-(-size // BLOCK) :] = 0
    return outer.checksum_of(columns), np.hstack(products)[:, :count]


@compiled
def _pass(
    theta: Floats, momentum: Floats, remainder: Floats, values: Addresses, scales: Floats, shares: Floats, mean: Floats,
    begun: bool, rate: np.float32, factor: np.float32, out: Bytes, out_scales: Floats,
    columns: npt.NDArray[np.uint64], products: Products,
) -> None:  # fmt: skip
    """
    Take the step of one slice, whose size is a multiple of BLOCK.

    values: addresses of the last GROUP deltas' int8 [size]; scales: [GROUP, blocks]; mean: begun with the deltas before
    them, [size], or a place for one block. Each inner loop runs over one block without a branch and leaves little in
    memory: then the compiler uses wide registers. Between them is fetched what comes soon.
    """
    wanted, whole = np.empty(BLOCK, np.float32), theta.view(np.uint64)
    for block in range(theta.size // BLOCK):
        begin, end = block * BLOCK, (block + 1) * BLOCK
        a, b, c, d, by = _four(values, scales, block)
        whole_mean = mean[begin:end] if begun else mean
        for i in range(AHEAD, AHEAD + BLOCK, BYTES_LINE):
            prefetch(a, i)
            prefetch(b, i)
            prefetch(c, i)
            prefetch(d, i)
        _add(whole_mean, begun, a, b, c, d, by, (shares[0], shares[1], shares[2], shares[3]))
        for i in range(begin + AHEAD, end + AHEAD, LINE):
            prefetch(theta, i)
        _note(products, _figures(whole_mean, a, b, c, d), by)
        for i in range(begin + AHEAD, end + AHEAD, LINE):
            prefetch(momentum, i)
        top = _direct(whole_mean, momentum[begin:end], remainder[begin:end], rate, factor, wanted)
        for i in range(begin + AHEAD, end + AHEAD, LINE):
            prefetch(remainder, i)
        for i in range(begin + AHEAD, end + AHEAD, BYTES_LINE):
            prefetch(out, i)
        out_scales[block] = _take(wanted, top, theta[begin:end], remainder[begin:end], out[begin:end])
        row = whole[begin // 2 : end // 2]
        for i in range(BLOCK // 2):
            columns[i] += row[i]


@compiled
def _begin(mean: Floats, values: Addresses, scales: Floats, shares: Floats, begun: bool) -> None:
    """Add up four deltas' parts of the mean; begun: to what is in it."""
    for block in range(mean.size // BLOCK):
        begin, end = block * BLOCK, (block + 1) * BLOCK
        a, b, c, d, by = _four(values, scales, block)
        _add(mean[begin:end], begun, a, b, c, d, by, (shares[0], shares[1], shares[2], shares[3]))


@compiled
def _look_back(mean: Floats, values: Addresses, scales: Floats, products: Products) -> None:
    """Add up four deltas' squares and products with the mean: [2, GROUP]."""
    for block in range(mean.size // BLOCK):
        a, b, c, d, by = _four(values, scales, block)
        _note(products, _figures(mean[block * BLOCK : (block + 1) * BLOCK], a, b, c, d), by)


@inlined
def _four(values: Addresses, scales: Floats, block: int) -> tuple[Bytes, Bytes, Bytes, Bytes, Four]:
    """One block of each of four deltas, and its scales."""
    at = block * BLOCK
    a, b = int8s_at(values[0] + at, BLOCK), int8s_at(values[1] + at, BLOCK)
    c, d = int8s_at(values[2] + at, BLOCK), int8s_at(values[3] + at, BLOCK)
    return a, b, c, d, (scales[0, block], scales[1, block], scales[2, block], scales[3, block])


@inlined
def _add(mean: Floats, begun: bool, a: Bytes, b: Bytes, c: Bytes, d: Bytes, scales: Four, shares: Four) -> None:
    """Add four deltas' parts of the mean, in their order."""
    if begun:
        for i in range(BLOCK):
            total = mean[i] + shares[0] * (np.float32(a[i]) * scales[0])
            total += shares[1] * (np.float32(b[i]) * scales[1])
            total += shares[2] * (np.float32(c[i]) * scales[2])
            mean[i] = total + shares[3] * (np.float32(d[i]) * scales[3])
    else:
        for i in range(BLOCK):
            total = shares[0] * (np.float32(a[i]) * scales[0]) + shares[1] * (np.float32(b[i]) * scales[1])
            total += shares[2] * (np.float32(c[i]) * scales[2])
            mean[i] = total + shares[3] * (np.float32(d[i]) * scales[3])


@compiled_sums
def _figures(mean: Floats, a: Bytes, b: Bytes, c: Bytes, d: Bytes) -> tuple[Four, Four]:
    """Return squares (below 2^24, so exact) and products with the mean, whose last bits differ between machines."""
    aa = bb = cc = dd = am = bm = cm = dm = np.float32(0)
    for i in range(BLOCK):
        m, one, two, three, four = mean[i], np.float32(a[i]), np.float32(b[i]), np.float32(c[i]), np.float32(d[i])
        aa += one * one
        bb += two * two
        cc += three * three
        dd += four * four
        am += one * m
        bm += two * m
        cm += three * m
        dm += four * m
    return (aa, bb, cc, dd), (am, bm, cm, dm)


@inlined
def _note(products: Products, figures: tuple[Four, Four], scales: Four) -> None:
    squares, dots = figures
    for i in range(GROUP):
        scale = np.float64(scales[i])
        products[0, i] += np.float64(squares[i]) * scale * scale
        products[1, i] += np.float64(dots[i]) * scale


@inlined
def _direct(
    mean: Floats, momentum: Floats, remainder: Floats, rate: np.float32, factor: np.float32, wanted: Floats
) -> np.float32:  # fmt: skip
    """Fill in the step that is wanted; return its largest magnitude."""
    top = np.int32(0)  # Numbers without their sign are in the order of their bits.
    if factor != 0:
        for i in range(BLOCK):
            moved = momentum[i] * factor + mean[i]
            momentum[i] = moved
            step = np.float32(remainder[i] - rate * (mean[i] + factor * moved))
            wanted[i] = step
            bits = np.int32(step.view(np.int32) & np.int32(0x7FFFFFFF))
            top = bits if bits > top else top
    else:
        for i in range(BLOCK):
            momentum[i] = momentum[i] * np.float32(0.5)  # FADE
            step = np.float32(remainder[i] - rate * mean[i])
            wanted[i] = step
            bits = np.int32(step.view(np.int32) & np.int32(0x7FFFFFFF))
            top = bits if bits > top else top
    return np.int32(top).view(np.float32)


@inlined
def _take(wanted: Floats, top: np.float32, theta: Floats, remainder: Floats, out: Bytes) -> np.float32:
    """Take the step as far as int8 can say it, the rest remains; return its scale."""
    scale = top / np.float32(127)
    divisor = scale if scale != 0 else np.float32(1)
    for i in range(BLOCK):
        # Adding and taking away 1.5 x 2^23 rounds to the nearest whole number, halves to the even one.
        step = (wanted[i] / divisor + np.float32(12582912)) - np.float32(12582912)
        out[i] = np.int8(np.int32(step))
        applied = step * scale
        remainder[i] = wanted[i] - applied
        theta[i] += applied
    return scale
