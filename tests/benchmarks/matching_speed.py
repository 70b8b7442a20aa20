"""
How well predicted training speeds hold: against steps measured here on the CPU, and against published ones of GPUs.

`python -m tests.benchmarks.matching_speed` prints JSON; its key `speed_error` is the larger of the two median errors.

CPU: the roofline of a benchmark of this machine (`yardstick`), taken in the same run, predicts the models of
`speed_models`; nothing is fitted to them. One thread, and the processor time of that thread, so that other work on the
machine does not count.

GPU: tests/benchmarks/published_speeds.csv, each row with the page it is from. TRAINING_SHARE and MEMORY_SHARE of
`offers.matching.roofline` were set to the pair (in steps of 0.05) with the smallest mean error on the rows of
CALIBRATED (`best_shares` finds it again); the rows of all other chips were held out, and only they count. What a row
does not say (ResNet and BERT of 2020 to 2024 with apex and JPEGs decoded on the host, LLM Foundry in mixed precision
with FSDP) is as `speed_models` and `profile.transformer` have it. `scaled` takes every two chips with a step of the
same model, and asks how well the one tells the other: by the roofline, and by peak TFLOPS alone.
"""

from __future__ import annotations

import csv
import json
import statistics
import sys
import time
from dataclasses import replace
from functools import cache
from itertools import combinations
from math import exp, log, sqrt
from pathlib import Path
from typing import Any

import torch

from offers.matching import chips, memory, profile, roofline
from tests.benchmarks import speed_models
from workloads.node.training import yardstick
from workloads.node.training.counting import Counting

PUBLISHED = Path(__file__).parent / "published_speeds.csv"
CALIBRATED = "A100-80GB"
MEASURE_S = 3.0
# (layers, width, heads, vocabulary, parameters): MPT as in LLM Foundry's yamls and tables, Llama as in its papers
# (arXiv 2307.09288, 2407.21783).
TRANSFORMERS = {
    "mpt-125m": (12, 768, 12, 50368, 125_311_488),
    "mpt-350m": (24, 1024, 16, 50368, 355_985_408),
    "mpt-760m": (24, 1536, 12, 50368, 760_470_528),
    "mpt-1b": (24, 2048, 16, 50368, 1_315_950_592),
    "mpt-3b": (32, 2560, 20, 50368, 2_651_837_440),
    "mpt-7b": (32, 4096, 32, 50368, 6_658_859_008),
    "mpt-13b": (40, 5120, 40, 50368, 12_853_954_560),
    "mpt-30b": (48, 7168, 56, 50368, 29_975_214_080),
    "mpt-70b": (80, 8192, 64, 50368, 64_862_437_376),
    "llama2-70b": (80, 8192, 64, 32000, 68_976_648_192),
    "llama3-8b": (32, 4096, 32, 128256, 8_030_261_248),
    "llama3-70b": (80, 8192, 64, 128256, 70_553_706_496),
    "llama3-405b": (126, 16384, 128, 128256, 405_853_388_800),
}


def figures() -> dict[str, Any]:
    """Return `speed_error` and what it is made of: {"cpu": ..., "published": ...}."""
    cpu, published = on_this_cpu(), against_publications()
    error = max(cpu["median_error"], published["median_error"])
    return {"speed_error": round(error, 3), "cpu": cpu, "published": published}


def on_this_cpu() -> dict[str, Any]:
    """Return the error of each model's predicted samples/s against the measured ones, and their median."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        models = {}
        for trained in speed_models.for_a_cpu():
            machine = roofline.by_benchmark(yardstick.measure(clock=time.thread_time))
            measured = trained.batch_size / _step_s(trained)
            predicted = machine.samples_per_s(_counted(trained))
            models[trained.name] = _compared(predicted, measured)
    finally:
        torch.set_num_threads(threads)
    return {"median_error": _median(models.values()), "models": models}


def against_publications() -> dict[str, Any]:
    """Return the errors by chip and model; `median_error` and `sigma` (of the logarithm) leave out CALIBRATED."""
    by_chip: dict[str, dict[str, dict[str, float]]] = {}
    for row in _rows():
        predicted = _machine(row).samples_per_s(_published(row))
        what = "/".join(filter(None, (row["model"], row["tokens"], row["precision"], f"x{row['accelerators']}")))
        by_chip.setdefault(row["chip"], {})[what] = _compared(predicted, float(row["samples_per_s"]))
    held_out = [one for chip, rows in by_chip.items() if chip != CALIBRATED for one in rows.values()]
    return {
        "median_error": _median(held_out),
        "sigma": _sigma([log(1 + one["error"]) for one in held_out]),
        "held_out": len(held_out),
        "calibrated_on": CALIBRATED,
        "best_shares": best_shares(),
        "scaled": _scaled(by_chip),
        "by_chip": {chip: _median(rows.values()) for chip, rows in by_chip.items()},
        "rows": by_chip,
    }


def best_shares() -> tuple[float, float]:
    """Return the (TRAINING_SHARE, MEMORY_SHARE) with the smallest mean error of the logarithm on CALIBRATED's rows."""
    rows = [row for row in _rows() if row["chip"] == CALIBRATED]

    def error(shares: tuple[float, float]) -> float:
        arithmetic, traffic = shares[0] / roofline.TRAINING_SHARE, shares[1] / roofline.MEMORY_SHARE
        errors = []
        for row in rows:
            machine = _machine(row)
            changed = replace(
                machine,
                compute=tuple((size, rate * arithmetic) for size, rate in machine.compute),
                memory=tuple((size, rate * traffic) for size, rate in machine.memory),
            )
            errors.append(abs(log(changed.samples_per_s(_published(row)) / float(row["samples_per_s"]))))
        return statistics.mean(errors)

    steps = [step / 20 for step in range(10, 21)]
    return min(((training, traffic) for training in steps for traffic in steps), key=error)


def _scaled(by_chip: dict[str, dict[str, dict[str, float]]]) -> dict[str, Any]:
    """How well one chip's published step tells another's: errors of the ratio of the two."""
    errors, by_peak = [], []
    for one, other in combinations(by_chip, 2):
        peaks = [chips.find(name).peak_tflops("bf16") for name in (one, other)]  # type: ignore[union-attr]
        for what in by_chip[one].keys() & by_chip[other].keys():
            here, there = by_chip[one][what], by_chip[other][what]
            truth = log(there["measured"] / here["measured"])
            errors.append(log(there["predicted"] / here["predicted"]) - truth)
            by_peak.append(log(peaks[1] / peaks[0]) - truth)
    medians = [round(statistics.median(abs(exp(error) - 1) for error in each), 3) for each in (errors, by_peak)]
    return {
        "pairs": len(errors),
        "median_error": medians[0],
        "sigma": _sigma(errors),
        "by_peak_median_error": medians[1],
        "by_peak_sigma": _sigma(by_peak),
    }


def _rows() -> list[dict[str, str]]:
    with PUBLISHED.open(newline="") as file:
        return list(csv.DictReader(file))


def _machine(row: dict[str, str]) -> roofline.Machine:
    chip = chips.find(row["chip"])
    assert chip is not None, row["chip"]
    return roofline.by_sheet(chip, row["precision"])


def _sigma(errors: list[float]) -> float:
    return round(sqrt(statistics.mean(error**2 for error in errors)), 3)


def _step_s(trained: speed_models.Trained) -> float:
    trained.step()
    times: list[float] = []
    while sum(times) < MEASURE_S:
        begun_s = time.thread_time()
        trained.step()
        times.append(time.thread_time() - begun_s)
    return statistics.median(times)


def _counted(trained: speed_models.Trained) -> profile.Profile:
    with Counting() as counted:
        trained.step()
    counts = counted.profile(model=trained.model, optimizer=trained.optimizer, batch_size=trained.batch_size)
    return profile.parse(counts)


def _published(row: dict[str, str]) -> profile.Profile:
    batch_size, tokens = int(row["batch_size"]), int(row["tokens"] or 1)
    if row["model"] not in TRANSFORMERS:
        return _at_batch(row["model"], batch_size, tokens, row["precision"])
    layers, width, heads, vocabulary, parameters = TRANSFORMERS[row["model"]]
    shape = memory.Shape(layers=layers, width=width, heads=heads, vocabulary=vocabulary, tokens_per_sample=tokens)
    return profile.transformer(
        shape,
        parameters=parameters,
        batch_size=batch_size,
        precision=row["precision"],
        recompute=row["recompute"] == "1",
        shards=int(row["accelerators"]),
    )


@cache
def _at_batch(model: str, batch_size: int, tokens: int, precision: str) -> profile.Profile:
    """Count a published model on torch's meta device, which has shapes and no memory."""
    dtype = torch.float16 if precision == "fp16" else torch.float32
    with torch.device("meta"):
        return _counted(speed_models.published(model, batch_size=batch_size, tokens=tokens, dtype=dtype))


def _compared(predicted: float, measured: float) -> dict[str, float]:
    shown = {"predicted": predicted, "measured": measured, "error": predicted / measured - 1}
    return {name: float(f"{value:.4g}") for name, value in shown.items()}


def _median(rows: Any) -> float:
    return round(statistics.median(abs(row["error"]) for row in rows), 3)


if __name__ == "__main__":
    json.dump(figures(), sys.stdout, indent=1)
    sys.stdout.write("\n")
