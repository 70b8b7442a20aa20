"""
One site of the benchmarks of training across sites: a researcher's script around `gpuyard.train.session`.

`python -m tests.benchmarks.training_site OPTIONS`, a JSON object as `training_sites.Site` makes it. Each step leaves a
line in the log, moments by time.monotonic(): when the loop asked for the batch, when it came, when the optimizer was
done and when the session's hook after it was, when the step was over, how many samples it had, and how many bytes had
passed the network interface by then.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
    log = Log(optimizer, options)
    windows = Windows(options["corpus"], options["context"])
    wishes = {"sync_every_steps": options["every"], "codec": options["codec"], "seed": options["seed"]}
    with yard.session(model, optimizer, **wishes) as run:
        batches = run.batches(windows, options["batch"], samples=options["samples"])
        train(run, batches, model, optimizer, log)
    Path(options["outcome"]).write_text(fingerprint(model))


class Log:
    """The file with a line for each step. Made before the session: hooks run in the order in which they came."""

    def __init__(self, optimizer: torch.optim.Optimizer, options: dict[str, Any]) -> None:
        self._file = Path(options["log"]).open("a", buffering=1)
        self._device, self._pace_s = options["device"], options["pace_s"]
        self._optimized_s = 0.0
        optimizer.register_step_post_hook(self._note)

    def step(self, *, asked_s: float, begun_s: float, samples: int) -> None:
        """Write down a step whose optimizer and its hooks are done, after it took as long as it must."""
        hooked_s = time.monotonic()
        pause_until(begun_s + self._pace_s)
        moments = (asked_s, begun_s, self._optimized_s, hooked_s, time.monotonic())
        self._file.write(
            " ".join([*(f"{each:.6f}" for each in moments), f"{samples} {wire_bytes(self._device)}"]) + "\n"
        )

    def _note(self, *_: Any) -> None:
        self._optimized_s = time.monotonic()


def train(run: Any, batches: Iterator[Any], model: Gpt, optimizer: torch.optim.Optimizer, log: Log) -> None:
    """Take a step on each batch."""
    while True:
        asked_s = time.monotonic()
        batch = next(batches, None)
        if batch is None:
            return
        begun_s = time.monotonic()
        loss = model(*batch)
        loss.backward()
        optimizer.step()
        log.step(asked_s=asked_s, begun_s=begun_s, samples=len(batch[0]))
        optimizer.zero_grad()
        run.report(loss=loss)


def fingerprint(model: Gpt) -> str:
    """Return the fingerprint of the parameters as the broker writes it in a commit."""
    from gpuyard.node.training import outer, weights
    from gpuyard.node.training.layout import Layout

    return outer.fingerprint(Layout(weights.described(model)).flat(weights.taken(model)))


if __name__ == "__main__":
    main()
