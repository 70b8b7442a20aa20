"""
The hub's merge of four sites of a model of a billion parameters, in int8 both ways.

hub_to_memory_limit: its seconds over those that a plain float32 addition takes for the same bytes, with as many
threads. The bytes: each contribution and theta, momentum and remainder read once, these three and the update written
once. hub_extra_gib: the most anonymous memory during the merges, less theta, momentum and remainder; the files of
contributions are mapped, so the system may drop their pages. Medians of the merges after the first, which compiles;
each is held against the additions just before and after it, for other work may share the machine; then the ratio of
processors' seconds says more than that of the clock's.

`python -m tests.benchmarks.training_hub [--parameters 1e9] [--sites 4] [--merges 3]`; needs 12 bytes of memory a
parameter and 6 of disk.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from workloads import outer_step, robust
from workloads.node.training import outer, wire
from workloads.node.training.layout import Floats
from workloads.outer_step import Delta

GIB = 1 << 30
ADDED = 1 << 26  # Numbers of the addition.
THREADS = len(os.sched_getaffinity(0))


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--parameters", type=float, default=1e9)
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--merges", type=int, default=3)
    given = parser.parse_args()
    size = -(-int(given.parameters) // 256) * 256
    with TemporaryDirectory(prefix="gpuyard-bench-") as directory:
        figures = measured(Path(directory), size, given.sites, given.merges)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


def measured(directory: Path, size: int, sites: int, merges: int) -> dict[str, Any]:
    """Return seconds, rates and memory of merging `size` parameters of so many sites so many times."""
    paths = [directory / f"site-{site}" for site in range(sites)]
    for site, path in enumerate(paths):
        outer.packed(_noise(site, size), "int8", wire.create(path, codec="int8", size=size))
    theta, momentum, remainder = _noise(sites, size), np.zeros(size, np.float32), np.zeros(size, np.float32)
    momentum += 0  # So that its memory is there before it is counted.
    remainder += 0

    path = directory / "update"

    def merge() -> None:
        deltas = [
            Delta(parts=wire.read(path, size=size)[1], codec="int8", share=1 / sites) for path in paths
        ]  # fmt: skip
        if sites > robust.PLAIN_MAX:
            shares = robust.shares(deltas, size)
            deltas = [replace(delta, share=share) for delta, share in zip(deltas, shares, strict=True)]
        update = wire.create(path, codec="int8", size=size)
        outer_step.merge(
            theta, momentum, remainder, deltas, lr=0.9, momentum_factor=0.8, codec="int8", update=update
        )  # fmt: skip

    spent, adds_spent, anonymous_gib, resident_gib = _timed(merge, lambda: path.unlink(missing_ok=True), merges + 1)
    reads = 2 if sites > robust.PLAIN_MAX else 1
    moved = reads * sum(path.stat().st_size for path in paths) + 6 * 4 * size + path.stat().st_size
    adds = adds_spent / (12 * ADDED) * moved
    ratios = 2 * spent / (adds[:-1] + adds[1:])  # [merges + 1, 2]
    merge_s, add_s = (float(np.median(each[:, 0])) for each in (spent[1:], adds))
    ratio, of_processors = np.median(ratios[1:], axis=0).round(2).tolist()
    return {
        "hub_to_memory_limit": ratio,
        "hub_to_memory_limits": ratios[:, 0].round(2).tolist(),
        "hub_to_memory_limit_of_processors": of_processors,
        "hub_extra_gib": round(anonymous_gib - (12 * size + 8 * ADDED) / GIB, 3),
        "hub_merge_s": round(merge_s, 3),
        "hub_merges_s": spent[:, 0].round(3).tolist(),
        "hub_gb_per_s": round(moved / 1e9 / merge_s, 2),
        "add_gb_per_s": round(moved / 1e9 / add_s, 2),
        "resident_gib_with_mapped_files": round(resident_gib, 2),
        "parameters": size,
        "sites": sites,
        "threads": THREADS,
    }


def _noise(seed: int, size: int) -> Floats:
    """Deltas as a round leaves them, about: normal, of one magnitude a tensor."""
    made = np.empty(size, np.float32)
    generator, step = np.random.default_rng(seed), 1 << 22
    for start in range(0, size, step):
        piece = made[start : start + step]
        piece[...] = generator.standard_normal(len(piece), np.float32) * np.float32(10 ** generator.uniform(-5, -2))
    return made


def _timed(
    work: Callable[[], None], before: Callable[[], None], count: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float, float]:
    """
    Return seconds on the clock and of all processors, [count, 2], those of additions around them, [count + 1, 2].

    And the most memory, GiB: anonymous, and all.
    """
    peaks, over = {"RssAnon": 0.0, "VmRSS": 0.0}, threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            for line in Path("/proc/self/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in peaks:
                    peaks[name] = max(peaks[name], int(value.split()[0]) * 1024 / GIB)

    add = _addition()
    watcher = threading.Thread(target=watch)
    watcher.start()
    spent, additions = [], [_median_of_seven(add)]
    for _ in range(count):
        before()
        spent.append(_spent(work))
        additions.append(_median_of_seven(add))
    over.set()
    watcher.join()
    return np.array(spent), np.array(additions), peaks["RssAnon"], peaks["VmRSS"]


def _spent(work: Callable[[], None]) -> tuple[float, float]:
    clock_s, processors_s = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock_s, time.process_time() - processors_s


def _median_of_seven(work: Callable[[], None]) -> npt.NDArray[np.float64]:
    return np.asarray(np.median([_spent(work) for _ in range(7)], axis=0))


def _addition() -> Callable[[], None]:
    """`numpy.add` over arrays that no cache holds, cut among THREADS; two are read and one is written."""
    one, other = np.full(ADDED, 2, np.float32), np.full(ADDED, 1, np.float32)
    edges = np.linspace(0, ADDED, THREADS + 1, dtype=np.int64).tolist()
    spans = [slice(start, end) for start, end in itertools.pairwise(edges)]

    def add() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda span: np.add(one[span], other[span], out=one[span]), spans))

    return add


if __name__ == "__main__":
    sys.exit(main())
