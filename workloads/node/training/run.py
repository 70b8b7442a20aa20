"""`session`, which wraps the researcher's loop: alone it only deals out batches, placed it joins the site's rounds."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import default_collate

from . import checkpoint, data
from .loop import Steps
from .metrics import Printed
from .quantise import CODECS

if TYPE_CHECKING:
    from .placed import Placed
    from .posting import Posted


class SessionMisused(RuntimeError):
    """The session was used in a way it can not serve; the message says how to use it."""


class NothingToTrainOn(ValueError):
    """The dataset is empty, or no samples were asked for."""


def session(
    model: torch.nn.Module | Mapping[str, torch.nn.Module],
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
    sync_every_steps: int | None = None,
    outer_lr: float | None = None,
    outer_momentum: float | None = None,
    seed: int = 0,
    codec: str | None = None,
    quorum: int | None = None,
    grace_s: float | None = None,
    overlap: bool = True,
    outer_mean: str | None = None,
) -> Run:
    """Wrap a training loop: `with session(model, optimizer) as run: for batch in run.batches(dataset): ...`.

    Sites exchange what they learnt every `sync_every_steps` optimizer steps and train on meanwhile; None lets the
    broker choose, 50 to 500, by the sites' links. `outer_lr` and `outer_momentum` None let it choose by the number of
    rounds. `seed` orders the samples and must be the same at all sites. `codec` is how many bits of a parameter travel,
    of the site that is first: fp32, fp16, int8, int4 or top2; None lets the broker choose int8 or int4. A round closes
    with at least `quorum` sites, or all where there are fewer (None: 1), and waits `grace_s` seconds for those that
    answer its call (None: as long as each usually takes). With `overlap` False a site waits for each round's update
    instead of training on meanwhile. `outer_mean` is "mean" or "clipped", where who lies far out pulls less; None lets
    the number of sites decide, clipped beyond four. Several models go in by name; of several optimizers the first
    one's steps are counted. Raises SessionMisused, StrangeOptimizer.
    """
    if sync_every_steps is not None and sync_every_steps < 1:
        raise SessionMisused(f"sync_every_steps is {sync_every_steps}; it must be 1 or more")
    if quorum is not None and quorum < 1:
        raise SessionMisused(f"quorum is {quorum}; it must be 1 or more")
    if outer_mean not in (None, "mean", "clipped"):
        raise SessionMisused(f"outer_mean is {outer_mean!r}; it must be mean or clipped")
    if grace_s is not None and not 0 <= grace_s < math.inf:
        raise SessionMisused(f"grace_s is {grace_s}; it must be 0 or more seconds")
    if codec is not None and codec not in CODECS:
        raise SessionMisused(f"codec is {codec!r}; it must be one of {', '.join(CODECS)}")
    optimizers = [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else list(optimizer)
    if not optimizers:
        raise SessionMisused("there is no optimizer; give session() those whose steps train the model")
    wishes = {
        "sync_every_steps": sync_every_steps, "outer_lr": outer_lr, "outer_momentum": outer_momentum, "codec": codec,
        "quorum": quorum, "grace_s": grace_s, "outer_mean": outer_mean,
    }  # fmt: skip
    whole = torch.nn.ModuleDict(_plain(model)) if isinstance(model, Mapping) else _plain({"": model})[""]
    return Run(whole, optimizers, wishes, seed, overlap)


class Run:
    """An open session. Made by `session`, used as a context manager."""

    latest: Run | None = None  # The script's session, also after it has ended.
    _open: Run | None = None
    _placed_before = False

    def __init__(
        self,
        model: torch.nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        wishes: Mapping[str, Any],
        seed: int,
        overlap: bool,
    ) -> None:
        self.alone = not os.environ.get("GPUYARD_SITE_URL")
        self.rank = 0 if self.alone else int(os.environ.get("GPUYARD_RANK", "0"))
        self.world = 1 if self.alone else int(os.environ.get("GPUYARD_WORLD", "1"))
        if Run._open is not None or (Run._placed_before and not self.alone):
            raise SessionMisused("session() was called twice; a script trains one model in one session")
        self._model, self._wishes, self._seed = model, wishes, seed
        self._optimizers, self._overlap = optimizers, overlap
        self._dealt_share, self._is_stopped = 0.0, False
        self._steps = Steps(model=model, optimizers=optimizers, world=self.world)
        self._placed: Placed | None = None
        self._metrics: Printed | Posted | None = None
        self._dealt = False
        self.saved: torch.nn.Module | None = None  # What `save` was last given.
        Run.latest = self
        Run._open, Run._placed_before = self, not self.alone

    def __enter__(self) -> Run:
        if self.alone:
            self._metrics = Printed()
            return self
        from .placed import Placed, connect

        self._placed = Placed(
            model=self._model, steps=self._steps, rank=self.rank, world=self.world, overlap=self._overlap
        )
        if self.rank == 0:
            from .posting import Posted

            self._metrics = Posted(connect=connect)
            self._metrics.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._steps.close()
        if self._placed:
            self._placed.close(failed=kind is not None)
        if self._metrics:
            self._metrics.close()
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

    @contextmanager
    def evaluation(self) -> Iterator[bool]:
        """Evaluate at one site while the others train on: `with run.evaluation() as mine:` and, if mine, the work.

        Inside, the model's parameters are the shared ones; after it, this site's as before. Buffers are this site's.
        """
        if self._placed is None:
            yield True
            return
        with self._placed.evaluation() as mine:
            yield mine

    @property
    def progress(self) -> float:
        """The share of the run's samples that its sites have got, 0 to 1: for schedules that a newcomer can join."""
        return self._placed.progress if self._placed else self._dealt_share

    def stop(self, why: str = "") -> None:
        """
        End the run early, at all sites: they train on what they have at hand, some seconds' worth, and are done.

        `why` is for the run's events. Of a site's workers the first one's word counts.
        """
        self._is_stopped = True
        if self._placed and self._placed.leader:
            self._placed.leader.stop(why)

    def report(self, **metrics: Any) -> None:
        """Report numbers of this step, plain or as tensors with one element. Never waits."""
        values = _detached(metrics)
        if "loss" in values and self._placed:
            self._placed.note_loss(values["loss"])
        if self._metrics:
            version = self._placed.version if self._placed else 0
            self._metrics.report(step=self._steps.total, version=version, values=values)

    def save(self, model: torch.nn.Module, name: str = "model.safetensors", **metrics: Any) -> None:
        """Keep the model: as the file `name` when alone, as an artifact of the run when placed (rank 0 sends it)."""
        values = {key: float(value) for key, value in _detached(metrics).items()}
        self.saved = model = _plain({"": model})[""]
        if self.alone:
            checkpoint.write(model, Path(name))
            sys.stdout.write(
                "  ".join([f"saved {name}", *(f"{key} {value:.4f}" for key, value in values.items())]) + "\n"
            )
        elif self._placed:
            from . import sharding

            whole = sharding.whole_state(model) if sharding.is_sharded(model) else None  # At all workers together.
            if self._placed.leader:
                raw = checkpoint.packed(model, whole)
                self._placed.leader.hand_over(name=Path(name).name, raw=raw, metrics=values)

    def _deal(self, dataset: data.Dataset, order: data.Order, *, batch_size: int, total: int) -> Iterator[Any]:
        if self._placed is None:
            batches = self._alone(total, dataset, order, batch_size)
            if os.environ.get("GPUYARD_PROBE"):
                from .probing import probed

                batches = probed(batches, model=self._model, optimizer=self._optimizers[0], batch_size=batch_size)
            yield from batches
            return
        for numbers in self.leased(dataset, order, batch_size=batch_size, total=total):
            yield default_collate([dataset[number] for number in numbers])

    @property
    def model(self) -> torch.nn.Module:
        """What is trained."""
        return self._model

    @property
    def placed(self) -> Placed | None:
        """What deals out the samples, when placed."""
        return self._placed

    def leased(
        self, dataset: data.Dataset, order: data.Order, *, batch_size: int, total: int, fetches_ahead: bool = False
    ) -> Iterator[list[int]]:
        """The numbers of the samples in this worker's batches, when placed; `fetches_ahead` as in `Placed.deal`."""
        assert self._placed is not None
        fingerprint = getattr(dataset, "fingerprint", "")  # Others than ours may mean something else by it.
        hello = {
            "world": self.world,
            "dataset_samples": len(dataset),
            "dataset_fingerprint": fingerprint if isinstance(fingerprint, str) else "",
            "total_samples": total,
            "batch_size": batch_size,
            **{name: value for name, value in self._wishes.items() if value is not None},
        }
        for mine in self._placed.deal(hello, batch_size=batch_size, fetches_ahead=fetches_ahead):
            yield [order.sample(position) for position in mine]

    def _alone(self, total: int, dataset: data.Dataset, order: data.Order, batch_size: int) -> Iterator[Any]:
        for step in data.steps([(0, total)], per_step=batch_size):
            if self._is_stopped:
                return
            self._dealt_share = (step[-1] + 1) / total
            yield default_collate([dataset[order.sample(position)] for position in step])


def _plain(models: Mapping[str, torch.nn.Module]) -> dict[str, torch.nn.Module]:
    """What torch.compile has wrapped has the same parameters, under other names."""
    return {name: getattr(model, "_orig_mod", model) for name, model in models.items()}


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
