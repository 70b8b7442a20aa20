"""A researcher's script for test_callbacks: a small model trained by Hugging Face's Trainer or by Lightning's.

Its outcome is JSON: the parameters, and the numbers of the samples in the order in which they were trained on.
"""

import json
import os
import sys
import time
import warnings
from pathlib import Path

import torch

if torch.version.cuda is None:
    # torchmetrics, which Lightning imports, imports torchvision; a build of it for CUDA needs this where torch is not.
    _vision = vars(torch)["library"].Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _vision.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import lightning.pytorch as lightning
import transformers

from workloads.node.training import HuggingFaceCallback, LightningCallback, session

from .site_program import join_the_group


class Numbers(torch.utils.data.Dataset):
    """x -> sum of x, and the sample's number."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        x = torch.randn(4, generator=torch.Generator().manual_seed(index))
        return {"x": x, "labels": x.sum(), "number": index}


class Model(torch.nn.Module):
    """Notes what it is trained on and evaluated on."""

    def __init__(self, pause_s=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        self.pause_s, self.trained, self.evaluated = pause_s, [], []

    def forward(self, x, labels, number):
        if self.training:
            self.trained += number.tolist()
            time.sleep(self.pause_s)
        else:
            self.evaluated.append({name: float(each.sum()) for name, each in self.named_parameters()})
        predicted = self.layers(x).squeeze(1)
        return {"loss": (predicted - labels).square().mean(), "logits": predicted}


class Module(lightning.LightningModule):
    """The model as Lightning wants it."""

    def __init__(self, model, schedule=False):
        super().__init__()
        self.model, self.schedule = model, schedule

    def training_step(self, batch, batch_idx):
        return self.model(**batch)["loss"]

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.model(**batch)["loss"])

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05)
        if not self.schedule:
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        return [optimizer], [torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=steps)]


class StopTrainer(transformers.TrainerCallback):
    """Stops early."""

    def __init__(self, at):
        self.at = at

    def on_step_end(self, args, state, control, **_):
        control.should_training_stop |= state.global_step == self.at


class StopLightning(lightning.Callback):
    """Stops early."""

    def __init__(self, at):
        self.at = at

    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop |= trainer.global_step == self.at


def huggingface(model, options, directory):
    """Hugging Face's script; `evaluate` is how many steps are between two evaluations, -1: an epoch."""
    strategy = "no" if not options["evaluate"] else "epoch" if options["evaluate"] < 0 else "steps"
    arguments = transformers.TrainingArguments(
        output_dir=str(directory), per_device_train_batch_size=options["batch"],
        lr_scheduler_type="linear" if options["schedule"] else "constant",
        gradient_accumulation_steps=options["accumulate"], num_train_epochs=options["epochs"], max_grad_norm=0.0,
        max_steps=options["max_steps"], dataloader_num_workers=options["workers"], logging_steps=2, report_to="none",
        use_cpu=bool(options["use_cpu"]), save_strategy="no", disable_tqdm=True, remove_unused_columns=False,
        eval_strategy=strategy, eval_steps=options["evaluate"],
    )  # fmt: skip
    trainer = transformers.Trainer(
        model=model, args=arguments, train_dataset=Numbers(options["size"]), eval_dataset=Numbers(3),
        optimizers=(torch.optim.SGD(model.parameters(), lr=0.05), None), callbacks=[StopTrainer(options["stop_at"])],
    )  # fmt: skip
    callback = HuggingFaceCallback(trainer, seed=1, sync_every_steps=options["every"])
    if not options["forget"]:
        trainer.add_callback(callback)
    trainer.train()
    return trainer.state.global_step


def by_lightning(model, options, directory):
    """Lightning's script; `evaluate` is how many batches are between two evaluations."""
    loader = torch.utils.data.DataLoader(
        Numbers(options["size"]), options["batch"], shuffle=True, num_workers=options["workers"]
    )
    callback = LightningCallback(loader, seed=1, sync_every_steps=options["every"])
    callbacks = [StopLightning(options["stop_at"])] + ([] if options["forget"] else [callback])
    trainer = lightning.Trainer(
        max_epochs=options["epochs"], max_steps=options["max_steps"], accumulate_grad_batches=options["accumulate"],
        callbacks=callbacks, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=directory, log_every_n_steps=2,
        val_check_interval=options["evaluate"] or 1.0, limit_val_batches=1.0 if options["evaluate"] else 0,
    )  # fmt: skip
    valid = torch.utils.data.DataLoader(Numbers(3), 3)
    trainer.fit(Module(model, bool(options["schedule"])), callback.train_dataloader, valid)
    return trainer.global_step


def plain(model, options, directory):
    """The plain loop on the same samples."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with session(model, optimizer, seed=1) as run:
        batches = run.batches(Numbers(options["size"]), options["batch"], epochs=options["epochs"])
        for number, batch in enumerate(batches, start=1):
            (model(**batch)["loss"] / options["accumulate"]).backward()
            if number % options["accumulate"] == 0:
                optimizer.step()
                optimizer.zero_grad()


SCRIPTS = {"huggingface": huggingface, "lightning": by_lightning, "plain": plain}
OPTIONS = {"size": 60, "batch": 4, "every": 5, "accumulate": 1, "epochs": 1, "max_steps": -1, "pause_s": 0.0,
           "evaluate": 0, "workers": 0, "schedule": 0, "forget": 0, "stop_at": -1, "use_cpu": 0}  # fmt: skip


def main(outcome, script, words):
    options = OPTIONS | {name: type(OPTIONS[name])(value) for name, value in words.items() if name in OPTIONS}
    if "meeting" in words:
        join_the_group(words["meeting"])
    model, steps = Model(options["pause_s"]), None
    try:
        steps = SCRIPTS[script](model, options, Path(outcome).parent)
    finally:
        named = {name: parameter.tolist() for name, parameter in model.named_parameters()}
        found = {"parameters": named, "trained": model.trained, "evaluated": model.evaluated, "steps": steps}
        Path(outcome).write_text(json.dumps(found))


def run(env, said, outcome, script, words):
    """A site's process: its environment, and what it prints in the file `said`."""
    os.environ.update(env)
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, sys.stdout.fileno())
    os.dup2(file, sys.stderr.fileno())
    warnings.simplefilter("ignore")  # Lightning's advice about loaders.
    torch.set_num_threads(1)
    main(outcome, script, words)
