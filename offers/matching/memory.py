"""
How much memory of an accelerator a training run needs, part by part, and what would make it fit.

Parameters, gradients and optimizer as in Rajbhandari et al. 2020 (ZeRO, arXiv 1910.02054, section 3: 16 bytes a
parameter for Adam in mixed precision), activations as in Korthikanti et al. 2022 (arXiv 2205.05198, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

GIB = 2**30
BYTES = {"bf16": 2, "fp16": 2, "tf32": 4, "fp32": 4}  # Of an activation, and of a parameter without a master copy.
# Bytes of optimizer state a trainable parameter: both moments in 4 bytes (Kingma and Ba, arXiv 1412.6980), in one byte
# each (Dettmers et al. 2022, arXiv 2110.02861), one momentum, none.
OPTIMIZER_BYTES = {"adam": 8.0, "adam8bit": 2.0, "momentum": 4.0, "sgd": 0.0}
# A parameter that is not trained, by how many bits it is stored in; 4 bits with double quantisation take 4.127
# (Dettmers et al. 2023, QLoRA, arXiv 2305.14314, section 3).
FROZEN_BYTES = {16: 2.0, 8: 1.0, 4: 4.127 / 8}
# What a process holds on a GPU before it has a tensor: context, kernels, cuBLAS workspace; 0.5 to 1 GiB is usual
# (huggingface.co/docs/transformers/model_memory_anatomy finds 1.3 GB with kernels loaded).
CONTEXT_GIB = 1.3
# The caching allocator loses some to fragmentation, and not all that is sold as 80 GB is there.
MARGIN = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A transformer as far as its activations depend on it."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    tokens_per_sample: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a model is trained on one accelerator; of `shards` accelerators that split one copy (FSDP), or 1 for DDP."""

    parameters: int
    batch_size: int  # Per accelerator and forward pass.
    precision: str = "bf16"  # bf16, fp16: mixed, with a 4-byte master copy; tf32, fp32: 4 bytes throughout.
    optimizer: str = "adam"  # One of OPTIMIZER_BYTES.
    trainable: int | None = None  # None: all; fewer for LoRA, and then the rest is frozen.
    frozen_bits: int = 16  # 4 for QLoRA.
    shape: Shape | None = None
    activation_bytes_per_sample: float | None = None  # As measured; it goes before what `shape` says.
    recompute: bool = False  # Activations are computed anew in the backward pass.
    fused_attention: bool = True  # Scores are never kept, as in FlashAttention.
    shards: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """GiB on each accelerator."""

    parameters: float
    gradients: float
    optimizer: float  # With the master copy of mixed precision.
    activations: float
    context: float = CONTEXT_GIB

    @property
    def total(self) -> float:
        """All of it."""
        return self.parameters + self.gradients + self.optimizer + self.activations + self.context

    @property
    def chip_gib(self) -> float:
        """The least memory of an accelerator that holds it with MARGIN to spare."""
        return self.total / (1 - MARGIN)

    def fits(self, memory_gib: float) -> bool:
        """Whether an accelerator of so much memory holds it with MARGIN to spare."""
        return self.chip_gib <= memory_gib


def needed(training: Training) -> Needed:
    """Return what each accelerator must hold."""
    trained = training.parameters if training.trainable is None else training.trainable
    frozen = training.parameters - trained
    size = BYTES[training.precision]
    master = 4.0 if size == 2 else 0.0
    held = trained * size + frozen * FROZEN_BYTES[training.frozen_bits]
    # FSDP gathers one layer at a time, and the next one while it computes.
    gathered = 0.0
    if training.shards > 1 and training.shape is not None:
        gathered = 2 * training.parameters * size / training.shape.layers
    return Needed(
        parameters=(held / training.shards + gathered) / GIB,
        gradients=trained * size / training.shards / GIB,
        optimizer=trained * (master + OPTIMIZER_BYTES[training.optimizer]) / training.shards / GIB,
        activations=_activations(training) / GIB,
    )


def activation_bytes(shape: Shape, *, batch_size: int, size: int = 2, recompute: bool, fused_attention: bool) -> float:
    """
    Return the bytes that a transformer keeps from forward to backward.

    Korthikanti et al. 2022, equation 2: s b h (34 + 5 a s / h) bytes a layer in 16 bits; with full recomputation the
    2 s b h of each layer's input (section 5), and one layer at work; without the scores when attention is one kernel.
    On top the logits and their gradient in 4 bytes. size: bytes of an activation.
    """
    tokens = batch_size * shape.tokens_per_sample
    scores = 0.0 if fused_attention else 5.0 * shape.heads * shape.tokens_per_sample / shape.width
    layer = tokens * shape.width * (34.0 + scores) * size / 2
    kept = shape.layers * tokens * shape.width * size + layer if recompute else shape.layers * layer
    return kept + 2 * 4.0 * tokens * shape.vocabulary


def cures(training: Training, memory_gib: float, *, shards_max: int = 64) -> list[str]:
    """Return what would make it fit, each alone and in words, the least invasive first; [] when it fits already."""
    if needed(training).fits(memory_gib):
        return []
    found = []
    smaller = _most(lambda batch: replace(training, batch_size=batch), training.batch_size - 1, memory_gib)
    if smaller:
        found.append(f"batch size {smaller} instead of {training.batch_size}")
    if training.shape and not training.recompute and needed(replace(training, recompute=True)).fits(memory_gib):
        found.append("recompute activations (a third more arithmetic)")
    shards = next((n for n in _doublings(training.shards, shards_max) if _fits(training, n, memory_gib)), None)
    if shards:
        found.append(f"FSDP over {shards} accelerators")
    if training.optimizer == "adam" and needed(replace(training, optimizer="adam8bit")).fits(memory_gib):
        found.append("8-bit Adam")
    everything = replace(training, batch_size=1, recompute=training.shape is not None)
    if not found:
        shards = next((n for n in _doublings(training.shards, shards_max) if _fits(everything, n, memory_gib)), None)
        if shards:
            found.append(f"batch size 1, recomputed activations and FSDP over {shards} accelerators together")
    return found


def _activations(training: Training) -> float:
    if training.activation_bytes_per_sample is not None:
        return training.activation_bytes_per_sample * training.batch_size
    if training.shape is None:
        return 0.0
    return activation_bytes(
        training.shape,
        batch_size=training.batch_size,
        size=BYTES[training.precision],
        recompute=training.recompute,
        fused_attention=training.fused_attention,
    )


def _fits(training: Training, shards: int, memory_gib: float) -> bool:
    return needed(replace(training, shards=shards)).fits(memory_gib)


def _doublings(above: int, most: int) -> list[int]:
    return [2**power for power in range(1, int(math.log2(most)) + 1) if 2**power > above]


def _most(with_batch: Callable[[int], Training], most: int, memory_gib: float) -> int:
    """The largest batch size up to `most` that fits, or 0: need grows with the batch."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if needed(with_batch(middle)).fits(memory_gib):
            low = middle
        else:
            high = middle - 1
    return low
