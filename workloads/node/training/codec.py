"""States and contributions as bytes: safetensors files of float32 tensors by name. Numpy only, no torch."""

from collections.abc import Mapping

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

Tensors = dict[str, np.ndarray]


class CorruptTensors(ValueError):
    """The bytes are not a safetensors file."""


class TensorsDiffer(ValueError):
    """Names, shapes or types are not those of the model being trained."""


class NotFinite(ValueError):
    """A tensor holds NaN or an infinity."""


def encode(tensors: Mapping[str, np.ndarray]) -> bytes:
    """The tensors as a safetensors file. The same tensors give the same bytes, whatever their order in the mapping."""
    ordered = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    return safetensors.numpy.save(ordered)


def decode(raw: bytes) -> Tensors:
    """The tensors of a safetensors file. Raises CorruptTensors."""
    try:
        return dict(safetensors.numpy.load(raw))
    except (SafetensorError, KeyError, TypeError, ValueError) as broken:
        raise CorruptTensors(f"{len(raw)} bytes that are not a safetensors file: {broken}") from broken


def check(delta: Mapping[str, np.ndarray], like: Mapping[str, np.ndarray]) -> None:
    """See that `delta` has the names, shapes and types of `like` and only finite numbers.

    Raises TensorsDiffer, NotFinite.
    """
    missing, unknown = sorted(like.keys() - delta.keys()), sorted(delta.keys() - like.keys())
    if missing or unknown:
        raise TensorsDiffer(f"missing tensors: {missing[:5] or 'none'}; unknown tensors: {unknown[:5] or 'none'}")
    for name, wanted in like.items():
        got = delta[name]
        if got.shape != wanted.shape or got.dtype != wanted.dtype:
            raise TensorsDiffer(
                f"{name} is {got.dtype}{list(got.shape)}, the model has {wanted.dtype}{list(wanted.shape)}"
            )
        if not np.isfinite(got).all():
            raise NotFinite(f"{name} holds {np.count_nonzero(~np.isfinite(got))} values that are not finite")
