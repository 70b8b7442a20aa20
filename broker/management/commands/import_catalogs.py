"""`manage.py import_catalogs DIR`: the same as load_catalogs into an empty book of its own, with what that needs."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from broker.local import postgres, processes, services, unprivileged
from broker.local.launch import PROJECT
from broker.local.processes import StopRequested, Supervisor, stop_on_signals

STATE = PROJECT / ".yard-import"
TIMEOUT_S = 3600.0
EXPECTED = (postgres.PostgresUnusable, processes.AlreadyRunning, processes.NotReady, unprivileged.NobodyToRunAs)


class Command(BaseCommand):
    """Start a Postgres in a state directory of its own, load the catalogs into an empty book, and stop everything."""

    help = __doc__
    requires_system_checks: list[str] = []  # The database that checks would ask for is not there yet.

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the directory."""
        parser.add_argument("directory", type=Path, nargs="?", help="holds <provider>/vms.csv for each provider")

    def handle(self, *_args: Any, directory: Path | None, **_options: Any) -> None:
        """Load, and leave nothing running. The last line is one JSON object."""
        if directory is None or not directory.is_dir():
            raise CommandError(
                f"{directory or 'DIR'} is no directory: make import DIR=path, with <provider>/vms.csv in it"
            )
        try:
            with stop_on_signals():
                with Supervisor(STATE, say=_say, cwd=PROJECT):
                    pass  # Entering ends what a former life has left.
                shutil.rmtree(STATE)
                with Supervisor(STATE, say=_say, cwd=PROJECT) as supervisor:
                    told = _load(supervisor, directory.resolve())
            sys.stdout.write(told)
            if unreadable := json.loads(told.splitlines()[-1]).get("unreadable"):
                sys.stderr.write(f"could not be read: {', '.join(unreadable)}\n")
                sys.exit(1)
        except StopRequested as request:
            raise CommandError(f"stopped by {request}") from request
        except EXPECTED as error:
            raise CommandError(str(error)) from error


def _load(supervisor: Supervisor, directory: Path) -> str:
    own = {"DATABASE_URL": services.start_postgres(supervisor, say=_say)}
    environment = {name: value for name, value in os.environ.items() if name != "GPUYARD_DB_POOL"} | own
    for words in (("migrate", "--no-input", "--verbosity", "0"), ("load_catalogs", str(directory))):
        command = (sys.executable, "manage.py", *words)
        told = supervisor.run(words[0], command, environment=environment, timeout_s=TIMEOUT_S)
    return told


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
