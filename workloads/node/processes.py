"""Everything a lease starts, and the certainty that all of it is gone afterwards.

Ray daemonises and user code may double-fork, so neither parents nor process groups tell who belongs to a lease. The
environment does: every process inherits two markers, and the kernel shows them in /proc/<pid>/environ.
"""

import contextlib
import logging
import os
import select
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

    def any_left(self) -> bool:
        """Whether a process of the lease lives."""
        return bool(marked(state=self._state, lease=self._lease))

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
    """SIGTERM, after `grace_s` SIGKILL, to every process with both markers and what it started, until none is left.

    `lease` None means any lease of this `state`. Nothing else is ever touched.
    """
    empty, started_s = 0, time.monotonic()
    # A handle pins the process it was opened for: a reused id can not be hit, and one whose parent is gone, by which it
    # was known, is not forgotten.
    handles: dict[int, int] = {}
    try:
        while empty < EMPTY_SCANS:
            found = marked(state=state, lease=lease)
            late = time.monotonic() - started_s > grace_s
            for pid in found:
                if pid not in handles or _exited(handles[pid]):
                    _open(pid, handles)
                    _signal(handles.get(pid), signal.SIGKILL if late else signal.SIGTERM)
            alive = [handle for handle in handles.values() if not _exited(handle)]
            if late:
                for handle in alive:
                    _signal(handle, signal.SIGKILL)
            empty = 0 if found or alive else empty + 1
            time.sleep(SCAN_PAUSE_S)
    finally:
        for handle in handles.values():
            os.close(handle)
    if handles:
        log.info("processes.ended lease=%s count=%d s=%.1f", lease, len(handles), time.monotonic() - started_s)


def marked(*, state: Path, lease: str | None = None) -> list[int]:
    """Ids of the living processes that carry both markers, and of those in their sessions or begun by them.

    A process that renames itself (setproctitle, as Ray's do) may write over its environment, so the markers alone would
    miss it. Every marked process was started in a session that is not the agent's, so a session tells no strangers.
    """
    own_session, processes = os.getsid(0), {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (parent_session := _parent_and_session(int(name))):
            processes[int(name)] = parent_session
    found = {pid for pid in processes if pid != os.getpid() and _carries_both(pid, state=state, lease=lease)}
    sessions = {processes[pid][1] for pid in found} - {own_session}
    grown = True
    while grown:
        more = {
            pid
            for pid, (parent, session) in processes.items()
            if pid not in found and (parent in found or session in sessions)
        }
        grown = bool(more)
        found |= more
    return sorted(found - {os.getpid()})


def _parent_and_session(pid: int) -> tuple[int, int] | None:
    """From /proc/<pid>/stat, proc_pid_stat(5): fields 4 and 6. None for one that is gone or waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, parent, _, session, *_ = stat.rsplit(")", 1)[1].split()  # The name before it may hold anything.
    return None if state in "ZX" else (int(parent), int(session))


def _carries_both(pid: int, *, state: Path, lease: str | None) -> bool:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # It is gone, or belongs to another user and so is none of ours.
        return False
    if f"GPUYARD_STATE={state}".encode() not in variables:
        return False
    if lease is None:
        return any(variable.startswith(b"GPUYARD_LEASE=") for variable in variables)
    return f"GPUYARD_LEASE={lease}".encode() in variables


def _open(pid: int, handles: dict[int, int]) -> None:
    old = handles.pop(pid, None)
    if old is not None:
        os.close(old)
    with contextlib.suppress(ProcessLookupError):
        handles[pid] = os.pidfd_open(pid)


def _exited(handle: int) -> bool:
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    return bool(poller.poll(0))  # A handle is readable once its process has ended, pidfd_open(2).


def _signal(handle: int | None, number: signal.Signals) -> None:
    if handle is not None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
