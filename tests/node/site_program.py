"""A researcher's script for test_rounds: a model with a tied, a frozen and a bfloat16 parameter and a buffer.

The tests run `main` in processes forked from one that has torch already; its outcome is the parameters as JSON.
"""

import json
import os
import sys
import time
import warnings
from pathlib import Path

import torch

from workloads.node.training import group, session, shard
from workloads.node.training.sharding import is_sharded


class Numbers(torch.utils.data.Dataset):
    """x -> sum of x."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        x = torch.randn(4, generator=torch.Generator().manual_seed(index))
        return x, x.sum()


class Model(torch.nn.Module):
    """Four numbers in, one out."""

    def __init__(self, *, mixed):
        super().__init__()
        self.first, self.again, self.last = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 1)
        self.again.weight = self.first.weight
        self.scale = torch.nn.Parameter(torch.ones(4), requires_grad=False)
        self.register_buffer("seen", torch.zeros(1))
        if mixed:
            self.last.to(torch.bfloat16)

    def forward(self, x):
        self.seen += len(x)
        hidden = torch.tanh(self.again(torch.tanh(self.first(x)))) * self.scale
        return self.last(hidden.to(self.last.weight.dtype)).float().sum(1)


def join_the_group(meeting):
    rank, world = int(os.environ["GPUYARD_RANK"]), int(os.environ["GPUYARD_WORLD"])
    if rank == 0:
        Path(meeting + ".new").write_text(str(group.listen(address="127.0.0.1", world=world)))
        os.rename(meeting + ".new", meeting)
    while not os.path.exists(meeting):
        time.sleep(0.02)
    group.join(rank=rank, world=world, address="127.0.0.1", port=int(Path(meeting).read_text()), cuda=False)


def equal(one, two):
    return torch.equal(*(getattr(each, "_local_tensor", each) for each in (one, two)))


def evaluate(run, model):
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with run.evaluation() as mine:
        if mine:
            assert not all(equal(one, two) for one, two in zip(before, model.parameters(), strict=True)), "shared ones"
            model(torch.ones(2, 4))
            time.sleep(3)
            sys.stdout.write("evaluated\n")
    assert all(equal(one, two) for one, two in zip(before, model.parameters(), strict=True))


def whole(tensor):
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def main(outcome, *words):
    options = {"seed": "0", "samples": "200", "size": "60", "batch": "4", "every": "5", "pause_s": "0", "mixed": "",
               "accumulate": "1", "stop_at": "0", "first_s": "0", "evaluate_at": "0", "optimizers": "1",
               "end_at": "0", "overlap": "1", "clip": "", "shard": "0"}  # fmt: skip
    options |= dict(word.split("=") for word in words)
    if "meeting" in options:
        join_the_group(options["meeting"])
    torch.manual_seed(int(options["seed"]))
    model = Model(mixed=bool(options["mixed"]))
    if options["shard"] == "1":
        model = shard(model, always=True)
        assert is_sharded(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    cut = len(trained) // int(options["optimizers"])
    optimizers = [torch.optim.SGD(part, lr=0.05) for part in (trained[:cut], trained[cut:]) if part]
    loss = torch.zeros(())  # A site that comes late may find everything done.
    overlap = options["overlap"] == "1"
    with session(model, optimizers, sync_every_steps=int(options["every"]), seed=1, overlap=overlap) as run:
        batches = run.batches(Numbers(int(options["size"])), int(options["batch"]), samples=int(options["samples"]))
        for number, (x, y) in enumerate(batches, start=1):
            if number == 1:
                time.sleep(float(options["first_s"]))  # As torch.compile does.
            loss = (model(x) - y).square().mean()
            loss.backward()
            if options["clip"]:
                torch.nn.utils.clip_grad_norm_(trained, float(options["clip"]))
            if number % int(options["accumulate"]) == 0:
                for optimizer in optimizers:
                    optimizer.step()
                    optimizer.zero_grad()
            run.report(loss=loss)
            time.sleep(float(options["pause_s"]))
            if number == int(options["evaluate_at"]):
                evaluate(run, model)
            if number == int(options["stop_at"]):
                break
            if number == int(options["end_at"]):
                run.stop(f"the loss was good at {run.progress:.2f}")
        run.save(model, val_loss=loss)
    named = {name: whole(tensor).float().tolist() for name, tensor in model.named_parameters()}
    Path(outcome).write_text(json.dumps(named))


def run(env, said, words):
    """A site's process: its environment, and what it prints in the file `said`."""
    os.environ.update(env)
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, sys.stdout.fileno())
    os.dup2(file, sys.stderr.fileno())
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    main(*words)
