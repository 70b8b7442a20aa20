"""This node's part of the site's Ray cluster and, on the head, the driver.

`python -m <package>.site <site.json>` runs under the lease's own Python, so that Ray's workers, which use the Python
that started their node, find what the program asked for. Its last word is site_said.json; its exit code is the run's.
"""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

JOIN_WITHIN_S = 600.0
OBJECT_STORE_BYTES = 100_000_000  # Nothing travels through it; Ray's least is 75 MB.
# Read by Ray's own processes. Health and start-up limits are wide because several clusters may start on a busy machine.
RAY_SETTINGS = {
    "RAY_preload_python_modules": "torch",  # Workers are started before the driver asks: the slow import happens then.
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # A node that refuses three questions in a row, one a second, is dead; one that is slow has ten seconds for each.
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_timeout_ms": "10000",
}


class SiteFailed(Exception):
    """Ray did not start."""

    code = "ray_failed"


class AcceleratorsMissing(SiteFailed):
    """This machine has fewer accelerators than its host offered."""

    code = "accelerators_missing"


def main(site: dict[str, Any]) -> int:
    """Start this node's Ray; on the head, run the program on all accelerators of the site. Returns the exit code."""
    directory, started_s = Path(site["directory"]), time.monotonic()
    os.environ.update(RAY_SETTINGS)
    try:
        _count_accelerators(site["ray"]["accelerators"])
        if site["role"] == "worker":
            _wait_for_head(site)
            _finish_start(_start_ray(site), site)
            _tell(directory, {"phase": "running"})
            return 0
        ray_start = _start_ray(site)
        from .driver import Driver  # While Ray's processes start, so that the two waits are one.

        _finish_start(ray_start, site)
    except SiteFailed as failed:
        sys.stderr.write(f"gpuyard: {failed}\n")
        _tell(directory, {"error": {"code": failed.code, "message": str(failed)}})
        return 1
    said: dict[str, Any] = {}

    def joined() -> None:
        said["phase"] = "running"
        _tell(directory, said)

    outcome = Driver(site, joined=joined, started_s=started_s).run()
    _tell(directory, {**said, "error": outcome["error"]})
    return int(outcome["exit_code"])


def _count_accelerators(wanted: dict[str, Any]) -> None:
    if wanted["kind"] == "CPU":
        found = len(os.sched_getaffinity(0))
    else:
        import torch

        found = torch.cuda.device_count()
    if found < wanted["count"]:
        raise AcceleratorsMissing(f"{wanted['count']} x {wanted['kind']} were offered, this machine has {found}")


def _start_ray(site: dict[str, Any]) -> subprocess.Popen[bytes]:
    ray, accelerators = site["ray"], site["ray"]["accelerators"]
    cuda = accelerators["kind"] != "CPU"
    head = f"{ray['head_address']}:{ray['head_port']}"
    place = (
        ["--head", f"--port={ray['head_port']}", "--include-dashboard=false", "--no-monitor"]
        if site["role"] == "head"
        else [f"--address={head}"]
    )
    command = [
        *(sys.executable, "-P", "-m", "ray.scripts.scripts", "start", *place),
        f"--node-ip-address={site['address']}",
        f"--temp-dir={site['temporary']}",
        # One CPU per worker whatever the host has: as many workers are started ahead as there are CPUs.
        f"--num-cpus={accelerators['count']}",
        f"--num-gpus={accelerators['count'] if cuda else 0}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        "--include-log-monitor=false",
        "--disable-usage-stats",
    ]
    with _ray_output(site).open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


def _finish_start(ray_start: subprocess.Popen[bytes], site: dict[str, Any]) -> None:
    if ray_start.wait() != 0:
        lines = [line for line in _ray_output(site).read_text(errors="replace").splitlines() if line.strip()]
        sys.stderr.write("\n".join(lines[-30:]) + "\n")
        raise SiteFailed(f"Ray did not start on {site['address']}: {' / '.join(lines[-3:])[:800]}")


def _wait_for_head(site: dict[str, Any]) -> None:
    late_s, head = time.monotonic() + JOIN_WITHIN_S, (site["ray"]["head_address"], int(site["ray"]["head_port"]))
    while True:
        try:
            socket.create_connection(head, timeout=5).close()
            return
        except OSError as closed:
            if time.monotonic() > late_s:
                raise SiteFailed(f"the head {head[0]}:{head[1]} could not be reached: {closed}") from closed
            time.sleep(0.3)


def _ray_output(site: dict[str, Any]) -> Path:
    return Path(site["directory"]) / "ray_start.txt"


def _tell(directory: Path, words: dict[str, Any]) -> None:
    draft = directory / "site_said.new"
    draft.write_text(json.dumps(words))
    draft.replace(directory / "site_said.json")


if __name__ == "__main__":
    code = main(json.loads(Path(sys.argv[1]).read_text()))
    sys.stdout.flush()
    sys.stderr.flush()
    # Not through ray.shutdown: the agent ends the whole cluster anyway, and seconds count when a host is reclaimed.
    os._exit(code)
