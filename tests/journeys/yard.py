"""A whole broker for the journeys: `manage.py up` with hosts, driven through the public CLI and API only."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import redis
from gpuyard import Client

from tests.processes import living

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"


class Yard:
    """One running broker and its three hosts."""

    def __init__(self, home: Path, **settings: str) -> None:
        """settings: variables of the broker's environment, over the usual ones."""
        self.home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        drop = ("DATABASE_URL", "REDIS_URL", "GPUYARD_OBJECTS", "DJANGO_SETTINGS_MODULE", "GPUYARD_CATALOG_DIR")
        self.env = {name: value for name, value in os.environ.items() if name not in drop}
        self.env |= {
            "GPUYARD_HOME": str(home),
            "GPUYARD_PORT": str(port),
            "GPUYARD_CONFIG": str(home / "client.json"),
            "GPUYARD_PRICE_LISTS": "",
            "GPUYARD_POLL_S": "0.5",
            "EXAMPLE": "0",
            **settings,
        }
        self.log = (home.parent / "up.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up"], cwd=ROOT, env=self.env, stdout=self.log, stderr=subprocess.STDOUT
        )
        try:
            self.until(lambda: "Up." in (home.parent / "up.log").read_text(), "the broker is up", limit_s=90)
        except BaseException:
            self.stop()
            raise
        kept = json.loads((home / "client.json").read_text())
        self.client = Client(url=kept["url"], api_key=kept["api_key"])

    def until(self, true: Callable[[], Any], what: str, *, limit_s: float = 60) -> Any:
        """Wait for something to be true. Raises AssertionError with the supervisor's words."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.home.parent / "up.log").read_text()
            if value := true():
                return value
            time.sleep(0.1)
        raise AssertionError(f"not within {limit_s} s: {what}\n{self.tale()}")

    def tale(self) -> str:
        """What happened, for a failing test."""
        if not hasattr(self, "client"):
            return (self.home.parent / "up.log").read_text()
        runs = self.client.workloads()["results"][:1]
        if not runs:
            return "no workload"
        run = runs[0]
        events = [f"{e['at']} {e['subject']} {e['from']}->{e['to']} {e['why']}" for e in self.client.events(run["id"])]
        logs = [line["text"] for line in self.client.logs(run["id"])]
        worker = (self.home / "log" / "worker.log").read_text()[-3000:]
        return "\n".join([json.dumps(run, indent=1, default=str)[:3000], *events[-60:], *logs[-25:], worker])

    def yard(self, *words: str, ok: int = 0) -> str:
        """Run a `yard` command and return what it printed on stdout."""
        command = [str(Path(sys.executable).parent / "yard"), *words]
        done = subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=300)
        assert done.returncode == ok, (words, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout

    def order(self, *args: str, program: str = "steady.py", sites: int = 2, gpu: str = "CPU", budget: str = "1",
              flags: tuple[str, ...] = ()) -> int:  # fmt: skip
        """Order a run and return its id."""
        words = ["run", str(PROGRAMS / program), "--sites", str(sites), "--gpu", gpu, "--budget", budget, "--yes"]
        said = self.yard(*words, "--detach", "--json", *flags, "--", *args)
        lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        return next(line["workload"]["id"] for line in lines if line["type"] == "workload")

    def show(self, run: int) -> dict[str, Any]:
        """Return a workload."""
        return dict(self.client.workload(run))

    def wait_end(self, run: int, *, limit_s: float = 120) -> dict[str, Any]:
        """Wait until a run has ended and is settled; return it."""
        ended = ("succeeded", "failed", "cancelled")
        self.until(lambda: self.show(run)["state"] in ended, "the run ends", limit_s=limit_s)
        self.until(lambda: self.client.bill(run)["final"], "the bill is final", limit_s=20)
        return self.show(run)

    def wait_rounds(self, run: int, count: int, *, sites: int = 2) -> None:
        """Wait until so many rounds are merged with contributions of so many sites in the last."""

        def merged() -> bool:
            closed = [r for r in self.client.rounds(run) if r["closed_at"]]
            last = [c for c in closed[-1]["contributors"] if c["status"] == "merged"] if closed else []
            return len(closed) >= count and len(last) >= sites

        self.until(merged, f"{count} rounds with {sites} sites", limit_s=60)

    def host_of(self, run: int, index: int = 0) -> tuple[str, int]:
        """Return (name, id) of the host under a run's n-th open site."""
        sites = [site for site in self.show(run)["sites"] if site["state"] in ("joining", "training")]
        name = sites[index]["nodes"][0]["host"]
        return name, next(host["id"] for host in self.client.hosts()["results"] if host["name"] == name)

    def ray_address(self, run: int) -> str:
        """Return the address of the Ray cluster of a run's only site, as its own processes know it."""
        (site,) = (site for site in self.show(run)["sites"] if site["state"] == "training")
        lease = str(site["nodes"][0]["lease"])
        for process in living():
            try:
                words, environ = process.cmdline(), process.environ()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            mine = environ.get("GPUYARD_STATE", "").startswith(str(self.home))
            if mine and environ.get("GPUYARD_LEASE") == lease:
                for word in words:
                    if word.startswith("--gcs_server_port="):
                        return f"{site['nodes'][0]['address']}:{word.partition('=')[2]}"
        raise AssertionError("no Ray of this run was found")

    @contextmanager
    def fourth_host(self, name: str, *, region: str, usd_per_hour: str, state: Path) -> Iterator[None]:
        """One more host, enrolled as an outsider would."""
        said = json.loads(self.yard("host", "add", name, "--region", region, "--usd-per-hour", usd_per_hour, "--json"))
        token = (said.get("host") or said)["enrol_token"]
        words = ["--broker", self.client.url, "--token", token, "--state", str(state), "--address", "127.0.0.14"]
        agent = subprocess.Popen([sys.executable, "-m", "gpuyard.node", *words, "--accelerators", "CPU:1"])
        try:
            yield
        finally:
            agent.terminate()
            agent.wait(timeout=30)

    def kill_host(self, name: str) -> None:
        """kill -9 everything that runs on a host: agent, Ray and the script. It stays down."""
        (self.home / "hosts" / name / "stay-down").touch()
        self.signal_host(name, signal.SIGKILL)

    def signal_host(self, name: str, number: int) -> None:
        """Send a signal to everything that runs on a host."""
        state = self.home / "hosts" / name
        for process in living():
            try:
                environ = process.environ()
                mine = environ.get("GPUYARD_STATE") == str(state) or str(state) in process.cmdline()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            if mine:
                process.send_signal(number)

    def host(self, host_id: int) -> dict[str, Any]:
        """Return one of the hosts."""
        return dict(next(host for host in self.client.hosts()["results"] if host["id"] == host_id))

    def revive_host(self, name: str) -> None:
        """Let a killed host come back."""
        (self.home / "hosts" / name / "stay-down").unlink(missing_ok=True)

    def kill_broker(self) -> None:
        """kill -9 web, worker, hub, clock, Postgres and Redis at once; the supervisor starts them again."""
        words = ("uvicorn", "celery", "manage.py hub", "tick", "postgres", "redis-server")
        killed = 0
        for process in living():
            try:
                mine = process.environ().get("GPUYARD_RUN") == str(self.home)
                line = " ".join(process.cmdline())
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            if mine and "gpuyard.node" not in line and any(word in line for word in words):
                process.kill()
                killed += 1
        assert killed >= 6, killed

    def flush_redis(self) -> None:
        """Empty Redis."""
        with redis.Redis.from_url(self.knows("REDIS_URL").replace("redis+socket:", "unix:")) as store:
            store.flushall()

    def knows(self, variable: str) -> str:
        """Return a variable of the environment of this broker's own processes."""
        for process in living():
            try:
                environ = process.environ()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            if environ.get("GPUYARD_RUN") == str(self.home) and variable in environ:
                return environ[variable]
        raise AssertionError(f"no process of this broker knows {variable}")

    def stop(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=40)
        finally:
            self.log.close()
