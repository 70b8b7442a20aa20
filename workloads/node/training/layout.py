"""All parameters of a model as one flat vector, which the hub can cut anywhere. Numpy only, no torch."""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Tensors = dict[str, np.ndarray]

ALIGNED = 256  # Each tensor begins at a multiple of it, so that no block of a codec holds parts of two tensors.


class Layout:
    """Where each tensor lies: in the order of the names, each followed by zeros to the next multiple of ALIGNED."""

    def __init__(self, spec: Mapping[str, Mapping[str, Any]]) -> None:
        """spec: {name: {"shape": [...]}}, as a site describes its model."""
        self.slots: dict[str, tuple[int, tuple[int, ...]]] = {}
        self.size = 0  # Numbers in the vector, a multiple of ALIGNED.
        for name in sorted(spec):
            shape = tuple(int(n) for n in spec[name]["shape"])
            self.slots[name] = (self.size, shape)
            self.size += -(-prod(shape) // ALIGNED) * ALIGNED

    def flat(self, tensors: Mapping[str, np.ndarray]) -> Floats:
        """Return a new vector of these tensors: [size]."""
        vector = np.zeros(self.size, np.float32)
        for name, view in self.named(vector).items():
            view[...] = tensors[name]
        return vector

    def gaps(self) -> list[tuple[str, int, int]]:
        """Return the zeros: (the tensor before them, start, end)."""
        ends = [*(start for start, _ in self.slots.values()), self.size][1:]
        gaps = [
            (name, start + prod(shape), end)
            for (name, (start, shape)), end in zip(self.slots.items(), ends, strict=True)
        ]
        return [gap for gap in gaps if gap[1] < gap[2]]

    def named(self, vector: np.ndarray) -> Tensors:
        """Return the vector's parts by name: views in the shapes of the tensors."""
        return {name: vector[start : start + prod(shape)].reshape(shape) for name, (start, shape) in self.slots.items()}
