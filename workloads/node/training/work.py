"""What a site has trained and not yet seen merged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import data


@dataclass(slots=True)
class Work:
    """Steps that are in the loop's parameters and not yet merged."""

    ranges: data.Ranges = field(default_factory=list)
    steps: int = 0
    loss_sum: Any = 0.0
    losses: int = 0
    base: int = 0  # The version from which the first was taken.
    train_s: float = 0.0
    stall_s: float = 0.0

    @property
    def samples(self) -> int:
        """How many positions."""
        return data.count(self.ranges)

    def before(self, later: Work) -> Work:
        """Return both as one."""
        return Work(
            self.ranges + later.ranges,
            self.steps + later.steps,
            self.loss_sum + later.loss_sum,
            self.losses + later.losses,
            self.base,
            self.train_s + later.train_s,
            self.stall_s + later.stall_s,
        )
