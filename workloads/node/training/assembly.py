"""The parameters at a version, put together from a snapshot and the updates since. Numpy only, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np

from . import outer, wire
from .layout import Layout


class Strayed(Exception):
    """The updates do not lead to what the hub came to: an object is not what it should be, or arithmetic differs."""


def assemble(
    spec: Mapping[str, Mapping[str, Any]], snapshot: Path, updates: Sequence[tuple[Path, str]], *, to: Path
) -> None:
    """
    Write theta as a file of float32 tensors by name, as the hub writes its snapshots.

    spec: {name: {shape}}. updates: (file, fingerprint of theta with it). theta lies in a file beside `to` meanwhile, so
    that a model larger than the memory will do. Raises Strayed, CorruptTensors, TensorsDiffer, NotFinite.
    """
    layout = Layout(spec)
    with NamedTemporaryFile(dir=to.parent, prefix=f".{to.name}.") as scratch:
        scratch.truncate(4 * layout.size)
        theta = np.asarray(np.memmap(scratch, np.float32, "r+", shape=(layout.size,)))
        unread = np.broadcast_to(np.float32(0), [layout.size])
        tensors = wire.read_named(snapshot, like=layout.named(unread))
        for name, view in layout.named(theta).items():
            view[...] = tensors[name]
        for path, fingerprint in updates:
            codec, parts = wire.read(path, size=layout.size)
            if outer.apply(theta, parts, codec) != fingerprint:
                raise Strayed(f"{path.name} leads to other parameters than {fingerprint[:12]}")
        wire.write_named(to, layout.named(theta))
