"""
The outer step as the sites take it, and what both sides know of it. Numpy only, no torch.

The hub makes it (workloads.outer_step). All is float32 by element, a slice at a time: the same input gives the same
bits on every machine.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from . import quantise
from .layout import ALIGNED, Floats, Layout

STALE_MAX = 1  # Versions that the first step of a contribution may lie behind its round.
SLICE = 1 << 18  # Numbers; a multiple of every codec's stride.
Answer = TypeVar("Answer")


def weight(*, samples: int, steps: int) -> float:
    """How much a contribution counts: samples^2 / steps (Decoupled DiLoCo, arXiv:2604.21428, with tokens)."""
    return float(samples) ** 2 / max(1, steps)


def shares(weights: Sequence[float]) -> list[float]:
    """Return weights as parts of 1. Raises ValueError when there is none or they do not sum to a positive number."""
    total = sum(weights)
    if not weights or not total > 0:
        raise ValueError(f"{len(weights)} contributions with weights that sum to {total}: nothing to merge")
    return [each / total for each in weights]


def settings(planned_rounds: float, rounds_left: float) -> tuple[float, float]:
    """(outer learning rate, momentum) of a round; rounds_left counts it.

    Found on a character model of 115,000 parameters with cosine decay and two sites: of what was tried, .8/.7 was best
    at 48 rounds and 1.0/.3 at 12; between and above is a guess (at 96 only .8/.7 was run, and kept all). The last
    rounds take the plain average, which lands where the momentum was heading: .009 to .011 nats in forked runs.
    With ONE site only the hub uses lr 1, momentum 0 instead: the average of a single contributor is the identity, and
    outer momentum would only disturb what is then plain training.
    """
    if rounds_left <= (3 if planned_rounds >= 24 else 2):
        return 1.0, 0.0
    return (1.0, 0.3) if planned_rounds < 20 else (0.8, 0.7)


def apply(theta: Floats, update: Mapping[str, np.ndarray], codec: str) -> str:
    """Take the step that the hub took, in place; return the fingerprint of theta after it."""

    def step(start: int, end: int) -> int:
        theta[start:end] += unpacked(update, codec, start, end)
        return checksum(theta[start:end])

    return joined(in_slices(len(theta), step))


def fingerprint(theta: Floats) -> str:
    """Return a SHA-256 in hex over the `checksum` of each SLICE of float32 numbers; it tells slips, not forgeries."""
    return joined(in_slices(len(theta), lambda start, end: checksum(theta[start:end])))


def packed(vector: Floats, codec: str, into: Mapping[str, np.ndarray]) -> None:
    """Pack a vector a slice at a time into the arrays of `codec` for its size."""

    def step(start: int, end: int) -> None:
        parts = quantise.encode(vector[start:end], codec)
        for name, place in quantise.cut(into, codec, start, end).items():
            place[...] = parts[name]

    in_slices(len(vector), step)


def unpacked(parts: Mapping[str, np.ndarray], codec: str, start: int, end: int) -> Floats:
    """Return numbers [start, end) of a packed vector; start is a multiple of a codec's stride."""
    return quantise.decode(quantise.cut(parts, codec, start, end), codec, size=end - start)


def strays(parts: Mapping[str, np.ndarray], codec: str, layout: Layout) -> list[str]:
    """Return the tensors after whose end a packed vector has numbers: no snapshot holds them."""
    found = []
    for name, start, end in layout.gaps():
        stride = start - start % quantise.STRIDE  # A gap is shorter than ALIGNED, so it lies in one stride.
        if unpacked(parts, codec, stride, end)[start - stride :].any():
            found.append(name)
    return found


def in_slices(size: int, work: Callable[[int, int], Answer]) -> list[Answer]:
    """Return what the work made of each slice, in their order. NumPy and hashlib let other threads run meanwhile."""
    cuts = [(start, min(start + SLICE, size)) for start in range(0, size, SLICE)]
    if len(cuts) == 1:
        return [work(*cuts[0])]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(lambda cut: work(*cut), cuts))


def checksum(numbers: Floats) -> int:
    """
    Return the CRC-32 of 128 sums.

    The bytes, a multiple of 1,024, are read as rows of 128 little-endian whole numbers of 64 bits, and each column is
    added up modulo 2^64: 0.14 ns a number, where a CRC of all bytes takes 0.94, almost as long as the merge itself.
    """
    rows = numbers.view("<u8").reshape(-1, ALIGNED // 2)
    return checksum_of(np.add.reduce(rows, axis=0, dtype=np.uint64))


def checksum_of(columns: npt.NDArray[np.uint64]) -> int:
    """Return the checksum of numbers whose 128 columns add up to these sums."""
    return zlib.crc32(columns)


def joined(checksums: Iterable[int]) -> str:
    """Return the fingerprint of a vector from the checksums of its slices."""
    return sha256(b"".join(each.to_bytes(4, "little") for each in checksums)).hexdigest()
