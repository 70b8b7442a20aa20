"""What the loop reports when it runs alone: a short line now and then."""

import sys
import time
from typing import Any

LINE_EVERY_S = 5.0


class Printed:
    """A short line now and then."""

    def __init__(self) -> None:
        self._line_at_s = 0.0

    def report(self, *, step: int, version: int, values: dict[str, Any]) -> None:
        """Print the values if the last line is some seconds old."""
        if time.monotonic() - self._line_at_s < LINE_EVERY_S:
            return
        self._line_at_s = time.monotonic()
        shown = "  ".join(f"{name} {float(value):.4f}" for name, value in values.items())
        sys.stdout.write(f"step {step}  {shown}\n")
        sys.stdout.flush()

    def close(self, *, timeout_s: float = 0.0) -> None:
        """Nothing to do: lines are out when report() returns."""
