"""The batch sampler from which the data loaders of Hugging Face and Lightning draw, alone and placed.

These loaders fetch ahead, so what is handed out is not what is trained: placed, a batch counts when the framework says
that it trained it. A site must not wait for itself, so the rule is: while the loader holds batches that are not trained
it waits for the broker's answer and no longer. When that is "none now" the pass ends, the framework trains what it
holds, and the next pass, which begins with nothing held, waits as the plain loop does and hands in what is trained.
What a pass fetched and the framework did not train is dealt again in the next.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Sampler, SequentialSampler

from . import data
from .run import Run, SessionMisused, session

KEPT = ("collate_fn", "num_workers", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context", "generator",
        "prefetch_factor", "persistent_workers")  # fmt: skip


class Passes(Sampler[list[int]]):
    """
    Numbers of samples, batch by batch; an iteration is a pass of at most an epoch's batches.

    `loader`: the framework's own. `wishes`: what session() takes besides model and optimizers. Raises SessionMisused.
    """

    _newest: Passes | None = None

    def __init__(self, loader: DataLoader[Any], wishes: dict[str, Any]) -> None:
        drawn = loader.batch_sampler
        # An iterable dataset has no batch sampler of this kind, and a weighted draw is not "each sample once an epoch".
        if not isinstance(drawn, BatchSampler) or not isinstance(drawn.sampler, RandomSampler | SequentialSampler):
            raise SessionMisused(
                "the session deals the samples of a dataset with a length and items by number, each once an epoch, in "
                "an order of its own: give the data loader such a dataset and a batch_size, and no sampler"
            )
        self.alone = not os.environ.get("GPUYARD_SITE_URL")
        self.batch_size: int = drawn.batch_size  # Of this worker; per_step is that of all in the site.
        self.size = len(loader.dataset)  # type: ignore[arg-type]
        self._loader, self._wishes = loader, wishes
        self.per_step = self.batch_size * (1 if self.alone else int(os.environ.get("GPUYARD_WORLD", "1")))
        self._drops_last = drawn.drop_last and self.alone
        self.per_epoch = self.size // self.batch_size if self._drops_last else ceil(self.size / self.per_step)
        self._order = data.Order(samples=self.size, seed=wishes.get("seed", 0))
        self._epoch, self._batches_trained = 0, 0
        self._samples = 1
        self._run: Run | None = None
        self._dealt: Iterator[list[int]] = iter(())
        self._probe: Iterator[Any] | None = None

    def loader(self) -> DataLoader[Any]:
        """A loader as the framework's own, which draws from here. Its workers only fetch samples: none leases any."""
        kept = {name: getattr(self._loader, name) for name in KEPT}
        return DataLoader(self._loader.dataset, batch_sampler=self, **kept)

    def start(self, model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer], *, samples: int) -> Run:
        """Open the session; all sites together train on `samples`. Raises as session()."""
        if Passes._newest is not None:  # No callback tells Hugging Face's of a failure, so it may be open still.
            Passes._newest.stop(failed=True)
        self._samples = samples
        Passes._newest, self._run = self, session(model, optimizers, **self._wishes).__enter__()
        if not self.alone:
            dataset = self._loader.dataset
            self._dealt = self._run.leased(
                dataset, self._order, batch_size=self.batch_size, total=samples, fetches_ahead=True
            )
        elif os.environ.get("GPUYARD_PROBE"):
            from .probing import probed

            ticks = iter(range(samples))
            self._probe = probed(ticks, model=model, optimizer=optimizers[0], batch_size=self.batch_size)
            next(self._probe)
        return self._run

    def stop(self, *, failed: bool) -> None:
        """Close the session, if it is open. Of a run that has not failed, what is trained is handed in."""
        run, self._run = self._run, None
        if run:
            run.__exit__(RuntimeError if failed else None, None, None)

    @property
    def is_open(self) -> bool:
        """Whether the session is."""
        return self._run is not None

    @property
    def has_fetched(self) -> bool:
        """Whether the loader holds batches that are not trained, when placed."""
        return not self.alone and self._placed.has_fetched

    @property
    def evaluates(self) -> bool:
        """Whether this worker would evaluate now."""
        return self.alone or (self.is_open and self._placed.evaluates)

    @property
    def progress(self) -> float:
        """The share of the run's samples that its sites have got, 0 to 1, as `Run.progress`."""
        if self.alone:
            return min(1.0, self._batches_trained * self.batch_size / self._samples)
        return self._run.progress if self._run else 0.0

    @property
    def epochs(self) -> float:
        """How many epochs' batches this site has trained, when placed."""
        return self._batches_trained / self.per_epoch

    def set_epoch(self, epoch: int) -> None:
        """Alone, the next pass is this epoch, from 0."""
        self._epoch = epoch

    def __len__(self) -> int:
        if not self.alone:
            raise TypeError("how many batches a placed site trains is not known before")  # So they count as unknown.
        return self.per_epoch

    def __iter__(self) -> Iterator[list[int]]:
        if self.alone:
            start = self._epoch * self.size
            for step in data.steps([(start, start + self.size)], per_step=self.batch_size):
                if len(step) == self.batch_size or not self._drops_last:
                    yield [self._order.sample(position) for position in step]
            return
        with self._failing():
            self._placed.deal_again()
        for _ in range(self.per_epoch):
            with self._failing():
                numbers = next(self._dealt, None)
            if not numbers:
                return
            yield numbers

    def has_more(self) -> bool:
        """Whether there is another pass; placed, waits until that is known. Only between passes."""
        if self.alone:
            return True
        with self._failing():
            self._placed.deal_again()
            return next(self._dealt, None) is not None

    def begun(self) -> None:
        """The next backward is of the next batch."""
        if not self.alone:
            self._check_fetched()
            self._placed.begun()

    def trained(self) -> None:
        """The next batch is trained, and the model may change now. Raises as `Placed.deal`."""
        if self._probe:
            next(self._probe)
        self._batches_trained += 1
        if not self.alone:
            self._check_fetched()
            with self._failing():
                self._placed.trained()

    def stepped(self) -> None:
        """A step was taken after its last batch was said to be trained. Raises as `Placed.deal`."""
        with self._failing():
            self._placed.between()

    def _check_fetched(self) -> None:
        if not self._placed.has_fetched:
            raise SessionMisused("the trainer trains on batches that are not the callback's: train on its data loader")

    @property
    def _placed(self) -> Any:
        if self._run is None or self._run.placed is None:
            raise SessionMisused("the session is not open: add the callback to the trainer whose loader this is")
        return self._run.placed

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """What ends the run ends the session: no callback is told of it."""
        try:
            yield
        except BaseException:
            self.stop(failed=True)
            raise
