"""
Vectors and tensors as files that are read where they lie. Numpy only, no torch.

The format is that of safetensors (https://huggingface.co/docs/safetensors): eight bytes of length, a JSON header, then
the arrays. A packed vector has the parts of its codec as arrays; a state has the model's tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import quantise
from .codec import CorruptTensors, NotFinite, TensorsDiffer, check
from .quantise import CODECS, Parts

HEADER_MAX = 16 << 20
LARGEST = 1e30  # Of a number that a codec has: what is unpacked, weighed and added up stays finite in float32.
NAMES = {"float32": "F32", "float16": "F16", "int8": "I8", "uint8": "U8"}
KINDS = {short: np.dtype(name) for name, short in NAMES.items()}


def create(path: Path, *, codec: str, size: int) -> Parts:
    """Make a file for a vector of so many numbers in `codec`; return its arrays, which are to be filled."""
    items = quantise.sizes(codec, size)
    parts = CODECS[codec].parts
    # Wide numbers first, so that each array begins where its numbers may.
    names = sorted(parts, key=lambda name: -np.dtype(parts[name][0]).itemsize)
    arrays = [(name, np.dtype(parts[name][0]), [items[name]]) for name in names]
    header, length = _header(arrays, {"codec": codec, "size": str(size)})
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + length)
    return _mapped(path, mode="r+")[1]


def read(path: Path, *, size: int) -> tuple[str, Parts]:
    """
    Return (codec, arrays) of a file made of a vector of so many numbers, none beyond LARGEST; they lie in the file.

    Raises CorruptTensors, TensorsDiffer, NotFinite.
    """
    about, parts = _mapped(path, mode="r")
    codec, told = str(about.get("codec")), about.get("size")
    if told != str(size):
        raise TensorsDiffer(f"a vector of {str(told)[:20]} numbers, the model has {size}")
    try:
        quantise.check(parts, codec, size=size)
    except quantise.Unpackable as strange:
        raise TensorsDiffer(str(strange)) from strange
    for name, part in parts.items():
        if part.dtype.kind == "f" and (wrong := _count_beyond(part)):
            raise NotFinite(f"{name} holds {wrong} values that are not finite, or beyond {LARGEST:g}")
    return codec, parts


def write_named(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write float32 tensors by name, without a second copy of them in memory."""
    names = sorted(tensors)
    header, _ = _header([(name, np.dtype(np.float32), list(tensors[name].shape)) for name in names], {})
    with path.open("wb") as file:
        file.write(header)
        for name in names:
            file.write(np.ascontiguousarray(tensors[name], np.float32).reshape(-1).data)


def read_named(path: Path, *, like: Mapping[str, np.ndarray]) -> Parts:
    """
    Return finite float32 tensors that lie in a file, with the names and shapes of others.

    Raises CorruptTensors, TensorsDiffer, NotFinite.
    """
    tensors = _mapped(path, mode="r")[1]
    check(tensors, like)
    return tensors


def _header(arrays: list[tuple[str, np.dtype[Any], list[int]]], about: dict[str, str]) -> tuple[bytes, int]:
    """Return the bytes before the arrays, and how many bytes the arrays are."""
    told: dict[str, Any] = {"__metadata__": about} if about else {}
    offset = 0
    for name, dtype, shape in arrays:
        end = offset + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        told[name] = {"dtype": NAMES[dtype.name], "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(told).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, offset


def _mapped(path: Path, *, mode: Any) -> tuple[dict[str, Any], Parts]:
    """Return what the header tells, and the arrays. Raises CorruptTensors."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= HEADER_MAX:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(file.read(length))
        parts, whole = {}, np.memmap(path, np.uint8, mode)
        for name, told in header.items():
            if name == "__metadata__":
                continue
            begin, end = (8 + length + int(offset) for offset in told["data_offsets"])
            if not 8 + length <= begin <= end <= len(whole):
                raise ValueError(f"{name} lies outside the file")
            shape = [int(n) for n in told["shape"]]
            parts[name] = np.asarray(whole[begin:end]).view(KINDS[told["dtype"]]).reshape(shape)
        return dict(header.get("__metadata__") or {}), parts
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, OSError) as broken:
        raise CorruptTensors(f"not a safetensors file: {broken}"[:200]) from broken


def _count_beyond(part: np.ndarray) -> int:
    step = 1 << 20
    return sum(int((~(np.abs(part[at : at + step]) <= np.float32(LARGEST))).sum()) for at in range(0, len(part), step))
