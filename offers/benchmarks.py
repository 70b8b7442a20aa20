"""What hosts measured themselves to be: kept from their heartbeats, and the usual one of each accelerator."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from offers import gpus
from offers.matching import chips, roofline
from offers.matching.memory import BYTES
from offers.matching.profile import ProfileInvalid
from offers.matching.roofline import Machine
from offers.models import Host

KEPT = 4  # Of one host, a precision each.
POINTS_MAX = 32  # Of one curve.


def readable(said: Any) -> list[dict[str, Any]]:
    """Return what a host measured, without what means nothing: an odd benchmark is no reason to lose the host."""
    return [one for one in said[:KEPT] if _is_readable(one)] if isinstance(said, list) else []


def machines(precision: str) -> dict[str, Machine]:
    """
    Return the median host of each accelerator, by the rate of its largest matrix product.

    precision: bf16, fp16, tf32 or fp32; an accelerator that lacks it is taken in the one that it has instead.
    """
    found: dict[str, list[Machine]] = defaultdict(list)
    told = Host.objects.filter(hardware__benchmarks__0__isnull=False, barred_why="").order_by("id")
    for hardware in told.values_list("hardware", flat=True):
        accelerator = gpus.named(hardware["accelerators"][0]["kind"])
        chip = chips.find(accelerator)
        wanted = precision if chip is None else chip.precision(precision)
        found[accelerator] += [
            roofline.by_benchmark(one) for one in hardware["benchmarks"] if one["precision"] == wanted
        ]
    ranked = {name: sorted(many, key=lambda one: one.compute[-1][1]) for name, many in found.items() if many}
    return {name: many[(len(many) - 1) // 2] for name, many in ranked.items()}


def _is_readable(one: Any) -> bool:
    try:
        roofline.by_benchmark(one)
        return one["precision"] in BYTES and max(len(one["compute"]), len(one["memory"])) <= POINTS_MAX
    except (ProfileInvalid, KeyError, TypeError):
        return False
