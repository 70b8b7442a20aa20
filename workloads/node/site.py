"""This node's part of the site's Ray cluster and, on the head, the driver. Only importer of ray.

`python -m <package>.site <site.json>` runs under the lease's own Python, so that Ray's workers, which use the Python
that started their node, find what the program asked for. Its last word is site_said.json; its exit code is the run's.
"""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from .worker import DRAINED, Worker

JOIN_WITHIN_S = 600.0
OBJECT_STORE_BYTES = 100_000_000  # Nothing travels through it; Ray's least is 75 MB.
# Read by Ray's own processes. Health and start-up limits are wide because several clusters may start on a busy machine.
RAY_SETTINGS = {
    "RAY_preload_python_modules": "torch",  # Workers are started before the driver asks: the slow import happens then.
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class SiteFailed(Exception):
    """Ray did not start, a node did not come, or a worker was lost."""

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
        import ray  # noqa: F401  While Ray's processes start, so that the two waits are one.

        _finish_start(ray_start, site)
        outcome = _drive(site, started_s=started_s)
    except SiteFailed as failed:
        sys.stderr.write(f"gpuyard: {failed}\n")
        outcome = {"exit_code": 1, "error": {"code": failed.code, "message": str(failed)}}
        said = json.loads((directory / "site_said.json").read_text()) if (directory / "site_said.json").exists() else {}
        _tell(directory, {**said, "error": outcome["error"]})
        return 1
    _tell(directory, {"phase": "running", "error": outcome["error"]})
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


def _drive(site: dict[str, Any], *, started_s: float) -> dict[str, Any]:
    import ray

    directory = Path(site["directory"])

    def drain(number: int, frame: FrameType | None) -> None:
        (directory / "drain").touch()

    ray.init(
        address=f"{site['ray']['head_address']}:{site['ray']['head_port']}",
        _node_ip_address=site["address"],
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    signal.signal(signal.SIGTERM, drain)
    nodes = _wait_for_nodes(site)
    actors = _start_workers(site, nodes)
    cuda = site["ray"]["accelerators"]["kind"] != "CPU"
    try:
        meet_at = None
        if len(actors) > 1:
            address = site["ray"]["head_address"]
            meet_at = (address, ray.get(actors[0].listen.remote(address=address)))
        _tell(directory, {"phase": "running"})
        sys.stderr.write(
            f"gpuyard: {len(nodes)} node(s) joined in {time.monotonic() - started_s:.1f} s, "
            f"running {site['script']} on {len(actors)} worker(s)\n"
        )
        runs = [
            actor.run.remote(script=site["script"], args=site["args"], meet_at=meet_at, cuda=cuda) for actor in actors
        ]
        return _outcome(runs)
    except ray.exceptions.RayError as lost:
        raise SiteFailed(f"the site lost a worker before the script ran: {lost}") from lost


def _wait_for_nodes(site: dict[str, Any]) -> list[dict[str, Any]]:
    """The site's nodes, the head first, so that rank 0 is where the driver and the drain file are."""
    import ray

    late_s, wanted = time.monotonic() + JOIN_WITHIN_S, int(site["ray"]["nodes"])
    while True:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        if len(nodes) >= wanted:
            head = site["ray"]["head_address"]
            return sorted(nodes, key=lambda node: (node["NodeManagerAddress"] != head, node["NodeManagerAddress"]))
        if time.monotonic() > late_s:
            here = ", ".join(sorted(node["NodeManagerAddress"] for node in nodes))
            raise SiteFailed(f"{len(nodes)} of {wanted} nodes joined in {JOIN_WITHIN_S:.0f} s: {here}")
        time.sleep(0.2)


def _start_workers(site: dict[str, Any], nodes: list[dict[str, Any]]) -> list[Any]:
    """One actor per accelerator, each pinned to its node. The cluster is this lease's alone, so nothing competes."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    resource = "CPU" if site["ray"]["accelerators"]["kind"] == "CPU" else "GPU"
    places = [node["NodeID"] for node in nodes for _ in range(int(node["Resources"].get(resource, 0)))]
    actor = ray.remote(num_cpus=1, num_gpus=int(resource == "GPU"), max_restarts=0)(Worker)
    return [
        actor.options(scheduling_strategy=NodeAffinitySchedulingStrategy(place, soft=False)).remote(
            rank=rank, world=len(places)
        )
        for rank, place in enumerate(places)
    ]


def _outcome(runs: list[Any]) -> dict[str, Any]:
    """The first failure ends the site (the others would wait for that worker for ever); else all must have ended."""
    import ray

    waiting, drained = list(runs), None
    while waiting:
        ready, waiting = ray.wait(waiting, num_returns=1)
        try:
            outcome = ray.get(ready[0])
        except ray.exceptions.RayError as lost:
            why = str(lost).strip().splitlines()[0]
            message = f"worker {runs.index(ready[0])} died (machine lost, killed, out of memory, or a crash): {why}"
            sys.stderr.write(f"gpuyard: {message}\n{lost}\n")
            # Not the script's doing as far as can be seen from here: the site is worth another try elsewhere.
            return {"exit_code": 1, "error": {"code": "ray_failed", "message": message[:1000]}}
        if outcome["exit_code"] == DRAINED:
            drained = outcome
        elif outcome["exit_code"] != 0:
            return dict(outcome)
    return dict(drained or {"exit_code": 0, "error": None})


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
