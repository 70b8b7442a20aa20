"""
The matching engine in one run: `make bench-matching`. The last line is one JSON object; what stands before it explains.

The judge of policies and the data lie beside the project, in ../shared.
"""

from __future__ import annotations

import sys

from tests.benchmarks import parts

SHARED = parts.ROOT.parent / "shared"
JUDGE = [sys.executable, str(SHARED / "tools" / "spot_sim.py"), str(SHARED / "data" / "traces"),
         str(parts.ROOT / "tests" / "benchmarks" / "placement_port.py"), "--json"]  # fmt: skip
PARTS = ("hazard", "speed", "tick", "quote", "skypilot")
KEYS = (
    "quote_p50_ms", "quote_p95_ms", "cpu_vs_skypilot", "dearer_than_skypilot", "tick_gap", "tick_s", "small_tick_gap",
    "brier_gain", "interval_coverage", "speed_error",
)  # fmt: skip

if __name__ == "__main__":
    programs = {part: [sys.executable, "-m", f"tests.benchmarks.matching_{part}"] for part in PARTS}
    sys.exit(parts.run({"judge": JUDGE, **programs}, {"judge": None, **dict.fromkeys(PARTS, KEYS)}))
