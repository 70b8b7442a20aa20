"""Everything a lease starts, and the certainty that all of it is gone afterwards.

Ray daemonises and user code may double-fork, so neither parents nor process groups tell who belongs to a lease. The
environment does: every process inherits two markers, and the kernel shows them in /proc/<pid>/environ.
"""

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

GRACE_S = 1.5
SCAN_PAUSE_S = 0.05
# Two empty scans in a row: during the first, the only process may have forked below the scan's position and gone, or
# have been between two images in execve(2), when its environment reads as empty.
EMPTY_SCANS = 2


class LeaseEnded(Exception):
    """The lease is being cleaned up: nothing may be started for it any more."""


class Processes:
    """The processes of one lease on this host. Safe to use from several threads."""

    def __init__(self, *, lease: str, state: Path) -> None:
        self._lease, self._state = lease, state
        self._lock = threading.Lock()
        self._ended = False
        self._children: list[subprocess.Popen[bytes]] = []

    def start(
        self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, stdout: IO[bytes], stderr: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start `command` in a session of its own, carrying the markers. Raises LeaseEnded, OSError."""
        with self._lock:  # Held over the start: once end() has the lock, nothing new can appear behind its scan.
            if self._ended:
                raise LeaseEnded
            child = subprocess.Popen(
                command,
                cwd=cwd,
                env={**env, **markers(lease=self._lease, state=self._state)},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
            self._children.append(child)
            return child

    def end(self) -> None:
        """Start nothing more, and return when no process of the lease is left."""
        with self._lock:
            self._ended = True
        end_marked(state=self._state, lease=self._lease)
        for child in self._children:
            child.wait()


def markers(*, lease: str, state: Path) -> dict[str, str]:
    """The two variables by which a process is known to belong to a lease of the agent that keeps `state`."""
    return {"GPUYARD_LEASE": lease, "GPUYARD_STATE": str(state)}


def end_marked(*, state: Path, lease: str | None = None, grace_s: float = GRACE_S) -> None:
    """SIGTERM, then after `grace_s` SIGKILL, to every process with both markers, until none is left.

    `lease` None means any lease of this `state`. A process without both markers is never touched.
    """
    empty, asked, started = 0, set(), time.monotonic()
    while empty < EMPTY_SCANS:
        found = marked(state=state, lease=lease)
        empty = 0 if found else empty + 1
        late = time.monotonic() - started > grace_s
        for pid in found:
            if late:
                _signal(pid, signal.SIGKILL, state=state, lease=lease)
            elif pid not in asked:
                asked.add(pid)
                _signal(pid, signal.SIGTERM, state=state, lease=lease)
        time.sleep(SCAN_PAUSE_S)
    if asked:
        log.info("processes.ended lease=%s count=%d seconds=%.1f", lease, len(asked), time.monotonic() - started)


def marked(*, state: Path, lease: str | None = None) -> list[int]:
    """Ids of the living processes that carry both markers, this one excepted."""
    own = os.getpid()
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [pid for pid in pids if pid != own and _belongs(pid, state=state, lease=lease)]


def _belongs(pid: int, *, state: Path, lease: str | None) -> bool:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # It is gone, or belongs to another user and so is none of ours.
        return False
    if f"GPUYARD_STATE={state}".encode() not in variables:
        return False
    if lease is None:
        return any(variable.startswith(b"GPUYARD_LEASE=") for variable in variables)
    return f"GPUYARD_LEASE={lease}".encode() in variables


def _signal(pid: int, number: signal.Signals, *, state: Path, lease: str | None) -> None:
    # The handle pins the process: if the id has been reused since the scan, the second look sees a stranger.
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            if _belongs(pid, state=state, lease=lease):
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)
