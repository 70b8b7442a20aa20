"""
SkyPilot's optimizer, asked "one instance type, cheapest" for all that some catalogs sell.

Runs alone in the environment where SkyPilot is installed, with an empty directory as HOME:
`python matching_peer.py CATALOGS ANSWERS`. Every cloud with a CATALOGS/<cloud>/vms.csv is taken as enabled, as if
`sky check` had passed it; no address is reached.
"""

from __future__ import annotations

import csv
import json
import shutil
import socket
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import sky
from sky import check, exceptions, global_user_state, optimizer, sky_logging
from sky.catalog import common
from sky.clouds import CloudCapability
from sky.skylet.constants import SKYPILOT_DEFAULT_WORKSPACE as WORKSPACE

MARKETS = {"on_demand": "Price", "spot": "SpotPrice"}
WARM_UPS = 8


def main(catalogs: Path, answers: Path) -> None:
    """Ask every question and write the answers: a list of objects."""
    socket.socket.connect = _unreachable  # type: ignore[method-assign]
    tables = {path.parent.name: path for path in sorted(catalogs.glob("*/vms.csv"))}
    rows = {cloud: list(csv.DictReader(path.open(newline=""))) for cloud, path in tables.items()}
    bring(tables, rows)
    enable(list(tables))
    wanted = questions(rows)
    for one in wanted[:: len(wanted) // WARM_UPS]:
        ask(**one)  # Reads the catalogs: from here on they are in memory.
    with answers.open("w") as file:
        json.dump([one | ask(**one) for one in wanted], file)


def bring(tables: dict[str, Path], rows: dict[str, list[dict[str, str]]]) -> None:
    """
    Put the catalogs where SkyPilot keeps its own, unchanged, and the list of names that it expects beside them.

    A catalog without a checksum counts as the user's own: it is never fetched anew.
    """
    sellers = defaultdict(set)
    for cloud, table in rows.items():
        path = Path(common.get_catalog_path(f"{cloud}/vms.csv"))
        path.parent.mkdir(parents=True)
        shutil.copyfile(tables[cloud], path)
        for row in table:
            sellers[row["AcceleratorName"].strip()].add(cloud)
    path = Path(common.get_catalog_path("common/accelerators.csv"))
    path.parent.mkdir()
    with path.open("w", newline="") as file:
        sink = csv.writer(file)
        sink.writerow(["AcceleratorName", "Clouds"])
        sink.writerows([name, sorted(clouds)] for name, clouds in sorted(sellers.items()) if name)


def enable(clouds: list[str]) -> None:
    """Write into SkyPilot's state what `sky check` writes when it finds credentials for these clouds."""
    global_user_state.set_enabled_clouds(clouds, CloudCapability.COMPUTE, WORKSPACE)
    allowed = check._get_workspace_allowed_clouds(WORKSPACE)  # Were it another list, all clouds would be checked.
    global_user_state.set_allowed_clouds(allowed, WORKSPACE)


def questions(rows: dict[str, list[dict[str, str]]]) -> list[dict[str, Any]]:
    """
    Return each (label, count, market) that some row has a price for: of all clouds, and within each that sells it.

    Labels are in SkyPilot's spelling; `within` is "" for all clouds. Only one cloud sells TPUs.
    """
    found = set()
    for cloud, table in rows.items():
        for row in table:
            label = row["AcceleratorName"].strip()
            for market in [market for market, column in MARKETS.items() if label and row[column]]:
                scopes = ("",) if label.startswith("tpu-") else ("", cloud)
                found |= {(label, float(row["AcceleratorCount"]), market, within) for within in scopes}
    return [
        {"label": label, "count": int(count) if count.is_integer() else count, "market": market, "within": within}
        for label, count, market, within in sorted(found)
    ]


def ask(*, label: str, count: float, market: str, within: str) -> dict[str, Any]:
    """Return its answer and the CPU seconds of the optimizer alone; usd_per_hour is None when it has none."""
    with sky.Dag() as dag:
        task = sky.Task()
    wish = sky.Resources(infra=within or None, accelerators={label: count}, use_spot=market == "spot")
    task.set_resources(wish)
    began = time.process_time()
    try:
        with sky_logging.silent():
            optimizer.Optimizer.optimize(dag, quiet=True)
    except exceptions.ResourcesUnavailableError:
        return {"cpu_s": time.process_time() - began, "usd_per_hour": None}
    cpu_s, best = time.process_time() - began, task.best_resources
    return {
        "cpu_s": cpu_s,
        "usd_per_hour": best.get_cost(3600),
        "provider": str(best.cloud).lower(),
        "region": best.region,
        "zone": best.zone or "",
        "machine_type": best.instance_type,
    }


def _unreachable(*_: Any) -> None:
    raise OSError("no address is reached from here")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
