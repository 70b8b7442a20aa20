"""
One site of the benchmarks of training across sites: a researcher's script around `gpuyard.train.session`.

`python -m tests.benchmarks.training_site OPTIONS`, a JSON object as `training_sites.Site` makes it. Each step leaves a
line in the log, moments by time.monotonic(): when the loop asked for the batch, when it came, when the optimizer's step
began and when it was over (the session hooks it), when the step was, how many samples it had, and how many bytes had
passed the network interface by then.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import gpuyard.train as yard
import torch

from tests.benchmarks.training_model import Gpt, Windows, adamw, pause_until, wire_bytes


def main() -> None:
    """Train until the broker says that all is merged; then write down what came of it."""
    options = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(options["seed"])
    model = Gpt(options["model"], options["context"])
    optimizer = adamw(model, options["rate"])
    windows = Windows(options["corpus"], options["context"])
    with Path(options["log"]).open("a", buffering=1) as log, yard.session(
        model, optimizer, sync_every_steps=options["every"], codec=options["codec"], seed=options["seed"]
    ) as run:  # fmt: skip
        train(run, run.batches(windows, options["batch"], samples=options["samples"]), model, optimizer, log, options)
    Path(options["outcome"]).write_text(fingerprint(model))


def train(
    run: Any, batches: Iterator[Any], model: Gpt, optimizer: torch.optim.Optimizer, log: TextIO, options: dict[str, Any]
) -> None:  # fmt: skip
    """Take a step on each batch, none in less than `pace_s`."""
    while True:
        asked_s = time.monotonic()
        batch = next(batches, None)
        if batch is None:
            return
        begun_s = time.monotonic()
        loss = model(*batch)
        loss.backward()
        stepping_s = time.monotonic()
        optimizer.step()
        stepped_s = time.monotonic()
        optimizer.zero_grad()
        run.report(loss=loss)
        pause_until(begun_s + options["pace_s"])
        moments = (asked_s, begun_s, stepping_s, stepped_s, time.monotonic())
        words = [f"{moment:.6f}" for moment in moments]
        log.write(" ".join([*words, str(len(batch[0])), str(wire_bytes(options["device"]))]) + "\n")


def fingerprint(model: Gpt) -> str:
    """Return the fingerprint of the parameters as the broker writes it in a commit."""
    from gpuyard.node.training import outer, weights
    from gpuyard.node.training.layout import Layout

    return outer.fingerprint(Layout(weights.described(model)).flat(weights.taken(model)))


if __name__ == "__main__":
    main()
