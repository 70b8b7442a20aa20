"""`session`, which wraps the researcher's loop: alone it only deals out batches, placed it joins the site's rounds."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import default_collate

from . import checkpoint, data, group
from .loop import Steps
from .metrics import Printed
from .quantise import CODECS

if TYPE_CHECKING:
    from ..link import Link
    from .posting import Posted
    from .rounds import Leader


class SessionMisused(RuntimeError):
    """The session was used in a way it can not serve; the message says how to use it."""


class NothingToTrainOn(ValueError):
    """The dataset is empty, or no samples were asked for."""


def session(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    sync_every_steps: int = 50,
    outer_lr: float | None = None,
    outer_momentum: float | None = None,
    seed: int = 0,
    codec: str | None = None,
) -> Run:
    """Wrap a training loop: `with session(model, optimizer) as run: for batch in run.batches(dataset): ...`.

    Sites exchange what they learnt every `sync_every_steps` optimizer steps. `outer_lr` and `outer_momentum` None let
    the broker choose by the number of rounds. `seed` orders the samples and must be the same at all sites. `codec` is
    how many bits of a parameter travel, of the site that is first: fp32, fp16, int8 (where it is None), int4 or top2.
    Raises SessionMisused, StrangeOptimizer.
    """
    if sync_every_steps < 1:
        raise SessionMisused(f"sync_every_steps is {sync_every_steps}; it must be 1 or more")
    if codec is not None and codec not in CODECS:
        raise SessionMisused(f"codec is {codec!r}; it must be one of {', '.join(CODECS)}")
    wishes = {"outer_lr": outer_lr, "outer_momentum": outer_momentum, "codec": codec}
    return Run(model, optimizer, sync_every_steps, wishes, seed)


class Run:
    """An open session. Made by `session`, used as a context manager."""

    _open: Run | None = None
    _placed_before = False

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        sync_every_steps: int,
        wishes: Mapping[str, Any],
        seed: int,
    ) -> None:
        self.alone = not os.environ.get("GPUYARD_SITE_URL")
        self.rank = 0 if self.alone else int(os.environ.get("GPUYARD_RANK", "0"))
        self.world = 1 if self.alone else int(os.environ.get("GPUYARD_WORLD", "1"))
        if Run._open is not None or (Run._placed_before and not self.alone):
            raise SessionMisused("session() was called twice; a script trains one model in one session")
        self._model, self._sync_every_steps, self._wishes, self._seed = model, sync_every_steps, wishes, seed
        self._optimizer = optimizer
        self._steps = Steps(model=model, optimizer=optimizer, world=self.world)
        self._leader: Leader | None = None
        self._metrics: Printed | Posted | None = None
        self._dealt = False
        self._loss_sum: Any = 0.0
        self._loss_count = 0
        Run._open, Run._placed_before = self, not self.alone

    def __enter__(self) -> Run:
        if self.alone:
            self._metrics = Printed()
        elif self.rank == 0:
            from .posting import Posted
            from .rounds import Leader

            self._leader = Leader(model=self._model, connect=_connect, drain_file=os.environ.get("GPUYARD_DRAIN_FILE"))
            self._metrics = Posted(connect=_connect)
            self._metrics.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._steps.close()
        if self._metrics:
            self._metrics.close()
        if self._leader:
            self._leader.close()
        Run._open = None

    def batches(
        self, dataset: data.Dataset, batch_size: int = 32, samples: int | None = None, epochs: int = 1
    ) -> Iterator[Any]:
        """Batches of `dataset` (anything with a length and items by number), collated as torch's DataLoader does.

        `samples` is how many all sites together train on, passing over the dataset as often as needed; None means
        `epochs` passes. `batch_size` is per accelerator. Raises SessionMisused, NothingToTrainOn, SessionRefused.
        """
        if Run._open is not self:
            raise SessionMisused("the session is not open: use `with session(...) as run:` and loop inside it")
        if self._dealt:
            raise SessionMisused("run.batches() was called twice; for several passes use epochs= or samples=")
        if batch_size < 1:
            raise SessionMisused(f"batch_size is {batch_size}; it must be 1 or more")
        size = len(dataset)
        total = epochs * size if samples is None else samples
        if size < 1 or total < 1:
            raise NothingToTrainOn(f"the dataset has {size} samples and {total} are to be trained on")
        self._dealt = True
        order = data.Order(samples=size, seed=self._seed)
        return self._deal(dataset, order, batch_size=batch_size, total=total)

    def report(self, **metrics: Any) -> None:
        """Report numbers of this step, plain or as tensors with one element. Never waits."""
        values = _detached(metrics)
        if "loss" in values:
            self._loss_sum = self._loss_sum + values["loss"]
            self._loss_count += 1
        if self._metrics:
            version = self._leader.version if self._leader else 0
            self._metrics.report(step=self._steps.total, version=version, values=values)

    def save(self, model: torch.nn.Module, name: str = "model.safetensors", **metrics: Any) -> None:
        """Keep the model: as the file `name` when alone, as an artifact of the run when placed (rank 0 sends it)."""
        values = {key: float(value) for key, value in _detached(metrics).items()}
        if self.alone:
            checkpoint.write(model, Path(name))
            sys.stdout.write(
                "  ".join([f"saved {name}", *(f"{key} {value:.4f}" for key, value in values.items())]) + "\n"
            )
        elif self._leader:
            self._leader.hand_over(name=Path(name).name, raw=checkpoint.packed(model), metrics=values)

    def _deal(self, dataset: data.Dataset, order: data.Order, *, batch_size: int, total: int) -> Iterator[Any]:
        per_step = batch_size * self.world
        if self.alone:
            batches = self._round([(0, total)], dataset, order, batch_size)
            if os.environ.get("GPUYARD_PROBE"):
                from .probing import probed

                batches = probed(batches, model=self._model, optimizer=self._optimizer, batch_size=batch_size)
            yield from batches
            return
        if self._leader:
            self._leader.join(
                {
                    "world": self.world,
                    "dataset_samples": len(dataset),
                    "total_samples": total,
                    "batch_size": batch_size,
                    "sync_every_steps": self._sync_every_steps,
                    **{name: value for name, value in self._wishes.items() if value is not None},
                }
            )
        while (ranges := self._next_ranges(count=self._sync_every_steps * per_step)) is not None:
            yield from self._round(ranges, dataset, order, batch_size)
            self._finish_round(ranges)

    def _next_ranges(self, *, count: int) -> data.Ranges | None:
        """What the whole site trains on next, and the shared parameters at every rank. Raises Drained."""
        word: Any = None
        if self._leader:
            from .rounds import Drained

            try:
                word = self._leader.next_ranges(count=count)
            except Drained:
                word = "drain"
        word = group.told(word)
        if word == "drain":
            _leave()
        group.copy_from_first(list(self._model.parameters()))
        return None if word is None else list(word)

    def _round(self, ranges: data.Ranges, dataset: data.Dataset, order: data.Order, batch_size: int) -> Iterator[Any]:
        self._steps.begin_round()
        self._loss_sum, self._loss_count = 0.0, 0
        for step in data.steps(ranges, per_step=batch_size * self.world):
            wanted = self._leader is not None and self._leader.drain_wanted()
            if wanted:
                self._steps.stop_wanted = True
            # Several ranks must stop at the same step, so there the wish goes around with the gradients first.
            if self._steps.stopping or (wanted and self.world == 1):
                self._steps.stopping = True
                return
            mine, counted = data.share(step, rank=self.rank, batch_size=batch_size)
            self._steps.hand_out(positions=len(step), counted=counted)
            yield default_collate([dataset[order.sample(position)] for position in mine])

    def _finish_round(self, ranges: data.Ranges) -> None:
        """Hand in the round; when the site is leaving, the part of it that was trained on, and go."""
        steps, leaving = self._steps, self._steps.stopping
        if not leaving and steps.total == 0:
            raise SessionMisused(
                f"a whole round of {data.count(ranges)} samples went by without optimizer.step(): "
                "call step() of the optimizer that was given to session()"
            )
        used = data.prefix(ranges, steps.covered) if leaving else ranges
        if self._leader and used:
            from .rounds import Drained

            loss = float(self._loss_sum) / self._loss_count if self._loss_count else None
            try:
                self._leader.contribute(
                    ranges=used,
                    samples=data.count(used),
                    steps=max(1, steps.in_round),
                    partial=leaving,
                    loss=loss,
                )
            except Drained:
                # The contribution is in; the next question for ranges tells all ranks to leave.
                return
        if leaving:
            group.told(None)  # Nobody leaves before the leader has handed in: the driver ends a site that falls apart.
            _leave()


def _detached(metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics as numbers or tensors of one number, which may still be being computed. Raises SessionMisused."""
    values: dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            values[name] = value.detach()
        elif isinstance(value, int | float | np.number):
            values[name] = float(value)
        else:
            raise SessionMisused(
                f"{name} is not one number: {type(value).__name__}; report numbers, for example a mean"
            )
    return values


def _leave() -> None:
    from .rounds import Drained

    raise Drained


def _connect() -> Link:
    from ..link import Link

    return Link(broker=os.environ["GPUYARD_SITE_URL"], authorization=f"Site {os.environ['GPUYARD_SITE_KEY']}")
