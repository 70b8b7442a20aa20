"""A probe: the session counts its first batch, times those that follow, writes down what it saw and ends the script.

`yard probe` asks for it: GPUYARD_PROBE names the file to write, GPUYARD_PROBE_S the seconds there are.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from .counting import Counting

PROBED = 75  # EX_TEMPFAIL, sysexits.h, as when a site leaves early: not finished.
# Batches after the counted one that are not timed: caches fill, kernels are chosen, clocks rise.
WARM_UP = 2


class Probed(SystemExit):
    """The probe has what it wants. A SystemExit, so that `except Exception` lets it pass."""

    def __init__(self) -> None:
        super().__init__(PROBED)


def probed(
    batches: Iterator[Any], *, model: torch.nn.Module, optimizer: torch.optim.Optimizer, batch_size: int
) -> Iterator[Any]:
    """Hand on the batches until there is enough. Always ends with Probed, so that the script saves nothing."""
    until_s = time.monotonic() + float(os.environ.get("GPUYARD_PROBE_S", "60"))
    device = next(model.parameters()).device
    counted = Counting()
    first = next(batches)
    with counted:
        yield first
    times = [_now_s(device)]
    for batch in batches:
        yield batch
        times.append(_now_s(device))
        if time.monotonic() >= until_s:
            break
    else:
        times.pop()  # The last batch of all may have been smaller.
    timed = times[WARM_UP:] if len(times) > WARM_UP + 1 else times
    seen = counted.profile(model=model, optimizer=optimizer, batch_size=batch_size)
    if len(timed) > 1:
        rate = batch_size * (len(timed) - 1) / (timed[-1] - timed[0])
        seen |= {"accelerator": _name(device), "samples_per_s": rate}
    Path(os.environ["GPUYARD_PROBE"]).write_text(json.dumps(seen))
    raise Probed


def _now_s(device: torch.device) -> float:
    """The clock, once the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
