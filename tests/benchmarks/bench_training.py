"""The training runtime: `make bench-training`. The last line is one JSON object; what stands before it explains."""

from __future__ import annotations

import sys

from tests.benchmarks import parts

KEYS = {
    "loss": ("benefit_kept", "benefit_kept_churn"),
    "hub": ("hub_to_memory_limit", "hub_extra_gib"),
    "wan": (
        "tokens_vs_ddp_100mbit", "tokens_vs_ddp_20mbit", "stall_share_100mbit", "stall_share_20mbit", "bytes_vs_ddp",
    ),
    "recovery": ("kill_extra_gap_s", "torchft_gap_s", "blackhole_s", "rejoin_s", "hub_restart_s"),
    "faults": ("faults", "samples_wrong", "fault_loss_gap"),
    "goodput": ("goodput",),
    "overhead": ("session_overhead",),
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(parts.run({part: [sys.executable, "-m", f"tests.benchmarks.training_{part}"] for part in KEYS}, KEYS))
