"""
Vectors in fewer bits, block by block. Numpy only, no torch.

What a codec makes is a dict of arrays that can be cut at every multiple of STRIDE numbers, so a vector of any length is
packed and unpacked a slice at a time. Unpacking is plain float32 arithmetic by element: all machines get the same bits.

    fp32   the numbers                                                               32 bits a number
    fp16   half precision, one scale for 256 numbers                                 16.1
    int8   -127..127, one scale for 256 numbers: the largest magnitude is 127         8.1
    int4   -7..7, one scale for 128 numbers, two in a byte                            4.3
    top2   of 4,096 numbers the 64 largest: 12 bits of place, a sign and one of two   0.23
           magnitudes each (after SparseLoCo, arXiv 2508.15706); wants error feedback
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Parts = dict[str, np.ndarray]

STRIDE = 4096
TOP = 64  # Of STRIDE numbers.
BOUNDS = {  # Which array says how large numbers may be, in what they are at most, how many each item stands for.
    "fp16": ("scales", 1, 256),
    "int8": ("scales", 127, 256),
    "int4": ("scales", 7, 128),
    "top2": ("levels", 1, TOP),
}


class Unpackable(ValueError):
    """The arrays are not what the codec makes of a vector of that length."""


@dataclass(frozen=True, slots=True)
class Codec:
    """
    One way to pack. `parts` names its arrays: name -> (dtype, items in each stride of the vector).

    pack: a vector of whole strides -> parts. unpack: parts -> the vector.
    """

    name: str
    parts: Mapping[str, tuple[str, int]]
    pack: Callable[[Floats], Parts]
    unpack: Callable[[Mapping[str, np.ndarray]], Floats]

    @property
    def bits(self) -> float:
        """Bits of one number of a long vector."""
        return sum(np.dtype(dtype).itemsize * 8 * items for dtype, items in self.parts.values()) / STRIDE


def sizes(codec: str, size: int) -> dict[str, int]:
    """Return how many items each array has for a vector of so many numbers. Raises KeyError."""
    strides = -(-size // STRIDE)
    return {name: items * strides for name, (_, items) in CODECS[codec].parts.items()}


def encode(vector: Floats, codec: str) -> Parts:
    """Pack a vector of any length. Not finite in is not finite out: `check` finds it. Raises KeyError."""
    short = -len(vector) % STRIDE
    return CODECS[codec].pack(np.pad(vector, (0, short)) if short else vector)


def decode(parts: Mapping[str, np.ndarray], codec: str, *, size: int) -> Floats:
    """Unpack a vector of so many numbers: [size]."""
    return CODECS[codec].unpack(parts)[:size]


def cut(parts: Mapping[str, np.ndarray], codec: str, start: int, end: int) -> Parts:
    """Return the parts of numbers [start, end), multiples of STRIDE (or the end): views."""
    first, last = start // STRIDE, -(-end // STRIDE)
    return {name: parts[name][first * items : last * items] for name, (_, items) in CODECS[codec].parts.items()}


def check(parts: Mapping[str, np.ndarray], codec: str, *, size: int) -> None:
    """See that the arrays are what `codec` makes of a vector of so many numbers. Raises Unpackable."""
    if codec not in CODECS:
        raise Unpackable(f"codec {str(codec)[:40]!r} is none of {', '.join(CODECS)}")
    wanted = sizes(codec, size)
    if wanted.keys() != parts.keys():
        raise Unpackable(f"{codec} has the arrays {', '.join(wanted)}, not {', '.join(sorted(parts))[:80]}")
    for name, items in wanted.items():
        dtype = np.dtype(CODECS[codec].parts[name][0])
        if parts[name].dtype != dtype or parts[name].shape != (items,):
            got = f"{parts[name].dtype}{list(parts[name].shape)}"
            raise Unpackable(f"{name} is {got}; {size} numbers in {codec} have {dtype}[{items}]")


def norm_bound(parts: Mapping[str, np.ndarray], codec: str) -> float:
    """Return a number that the norm of the vector is not larger than, from the scales alone: cheap, and no hiding."""
    if codec == "fp32":
        pieces = np.array_split(parts["values"], -(-len(parts["values"]) // (1 << 20)))
        return float(np.sqrt(sum(float(np.vdot(piece, piece)) for piece in pieces)))
    name, most, numbers = BOUNDS[codec]
    scales = parts[name].astype(np.float64)
    return float(most * np.sqrt(numbers * np.vdot(scales, scales)))


def _by_block(vector: Floats, block: int, most: float) -> tuple[Floats, Floats]:
    """Return the numbers in steps of their block's scale, [blocks, block], and the scales, [blocks]."""
    blocks = vector.reshape(-1, block)
    scales = np.maximum(blocks.max(axis=1), -blocks.min(axis=1)) / np.float32(most)  # A NaN stays one.
    with np.errstate(invalid="ignore"):
        return blocks / np.where(scales == 0, np.float32(1), scales)[:, None], scales


def _as_is(vector: Floats) -> Parts:
    return {"values": vector}


def _is(parts: Mapping[str, np.ndarray]) -> Floats:
    return np.asarray(parts["values"], np.float32)


def _halves(vector: Floats) -> Parts:
    steps, scales = _by_block(vector, 256, 1.0)
    return {"values": steps.astype(np.float16).reshape(-1), "scales": scales}


def _scaled(block: int) -> Callable[[Mapping[str, np.ndarray]], Floats]:
    def unpack(parts: Mapping[str, np.ndarray]) -> Floats:
        values = parts["values"].astype(np.float32).reshape(-1, block)
        values *= parts["scales"][:, None]
        return values.reshape(-1)

    return unpack


def _bytes(vector: Floats) -> Parts:
    steps, scales = _by_block(vector, 256, 127.0)
    return {"values": _whole(steps).reshape(-1), "scales": scales}


def _nibbles(vector: Floats) -> Parts:
    steps, scales = _by_block(vector, 128, 7.0)
    whole = _whole(steps).reshape(-1).view(np.uint8)
    return {"values": (whole[0::2] & 0xF) | (whole[1::2] << 4), "scales": scales}


def _from_nibbles(parts: Mapping[str, np.ndarray]) -> Floats:
    pairs = parts["values"]
    values = np.empty(2 * len(pairs), np.int8)
    values[0::2] = (pairs << 4).view(np.int8) >> 4
    values[1::2] = pairs.view(np.int8) >> 4
    return _scaled(128)({"values": values, "scales": parts["scales"]})


def _whole(steps: Floats) -> npt.NDArray[np.int8]:
    with np.errstate(invalid="ignore"):  # The scale says that the block is not finite.
        return np.rint(steps).astype(np.int8)


def _largest(vector: Floats) -> Parts:
    strides = vector.reshape(-1, STRIDE)
    sizes = np.abs(strides)
    places = np.sort(np.argpartition(sizes, STRIDE - TOP, axis=1)[:, STRIDE - TOP :], axis=1)
    size = np.take_along_axis(sizes, places, 1)
    is_zero = size == 0  # Zeros stay zeros: in their stead the largest number is named once more.
    places = np.where(is_zero, np.take_along_axis(places, size.argmax(axis=1)[:, None], 1), places)
    kept = np.take_along_axis(strides, places, 1)
    is_high = np.abs(kept) >= size.sum(axis=1, keepdims=True) / np.maximum((~is_zero).sum(axis=1, keepdims=True), 1)
    levels = np.stack([_mean(size, ~is_high), _mean(size, is_high & ~is_zero)], axis=1)
    broken = ~np.isfinite(strides).all(axis=1)
    levels[broken] = np.nan
    codes = np.packbits(np.stack([kept < 0, is_high], axis=2).reshape(len(strides), -1), axis=1)
    pairs = places.reshape(len(strides), -1, 2).astype(np.uint32)
    joined = pairs[..., 0] | (pairs[..., 1] << 12)
    three = np.stack([joined & 0xFF, (joined >> 8) & 0xFF, joined >> 16], axis=2).astype(np.uint8)
    return {"places": three.reshape(-1), "codes": codes.reshape(-1), "levels": levels.reshape(-1)}


def _mean(size: Floats, which: npt.NDArray[np.bool_]) -> Floats:
    count = np.maximum(which.sum(axis=1), 1).astype(np.float32)
    return np.asarray(np.where(which, size, np.float32(0)).sum(axis=1, dtype=np.float32) / count)


def _from_largest(parts: Mapping[str, np.ndarray]) -> Floats:
    three = parts["places"].reshape(-1, TOP // 2, 3).astype(np.uint32)
    joined = three[..., 0] | (three[..., 1] << 8) | (three[..., 2] << 16)
    places = np.stack([joined & 0xFFF, joined >> 12], axis=2).reshape(-1, TOP)
    bits = np.unpackbits(parts["codes"].reshape(len(places), -1), axis=1).reshape(-1, TOP, 2)
    levels = parts["levels"].reshape(-1, 2)
    size = np.where(bits[..., 1] == 1, levels[:, 1:], levels[:, :1])
    vector = np.zeros((len(places), STRIDE), np.float32)
    np.put_along_axis(vector, places.astype(np.intp), np.where(bits[..., 0] == 1, -size, size), 1)
    return vector.reshape(-1)


def _codec(name: str, pack: Any, unpack: Any, **parts: tuple[str, int]) -> Codec:
    return Codec(name, parts, pack, unpack)


CODECS = {
    codec.name: codec
    for codec in (
        _codec("fp32", _as_is, _is, values=("float32", STRIDE)),
        _codec("fp16", _halves, _scaled(256), values=("float16", STRIDE), scales=("float32", STRIDE // 256)),
        _codec("int8", _bytes, _scaled(256), values=("int8", STRIDE), scales=("float32", STRIDE // 256)),
        _codec("int4", _nibbles, _from_nibbles, values=("uint8", STRIDE // 2), scales=("float32", STRIDE // 128)),
        _codec(
            "top2", _largest, _from_largest,
            places=("uint8", TOP * 12 // 8), codes=("uint8", TOP * 2 // 8), levels=("float32", 2),
        ),
    )
}  # fmt: skip
