"""Learn a line, slowly enough to be watched: a program for the journeys."""

import argparse
import time

import gpuyard.train as yard
import torch
from torch.utils.data import TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--samples", type=int, default=4000)
parser.add_argument("--step-s", type=float, default=0.02)
parser.add_argument("--sync-every", type=int, default=25)
parser.add_argument("--batch-size", type=int, default=4)
parser.add_argument("--raise-at", type=int, default=0)
parser.add_argument("--nan-at", type=int, default=0)
parser.add_argument("--silent", action="store_true")
parser.add_argument("--count", action="store_true", help="write the number of each step")
options = parser.parse_args()

if options.silent:
    print("this script trains nothing", flush=True)  # noqa: T201  What a script says is part of the story.
    raise SystemExit(0)

torch.manual_seed(0)
torch.set_num_threads(1)
x = torch.randn(512, 8)
dataset = TensorDataset(x, x @ torch.arange(8.0).unsqueeze(1))
model = torch.nn.Linear(8, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.02)

with yard.session(model, optimizer, sync_every_steps=options.sync_every) as run:
    step = 0
    for inputs, targets in run.batches(dataset, batch_size=options.batch_size, samples=options.samples):
        step += 1
        if options.raise_at and step == options.raise_at:
            raise ValueError("the data is not what I thought")
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        if options.nan_at and step >= options.nan_at:
            loss = loss * float("nan")
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        run.report(loss=loss)
        if options.count:
            print(f"step {step:05d}", flush=True)  # noqa: T201
        time.sleep(options.step_s)
with torch.no_grad():
    held_out = torch.nn.functional.mse_loss(model(x), x @ torch.arange(8.0).unsqueeze(1)).item()
run.save(model, "model.safetensors", val_loss=held_out)
