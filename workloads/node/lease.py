"""One lease on this host, from the order to the last process gone: a thread of its own, so no beat waits for it."""

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from . import environment, program
from .link import Link, Unreachable, insist
from .logs import Shipper, open_for
from .processes import LeaseEnded, Processes, end_marked

log = logging.getLogger(__name__)

LOGS_AT_THE_END_S = 15.0
LOGS_AT_CLEANUP_S = 3.0
PROGRAM_WITHIN_S = 600.0
LOOK_FOR_RAY_S = 2.0
Report = dict[str, Any]


class _Failed(Exception):
    """The lease can not go on; carries what the broker is told."""

    def __init__(self, code: str, message: str, *, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.code, self.exit_code = code, exit_code


@dataclass(frozen=True)
class Setting:
    """What all leases of an agent have in common. `connect` makes a Link with the host's key."""

    state: Path
    broker: str
    address: str
    connect: Callable[[], Link]
    news: threading.Event


class Lease:
    """A lease this host must have. `report()` is what the beat says about it; `end()` makes it not exist."""

    def __init__(self, *, order: dict[str, Any], setting: Setting) -> None:
        self.id = int(order["lease"])
        self._order, self._setting = order, setting
        self._directory = directory_of(setting.state, self.id)
        self._directory.mkdir(parents=True, mode=0o700)
        self._processes = Processes(lease=str(self.id), state=setting.state)
        self._logs = Shipper(connect=setting.connect, lease=self.id, directory=self._directory / "logs")
        self._report: Report = {"lease": self.id, "phase": "preparing", "exit_code": None, "error": None}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lease-{self.id}", daemon=True)
        self._environment: IO[bytes] | None = None
        self._without = "[]"  # Addresses, as the driver finds them.

    def start(self) -> None:
        """Begin, in the lease's own thread."""
        self._logs.start()
        self._thread.start()

    def report(self) -> Report:
        """The lease as the beat names it."""
        return dict(self._report)

    def obey(self, order: dict[str, Any]) -> None:
        """Take up what may change in an order: that the site is to drain, or to do without some of its machines."""
        if order.get("drain"):
            (self._directory / "drain").touch()
        without = json.dumps(order["ray"].get("without", []))
        if without != self._without:
            self._without = without
            draft = self._directory / "without.new"
            draft.write_text(without)
            draft.replace(self._directory / "without.json")

    def end(self, *, tombstone: Report | None = None) -> None:
        """Return when nothing of the lease is left: no process, no directory. With `tombstone`, that stays."""
        self._stop.set()
        self._processes.end()
        self._logs.finish(timeout_s=LOGS_AT_CLEANUP_S)
        self._thread.join()
        if self._environment:
            self._environment.close()
        forget(self._setting.state, self.id)
        if tombstone:
            bury(self._setting.state, tombstone)

    def _run(self) -> None:
        error, exit_code = None, None
        try:
            python = self._prepare()
            exit_code, error = self._train(python)
        except LeaseEnded:
            return
        except _Failed as failed:
            exit_code, error = failed.exit_code, {"code": failed.code, "message": str(failed)}
        except OSError as broken:
            code = "disk_full" if broken.errno in (errno.ENOSPC, errno.EDQUOT) else "ray_failed"
            error = {"code": code, "message": str(broken)}
            self._make_room()
        except Exception as bug:
            log.exception("lease.bug lease=%s", self.id)
            error = {"code": "ray_failed", "message": f"a defect of the agent: {bug!r}"}
        self._conclude(exit_code, error)

    def _conclude(self, exit_code: int | None, error: dict[str, str] | None) -> None:
        """No process is left and the lines are out before the broker hears that it is over."""
        self._processes.end()
        _remove_ray_directory(self._directory)
        if not self._logs.finish(timeout_s=LOGS_AT_THE_END_S):
            log.warning("lease.logs_incomplete lease=%s", self.id)
        if self._stop.is_set():
            return
        phase = "failed" if exit_code is None else "exited"
        ended = {"lease": self.id, "phase": phase, "exit_code": exit_code, "error": error}
        try:
            bury(self._setting.state, ended)
        except OSError as broken:  # A full disk: a restart would forget the lease's end, the broker must not.
            log.error("lease.end_not_kept lease=%s why=%s", self.id, broken)
        self._say(ended)

    def _make_room(self) -> None:
        """Delete what came of the program, so that the lease's end can be written down."""
        (self._directory / "program.tar.gz").unlink(missing_ok=True)
        shutil.rmtree(self._directory / "program", ignore_errors=True)

    def _say(self, report: Report) -> None:
        self._report = report
        log.info(
            "lease.phase lease=%s phase=%s error=%s", self.id, report["phase"], (report["error"] or {}).get("code")
        )
        self._setting.news.set()

    def _phase(self, phase: str) -> None:
        self._say({**self._report, "phase": phase})

    # preparing: the program and its environment

    def _prepare(self) -> Path:
        archive, source = self._directory / "program.tar.gz", self._directory / "program"
        try:
            self._fetch(archive)
            program.unpack(archive=archive, into=source, script=self._order["script"])
        except program.ProgramUnavailable as unavailable:
            raise _Failed("program_unavailable", str(unavailable)) from unavailable
        archive.unlink()
        requirements = source / "requirements.txt"
        if not requirements.is_file():
            return environment.own(directory=self._directory / "venv")
        try:
            python = environment.with_requirements(
                requirements=requirements,
                program_sha256=self._order["program"]["sha256"],
                cache=self._setting.state / "environments",
                install=self._install,
                output=lambda: "".join(path.read_text() for path in sorted(self._directory.glob("logs/pip.*"))),
            )
        except environment.RequirementsFailed as failed:
            raise _Failed("requirements_failed", f"requirements.txt: {failed}") from failed
        self._environment = environment.hold(python)
        return python

    def _fetch(self, archive: Path) -> None:
        wanted, link, late_s = self._order["program"], self._setting.connect(), time.monotonic() + PROGRAM_WITHIN_S

        def pause(seconds: float) -> None:
            if self._stop.wait(seconds):
                raise LeaseEnded
            if time.monotonic() > late_s:
                raise program.ProgramUnavailable("the broker could not be reached for the program in ten minutes")

        def trouble(unreachable: Unreachable) -> None:
            log.warning("lease.program lease=%s why=%s", self.id, unreachable)

        try:
            insist(lambda: program.fetch(link=link, to=archive, **wanted), pause=pause, trouble=trouble)
        finally:
            link.close()

    def _install(self, command: list[str]) -> int:
        with (
            open_for(self._directory / "logs", "pip", "stdout") as out,
            open_for(self._directory / "logs", "pip", "stderr") as err,
        ):
            pip = self._processes.start(
                command, env=_host_env(), cwd=self._directory / "program", stdout=out, stderr=err
            )
        return self._wait(pip)

    # starting and running: the site

    def _train(self, python: Path) -> tuple[int | None, dict[str, str] | None]:
        self._phase("starting")
        # Ray puts sockets in there, and a socket's path has room for 107 bytes (unix(7)).
        temporary = Path(tempfile.mkdtemp(prefix="gy", dir="/tmp"))
        (self._directory / "ray_directory").write_text(str(temporary))
        site = {
            "role": self._order["role"],
            "ray": {**self._order["ray"], "token": None},
            "address": self._setting.address,
            "temporary": str(temporary),
            "directory": str(self._directory),
            "script": self._order["script"],
            "args": self._order["args"],
        }
        (self._directory / "site.json").write_text(json.dumps(site))
        with (
            open_for(self._directory / "logs", "driver", "stdout") as out,
            open_for(self._directory / "logs", "driver", "stderr") as err,
        ):
            # -P: a ray.py or numpy.py in the program must not take the place of the real one in the driver.
            command = [str(python), "-P", "-m", f"{__package__}.site", str(self._directory / "site.json")]
            driver = self._processes.start(
                command, env=self._site_env(), cwd=self._directory / "program", stdout=out, stderr=err
            )
        exit_code = self._wait(driver, each=self._look_for_running)
        said = _read_json(self._directory / "site_said.json")
        if said.get("phase") != "running":
            message = said.get("error", {}).get("message") or f"the site's process ended early, exit code {exit_code}"
            raise _Failed("ray_failed", message)
        if exit_code < 0:
            raise _Failed("ray_failed", f"the site's driver was killed by signal {-exit_code}")
        if self._order["role"] == "worker":
            self._phase("running")
            # Its Ray node serves the head until the broker takes the lease out of the orders.
            while not self._stop.wait(LOOK_FOR_RAY_S):
                if not self._processes.any_left():
                    raise _Failed("ray_failed", "this machine's part of the Ray cluster has ended")
            raise LeaseEnded
        return exit_code, said.get("error")

    def _look_for_running(self) -> None:
        if self._report["phase"] == "starting" and _read_json(self._directory / "site_said.json"):
            self._phase("running")

    def _site_env(self) -> dict[str, str]:
        """The environment of the driver, of Ray and by inheritance of the workers. The order's own variables go last,
        but can not replace what names the lease or secures the cluster."""
        order, ray = self._order, self._order["ray"]
        wanted = {
            name: str(value)
            for name, value in (order.get("env") or {}).items()
            if not name.startswith(("GPUYARD_", "RAY_", "LD_"))
        }
        return {
            **_host_env(),
            "OMP_NUM_THREADS": str(self._threads()),
            "PYTHONUNBUFFERED": "1",
            **wanted,
            "GPUYARD_SITE_URL": self._setting.broker,
            "GPUYARD_SITE_KEY": f"{order['placement']}.{order['site']['secret']}",
            "GPUYARD_SITE_NAME": str(order["site"]["name"]),
            "GPUYARD_ADDRESS": self._setting.address,
            "GPUYARD_LEASE_DIR": str(self._directory),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": ray["token"],
        }

    def _threads(self) -> int:
        """Threads per worker. Hosts with a loopback address share one machine: more than one each would only queue."""
        if "OMP_NUM_THREADS" in os.environ:
            return int(os.environ["OMP_NUM_THREADS"])
        if self._setting.address.startswith("127."):
            return 1
        return max(1, len(os.sched_getaffinity(0)) // int(self._order["ray"]["accelerators"]["count"]))

    def _wait(self, child: subprocess.Popen[bytes], *, each: Callable[[], None] = lambda: None) -> int:
        while (exit_code := child.poll()) is None:
            each()
            if self._stop.wait(0.1):
                raise LeaseEnded
        return exit_code


def directory_of(state: Path, lease: int) -> Path:
    """Where a lease keeps its files."""
    return state / "leases" / str(lease)


def bury(state: Path, report: Report) -> None:
    """Write down how a lease ended, so that a restarted agent can still say so."""
    directory = directory_of(state, report["lease"])
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = directory / "ended.new"
    draft.write_text(json.dumps(report))
    draft.replace(directory / "ended.json")


def leftovers(state: Path) -> list[Report]:
    """End what a former life of this agent left running; how each of its leases ended, for the next beats."""
    end_marked(state=state)
    reports = []
    for directory in sorted((state / "leases").glob("*")):
        lease = int(directory.name)
        message = "the host's agent was restarted while the lease ran"
        restarted = {"code": "agent_restarted", "message": message}
        report = _read_json(directory / "ended.json") or {
            "lease": lease,
            "phase": "failed",
            "exit_code": None,
            "error": restarted,
        }
        forget(state, lease)
        bury(state, report)
        reports.append(report)
    return reports


def forget(state: Path, lease: int) -> None:
    """Remove every file of a lease whose processes are gone."""
    directory = directory_of(state, lease)
    _remove_ray_directory(directory)
    shutil.rmtree(directory, ignore_errors=True)


def _remove_ray_directory(directory: Path) -> None:
    named = directory / "ray_directory"
    if named.exists():
        shutil.rmtree(named.read_text(), ignore_errors=True)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def _host_env() -> dict[str, str]:
    """The agent's environment without what would lead a lease's Python or Ray astray."""
    astray = ("GPUYARD_", "RAY_", "PYTHON", "VIRTUAL_ENV", "PIP_REQUIRE_VIRTUALENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(astray)}
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"}
