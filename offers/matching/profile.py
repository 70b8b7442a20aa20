"""
What a training step of a model is made of: arithmetic, memory traffic and what stays in memory.

A profile is counted by torch on the first batch of a probe (`gpuyard.node.training.counting`), or written down from
the shape of a transformer.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from . import memory

WORK_MAX = 2000  # A step has as many shapes of operations; real models have tens.
# Counted by torch on a decoder block without dropout, eager, attention in one kernel, forward and backward
# (tests/node/test_counting.py counts it again): memory traffic of what is not a matrix product, by bytes of an
# activation. 2 means mixed precision, in which norms, the residual stream and the loss stay in 4 bytes.
POINTWISE_BYTES = {2: 190.0, 4: 228.0}  # Per layer, token and unit of width.
POINTWISE_CALLS = {2: 37, 4: 15}  # Per layer.
LOSS_BYTES = {2: 44.0, 4: 32.0}  # Per token and word of the vocabulary.
CAST_BYTES = {2: 12.0, 4: 0.0}  # Per parameter: weights to 16 bits and gradients back.
PRODUCTS = 4  # Matrix products of a layer: query-key-value, projection, and two of the network.
ADAM_BYTES = 28.0  # Per parameter: read it, its gradient and both moments, write all but the gradient; 4 bytes each.


class ProfileInvalid(ValueError):
    """A profile or benchmark that means nothing; the argument says which field and why."""


@dataclass(frozen=True, slots=True)
class Work:
    """Operations of one shape in a training step: each `flops` of matrix arithmetic and `bytes` read and written."""

    flops: float
    bytes: float
    calls: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One training step of a model: forward, backward and optimizer, on one accelerator."""

    work: tuple[Work, ...]  # Of the whole step, `batch_size` samples.
    batch_size: int
    precision: str  # Of most of the arithmetic: bf16, fp16, tf32, fp32.
    parameters: int
    trainable: int  # As many of them as get gradients.
    parameter_bytes: float
    optimizer_bytes: float
    activation_bytes: float  # Kept from forward to backward, the whole batch.
    tokens_per_sample: int | None = None
    accelerator: str | None = None  # Where a probe measured it, by its label there; None: it was not measured.
    samples_per_s: float | None = None  # There.

    @property
    def flops_per_sample(self) -> float:
        """Matrix arithmetic of forward and backward, for one sample."""
        return sum(work.flops * work.calls for work in self.work) / self.batch_size

    @property
    def bytes_per_sample(self) -> float:
        """Memory traffic of a step, divided by its samples."""
        return sum(work.bytes * work.calls for work in self.work) / self.batch_size

    @property
    def memory(self) -> memory.Needed:
        """What an accelerator must hold to train with this batch, none of it sharded."""
        gradients = self.trainable * self.parameter_bytes / self.parameters
        return memory.Needed(
            parameters=self.parameter_bytes / memory.GIB,
            gradients=gradients / memory.GIB,
            optimizer=self.optimizer_bytes / memory.GIB,
            activations=self.activation_bytes / memory.GIB,
        )

    def as_json(self) -> dict[str, Any]:
        """Return it for storing and for the API."""
        return asdict(self) | {"work": [[work.flops, work.bytes, work.calls] for work in self.work]}


def parse(body: Any) -> Profile:
    """Read a profile out of JSON that a stranger wrote. Raises ProfileInvalid."""
    if not isinstance(body, dict):
        raise ProfileInvalid("a profile is a JSON object")
    rows = body.get("work")
    if not isinstance(rows, list) or not 0 < len(rows) <= WORK_MAX:
        raise ProfileInvalid(f"work must be a list of 1 to {WORK_MAX} rows [flops, bytes, calls]")
    if any(not isinstance(row, list) or len(row) != 3 for row in rows):
        raise ProfileInvalid("a row of work is [flops, bytes, calls]")
    work = tuple(Work(*(_amount("work", value) for value in row)) for row in rows)
    if not any((one.flops + one.bytes) * one.calls for one in work):
        raise ProfileInvalid("work has nothing to do")
    if body.get("precision") not in memory.BYTES:
        raise ProfileInvalid(f"precision must be one of {', '.join(memory.BYTES)}")
    tokens = body.get("tokens_per_sample")
    return Profile(
        work=work,
        batch_size=_count("batch_size", body.get("batch_size")),
        precision=body["precision"],
        parameters=_count("parameters", body.get("parameters")),
        trainable=_count("trainable", body.get("trainable")),
        parameter_bytes=_amount("parameter_bytes", body.get("parameter_bytes")),
        optimizer_bytes=_amount("optimizer_bytes", body.get("optimizer_bytes")),
        activation_bytes=_amount("activation_bytes", body.get("activation_bytes")),
        tokens_per_sample=None if tokens is None else _count("tokens_per_sample", tokens),
        **_measured(body.get("accelerator"), body.get("samples_per_s")),
    )


def transformer(
    shape: memory.Shape,
    *,
    parameters: int,
    batch_size: int,
    precision: str = "bf16",
    recompute: bool = False,
    shards: int = 1,
) -> Profile:
    """
    Return the profile of a decoder trained with Adam, from its shape alone.

    Matrix products cost 6 FLOPs a parameter and token (Kaplan et al. 2020, arXiv 2001.08361; Hoffmann et al. 2022,
    arXiv 2203.15556, appendix F), attention 14 x layers x width x tokens a token: the 12 of Chowdhery et al. 2022
    (arXiv 2204.02311, appendix B) and the scores once more, which a fused kernel computes anew in the backward pass;
    the mask saves nothing. Recomputing everything adds a forward pass: 8 instead of 6. shards: over so many
    accelerators parameters and optimizer are spread (FSDP).
    """
    passes = 4 / 3 if recompute else 1.0
    layers, width, tokens = shape.layers, shape.width, batch_size * shape.tokens_per_sample
    size = memory.BYTES[precision]
    products = layers * PRODUCTS + 1
    dense = 6.0 * parameters * tokens * passes / (products * 3)
    dense_bytes = (parameters / products + 5.0 * tokens * width) * size
    attention = 14.0 * layers * width * shape.tokens_per_sample * tokens * passes
    calls = POINTWISE_CALLS[size]
    pointwise = (POINTWISE_BYTES[size] * tokens * width + CAST_BYTES[size] * parameters / layers) * passes
    loss = LOSS_BYTES[size] * tokens * shape.vocabulary
    work = (
        Work(dense, dense_bytes, products * 3),
        Work(attention / (layers * 2), 8.0 * tokens * width * size, layers * 2),
        Work(0.0, pointwise / calls, layers * calls),
        Work(0.0, loss / 4, 4),
        Work(0.0, ADAM_BYTES * parameters / shards, 1),
    )
    kept = memory.activation_bytes(shape, batch_size=batch_size, size=size, recompute=recompute, fused_attention=True)
    return Profile(
        work=work,
        batch_size=batch_size,
        precision=precision,
        parameters=parameters,
        trainable=parameters,
        parameter_bytes=4.0 * parameters,
        optimizer_bytes=8.0 * parameters,
        activation_bytes=kept,
        tokens_per_sample=shape.tokens_per_sample,
    )


def _measured(accelerator: Any, samples_per_s: Any) -> dict[str, Any]:
    if accelerator is None and samples_per_s is None:
        return {}
    if not isinstance(accelerator, str) or not 0 < len(accelerator) <= 100:
        raise ProfileInvalid("accelerator must be a short text, and goes with samples_per_s")
    if not (rate := _amount("samples_per_s", samples_per_s)):
        raise ProfileInvalid("samples_per_s must be more than 0")
    return {"accelerator": accelerator, "samples_per_s": rate}


def _amount(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ProfileInvalid(f"{name} must be a number of at least 0")
    return float(value)


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**15:
        raise ProfileInvalid(f"{name} must be a whole number of at least 1")
    return value
