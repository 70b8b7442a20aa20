"""Which samples, in which order: numbered positions of a seeded permutation, cut into batches and shares. No torch."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

Ranges = list[tuple[int, int]]  # Positions [start, end), in the order they are trained on.


class Dataset(Protocol):
    """A map-style dataset: it has a length, and items by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


def permutation(*, samples: int, seed: int, epoch: int) -> np.ndarray:
    """The order of the samples in one epoch: [samples], int64.

    Sorting by a hash instead of a library's shuffle: all sites must agree for ever, and NumPy does not promise that
    Generator.permutation stays the same between its versions (NEP 19). The hash is SplitMix64 (Steele, Lea and Flood,
    OOPSLA 2014).
    """
    with np.errstate(over="ignore"):
        start = _mix(_mix(np.uint64(seed % 2**64) + np.uint64(0x9E3779B97F4A7C15)) + np.uint64(epoch))
        keys = _mix(start + np.arange(1, samples + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return np.argsort(keys, kind="stable")


def _mix(state: Any) -> Any:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


class Order:
    """Sample numbers by position. Position p is permutation(epoch = p // samples)[p % samples]."""

    def __init__(self, *, samples: int, seed: int) -> None:
        self._samples, self._seed = samples, seed
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def sample(self, position: int) -> int:
        """The number of the sample at `position`. Keeps one epoch's order at a time."""
        epoch, place = divmod(position, self._samples)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, permutation(samples=self._samples, seed=self._seed, epoch=epoch)
        return int(self._order[place])


def steps(ranges: Sequence[Sequence[int]], *, per_step: int) -> Iterator[list[int]]:
    """The positions of `ranges` in order, `per_step` at a time; the last may be fewer."""
    step: list[int] = []
    for start, end in ranges:
        for position in range(start, end):
            step.append(position)
            if len(step) == per_step:
                yield step
                step = []
    if step:
        yield step


def cut(ranges: Sequence[Sequence[int]], count: int) -> tuple[Ranges, Ranges]:
    """Return the first `count` positions of `ranges`, and the rest of them."""
    first: Ranges = []
    rest: Ranges = []
    for start, end in ranges:
        middle = min(end, start + count)
        if middle > start:
            first.append((start, middle))
        if end > middle:
            rest.append((middle, end))
        count -= middle - start
    return first, rest


def positions(ranges: Sequence[Sequence[int]]) -> list[int]:
    """Return the positions of `ranges` one by one."""
    return [position for start, end in ranges for position in range(start, end)]


def joined(ranges: Sequence[Sequence[int]]) -> Ranges:
    """Return ranges in the same order, those that follow each other as one."""
    whole: Ranges = []
    for start, end in ranges:
        if whole and whole[-1][1] == start:
            whole[-1] = (whole[-1][0], end)
        else:
            whole.append((start, end))
    return whole


def share(step: list[int], *, rank: int, batch_size: int) -> tuple[list[int], int]:
    """This rank's positions in the step and how many of them count: a rank without any borrows one that counts 0."""
    mine = step[rank * batch_size : (rank + 1) * batch_size]
    return (mine, len(mine)) if mine else (step[:1], 0)


def count(ranges: Sequence[Sequence[int]]) -> int:
    """How many positions there are in `ranges`."""
    return sum(end - start for start, end in ranges)
