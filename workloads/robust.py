"""
How much each of many sites' deltas counts, where one of them may be anything.

Centred clipping (Karimireddy, He and Jaggi, arXiv:2012.10333): the mean, but who lies farther from it than `reach`
pulls only as if at that distance. The reach comes from the deltas themselves: how far the middle one is from the one in
their midst. Where nobody is farther, the shares are the weights', and the result is the mean's to the bit. All that is
needed is the deltas' products with each other, so what comes out is a share for each: it is written down, and doing the
same again needs no rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from offers.matching.compiled import compiled, int8s_at
from workloads.node.training import outer, quantise
from workloads.outer_step import BLOCK, Addresses, Delta

MEAN, CLIPPED = "mean", "clipped"
RULES = (MEAN, CLIPPED)
PLAIN_MAX = 4  # Deltas of which the mean is taken unless somebody chose: among so few it is hard to tell who is wild.
ROUNDS_MAX, CLOSE = 200, 1e-9  # Shares are found again from themselves until they stay.
TINY, SAME = float(np.finfo(np.float64).tiny), 1e-6
Numbers = npt.NDArray[np.float64]


def shares(deltas: Sequence[Delta], size: int) -> list[float]:
    """Return the parts of 1 by which to merge deltas of `size` numbers, instead of their own shares in the mean."""
    given = np.array([delta.share for delta in deltas])
    return clipped(products(deltas, size), given).tolist()


def clipped(gram: Numbers, given: Numbers) -> Numbers:
    """Return shares, [n]: gram, [n, n], are the products of the deltas; given, their shares in the mean, positive."""
    squares = np.diag(gram)

    def away(found: Numbers) -> Numbers:
        return np.sqrt(np.maximum(squares - 2 * gram @ found + found @ gram @ found, 0))

    apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * gram, 0))
    middles = np.sort(apart, axis=1)[:, len(given) // 2]
    midst = int(np.argmin(middles))
    # Deltas that are all the same are apart by what float64 rounds away.
    reach = max(middles[midst], SAME * np.sqrt(squares[midst]), TINY)
    if (away(given) <= reach).all():
        return given
    found = np.eye(len(given))[midst]  # Not the mean: the wilder one is, the farther off that lies.
    for _ in range(ROUNDS_MAX):
        pull = given * (reach / np.maximum(away(found), reach))
        before, found = found, pull / pull.sum()
        if np.abs(found - before).max() < CLOSE:
            break
    return found


def products(deltas: Sequence[Delta], size: int) -> Numbers:
    """Return the products of deltas of `size` numbers with each other, [n, n], a slice at a time."""
    is_int8 = all(delta.codec == "int8" for delta in deltas)

    def of_slice(start: int, end: int) -> Numbers:
        if not is_int8:
            vectors = [outer.unpacked(delta.parts, delta.codec, start, end) for delta in deltas]
            wide = np.stack(vectors).astype(np.float64)
            return wide @ wide.T
        parts = [quantise.cut(delta.parts, "int8", start, end) for delta in deltas]
        values = np.array([each["values"].ctypes.data for each in parts], np.intp)
        gram = np.zeros((len(parts), len(parts)))
        _products(values, np.stack([each["scales"] for each in parts]), (end - start) // BLOCK, gram)
        return gram

    return np.sum(outer.in_slices(size, of_slice), axis=0)


@compiled
def _products(values: Addresses, scales: npt.NDArray[np.float32], blocks: int, gram: Numbers) -> None:
    """Add to gram what blocks of int8 give; values: their addresses; scales: [n, blocks]. Sums of a block are exact."""
    for block in range(blocks):
        for j in range(len(values)):
            one = int8s_at(values[j] + block * BLOCK, BLOCK)
            for k in range(j + 1):
                other, total = int8s_at(values[k] + block * BLOCK, BLOCK), np.int32(0)
                for i in range(BLOCK):
                    total = np.int32(total + np.int32(np.int32(one[i]) * np.int32(other[i])))
                product = np.float64(total) * np.float64(scales[j, block]) * np.float64(scales[k, block])
                gram[j, k] += product
                if j != k:
                    gram[k, j] += product
