"""
What the benchmarks of training across sites share: the broker's floor of training, and sites that train on it.

The floor is the real one: web process, hub, Postgres and Redis. Of the rest of the house there is nothing: the rows
that it would have made are made here, and nobody tells the floor that a site is dead. Run below
`python -m broker.local.testing --`.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from broker.local.processes import stop_on_signals
from tests.benchmarks import parts
from tests.benchmarks.training_network import BROKER, SITES, Loopback, Network, NoNamespaces
from tests.benchmarks.training_store import Store

START_S = 60.0
POLL_S = 0.01


class DidNotHappen(Exception):
    """What was waited for did not come in time."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What all sites of a workload train."""

    model: str = "small"
    context: int = 64
    batch: int = 8
    every: int = 20  # Steps between two rounds.
    samples: int = 1 << 30  # Of all sites together.
    pace_s: float = 0.1  # The least that a step takes.
    rate: float = 2e-3
    seed: int = 0
    codec: str | None = None

    def tokens(self, samples: float) -> float:
        """Return how many characters so many samples are."""
        return samples * self.context


@dataclass
class Child:
    """A process that is started, killed and started again, always the same command."""

    command: list[str]
    environment: dict[str, str]
    said: Path
    process: subprocess.Popen[bytes] | None = None
    lives: list[list[float]] = field(
        default_factory=list
    )  # [start, end] by time.monotonic(); the last may lack an end.

    def start(self) -> float:
        """Start it; return when."""
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(
                self.command, cwd=parts.ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        self.lives.append([time.monotonic()])
        return self.lives[-1][0]

    def kill(self, number: int = signal.SIGKILL) -> float:
        """End it, at once unless told otherwise; return when."""
        assert self.process is not None
        at_s = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
        self.process.wait()
        if len(self.lives[-1]) == 1:
            self.lives[-1].append(at_s)
        return at_s

    def signal(self, number: int) -> None:
        """Send it a signal that does not end it."""
        assert self.process is not None
        self.process.send_signal(number)

    @property
    def is_running(self) -> bool:
        """Whether it runs at this moment."""
        return self.process is not None and self.process.poll() is None

    def last_words(self) -> str:
        """Return the end of what it printed."""
        return self.said.read_text(errors="replace")[-1500:] if self.said.exists() else ""


class Floor:
    """The broker's floor of training in a directory of its own. Made by `opened`."""

    def __init__(self, directory: Path, network: Network | Loopback, store: Store) -> None:
        self.directory, self.network, self.store = directory, network, store
        self.corpus = directory / "corpus.npy"
        self.children: list[Child] = []
        self._port = _free_port()
        self.url = f"http://{network.address(BROKER)}:{self._port}"
        # What the sites import as `gpuyard` is the package of this checkout, not one that was installed once.
        package = directory / "wheel" / "gpuyard"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "train.py").write_text("from gpuyard.node.training import session as session\n")
        (package / "node").symlink_to(parts.ROOT / "workloads" / "node")
        address = ["--host", network.address(BROKER), "--port", str(self._port), "--timeout-graceful-shutdown", "3"]
        served = ["uvicorn", "broker.asgi:application", *address, "--log-level", "warning"]
        broker = {"ALLOWED_HOSTS": network.address(BROKER), "GPUYARD_PRICE_LISTS": "", "PYTHONUNBUFFERED": "1"}
        self.web = self.child("web", [sys.executable, "-m", *served], place=BROKER, **broker)
        self.hub = self.child("hub", [sys.executable, "manage.py", "hub"], **broker)

    def child(self, name: str, command: list[str], *, place: str = "", **environment: str) -> Child:
        """Return a process that is ended when the floor is."""
        inside = self.network.inside(place) if place else []
        child = Child([*inside, *command], {**os.environ, **environment}, self.directory / f"{name}.said")
        self.children.append(child)
        return child

    def start(self) -> None:
        """Start web and hub, and wait until the web process listens."""
        self.web.start()
        self.hub.start()
        assert self.web.process is not None
        sockets = Path(f"/proc/{self.web.process.pid}/net/tcp")
        wait_for(
            lambda: self.web.is_running and f":{self._port:04X} 00000000:0000 0A" in sockets.read_text(),
            within_s=START_S,
            what="the web process",
        )

    def say_last_words(self) -> None:
        """Tell what the processes printed last."""
        for child in self.children:
            if words := child.last_words().strip():
                say(f"-- {child.said.stem}:\n{words}")

    def end(self) -> None:
        """End all processes; those that have ended stay ended."""
        for child in self.children:
            if child.process is not None:
                child.kill()


@contextmanager
def opened(*, loopback_will_do: bool = True, can_fail: bool = True) -> Iterator[Floor]:
    """
    Give a floor that runs, in namespaces where that is possible; at the end nothing is left of it.

    can_fail: its store can, and then holds 4 GiB.

    Raises NoNamespaces when there are none and loopback_will_do is False.
    """
    with stop_on_signals(), ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="gpuyard-bench-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        try:
            network: Network | Loopback = Network(directory)
        except NoNamespaces as error:
            if not loopback_will_do:
                raise
            say(f"no namespaces ({error}): the sites are on the loopback interface")
            network = Loopback()
        stack.callback(network.close)
        store = Store(directory / "objects", can_fail=can_fail)
        stack.callback(store.close)
        os.environ["GPUYARD_OBJECTS"] = str(directory / "objects")
        _prepare_database()
        floor = Floor(directory, network, store)
        stack.callback(floor.end)
        from tests.benchmarks.training_loss import corpus

        np.save(floor.corpus, corpus().numpy())
        stack.callback(_ignore_signals)  # The first of what is done at the end: a second signal must not cut it short.
        try:
            floor.start()
            yield floor
        except DidNotHappen:
            floor.say_last_words()
            raise


class Job:
    """One workload on the floor, with the rows that the rest of the house would have made."""

    def __init__(self, floor: Floor, recipe: Recipe) -> None:
        from tests.benchmarks import training_rows

        self.floor, self.recipe = floor, recipe
        self.workload_id = training_rows.workload()
        self.sites: list[Site] = []
        self.commits = Commits(self.workload_id)

    def add_site(self, place: str) -> Site:
        """Return a new site at a place, which does not run yet."""
        self.sites.append(Site(self, place, len(self.sites)))
        return self.sites[-1]

    def start(self) -> list[Site]:
        """Start a site at each place, and the watch."""
        sites = [self.add_site(place) for place in SITES]
        for site in sites:
            site.start()
        self.commits.start()
        return sites

    def end(self) -> None:
        """End the sites, the watch, and what the hub has to do with it."""
        from tests.benchmarks import training_rows

        for site in self.sites:
            if site.child.process is not None:
                site.kill()
        self.commits.close()
        training_rows.end(self.workload_id)

    def finish(self, *, within_s: float) -> None:
        """Wait until a site has seen that all is merged. Raises DidNotHappen."""
        wait_for(
            lambda: any(site.outcome.exists() for site in self.sites), within_s=within_s, what="the end of the run"
        )


class Site:
    """A member of a workload's rounds: a placement, and the process that trains for it."""

    def __init__(self, job: Job, place: str, number: int) -> None:
        from tests.benchmarks import training_rows

        floor, secret = job.floor, secrets.token_hex(16)
        self.place = place
        self.placement_id = training_rows.placement(job.workload_id, region=f"wan/{place}-{number}", secret=secret)
        name = f"site-{self.placement_id}"
        self.log, self.outcome = floor.directory / f"{name}.log", floor.directory / f"{name}.outcome"
        options = asdict(job.recipe) | {
            "corpus": str(floor.corpus),
            "log": str(self.log),
            "outcome": str(self.outcome),
            "device": floor.network.device(place),
        }
        self.child = floor.child(
            name,
            [sys.executable, "-m", "tests.benchmarks.training_site", json.dumps(options)],
            place=place,
            PYTHONPATH=str(floor.directory / "wheel"),
            GPUYARD_SITE_URL=floor.url,
            GPUYARD_SITE_KEY=f"{self.placement_id}.{secret}",
            OMP_NUM_THREADS="1",
        )

    def start(self) -> float:
        """Start its process; return when."""
        return self.child.start()

    def kill(self) -> float:
        """Kill its process; return when."""
        return self.child.kill()

    def steps(self) -> np.ndarray:
        """Return its log: [steps, 7], the columns as training_site writes them."""
        lines = self.log.read_text().splitlines(keepends=True) if self.log.exists() else []
        whole = [line.split() for line in lines if line.endswith("\n")]  # A kill may cut the last one.
        return np.array([line for line in whole if len(line) == 7], float).reshape(-1, 7)


class Commits(threading.Thread):
    """Notes when each version came, as anybody who asks the database learns of it. A context of its own."""

    def __init__(self, workload_id: int) -> None:
        super().__init__(name="commits", daemon=True)
        self._workload_id, self._over = workload_id, threading.Event()
        self.at_s: list[tuple[int, float]] = []  # (version, time.monotonic()), oldest first.

    def run(self) -> None:
        """Look until closed."""
        from django.db import connection

        from workloads.models import Training

        mine = Training.objects.filter(pk=self._workload_id).values_list("version", flat=True)
        while not self._over.wait(POLL_S):
            version = mine.first()
            if version is not None and (not self.at_s or version != self.at_s[-1][0]):
                self.at_s.append((version, time.monotonic()))
        connection.close()

    def close(self) -> None:
        """Look no longer."""
        self._over.set()
        if self.is_alive():
            self.join()

    @property
    def version(self) -> int:
        """The newest version; -1 before there is one."""
        return self.at_s[-1][0] if self.at_s else -1

    def wait_for(self, version: int, *, within_s: float) -> float:
        """Return when a version came. Raises DidNotHappen."""
        wait_for(lambda: self.version >= version, within_s=within_s, what=f"version {version}")
        return next(at for number, at in self.at_s if number >= version)

    def next_after(self, at_s: float, *, within_s: float) -> float:
        """Return when the first version after a moment came. Raises DidNotHappen."""
        wait_for(lambda: self.at_s and self.at_s[-1][1] > at_s, within_s=within_s, what="the next commit")
        return next(at for _, at in self.at_s if at > at_s)

    def last_before(self, at_s: float) -> float:
        """Return when the last version before a moment came."""
        return [at for _, at in self.at_s if at <= at_s][-1]


def wait_for(true: Callable[[], Any], *, within_s: float, what: str, poll_s: float = POLL_S) -> Any:
    """Return what a question answers once the answer is not empty. Raises DidNotHappen."""
    late_s = time.monotonic() + within_s
    while not (answer := true()):
        if time.monotonic() > late_s:
            raise DidNotHappen(f"{what} did not come within {within_s:.0f} s")
        time.sleep(poll_s)
    return answer


def say(text: str) -> None:
    """Tell whoever watches; standard output is for the figures."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def tell(figures: dict[str, Any]) -> int:
    """Print the figures as one JSON object, and return the exit code."""
    sys.stdout.write(json.dumps(rounded(figures)) + "\n")
    return 0


def rounded(figures: Any) -> Any:
    """Return figures, however nested, with four decimals."""
    if isinstance(figures, dict):
        return {name: rounded(value) for name, value in figures.items()}
    if isinstance(figures, list):
        return [rounded(value) for value in figures]
    return round(figures, 4) if isinstance(figures, float) else figures


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _prepare_database() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "broker.settings")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", "--no-input", verbosity=0)
