"""
The matching engine in one run: `make bench-matching`. The last line is one JSON object; what stands before it explains.

Each part is a program of its own, so that none warms another's caches. The judge of policies and the data lie beside
the project, in ../shared.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
JUDGE = [sys.executable, str(SHARED / "tools" / "spot_sim.py"), str(SHARED / "data" / "traces"),
         str(ROOT / "tests" / "benchmarks" / "placement_port.py"), "--json"]  # fmt: skip
PARTS = ("hazard", "speed", "tick", "quote", "skypilot")
KEYS = (
    "quote_p50_ms", "quote_p95_ms", "cpu_vs_skypilot", "dearer_than_skypilot", "tick_gap", "tick_s", "small_tick_gap",
    "brier_gain", "interval_coverage", "speed_error",
)  # fmt: skip


def main() -> int:
    """Run the judge and every part, or those that are named; print the keys."""
    wanted = sys.argv[1:] or ["judge", *PARTS]
    found: dict[str, Any] = {}
    for part in wanted:
        command = JUDGE if part == "judge" else [sys.executable, "-m", f"tests.benchmarks.matching_{part}"]
        _say(f"== {part}")
        figures = _last_json(command)
        _say(json.dumps(figures, indent=2))
        found |= figures if part == "judge" else {key: figures[key] for key in KEYS if key in figures}
    _say(json.dumps(found))
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _last_json(command: list[str]) -> dict[str, Any]:
    """Return the JSON object that a program's output ends with."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    text = done.stdout.strip()
    start = text.rfind("\n{")
    figures: dict[str, Any] = json.loads(text[start + 1 :])
    return figures


if __name__ == "__main__":
    sys.exit(main())
