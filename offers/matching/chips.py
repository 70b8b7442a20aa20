"""
What a chip can do by its data sheet: arithmetic, memory bandwidth, power, and the link to its neighbours.

The table is offers/data/chips.csv, one row for each name of `offers.gpus` that people train on; dense figures without
sparsity, and where a sheet gives only sparse ones, half of them. `source` is the page a row was read from.
`matmul_tflops` is what large bf16 matrix products reached in public measurements (`matmul_source`).
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

TABLE = Path(__file__).parents[1] / "data" / "chips.csv"
# docs.nvidia.com/datacenter/tesla/mig-user-guide: so many sevenths of the compute, so many eighths of the memory.
SLICE = re.compile(r"^(.+)-MIG-([1-7])g\.\d+gb$")
MEMORY_EIGHTHS = {1: 1, 2: 2, 3: 4, 4: 4, 7: 8}
# A chip without the precision asked for trains in the next one that it has: bf16 on a V100 means fp16.
INSTEAD = {
    "bf16": ("bf16", "fp16", "tf32", "fp32"),
    "fp16": ("fp16", "bf16", "tf32", "fp32"),
    "tf32": ("tf32", "fp32", "bf16"),
    "fp32": ("fp32", "tf32", "bf16"),
}


class UnknownPrecision(ValueError):
    """A precision that is none of bf16, fp16, tf32 and fp32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One accelerator by its sheet. Rates are peaks; `link_gb_per_s` counts one direction."""

    name: str
    memory_gb_per_s: float
    tflops: dict[str, float]  # By precision, as far as the chip has it.
    board_w: float | None
    link: str  # nvlink, xgmi, pcie, ethernet, ici, neuronlink.
    link_gb_per_s: float
    source: str
    matmul_tflops: float | None  # None: nobody published one.
    matmul_source: str

    def peak_tflops(self, precision: str) -> float:
        """Return the peak in this precision, or in the one used instead. Raises UnknownPrecision."""
        return self.tflops[self.precision(precision)]

    def precision(self, wanted: str) -> str:
        """Return the precision that the chip computes in when `wanted` is asked for. Raises UnknownPrecision."""
        if wanted not in INSTEAD:
            raise UnknownPrecision(f"{wanted!r} is none of {', '.join(INSTEAD)}")
        return next(one for one in INSTEAD[wanted] if one in self.tflops)


def find(name: str) -> Chip | None:
    """Return the chip that `offers.gpus` calls so; a MIG slice is its share of the whole. None: not in the table."""
    if found := _table().get(name):
        return found
    slice_ = SLICE.match(name)
    whole = _table().get(slice_[1]) if slice_ else None
    if slice_ is None or whole is None:
        return None
    sevenths = int(slice_[2])
    return replace(
        whole,
        name=name,
        memory_gb_per_s=whole.memory_gb_per_s * MEMORY_EIGHTHS.get(sevenths, sevenths) / 8,
        tflops={precision: peak * sevenths / 7 for precision, peak in whole.tflops.items()},
        matmul_tflops=whole.matmul_tflops * sevenths / 7 if whole.matmul_tflops else None,
    )


def names() -> tuple[str, ...]:
    """Return every name that the table has, in its order."""
    return tuple(_table())


@cache
def _table() -> dict[str, Chip]:
    with TABLE.open(newline="") as file:
        return {row["name"]: _chip(row) for row in csv.DictReader(file)}


def _chip(row: dict[str, str]) -> Chip:
    tflops = {each: float(row[f"{each}_tflops"]) for each in INSTEAD if row[f"{each}_tflops"]}
    return Chip(
        name=row["name"],
        memory_gb_per_s=float(row["memory_gb_per_s"]),
        tflops=tflops,
        board_w=float(row["board_w"]) if row["board_w"] else None,
        link=row["link"],
        link_gb_per_s=float(row["link_gb_per_s"]),
        source=row["source"],
        matmul_tflops=float(row["matmul_tflops"]) if row["matmul_tflops"] else None,
        matmul_source=row["matmul_source"],
    )
