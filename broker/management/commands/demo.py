"""`manage.py demo`: the whole story on a broker of its own, from the price lists to the bill."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from gpuyard.errors import GpuyardError

from broker.local.launch import PROJECT, Place, answers_well, keep_off_proxies
from broker.local.processes import AlreadyRunning, StopRequested, Supervisor, stop_on_signals
from broker.local.story import Plot, Story, StoryBroken

STATE = PROJECT / ".yard-demo"
EXAMPLE = "examples/tiny_gpt.py"
CATALOGS = PROJECT.parent / "shared" / "data" / "catalogs"
READY_TIMEOUT_S = 150.0
STOP_TIMEOUT_S = 60.0


class Command(BaseCommand):
    """Start a broker in a state directory of its own, tell the story, and print its figures as the last line."""

    help = "Tell the whole story, a lost machine included; SCRIPT and ARGS in the environment choose what is trained."
    requires_system_checks: list[str] = []  # The database that checks would ask for is not there yet.

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Tell the story. Ends with 1 when a figure is wrong."""
        keep_off_proxies()
        try:
            with stop_on_signals():
                figures, wrong = tell()
        except StopRequested as request:
            raise CommandError(f"stopped by {request}") from request
        except (AlreadyRunning, GpuyardError, StoryBroken, OSError, subprocess.TimeoutExpired) as error:
            raise CommandError(str(error)) from error
        for sentence in wrong:
            say(f"WRONG: {sentence}")
        say(json.dumps(figures))
        if wrong:
            sys.exit(1)


def tell() -> tuple[dict[str, Any], list[str]]:
    """Bring up a broker, tell the story, and stop everything whatever happens."""
    plot = plot_from_environment()
    refuse_beside_another()
    place = Place(STATE, free_port())
    broker = start(place)
    try:
        alive = liveness(broker)
        wait_until_ready(place, alive)
        return Story(place, plot, say=say, alive=alive).tell()
    finally:
        stop(broker)


def plot_from_environment() -> Plot:
    """Read SCRIPT, ARGS and GPUYARD_CATALOG_DIR."""
    script = Path(os.environ.get("SCRIPT") or EXAMPLE)
    if not (PROJECT / script).is_file():
        raise StoryBroken(f"There is no script {script}: name one with make demo SCRIPT=path.")
    given = os.environ.get("GPUYARD_CATALOG_DIR")
    catalogs = Path(given) if given else CATALOGS if CATALOGS.is_dir() else None
    return Plot(script, tuple(shlex.split(os.environ.get("ARGS") or "")), catalogs)


def refuse_beside_another() -> None:
    """Make sure that neither `make run` nor another demo is at work, and begin with nothing."""
    usual = PROJECT / ".yard"
    if usual.is_dir():
        # Their hosts would share the loopback addresses of this demo's hosts.
        with Supervisor(usual, say=say, cwd=PROJECT):
            pass
    with Supervisor(STATE, say=say, cwd=PROJECT):
        pass
    shutil.rmtree(STATE)


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(place: Place) -> subprocess.Popen[bytes]:
    """Start `manage.py up` on services of its own, in a session of its own: Ctrl-C reaches only us, and we stop it."""
    own = {"GPUYARD_HOME": str(place.state), "GPUYARD_PORT": str(place.port), "EXAMPLE": "0"}
    dropped = ("DATABASE_URL", "REDIS_URL", "GPUYARD_HOSTS", "GPUYARD_OBJECTS")
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    command = [sys.executable, "manage.py", "up"]
    return subprocess.Popen(
        command, cwd=PROJECT, env={**environment, **own}, stdin=subprocess.DEVNULL, start_new_session=True
    )


def wait_until_ready(place: Place, alive: Any) -> None:
    """Wait until the broker answers and all its hosts are on offer."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not (place.client_file.exists() and answers_well(place.url) and all_offered(place)):
        alive()
        if time.monotonic() > deadline:
            raise StoryBroken(f"The broker was not ready within {READY_TIMEOUT_S:.0f} s; see {place.state / 'log'}.")
        time.sleep(0.5)


def all_offered(place: Place) -> bool:
    """Ask whether the three hosts are on offer."""
    rows = place.client().hosts()["results"]
    return len(rows) == 3 and all(row["state"] == "offered" for row in rows)


def liveness(broker: subprocess.Popen[bytes]) -> Any:
    """Return a function that raises when the broker has ended."""

    def alive() -> None:
        if broker.poll() is not None:
            raise StoryBroken(f"`manage.py up` ended with code {broker.returncode}.")

    return alive


def stop(broker: subprocess.Popen[bytes]) -> None:
    """Stop the broker as Ctrl-C would; when it does not listen, end it and all that it started."""
    broker.send_signal(signal.SIGINT)
    try:
        broker.wait(timeout=STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        broker.kill()
        broker.wait()
    with Supervisor(STATE, say=say, cwd=PROJECT):
        pass  # Entering ends what a former life has left.


def say(line: str) -> None:
    """Print at once, also into a pipe."""
    print(line, flush=True)
