"""Finding and ending processes by what they carry, so that no start meets the remains of the one before."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

RUN_VARIABLE = "GPUYARD_RUN"  # The state directory of the supervisor that started it.
HOST_VARIABLE = "GPUYARD_STATE"  # The state directory of the host's agent that started it.
# A process between two images, in execve(2), shows an empty environment: one empty look is not enough.
_EMPTY_LOOKS = 2
_PROC = Path("/proc")


def carriers(*, variable: str, value: str) -> set[int]:
    """Return the processes that were started with `variable=value`, except this one and those it descends from."""
    needle = os.fsencode(f"{variable}={value}")
    return _carrying(lambda entries: needle in entries)


def of_run(state: Path) -> set[int]:
    """Return the processes that were started from the state directory, also those that only know a host below it."""
    mark = os.fsencode(f"{RUN_VARIABLE}={state}")
    below = os.fsencode(f"{HOST_VARIABLE}={state}/")
    return _carrying(lambda entries: mark in entries or any(entry.startswith(below) for entry in entries))


def _carrying(is_ours: Callable[[list[bytes]], bool]) -> set[int]:
    spared = _own_line()
    found = set()
    for pid in _pids():
        if pid in spared:
            continue
        try:
            # A zombie's environment is empty and another user's is refused: neither is ours to end.
            entries = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if is_ours(entries):
            found.add(pid)
    return found


def workers_in(*, directory: Path, program: str) -> set[int]:
    """Return the processes of `program` whose working directory is `directory`; zombies have none and do not count."""
    found = set()
    for pid in _pids():
        try:
            where = os.readlink(_PROC / str(pid) / "cwd")
            runs = os.readlink(_PROC / str(pid) / "exe")
        except OSError:
            continue
        # " (deleted)" is appended to the link when the file was replaced by a new installation.
        if Path(where) == directory and Path(runs.removesuffix(" (deleted)")).name == program:
            found.add(pid)
    return found


def end(
    find: Callable[[], set[int]], *, grace_s: float, first: signal.Signals = signal.SIGTERM, limit_s: float = 10.0
) -> int:
    """End all that `find` names, kindly first and then for good, and return how many there were.

    `find` is asked again each time, because a process that is ending may still start another.
    Raises `TimeoutError` when some remain `limit_s` after SIGKILL.
    """
    seen: set[int] = set()
    empty_looks, started = 0, time.monotonic()
    while True:
        alive = find()
        empty_looks = 0 if alive else empty_looks + 1
        if empty_looks == _EMPTY_LOOKS:
            return len(seen)
        waited_s = time.monotonic() - started
        if waited_s > grace_s + limit_s:
            raise TimeoutError(f"processes {sorted(alive)} do not end; end them by hand and start again")
        if waited_s > grace_s:
            send(alive, signal.SIGKILL)
        else:
            send(alive - seen, first)
        seen |= alive
        time.sleep(0.02)


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each process that still exists and is ours."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def _pids() -> list[int]:
    return [int(name) for name in os.listdir(_PROC) if name.isdigit()]


def _own_line() -> set[int]:
    """This process and its ancestors: whoever calls us from a marked shell must not end that shell."""
    line, pid = set(), os.getpid()
    while pid > 0:
        line.add(pid)
        try:
            # The command's name stands in brackets and may hold anything; the fields are counted after the last one.
            fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            break
        pid = int(fields[1])
    return line
