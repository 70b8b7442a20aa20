"""
What this machine really does: matrix products and memory traffic by size, and the cost of an operation in itself.

A few seconds that say where a host falls short of the data sheet of its chip; `offers.matching.roofline.by_benchmark`
reads the answer.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from .counting import PRECISIONS, Counting

SIDES = {"cpu": (16, 32, 64, 128, 256, 512, 1024), "cuda": (64, 256, 1024, 4096, 8192)}  # Of square matrices.
NUMBERS = {"cpu": (2**8, 2**12, 2**16, 2**20, 2**23), "cuda": (2**10, 2**16, 2**22, 2**27)}  # Of a vector.
BUDGET_S = 0.15  # For each size.
POOL_BYTES, POOL_PAIRS = 2**26, 256
BATCH_S = 0.002  # Operations are timed so long together, that the clock does not matter.


def main() -> None:
    """Write a list of what `measure` returns, for each precision that models are trained in on this host."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--threads", type=int, default=1, help="of a host without GPUs")
    torch.set_num_threads(parser.parse_args().threads)
    if torch.cuda.is_available():
        half = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        measured = [measure(device="cuda", dtype=dtype) for dtype in (half, torch.float32)]
    else:
        measured = [measure()]
    sys.stdout.write(json.dumps(measured))


def measure(
    *, device: str = "cpu", dtype: torch.dtype = torch.float32, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Any]:
    """
    What `device`, "cpu" or "cuda", reaches, in matrix products of `dtype`.

    {"precision", "compute": [[flops, flops/s]], "memory": [[bytes, bytes/s]], "launch_s"}.
    """
    launch_s = _launch_s(device=device, clock=clock)
    compute = []
    for side in SIDES[device]:
        pool = _pool(2 * side * side * dtype.itemsize, lambda n=side: torch.randn(n, n, device=device, dtype=dtype))
        seconds = _seconds(lambda pairs=pool: torch.mm(*next(pairs)), device=device, clock=clock)
        compute.append([2.0 * side**3, 2.0 * side**3 / seconds])
    memory = []
    for count in NUMBERS[device]:
        pool = _pool(8 * count, lambda n=count: torch.randn(n, device=device))
        seconds = _seconds(lambda pairs=pool: torch.add(*next(pairs)), device=device, clock=clock)
        memory.append([12.0 * count, 12.0 * count / seconds])
    precision = PRECISIONS[dtype]
    return {"precision": precision, "compute": compute, "memory": memory, "launch_s": launch_s}


def _pool(pair_bytes: int, make: Callable[[], torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs of operands in turn, too many for a cache: a training step finds few of its operands in the nearest one."""
    pairs = [(make(), make()) for _ in range(max(1, min(POOL_PAIRS, POOL_BYTES // pair_bytes)))]
    return itertools.cycle(pairs)


def _launch_s(*, device: str, clock: Callable[[], float]) -> float:
    """Seconds of an operation in a training step so small that nothing else counts, Python and autograd included."""
    model = nn.Sequential(*(layer for _ in range(8) for layer in (nn.Linear(4, 4), nn.ReLU()))).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    numbers = torch.zeros(4, 4, device=device)

    def step() -> None:
        model(numbers).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    with Counting() as counted:
        step()
    return _seconds(step, device=device, clock=clock) / sum(counted.work.values())


def _seconds(work: Callable[[], object], *, device: str, clock: Callable[[], float]) -> float:
    """The median time of one piece of work."""
    wait = torch.cuda.synchronize if device == "cuda" else _nothing

    def timed(count: int) -> float:
        wait()
        begun_s = clock()
        for _ in range(count):
            work()
        wait()
        return (clock() - begun_s) / count

    timed(2)
    count = max(1, int(BATCH_S / max(timed(1), 1e-7)))
    times, until_s = [], clock() + BUDGET_S
    while not times or clock() < until_s:
        times.append(timed(count))
    return statistics.median(times)


def _nothing() -> None:
    pass


if __name__ == "__main__":
    main()
