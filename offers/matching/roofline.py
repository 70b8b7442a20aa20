"""
How fast a chip trains a model, from the work that a step is made of.

The roofline of Williams, Waterman and Patterson (CACM 52(4), 2009), taken operation by operation: each costs the
longer of its arithmetic and its memory traffic, and what it takes to launch it. So work that is bound by memory scales
with bandwidth from chip to chip, work that is bound by arithmetic with TFLOPS, and many small operations with neither.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import chips
from .profile import Profile, ProfileInvalid, Work

# Shares of the sheet that training reaches, set on published steps of one chip, the A100-80GB
# (tests/benchmarks/matching_speed.py says which, and how well the other chips follow).
TRAINING_SHARE = 0.85  # Of what large matrix products reach.
MEMORY_SHARE = 0.75  # Of the bandwidth.
# Of the peak, by large matrix products, where nobody published what the chip reaches: the median of those that did.
MATMUL_SHARE = 0.78
# From one kernel to the next, issued one by one; 4 to 6 us in susun-blog.com/blog/pegainfer-3-cuda-graph.
LAUNCH_S = 5e-6

Curve = tuple[tuple[float, float], ...]  # (size of one operation, rate at that size), by growing size.


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What one accelerator does for operations of a size: FLOP/s by FLOPs, bytes/s by bytes."""

    compute: Curve
    memory: Curve
    launch_s: float

    def step_s(self, profile: Profile) -> float:
        """Return the seconds of one training step."""
        return sum(self._operation_s(work) * work.calls for work in profile.work)

    def samples_per_s(self, profile: Profile) -> float:
        """Return the samples that it trains on in a second."""
        return profile.batch_size / self.step_s(profile)

    def _operation_s(self, work: Work) -> float:
        arithmetic_s = work.flops / at(self.compute, work.flops) if work.flops else 0.0
        memory_s = work.bytes / at(self.memory, work.bytes) if work.bytes else 0.0
        return self.launch_s + max(arithmetic_s, memory_s)


def by_sheet(chip: chips.Chip, precision: str) -> Machine:
    """Return the machine that a data sheet promises, less what training does not reach. Raises UnknownPrecision."""
    reached = chip.matmul_tflops / chip.tflops["bf16"] if chip.matmul_tflops else MATMUL_SHARE
    flops_per_s = chip.peak_tflops(precision) * 1e12 * reached * TRAINING_SHARE
    bytes_per_s = chip.memory_gb_per_s * 1e9 * MEMORY_SHARE
    return Machine(compute=((1.0, flops_per_s),), memory=((1.0, bytes_per_s),), launch_s=LAUNCH_S)


def by_benchmark(measured: Mapping[str, Any]) -> Machine:
    """
    Return the machine that a host measured itself to be (`gpuyard.node.training.yardstick`). Raises ProfileInvalid.

    measured: {"compute": [[flops, flops/s], ...], "memory": [[bytes, bytes/s], ...], "launch_s": seconds}.
    """
    try:
        return Machine(
            compute=_curve(measured["compute"]),
            memory=_curve(measured["memory"]),
            launch_s=_number("launch_s", measured["launch_s"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ProfileInvalid):
            raise
        raise ProfileInvalid(f"a benchmark has compute, memory and launch_s; wrong: {error}") from error


def at(curve: Curve, size: float) -> float:
    """Return the rate at a size: a straight line between the points in logarithms, level beyond the ends."""
    before = curve[0]
    for point in curve:
        if size <= point[0]:
            if point is before or point[0] == before[0]:
                return point[1]
            share = math.log(size / before[0]) / math.log(point[0] / before[0])
            return before[1] * math.exp(share * math.log(point[1] / before[1]))
        before = point
    return before[1]


def _curve(points: Any) -> Curve:
    curve = tuple(sorted((_number("size", size), _number("rate", rate)) for size, rate in points))
    if not curve:
        raise ProfileInvalid("a curve needs a point at least")
    return curve


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ProfileInvalid(f"{name} must be a positive number")
    return float(value)
