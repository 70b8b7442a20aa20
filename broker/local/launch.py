"""Bringing the broker up on one machine, step by step, below one supervisor."""

import json
import os
import secrets
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gpuyard import Client

from broker.local import hosts, services
from broker.local.processes import Child, NotReady, Supervisor, tail

PROJECT = Path(__file__).resolve().parents[2]
DEFAULT_PORT = 8000
READY_TIMEOUT_S = 90.0
MIGRATE_TIMEOUT_S = 300.0
_ENDS_BEFORE_GIVING_UP = 3  # A server that cannot start says so at once; one crash may be bad luck.


class PortTaken(Exception):
    """Something else listens where the broker should."""


class InvalidPort(Exception):
    """`GPUYARD_PORT` is no port."""


class KeyLost(Exception):
    """The first user exists, its API key was shown once, and the file that kept it is gone."""


@dataclass(frozen=True)
class Place:
    """Where this broker keeps its state and where it listens."""

    state: Path
    port: int

    @classmethod
    def from_environment(cls) -> "Place":
        """Read `GPUYARD_HOME` (default `.yard` in the project) and `GPUYARD_PORT` (default 8000)."""
        home = Path(os.environ.get("GPUYARD_HOME") or PROJECT / ".yard").expanduser().absolute()
        said = os.environ.get("GPUYARD_PORT") or str(DEFAULT_PORT)
        if not said.isdecimal() or not 0 < int(said) < 65536:
            raise InvalidPort(f"GPUYARD_PORT is {said!r}: give a number from 1 to 65535.")
        return cls(home.resolve(), int(said))

    @property
    def url(self) -> str:
        """The broker's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def for_the_cli(self) -> dict[str, str]:
        """The environment in which `yard` speaks to this broker as its first user, whatever the shell says."""
        kept = {name: value for name, value in os.environ.items() if name not in ("GPUYARD_URL", "GPUYARD_API_KEY")}
        return {**kept, "GPUYARD_CONFIG": str(self.client_file)}

    def client(self) -> Client:
        """Return a client of this broker as its first user."""
        kept = json.loads(self.client_file.read_text())
        return Client(url=kept["url"], api_key=kept["api_key"])

    @property
    def client_file(self) -> Path:
        """The CLI's configuration, for `GPUYARD_CONFIG`."""
        return self.state / "client.json"

    @property
    def sign_in_file(self) -> Path:
        """The first user's name and first password for the dashboard."""
        return self.state / "sign-in.json"


class Launch:
    """The steps from nothing to a broker with hosts; each says one line with its seconds."""

    def __init__(self, supervisor: Supervisor, place: Place, *, say: Callable[[str], None]) -> None:
        self._supervisor = supervisor
        self._place = place
        self._say = say
        self._environment: dict[str, str] = {}

    def services(self) -> None:
        """Start Postgres and Redis, or take those that the environment names."""
        with self._step("postgres"):
            database_url = services.start_postgres(self._supervisor, say=self._say)
        with self._step("redis"):
            redis_url = services.start_redis(self._supervisor, say=self._say)
        found = services.environment(
            state=self._place.state,
            database_url=database_url,
            redis_url=redis_url,
            secret_key=_secret(self._place.state / "secret"),
        )
        # Unbuffered, so that a log shows the last words of a process that was killed.
        self._environment = {**found, "PYTHONUNBUFFERED": "1"}

    def database(self) -> None:
        """Bring the tables up to date and make sure that there is a first user whose key is in `client.json`."""
        with self._step("migrate"):
            self._manage("migrate", "--no-input", "--verbosity", "0", timeout_s=MIGRATE_TIMEOUT_S)
        with self._step("first user"):
            told = self._manage("first_user", timeout_s=60.0)
            user = json.loads(told.strip().splitlines()[-1])
            self._keep_key(user)
            self._keep_password(user)

    def broker(self) -> None:
        """Start web, workers, hub and tick, and wait until the broker says that it is well."""
        with self._step("web, workers, hub, tick"):
            for child in self._children():
                self._supervisor.start(child)
            self._wait_until_well()

    def hosts(self) -> None:
        """Register this machine's hosts where needed and start their agents."""
        since = datetime.now(UTC)
        with self._step("hosts"):
            local = hosts.local_hosts()
            tokens = hosts.register(self._place.client(), local, state=self._place.state, say=self._say)
            for host in local:
                token = tokens[host.name]
                self._supervisor.start(hosts.agent(host, url=self._place.url, token=token, state=self._place.state))
            self._supervisor.wait_until(
                lambda: self._present([host.name for host in local], since),
                timeout_s=READY_TIMEOUT_S,
                what="the first word of every host",
                poll_s=0.3,
            )

    def _children(self) -> list[Child]:
        """The broker's own processes."""
        python = sys.executable
        address = ("--host", "127.0.0.1", "--port", str(self._place.port))
        web = (python, "-m", "uvicorn", "broker.asgi:application", *address, "--log-level", "warning")
        # A site waits for its round for up to 20 s; stopping does not wait for that.
        web = (*web, "--timeout-graceful-shutdown", "3")
        tick, hub = (python, "manage.py", "tick"), (python, "manage.py", "hub")
        return [
            Child("web", web, environment=self._environment, rank=1),
            Child("worker", _worker("celery", threads=6), environment=self._environment, rank=1),
            Child("market", _worker("market", threads=16), environment=self._environment, rank=1),
            Child("hub", hub, environment=self._environment, rank=1),
            Child("tick", tick, environment=self._environment, rank=1),
        ]

    def _manage(self, *words: str, timeout_s: float) -> str:
        command = (sys.executable, "manage.py", *words)
        return self._supervisor.run(words[0], command, environment=self._environment, timeout_s=timeout_s)

    def _keep_key(self, user: dict[str, str]) -> None:
        """Write the CLI's configuration: with the new key, or with the kept key and the address of today."""
        file = self._place.client_file
        key = user.get("api_key")
        if not key and file.exists():
            key = json.loads(file.read_text()).get("api_key")
        if not key:
            raise KeyLost(
                f"The user {user['username']} exists, but {file} with its API key is gone; a key is shown only once. "
                f"Put the file back, or move {self._place.state} (and the database) away to begin anew."
            )
        hosts.write_private(file, json.dumps({"url": self._place.url, "api_key": key}, indent=2) + "\n")

    def _keep_password(self, user: dict[str, str]) -> None:
        """Write how to sign in, at the start that made the password. Should it be lost: `manage.py changepassword`."""
        if password := user.get("password"):
            kept = {"url": self._place.url, "username": user["username"], "password": password}
            hosts.write_private(self._place.sign_in_file, json.dumps(kept, indent=2) + "\n")

    def _wait_until_well(self) -> None:
        def well() -> bool:
            for name in ("web", "worker", "market", "hub", "tick"):
                if self._supervisor.crashes(name) >= _ENDS_BEFORE_GIVING_UP:
                    log = self._supervisor.log_of(name)
                    raise NotReady(f"{name} ends as soon as it starts; the end of {log}:\n{tail(log)}")
            return answers_well(self._place.url)

        self._supervisor.wait_until(well, timeout_s=READY_TIMEOUT_S, what=f"{self._place.url}/healthz")

    def _present(self, names: list[str], since: datetime) -> bool:
        """Ask whether every host has been heard since then; one that is held down is not waited for."""
        rows = hosts.every(lambda cursor: self._place.client().hosts(cursor=cursor))
        heard = {row["name"] for row in rows if row["seen_at"] and datetime.fromisoformat(row["seen_at"]) >= since}
        held = {name for name in names if (hosts.state_of(self._place.state, name) / hosts.STAY_DOWN).exists()}
        return heard | held >= set(names)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self._say(f"  {name:<20}{time.monotonic() - started:5.1f} s")


def _worker(queue: str, *, threads: int) -> tuple[str, ...]:
    command = (sys.executable, "-m", "celery", "-A", "broker", "worker", "--queues", queue)
    command = (*command, "--hostname", f"{queue}@%h", "--pool", "threads", "--concurrency", str(threads))
    return (*command, "--without-gossip", "--without-mingle", "--loglevel", "WARNING")


def answers_well(url: str) -> bool:
    """Ask whether `GET /healthz` answers 200."""
    # No proxy: the broker is on this machine, whatever http_proxy says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def refuse_taken_port(port: int) -> None:
    """Raise `PortTaken` when something listens on the port already."""
    with socket.socket() as probe:
        # As the server does: connections of a former life that linger in TIME_WAIT take nothing.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortTaken(
                f"Port {port} on 127.0.0.1 is taken ({error.strerror}). Stop what listens there, "
                f"or set GPUYARD_PORT to another one: GPUYARD_PORT={port + 1} make run"
            ) from error


def _secret(path: Path) -> str:
    """Return the key with which Django signs, made at the first start."""
    if given := os.environ.get("SECRET_KEY"):
        return given
    if not path.exists():
        hosts.write_private(path, secrets.token_urlsafe(48))
    return path.read_text()


def yard_program() -> Path:
    """Return the `yard` command of this environment."""
    return Path(sys.prefix) / "bin" / "yard"


def keep_off_proxies() -> None:
    """Have this process and its children reach this machine without the proxy that the environment may name."""
    for name in ("no_proxy", "NO_PROXY"):
        words = [word for word in os.environ.get(name, "").split(",") if word]
        os.environ[name] = ",".join(dict.fromkeys([*words, "127.0.0.1", "localhost"]))
