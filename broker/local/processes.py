"""A small supervisor: named children in sessions of their own, restarted when they crash, all ended at the end.

One supervisor per state directory: a lock file says who. Every child carries `GPUYARD_RUN=<state directory>` in its
environment and so do its own children, which is how a process that hid in a session of its own is still found.
"""

import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from broker.local import leftovers

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 15.0
STEADY_S = 30.0  # A child that lived so long starts again with the first delay.
LOG_BYTES = 5 * 2**20
_POLL_S = 0.1
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class AlreadyRunning(Exception):
    """Another supervisor holds this state directory."""


class NotReady(Exception):
    """Something that was waited for did not come; the text says what and where to look."""


class StopRequested(Exception):
    """SIGINT, SIGTERM or SIGHUP came: stop everything and leave."""


@dataclass(frozen=True)
class Child:
    """What to keep running."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)  # On top of the supervisor's own.
    before: Callable[[], None] | None = None  # Called before each start.
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 10.0
    rank: int = 0  # Higher ranks stop first; those of one rank stop together.
    stay_down: Path | None = None  # While this file exists the child is not started again.


@dataclass
class _Life:
    child: Child
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    delay_s: float = FIRST_DELAY_S
    crashes: int = 0


class Supervisor:
    """Holds a state directory and keeps children running; a context manager that ends them all."""

    def __init__(self, state: Path, *, say: Callable[[str], None], cwd: Path) -> None:
        self.state = state.resolve()
        self._say = say
        self._cwd = cwd
        self._lives: dict[str, _Life] = {}
        self._lock: int | None = None

    def __enter__(self) -> "Supervisor":
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.state / "log").mkdir(exist_ok=True)
        self._lock = _take_lock(self.state / "lock")
        if ended := self._end_carriers(grace_s=5.0):
            self._say(f"ended {ended} processes that a former life had left")
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self, child: Child) -> None:
        """Start a child and keep it running."""
        if child.name in self._lives:
            raise ValueError(f"a child named {child.name} exists")
        life = self._lives[child.name] = _Life(child)
        if not _is_down(child):
            self._launch(life)

    def is_running(self, name: str) -> bool:
        """Ask whether the child runs at this moment."""
        process = self._lives[name].process
        return process is not None and process.poll() is None

    def crashes(self, name: str) -> int:
        """Count how often the child has ended by itself."""
        return self._lives[name].crashes

    def log_of(self, name: str) -> Path:
        """Return the file that takes the child's output."""
        return self.state / "log" / f"{name}.log"

    def look(self) -> None:
        """Reap what has ended and start again what is due. Call it often."""
        now = time.monotonic()
        for life in self._lives.values():
            if life.process is not None and life.process.poll() is not None:
                self._note_end(life, now)
            if life.process is None and now >= life.start_again_at and not _is_down(life.child):
                self._launch_again(life, now)

    def wait_until(self, answer: Callable[[], bool], *, timeout_s: float, what: str, poll_s: float = _POLL_S) -> None:
        """Keep the children running until `answer()` is true. Raises `NotReady` after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not answer():
            if time.monotonic() > deadline:
                raise NotReady(f"{what} did not come within {timeout_s:.0f} s; see {self.state / 'log'}")
            self.look()
            time.sleep(poll_s)

    def watch(self) -> None:
        """Keep the children running until a signal raises `StopRequested`."""
        while True:
            self.look()
            time.sleep(0.2)

    def run(self, name: str, command: Sequence[str], *, environment: Mapping[str, str], timeout_s: float) -> str:
        """Run a command to its end beside the children, and return what it wrote to standard output.

        Its errors go to the log of that name. Raises `NotReady` with the end of the log when it fails.
        """
        log = self.log_of(name)
        with _opened_log(log) as errors:
            # A file takes the output: a pipe that nobody reads would stop the command when it is full.
            output = log.with_suffix(".out")
            with output.open("wb") as sink:
                process = self._spawn(command, environment, stdout=sink, stderr=errors)
            try:
                self.wait_until(lambda: process.poll() is not None, timeout_s=timeout_s, what=f"the end of {name}")
            finally:
                if process.poll() is None:
                    _kill_session(process)
        text = output.read_text(errors="replace")
        output.unlink()
        if process.returncode != 0:
            raise NotReady(f"{name} failed with code {process.returncode}:\n{text[-1000:]}{tail(log)}")
        return text

    def stop(self) -> None:
        """Stop all children, highest rank first, then whatever else carries our mark, and let the lock go."""
        with _deaf():
            for rank in sorted({life.child.rank for life in self._lives.values()}, reverse=True):
                _stop_together([life for life in self._lives.values() if life.child.rank == rank])
            self._lives.clear()
            if self._lock is None:
                return
            self._end_carriers(grace_s=2.0)
            os.close(self._lock)
            self._lock = None

    def _end_carriers(self, *, grace_s: float) -> int:
        return leftovers.end(lambda: leftovers.of_run(self.state), grace_s=grace_s)

    def _launch_again(self, life: _Life, now: float) -> None:
        try:
            self._launch(life)
        except OSError as error:  # No memory, no disk, a remainder that does not end: later it may work.
            self._say(f"{life.child.name} cannot start: {error}; again in {life.delay_s:g} s")
            life.start_again_at = now + life.delay_s
            life.delay_s = min(life.delay_s * 2, LONGEST_DELAY_S)

    def _launch(self, life: _Life) -> None:
        child = life.child
        if child.before is not None:
            child.before()
        with _opened_log(self.log_of(child.name)) as log:
            life.process = self._spawn(child.command, child.environment, stdout=log, stderr=subprocess.STDOUT)
        life.started_at = time.monotonic()

    def _spawn(
        self, command: Sequence[str], environment: Mapping[str, str], *, stdout: object, stderr: object
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            list(command),
            cwd=self._cwd,
            env={**os.environ, **environment, leftovers.RUN_VARIABLE: str(self.state)},
            stdin=subprocess.DEVNULL,
            stdout=stdout,  # type: ignore[arg-type]  # Popen's overloads cannot say "a file or a constant".
            stderr=stderr,  # type: ignore[arg-type]
            start_new_session=True,
        )

    def _note_end(self, life: _Life, now: float) -> None:
        code = life.process.returncode if life.process else None
        life.process = None
        life.crashes += 1
        if now - life.started_at > STEADY_S:
            life.delay_s = FIRST_DELAY_S
        life.start_again_at = now + life.delay_s
        if _is_down(life.child):
            self._say(f"{life.child.name} ended with code {code} and is held down by {life.child.stay_down}")
        else:
            log = self.log_of(life.child.name)
            self._say(f"{life.child.name} ended with code {code}; again in {life.delay_s:g} s; its output: {log}")
        life.delay_s = min(life.delay_s * 2, LONGEST_DELAY_S)


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into `StopRequested` in the main thread."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise StopRequested(signal.Signals(number).name)

    # Under nohup SIGHUP is ignored, and shall stay so.
    heard = [number for number in _STOPPING if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    former = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def tail(log: Path, *, lines: int = 15) -> str:
    """Return the last lines of a log file."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 20_000))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def _is_down(child: Child) -> bool:
    return child.stay_down is not None and child.stay_down.exists()


def _take_lock(path: Path) -> int:
    """Lock the file and write our process id into it; the lock goes when the process goes, however it goes."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise AlreadyRunning(
            f"{path.parent} is in use by process {holder}. Stop that one first (Ctrl-C, or `kill {holder}`), "
            "or set GPUYARD_HOME to another directory."
        ) from None
    os.truncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


@contextmanager
def _opened_log(path: Path) -> Iterator[object]:
    """Open a log for appending, after setting aside one that has grown too large."""
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    with path.open("ab") as file:
        yield file


def _stop_together(lives: list[_Life]) -> None:
    """Ask all to end, wait for each as long as its grace says, and end the rest for good."""
    running = [life for life in lives if life.process is not None and life.process.poll() is None]
    for life in running:
        leftovers.send([life.process.pid], life.child.stop_signal)  # type: ignore[union-attr]  # filtered above
    asked_at = time.monotonic()
    for life in sorted(running, key=lambda life: life.child.grace_s):
        deadline = asked_at + life.child.grace_s
        try:
            life.process.wait(timeout=max(0.01, deadline - time.monotonic()))  # type: ignore[union-attr]
        except subprocess.TimeoutExpired:
            _kill_session(life.process)  # type: ignore[arg-type]


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kill a child that leads a session, with its process group, and reap it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


@contextmanager
def _deaf() -> Iterator[None]:
    """Ignore further stop signals while stopping: a second Ctrl-C must not leave half of it running."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.signal(number, signal.SIG_IGN) for number in _STOPPING}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
