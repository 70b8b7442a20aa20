"""A cloud whose machines are processes: it runs the startup script that a launch brings, and ends what came of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from tests.processes import living
from tests.providers.cloud import Reply
from tests.providers.verda_cloud import VerdaCloud, kind
from workloads.node.processes import marked

TYPE = "1CPU.2V"  # The one type for sale: what this machine can really deliver.
PLACES = {"FIN-01": "FI", "FIN-02": "FI", "FIN-03": "FI", "ICE-01": "IS"}
NO_CAPACITY = Reply({"code": "service_unavailable", "message": "No capacity for this instance type"}, 503)
ENDS_WITHIN_S = 10.0


def image(folder: Path) -> Path:
    """Make what an image has installed for the agent and for training: all packages of this environment but ours."""
    folder.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.lower().startswith(("gpuyard", "_gpuyard", "pip")) and path.suffix != ".pth":
            (folder / path.name).symlink_to(path)
    return folder


class Machine:
    """A machine that boots with a script. Its processes are known by their HOME, which no other machine has."""

    def __init__(self, home: Path, *, packages: Path, script: str) -> None:
        self.home, self.began_at, self.ended_at = home, datetime.now(UTC), None
        # As if the system's Python had them. Through PYTHONPATH they also hide the older setuptools that a venv brings;
        # an agent keeps that from its leases, which find them where a person's own packages are.
        library = home / ".local" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
        library.mkdir(parents=True)
        (library / "site-packages").symlink_to(packages)
        (home / "user-data").write_text(script)
        with (home / "console.log").open("w") as console:
            self.process = subprocess.Popen(
                ["bash", str(home / "user-data")],
                env={
                    "PATH": f"{Path(sys.base_prefix) / 'bin'}:{os.environ['PATH']}",
                    "HOME": str(home),
                    "GPUYARD_DIR": str(home / "gpuyard"),
                    "GPUYARD_LOG": str(home / "agent.log"),
                    "GPUYARD_FOREGROUND": "1",  # The system's own systemd is not this machine's.
                    "GPUYARD_METADATA_URL": "http://127.0.0.1:9",  # Nobody is there.
                    "PIP_NO_INDEX": "1",
                    "PYTHONPATH": str(packages),
                },
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )

    def kill(self) -> None:
        """kill -9 everything at once, as when the power fails. Asking twice is asking once."""
        stopped: set[int] = set()
        while found := self._pids() - stopped:  # What stands still starts nothing that would be missed.
            _send(found, signal.SIGSTOP)
            stopped |= found
        _send(stopped, signal.SIGKILL)
        self.process.wait()
        self.ended_at = self.ended_at or datetime.now(UTC)
        late_s = time.monotonic() + ENDS_WITHIN_S
        while left := self._pids():
            assert time.monotonic() < late_s, f"{left} do not end"
            time.sleep(0.02)
        for named in self.home.glob("gpuyard/state/leases/*/ray_directory"):
            shutil.rmtree(named.read_text(), ignore_errors=True)
        shutil.rmtree(self.home / "gpuyard", ignore_errors=True)

    def _pids(self) -> set[int]:
        """What carries its HOME, and by its session whatever of a lease wrote over its own environment."""
        found = set(marked(state=self.home / "gpuyard" / "state"))
        for process in living():
            try:
                if process.environ().get("HOME") == str(self.home):
                    found.add(process.pid)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found


def _send(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


class MachineCloud(VerdaCloud):
    """A Verda that sells CPUs, in four places, and delivers them."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.packages = folder, image(folder / "packages")
        self.machines: dict[str, Machine] = {}  # By hostname; also those that have ended.
        self.kinds = [
            kind(TYPE, 1, "0.40", "0.12", gpu={"description": "1x CPU", "number_of_gpus": 1}, gpu_memory=None),
        ]
        self.places = [{"code": code, "name": code, "country_code": country} for code, country in PLACES.items()]
        self.free = {is_spot: {code: [TYPE] for code in PLACES} for is_spot in (False, True)}
        self._lock = threading.RLock()

    def close(self) -> None:
        """End every machine, also when one does not want to."""
        with ExitStack() as all_of_them:
            for machine in self.machines.values():
                all_of_them.callback(machine.kill)

    def answer(self, request: Any) -> Reply | None:
        with self._lock:
            return super().answer(request)

    def make(self, body: dict[str, Any]) -> str:
        name = super().make(body)
        hostname = body["hostname"]
        assert hostname not in self.machines, f"{hostname} was launched twice"
        script = self.scripts[body["startup_script_id"]]["script"]
        self.machines[hostname] = Machine(self.folder / hostname, packages=self.packages, script=script)
        return name

    def interrupt(self, lease: int) -> None:
        """Take a machine away without a word: it is dead, and listed no more."""
        with self._lock:
            (name,) = (name for name, row in self.instances.items() if row["hostname"].endswith(f"-lease-{lease}"))
            hostname = self.instances[name]["hostname"]
            self.machines[hostname].kill()
            self.take_away(hostname)
            del self.instances[name]

    def machine_of(self, lease: int) -> Machine:
        """The machine that was launched for a lease."""
        (found,) = (one for hostname, one in self.machines.items() if hostname.endswith(f"-lease-{lease}"))
        return found

    def _create(self, body: Any) -> Reply:
        reply = super()._create(body)
        self.boot()  # Machines here are up at once.
        return reply

    def _act(self, body: Any) -> Reply:
        before = {name: row["hostname"] for name, row in self.instances.items()}
        reply = super()._act(body)
        for name in before.keys() - self.instances.keys():
            self.machines[before[name]].kill()
        return reply
