"""What each of two workers does in test_averaging; the outcome is the gradients as JSON."""

import json
import os
from pathlib import Path

import torch

from tests.node.site_program import join_the_group
from workloads.node.training import averaging


class Branches(torch.nn.Module):
    """Each branch has parameters that the others do not use."""

    def __init__(self):
        super().__init__()
        self.trunk, self.left, self.right = torch.nn.Linear(3, 3), torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)
        self.unused = torch.nn.Parameter(torch.ones(2))

    def forward(self, x, branch):
        return getattr(self, branch)(torch.tanh(self.trunk(x))).sum()


def different_branches(model, mean, rank):
    mean.hand_out(counted=3 if rank == 0 else 1, of=4)
    mean.said = 2 if rank == 0 else 0
    model(torch.full((3, 3), rank + 1.0), "left" if rank == 0 else "right").backward()


def twice_before_a_step(model, mean, rank):
    mean.hand_out(counted=1, of=2)
    for number in (1.0, 2.0):
        model(torch.full((1, 3), rank + number), "left").backward()


def borrowed_nan(model, mean, rank):
    mean.hand_out(counted=1 - rank, of=1)
    model(torch.full((1, 3), 1.0 if rank == 0 else torch.nan), "left").backward()


def backwards_inside_backward(model, mean, rank):
    mean.hand_out(counted=1, of=2)
    recomputed(model, rank + 1.0)


def recomputed(model, value):
    checkpoint = torch.utils.checkpoint.checkpoint
    x = torch.full((1, 3), value, requires_grad=True)
    for _ in range(2):
        x = checkpoint(model.trunk, x, use_reentrant=True)
    model.left(x).sum().backward()


def backwards_inside_backward_of_the_same(model, mean, rank):
    mean.close()
    mean = averaging.Averaging(list(model.trunk.parameters()))
    mean.hand_out(counted=1, of=2)
    checkpoint = torch.utils.checkpoint.checkpoint
    x = torch.full((1, 3), rank + 1.0, requires_grad=True)
    for _ in range(2):
        x = checkpoint(model.trunk, x, use_reentrant=True)
    model.trunk(x).sum().backward()


def main(name, rank, meeting, outcome):
    """Gradients after the function of that name."""
    os.environ.update(GPUYARD_RANK=str(rank), GPUYARD_WORLD="2")
    join_the_group(meeting)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Branches()
    averaging.BUCKET = 5
    mean = averaging.Averaging(list(model.parameters()))
    told = ""
    try:
        globals()[name](model, mean, rank)
    except averaging.GradientsComeTwice as twice:
        told = str(twice)
    grads = {key: p.grad.tolist() if p.grad is not None else None for key, p in model.named_parameters()}
    Path(outcome).write_text(
        json.dumps({"heard": mean.heard, "told": told, "buckets": len(mean._buckets), "grads": grads})
    )
    torch.distributed.barrier()  # Rank 0 holds the store, and the other may still be joining when the function raised.
