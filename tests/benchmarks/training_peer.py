"""
What we are measured against: synchronous data-parallel training by torch DDP over Gloo, and torchft's DiLoCo.

`python -m tests.benchmarks.training_peer ddp|torchft OPTIONS`, a JSON object; the latter runs in the environment where
torchft is installed. Each line of the log is a step of DDP (when it ended, bytes at the network interface so far) or a
commit of torchft's (when, its number).
"""

from __future__ import annotations

import json
import os
import random
import socket
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from tests.benchmarks.training_model import Gpt, Windows, adamw, pause_until, wire_bytes


def ddp(options: dict[str, Any]) -> None:
    """Take `steps` synchronous steps, none in less than `pace_s`: what DDP sends meanwhile costs it nothing."""
    dist.init_process_group(
        "gloo",
        init_method=f"tcp://{options['master']}",
        rank=options["rank"],
        world_size=options["world"],
        timeout=timedelta(seconds=120),
    )
    model = torch.nn.parallel.DistributedDataParallel(Gpt(options["model"], options["context"]))
    optimizer = adamw(model, options["rate"])
    with Path(options["log"]).open("a", buffering=1) as log:
        log.write(f"{time.monotonic():.6f} {wire_bytes(options['device'])}\n")
        for _, (inputs, targets) in zip(range(options["steps"]), batches(options), strict=False):
            begun_s = time.monotonic()
            model(inputs, targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            pause_until(begun_s + options["pace_s"])
            log.write(f"{time.monotonic():.6f} {wire_bytes(options['device'])}\n")
    dist.barrier()
    dist.destroy_process_group()


def torchft(options: dict[str, Any]) -> None:
    """Train as one replica group of DiLoCo with torchft's own settings, until killed."""
    # torchft announces its checkpoints under the host's name, which means another interface in a namespace.
    socket.gethostname = lambda: options["address"]  # type: ignore[assignment]
    from torchft import Manager, ProcessGroupGloo
    from torchft.local_sgd import DiLoCo

    model = Gpt(options["model"], options["context"])
    inner = adamw(model, options["rate"])
    outer = torch.optim.SGD(model.parameters(), lr=0.7, momentum=0.9, nesterov=True)
    store = dist.TCPStore(options["address"], 0, is_master=True, wait_for_workers=False)
    manager = Manager(
        pg=ProcessGroupGloo(),
        load_state_dict=model.load_state_dict,
        state_dict=model.state_dict,
        min_replica_size=1,
        use_async_quorum=False,  # DiLoCo demands it.
        rank=0,
        world_size=1,
        store_addr=options["address"],
        store_port=store.port,
        lighthouse_addr=options["lighthouse"],
        replica_id=f"{options['rank']}_",
        hostname=options["address"],
    )
    seen = 0
    with Path(options["log"]).open("a", buffering=1) as log, DiLoCo(
        manager, [model], inner, outer, sync_every=options["every"]
    ):  # fmt: skip
        for inputs, targets in batches(options):
            begun_s = time.monotonic()
            model(inputs, targets).backward()
            inner.step()
            inner.zero_grad()
            if manager.current_step() != seen:
                seen = manager.current_step()
                log.write(f"{time.monotonic():.6f} {seen}\n")
            pause_until(begun_s + options["pace_s"])


def batches(options: dict[str, Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw windows without end, each rank its own."""
    windows, chance = Windows(options["corpus"], options["context"]), random.Random(options["rank"])
    while True:
        pairs = [windows[chance.randrange(len(windows))] for _ in range(options["batch"])]
        inputs, targets = zip(*pairs, strict=True)
        yield torch.stack(inputs), torch.stack(targets)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    given = json.loads(sys.argv[2])
    if given["device"]:
        os.environ["GLOO_SOCKET_IFNAME"] = given["device"]
    {"ddp": ddp, "torchft": torchft}[sys.argv[1]](given)
