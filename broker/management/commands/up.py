"""`manage.py up`: the whole broker on this machine, until Ctrl-C."""

import json
import os
import subprocess
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from gpuyard.errors import GpuyardError

from broker.local import hosts, places, postgres, processes, redis, unprivileged
from broker.local.launch import (
    PROJECT,
    InvalidPort,
    KeyLost,
    Launch,
    Place,
    PortTaken,
    keep_off_proxies,
    refuse_taken_port,
    yard_program,
)
from broker.local.processes import StopRequested, Supervisor, stop_on_signals

EXAMPLE = "examples/tiny_gpt.py"
EXPECTED = (
    GpuyardError,
    InvalidPort,
    KeyLost,
    PortTaken,
    hosts.InvalidPrices,
    places.SocketDirectoryUnsafe,
    postgres.PostgresUnusable,
    processes.AlreadyRunning,
    processes.NotReady,
    redis.RedisUnusable,
    unprivileged.NobodyToRunAs,
)


class Command(BaseCommand):
    """Start everything, say how to use it, show the main job once, and keep it all running."""

    help = "Start Postgres, Redis, web, worker, tick and this machine's hosts; Ctrl-C stops all of them."
    requires_system_checks: list[str] = []  # The database that checks would ask for is not there yet.

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Run until a signal comes."""
        keep_off_proxies()
        try:
            place = Place.from_environment()
            with stop_on_signals(), Supervisor(place.state, say=say, cwd=PROJECT) as supervisor:
                try:
                    self._run(supervisor, place)
                except StopRequested:
                    say("\nstopping ...")
            say("stopped; nothing is left running")
        except StopRequested:
            return  # It came before there was anything to stop.
        except EXPECTED as error:
            raise CommandError(str(error)) from error

    def _run(self, supervisor: Supervisor, place: Place) -> None:
        started = time.monotonic()
        refuse_taken_port(place.port)  # Now, when a former life's server is gone, and before anything is started.
        say(f"GPUYard starts in {place.state}")
        launch = Launch(supervisor, place, say=say)
        launch.services()
        launch.database()
        launch.broker()
        if os.environ.get("GPUYARD_HOSTS") != "0":
            launch.hosts()
        say(f"  {'ready after':<20}{time.monotonic() - started:5.1f} s")
        say(introduction(place))
        show_example_once(supervisor, place)
        say("\nUp. Ctrl-C stops everything.")
        supervisor.watch()


def introduction(place: Place) -> str:
    """Say where the broker is, with which key, and what to type next."""
    key = json.loads(place.client_file.read_text())["api_key"]
    sign_in = "manage.py changepassword sets a new password"
    if place.sign_in_file.exists():
        kept = json.loads(place.sign_in_file.read_text())
        sign_in = f"{kept['username']}  {kept['password']}    (first password, kept in {place.sign_in_file})"
    yard = os.path.relpath(yard_program())
    return f"""
  URL      {place.url}
  Sign in  {sign_in}
  API key  {key}    (kept in {place.client_file})
  Mails    are files in {place.state / "mail"} (GPUYARD_EMAIL_URL names a mail server)

In another terminal:
  export GPUYARD_CONFIG={place.client_file}
  {yard} offers                    # what can be rented
  {yard} host list                 # the hosts of this machine
  {yard} run {EXAMPLE} --sites 2 --gpu CPU --budget 1 --pull model.safetensors
"""


def show_example_once(supervisor: Supervisor, place: Place) -> None:
    """At the first start run the main job before the user's eyes, unless `EXAMPLE=0` or there are no hosts."""
    marker = place.state / "example-shown"
    if marker.exists() or os.environ.get("EXAMPLE") == "0" or os.environ.get("GPUYARD_HOSTS") == "0":
        return
    marker.touch()
    words = ["run", EXAMPLE, "--sites", "2", "--gpu", "CPU", "--yes", "--budget", "1"]
    words += ["--pull", str(place.state / "tiny_gpt.safetensors")]
    say(f"The main job, once (EXAMPLE=0 skips it): yard {' '.join(words)}\n")
    # In our process group and with our output: the user sees it, and Ctrl-C reaches it.
    process = subprocess.Popen(
        [yard_program(), *words],
        cwd=PROJECT,
        env=place.for_the_cli,
        stdin=subprocess.DEVNULL,
    )
    try:
        supervisor.wait_until(lambda: process.poll() is not None, timeout_s=3600, what="the end of the main job")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if process.returncode != 0:
        say(f"The main job ended with code {process.returncode}; the broker stays up for you to look.")


def say(line: str) -> None:
    """Print at once, also into a pipe."""
    print(line, flush=True)
