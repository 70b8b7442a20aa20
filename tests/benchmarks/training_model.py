"""
The small GPT and the windows of characters that all programs of the benchmarks of training across sites train.

Needs torch and NumPy only: the peers that we are measured against train it too, in environments of their own.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

CHARACTERS = 96
# Width and layers: 115,000, 3,200,000 and 10,800,000 parameters.
SIZES = {"small": (64, 2), "large": (256, 4), "proof": (384, 6)}
HELD_OUT = 1024  # Windows at the end of the text that nobody trains on.


class Gpt(nn.Module):
    """A transformer over characters."""

    def __init__(self, size: str, context: int) -> None:
        super().__init__()
        width, layers = SIZES[size]
        self.embedding, self.place = nn.Embedding(CHARACTERS, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, width // 16, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.last, self.head = nn.LayerNorm(width), nn.Linear(width, CHARACTERS, bias=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(context), persistent=False)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross entropy, nats a character. inputs, targets: [batch, context]."""
        return functional.cross_entropy(self.logits(inputs).flatten(0, 1), targets.flatten())

    def logits(self, inputs: Tensor) -> Tensor:
        """Return what may follow each character: [batch, length, characters]. inputs: [batch, length <= context]."""
        x = self.embedding(inputs) + self.place.weight[: inputs.shape[1]]
        for block in self.blocks:
            x = block(x, src_mask=self.mask[: inputs.shape[1], : inputs.shape[1]], is_causal=True)
        return self.head(self.last(x))


class Windows(torch.utils.data.Dataset[Any]):
    """Windows of `context` characters and what follows each, of a text that lies in an .npy file."""

    def __init__(self, path: Path | str, context: int, *, held_out: bool = False) -> None:
        self._text, self._context = torch.from_numpy(np.load(path)), context
        count = (len(self._text) - 1) // context
        self._first, self._count = (count - HELD_OUT, HELD_OUT) if held_out else (0, count - HELD_OUT)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not 0 <= index < self._count:
            raise IndexError(index)
        start = (self._first + index) * self._context
        return self._text[start : start + self._context], self._text[start + 1 : start + 1 + self._context]


def adamw(model: nn.Module, rate: float) -> torch.optim.AdamW:
    """Return the inner optimizer."""
    return torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.1, fused=True)


def held_out_loss(model: Gpt, windows: torch.utils.data.Dataset[Any]) -> float:
    """Return the mean loss over all windows, nats a character."""
    with torch.no_grad():
        batches = torch.utils.data.DataLoader(windows, batch_size=64)
        return float(np.mean([model(inputs, targets).item() for inputs, targets in batches]))


def pause_until(end_s: float) -> None:
    """Fill a step up to the seconds that each is to take: two cores do not run three sites at one speed."""
    if (left_s := end_s - time.monotonic()) > 0:
        time.sleep(left_s)


def wire_bytes(device: str) -> int:
    """Return how many bytes a network interface of this process' namespace has received and sent; 0 without one."""
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == device:
            values = counters.split()
            return int(values[0]) + int(values[8])
    return 0
