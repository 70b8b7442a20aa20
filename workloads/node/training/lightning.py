"""The session as a callback of Lightning's Trainer; the only importer of lightning."""

from __future__ import annotations

from contextlib import ExitStack
from math import ceil
from typing import Any

import torch
from torch.utils.data import DataLoader

from .passes import Passes
from .run import Run, SessionMisused

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.callbacks import Checkpoint
except ModuleNotFoundError as missing:
    why = f"LightningCallback needs a whole lightning, pip install lightning: {missing}"
    raise ModuleNotFoundError(why, name=missing.name) from missing


class LightningCallback(Callback):  # type: ignore[misc]
    """
    `Trainer(callbacks=[callback])` and `trainer.fit(module, callback.train_dataloader)`: alone the script trains as
    before, placed with its site.

    `train_dataloader`: the script's own. `session`: what session() takes besides model and optimizer. All sites
    together train on as many samples as max_epochs or max_steps say for one process. Raises SessionMisused.
    """

    def __init__(self, train_dataloader: DataLoader[Any], **session: Any) -> None:
        self._passes = Passes(train_dataloader, session)
        self.train_dataloader = self._passes.loader()
        self.run: Run | None = None
        self._samples, self._evaluating, self._is_over = 0, ExitStack(), False
        self._limit_val_batches: Any = None

    @property
    def progress(self) -> float:
        """The share of the run's samples that its sites have got, 0 to 1: for schedules."""
        return self._passes.progress

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Read from the trainer how many samples there are; placed, let these end the run instead of its limits."""
        if stage != "fit":
            return
        if trainer.world_size > 1:
            raise SessionMisused(
                f"Lightning has made this process one of {trainer.world_size}. The session averages gradients inside a "
                "site itself, with a worker for each accelerator: give Trainer() devices=1 and no strategy"
            )
        loop, passes, accumulated = trainer.fit_loop, self._passes, trainer.accumulate_grad_batches
        limits = [loop.max_epochs * passes.size] if loop.max_epochs != -1 else []
        limits += [trainer.max_steps * accumulated * passes.batch_size] if trainer.max_steps != -1 else []
        if not limits:
            raise SessionMisused("give Trainer() max_epochs or max_steps: sites share out a number of samples")
        self._samples = min(limits)
        if not passes.alone:
            loop.max_epochs, loop.min_epochs, loop.epoch_loop.min_steps = -1, None, None
            loop.epoch_loop.max_steps = ceil(
                self._samples / (passes.per_step * accumulated)
            )  # What the module's schedule may ask for.
            self._limit_val_batches = trainer.limit_val_batches

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the session."""
        self.run = self._passes.start(pl_module, trainer.optimizers, samples=self._samples)
        if not self.run.alone:
            trainer.fit_loop.epoch_loop.max_steps = -1
            if self.run.rank:  # A site's first worker saves.
                trainer.callbacks = [each for each in trainer.callbacks if not isinstance(each, Checkpoint)]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Alone, the order of the samples is that of the epoch."""
        self._passes.set_epoch(trainer.current_epoch)

    def on_train_batch_start(self, *_: Any) -> None:
        """A batch will be in the gradients."""
        self._passes.begun()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """A batch is trained: the place for new versions, and for handing in."""
        self._passes.trained()
        if self._passes.alone:
            return
        logs = trainer.callback_metrics if trainer.global_step % trainer.log_every_n_steps == 0 else {}
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        self.run.report(**_numbers(logs), **({"loss": loss} if isinstance(loss, torch.Tensor) else {}))
        trainer.limit_val_batches = self._limit_val_batches if self._passes.evaluates else 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A pass is over: stop when all samples are merged. A stop that another callback wants is one of all sites."""
        if trainer.should_stop and not self._passes.alone and not self._is_over:
            trainer.should_stop = False
            self.run.stop("the trainer was told to stop")
        if not trainer.should_stop and not self._passes.has_more():
            trainer.should_stop = self._is_over = True

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """One site evaluates, with the shared parameters; the others skip it."""
        if self._passes.is_open and not trainer.sanity_checking:
            self._evaluating.enter_context(self.run.evaluation())

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on from this site's parameters."""
        self._evaluating.close()
        if self._passes.is_open and not self._passes.alone and not trainer.sanity_checking:
            self.run.report(**_numbers(trainer.callback_metrics))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the session; placed, keep the model. The last validation was before the last round."""
        self._passes.stop(failed=False)
        if not self._passes.alone:
            trainer.limit_val_batches = self._limit_val_batches
            self.run.save(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """What was trained in a run that failed does not count."""
        self._evaluating.close()
        self._passes.stop(failed=True)


def _numbers(metrics: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in metrics.items() if value.numel() == 1 and name != "loss"}
