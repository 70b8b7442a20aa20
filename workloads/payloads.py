"""What is in the file of a contribution, and what may be wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from django.db.models import Count, F, Max
from django.db.models.functions import Sqrt

from workloads import storage
from workloads.models import Contribution, Training
from workloads.node.training import codec, outer, quantise, wire
from workloads.node.training.layout import Layout

# Of the largest so far, for the root of the steps: recent ones would not do, since a model that has converged hardly
# moves, and a newcomer with a fresh optimizer moves it as far as at the beginning.
NORM_MAX, NORMS_KNOWN = 20.0, 6


@dataclass(frozen=True, slots=True)
class Payload:
    """What was found in the file of a contribution; fault: what is wrong with it, or empty."""

    size_bytes: int = 0
    norm_bound: float = 0.0
    fault: str = ""


def read(sha256: str, training: Training) -> Payload:
    """Read what a contribution is made of, and see what is wrong with it. Raises storage.ObjectMissing."""
    try:
        with storage.local(sha256) as path:
            layout = Layout(training.tensors)
            name, parts = wire.read(path, size=layout.size)
            strays = outer.strays(parts, name, layout)
            fault = f"there are numbers after the end of {strays[0]}" if strays else ""
            return Payload(path.stat().st_size, quantise.norm_bound(parts, name), fault)
    except (codec.CorruptTensors, codec.TensorsDiffer, codec.NotFinite, storage.HashMismatch) as error:
        return Payload(fault=str(error))


def too_large(training: Training, payload: Payload, *, steps: int) -> str:
    """Return what is wrong when a contribution moves the model much farther than any before, or an empty text."""
    merged = Contribution.objects.filter(round__workload=training.workload_id, status="merged", norm_bound__gt=0)
    known = merged.aggregate(count=Count("id"), most=Max(F("norm_bound") / Sqrt("steps")))
    if known["count"] < NORMS_KNOWN or not steps:
        return ""
    times = payload.norm_bound / sqrt(steps) / known["most"]
    return f"it moves the parameters {times:.0f} times as far as any contribution before" if times > NORM_MAX else ""
