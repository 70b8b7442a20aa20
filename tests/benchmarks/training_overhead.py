"""
What the session costs a loop that runs alone: tokens/s of the bare loop and of the same loop in a session.

A GPT of 115,000 parameters on the standard library's sources (training_model), one thread. Both take the same samples
in the same order, from the same dataset, collated in the same way, and report their loss at every step; they take
turns of TURN_STEPS steps in one process, so that what else the machine does hits both. session_overhead is
1 - the median over the turns of (session's tokens/s / bare loop's tokens/s of the same turn).

`python -m tests.benchmarks.training_overhead`
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from tests.benchmarks.training_loss import corpus
from tests.benchmarks.training_model import Gpt, Windows, adamw
from workloads.node.training import data, session

CONTEXT, BATCH, TURNS, TURN_STEPS, WARM_UP_TURNS = 64, 16, 40, 25, 2


def main() -> int:
    """Print the figures."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as directory:
        np.save(Path(directory) / "corpus.npy", corpus().numpy())
        dataset = Windows(Path(directory) / "corpus.npy", CONTEXT)
    total = (TURNS + WARM_UP_TURNS) * TURN_STEPS * BATCH
    bare_model, bare_optimizer = _fresh()
    model, optimizer = _fresh()
    bare = _trained(bare_model, bare_optimizer, _plain(dataset, total), lambda loss: None)
    with session(model, optimizer) as run:
        ours = _trained(
            model, optimizer, run.batches(dataset, BATCH, samples=total), lambda loss: run.report(loss=loss)
        )
        ratios = [_turn(bare) / _turn(ours) for _ in range(TURNS + WARM_UP_TURNS)][WARM_UP_TURNS:]
        assert next(ours, None) is None
    same = all(torch.equal(one, two) for one, two in zip(bare_model.parameters(), model.parameters(), strict=True))
    assert same, "the session is to train exactly what the bare loop trains"
    low, _, high = statistics.quantiles(ratios, n=4)
    figures = {
        "session_overhead": round(1 - statistics.median(ratios), 4),
        "quartiles": [round(1 - high, 4), round(1 - low, 4)],
        "turns": TURNS,
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 0


def _fresh() -> tuple[Gpt, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = Gpt("small", CONTEXT)
    return model, adamw(model, 1e-3)


def _plain(dataset: Any, total: int) -> Iterator[Any]:
    """What a loop without a session would write."""
    order = data.Order(samples=len(dataset), seed=0)
    for start in range(0, total, BATCH):
        yield default_collate([dataset[order.sample(position)] for position in range(start, start + BATCH)])


def _trained(model: Any, optimizer: Any, batches: Iterator[Any], report: Any) -> Iterator[None]:
    for x, y in batches:
        loss = model(x, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        report(loss)
        yield


def _turn(loop: Iterator[None]) -> float:
    """Return the seconds of TURN_STEPS steps."""
    started = time.perf_counter()
    for _ in itertools.islice(loop, TURN_STEPS):
        pass
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
