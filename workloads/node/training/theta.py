"""The parameters that all sites share, as one site holds them: a version, and the way to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from . import outer, wire
from .layout import Floats, Layout

Fetch = Callable[[str, Path], None]


class StateDiffers(RuntimeError):
    """The updates did not lead this site to the parameters of the other sites; its memory or the way is damaged."""


@dataclass(frozen=True, slots=True)
class Theta:
    """theta at a version: [layout.size], float32. It is never changed, the next one is another."""

    layout: Layout
    vector: Floats
    version: int

    @classmethod
    def unknown(cls, layout: Layout) -> Theta:
        """Before the first state."""
        return cls(layout, np.zeros(layout.size, np.float32), -1)

    def follow(self, state: Mapping[str, Any], fetch: Fetch) -> tuple[Theta, Floats | None]:
        """
        Return theta at the version that a State of the broker names (docs/protocol.md, part 3), and how it moved.

        The second is [layout.size], None where the way led by a snapshot. Raises StateDiffers, wire.CorruptTensors,
        wire.TensorsDiffer.
        """
        updates = [update for update in state["updates"] if update["version"] >= self.version]
        with TemporaryDirectory(prefix="gpuyard-") as directory:
            place = Path(directory) / "object"
            moved: Floats | None = None
            if self.version >= 0 and updates and updates[0]["version"] == self.version:
                vector, version, moved = self.vector.copy(), self.version, np.zeros_like(self.vector)
            else:
                fetch(state["snapshot"]["sha256"], place)
                tensors = wire.read_named(place, like=self.layout.named(self.vector))
                vector, version = self.layout.flat(tensors), int(state["snapshot"]["version"])
            for update in state["updates"]:
                if update["version"] >= version:
                    fetch(update["sha256"], place)
                    version = self._apply(vector, moved, update, place)
        if version != state["version"]:
            raise StateDiffers(f"the way to version {state['version']} ends at {version}")
        return Theta(self.layout, vector, version), moved

    def _apply(self, vector: Floats, moved: Floats | None, update: Mapping[str, Any], path: Path) -> int:
        name, parts = wire.read(path, size=self.layout.size)
        if outer.apply(vector, parts, name) != update["fingerprint"]:
            raise StateDiffers(f"after update {update['version']} the parameters are not those of the other sites")
        if moved is not None:
            outer.apply(moved, parts, name)
        return int(update["version"]) + 1
