"""Run a command with a throw-away Postgres and Redis: `python -m broker.local.testing -- pytest tests`.

The services live in a new temporary directory and are always ended. `DATABASE_URL` and `REDIS_URL` in the environment
win.
"""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from broker.local import services
from broker.local.processes import StopRequested, Supervisor, stop_on_signals

PROJECT = Path(__file__).resolve().parents[2]
_USAGE = "usage: python -m broker.local.testing -- COMMAND [ARGUMENT...]\n"


def main(arguments: Sequence[str]) -> int:
    """Run what follows `--` beside the services and return its exit code."""
    command = list(arguments[1:]) if arguments[:1] == ["--"] else list(arguments)
    if not command:
        sys.stderr.write(_USAGE)
        return 2
    state = Path(tempfile.mkdtemp(prefix="gpuyard-test-"))
    try:
        with stop_on_signals(), Supervisor(state, say=_say, cwd=PROJECT) as supervisor:
            return _run_beside(supervisor, command)
    except StopRequested:
        return 130
    finally:
        shutil.rmtree(state, ignore_errors=True)


def _run_beside(supervisor: Supervisor, command: Sequence[str]) -> int:
    environment = services.environment(
        state=supervisor.state,
        database_url=services.start_postgres(supervisor, say=_say),
        redis_url=services.start_redis(supervisor, say=_say),
        secret_key=os.environ.get("SECRET_KEY") or secrets.token_urlsafe(48),
    )
    # The command stays in our process group: Ctrl-C reaches it as if it had been started without us.
    process = subprocess.Popen(command, env={**os.environ, **environment})
    try:
        while True:
            try:
                return process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                supervisor.look()
    except StopRequested:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
