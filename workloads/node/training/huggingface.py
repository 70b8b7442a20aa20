"""The session as a callback of Hugging Face's Trainer; the only importer of transformers."""

from __future__ import annotations

from contextlib import ExitStack
from math import ceil
from typing import Any

import torch

from .passes import Passes
from .run import Run, SessionMisused

try:
    from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ModuleNotFoundError as missing:
    why = f"HuggingFaceCallback needs a whole transformers, pip install transformers accelerate: {missing}"
    raise ModuleNotFoundError(why, name=missing.name) from missing


class HuggingFaceCallback(TrainerCallback):  # type: ignore[misc]
    """
    `trainer.add_callback(HuggingFaceCallback(trainer))`: alone the script trains as before, placed with its site.

    `session`: what session() takes besides model and optimizer. All sites together train on as many samples as the
    trainer's own arguments say for one process. Raises SessionMisused.
    """

    def __init__(self, trainer: Trainer, **session: Any) -> None:
        if trainer.args.world_size > 1:
            raise SessionMisused(
                f"transformers has made this process one of {trainer.args.world_size}. The session averages gradients "
                "inside a site itself, so each worker's Trainer must think it is alone: before TrainingArguments(), "
                "call os.environ.pop() with WORLD_SIZE and LOCAL_RANK"
            )
        self.run: Run | None = None
        self._trainer, self._wishes, self._samples = trainer, session, 0
        self._passes: Passes | None = None
        self._waiting = 0  # Batches whose gradients wait for more.
        self._is_over = False
        self._evaluating, self._found = ExitStack(), {}
        self._own_loader, trainer.get_train_dataloader = trainer.get_train_dataloader, self._loader

    @property
    def progress(self) -> float:
        """The share of the run's samples that its sites have got, 0 to 1: for schedules."""
        return self._passes.progress if self._passes else 0.0

    def _loader(self) -> Any:
        """In the place of the trainer's get_train_dataloader."""
        passes = self._passes = Passes(self._own_loader(), self._wishes)
        args = self._trainer.args
        if not self._samples:
            steps, accumulated = args.max_steps, args.gradient_accumulation_steps
            whole = ceil(args.num_train_epochs * passes.size)
            self._samples = steps * accumulated * passes.batch_size if steps > 0 else whole
            if not passes.alone:
                # With steps, and a loader of unknown length, the trainer goes on for as many passes as are needed.
                args.max_steps = ceil(self._samples / (passes.per_step * accumulated))
                args.load_best_model_at_end = False  # The model of the run is the one that all sites share.
                args.ignore_data_skip = True
        return self._trainer.accelerator.prepare(passes.loader())

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        model: torch.nn.Module, optimizer: torch.optim.Optimizer, **_: Any,
    ) -> None:  # fmt: skip
        """Open the session."""
        assert self._passes is not None
        plain = getattr(optimizer, "optimizer", optimizer)  # Accelerate's wrapper has no hooks.
        self.run = self._passes.start(model, [plain], samples=self._samples)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Go on after an evaluation; what it found is not of the model that comes."""
        self._evaluating.close()
        self._found = {}
        self._passes.begun()
        if not self._passes.alone:  # The samples end the run, not the steps of this site.
            state.max_steps = max(state.max_steps, state.global_step + 2)

    def on_substep_end(self, *_: Any, **__: Any) -> None:
        """A batch is in the gradients that wait for more; the trainer has those of the whole step at hand."""
        self._passes.trained()
        self._waiting += 1
        if self._passes.has_fetched:
            self._passes.begun()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """A step is taken: the place for new versions, and for handing in."""
        self._passes.trained()
        self._waiting = 0
        if not self._passes.alone:
            state.epoch = self._passes.epochs
        self._stop_all(control)
        self._share_out(control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        model: torch.nn.Module, optimizer: Any, lr_scheduler: Any, **_: Any,
    ) -> None:  # fmt: skip
        """A pass is over: step with the gradients that wait, as the trainer does alone; stop when all is merged."""
        self._evaluating.close()
        if self._waiting and not self._passes.alone:
            accelerator = self._trainer.accelerator
            accelerator.sync_gradients = True  # Else its optimizer lets the step be.
            if args.max_grad_norm:
                accelerator.clip_grad_norm_(model.parameters(), args.max_grad_norm)
            optimizer.step()
            lr_scheduler.step()
            model.zero_grad()
            state.global_step, self._waiting = state.global_step + 1, 0
            self._passes.stepped()
        self._stop_all(control)
        if not control.should_training_stop and not self._passes.has_more():
            control.should_training_stop = self._is_over = True
        self._share_out(control)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: dict[str, float], **_: Any
    ) -> None:
        """Keep the numbers for the saved model."""
        self._found = _numbers(metrics)
        self._stop_all(control)

    def on_save(self, *_: Any, **__: Any) -> None:
        """A checkpoint is written; an evaluation before it is over."""
        self._evaluating.close()

    def on_log(self, *_: Any, logs: dict[str, Any], **__: Any) -> None:
        """Report what the trainer logs, when placed; alone it prints it itself."""
        if self._passes is not None and not self._passes.alone and self._passes.is_open:
            self.run.report(**_numbers(logs))

    def on_train_end(self, *_: Any, model: torch.nn.Module, **__: Any) -> None:
        """Close the session; placed, keep the model, with what an evaluation found if no step came after it."""
        self._evaluating.close()
        self._passes.stop(failed=False)
        if not self._passes.alone:
            self.run.save(model, **self._found)

    def _stop_all(self, control: TrainerControl) -> None:
        """Another callback wants to stop: the run ends early at all sites, this one when what they have is merged."""
        if control.should_training_stop and not self._passes.alone and self._passes.is_open and not self._is_over:
            control.should_training_stop = control.should_epoch_stop = False
            self.run.stop("the trainer was told to stop")

    def _share_out(self, control: TrainerControl) -> None:
        """One site evaluates, with the shared parameters until the next event; a site's first worker logs and saves."""
        if self.run.rank:
            control.should_save = control.should_log = False
        if control.should_evaluate:
            control.should_evaluate = self._evaluating.enter_context(self.run.evaluation())


def _numbers(logs: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in logs.items() if isinstance(value, int | float)}
