"""gpuhunt on the same rows: its catalog in memory, in an environment of its own, asked the same question."""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from offers import gpus
from providers.base import Listing, Market

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".venv-bench"
GPUHUNT = "gpuhunt==0.1.34"
COLUMNS = ["instance_name", "location", "price", "cpu", "memory", "gpu_count", "gpu_name", "gpu_memory", "spot",
           "disk_size", "gpu_vendor"]  # fmt: skip
# Runs where gpuhunt is installed. Its catalog comes from a server; here the same rows are put where it keeps them.
ASK = """
import statistics, sys, time
import gpuhunt
from gpuhunt._internal import storage
from gpuhunt._internal.catalog import ProviderCatalog
catalog = gpuhunt.Catalog(balance_resources=False, auto_reload=False)
with open(sys.argv[3], newline="") as rows:
    catalog.catalog["aws"] = ProviderCatalog(version="1", items=list(storage.load(rows, provider="aws")))
catalog.loaded_at = time.monotonic()
def ask():
    return catalog.query(provider="aws", gpu_name=sys.argv[1].split(","), min_gpu_count=int(sys.argv[2]),
                         max_gpu_count=int(sys.argv[2]))
assert ask(), "no row matches"
times = []
for _ in range(9):
    began = time.perf_counter()
    found = sorted(ask(), key=lambda item: item.price)[:50]
    times.append(time.perf_counter() - began)
print(len(found), statistics.median(times))
"""


def query_s(listings: Sequence[Listing], *, question: Mapping[str, str], say: Callable[[str], None]) -> float:
    """Return the median seconds of gpuhunt's query over the same rows."""
    python = _installed(say)
    with tempfile.TemporaryDirectory() as folder:
        rows = _write(Path(folder) / "aws.csv", listings)
        command = [python, "-c", ASK, question["gpu"], question["count"], str(Path(folder) / "aws.csv")]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        if said.returncode:
            raise RuntimeError(said.stderr[-2000:])
        found, seconds = said.stdout.split()
        say(f"gpuhunt holds {rows:,} rows and finds {found}")
        return float(seconds)


def _installed(say: Callable[[str], None]) -> str:
    python = HOME / "bin" / "python"
    if not python.exists():
        say(f"installing {GPUHUNT} into {HOME.name}")
        subprocess.run([sys.executable, "-m", "venv", HOME], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", GPUHUNT], check=True)
    return str(python)


def _write(path: Path, listings: Sequence[Listing]) -> int:
    """Write the rows in gpuhunt's own columns and names."""
    rows = 0
    with path.open("w", newline="") as file:
        sink = csv.writer(file)
        sink.writerow(COLUMNS)
        for line in listings:
            chip = gpus.identify(line.accelerator_label, line.memory_gib)
            vendor = {"NVIDIA": "nvidia", "AMD": "amd", "Google": "google", "Intel": "intel"}.get(chip.vendor)
            if vendor is None or not chip.memory_gib:
                continue
            sink.writerow([line.machine_type, line.region, line.usd_per_hour, int(line.vcpus or 1), line.ram_gib or 1,
                           line.accelerator_count, chip.family, chip.memory_gib, line.market is Market.SPOT, 100,
                           vendor])  # fmt: skip
            rows += 1
    return rows
