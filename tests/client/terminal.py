"""A terminal with a program in it: a real pty, and the screen that a person would see (drawn by pyte)."""

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte

SOURCE = str(Path(__file__).parents[2] / "frontend" / "client")


class Terminal:
    """Runs `yard` with these arguments; `raw` is all that it wrote."""

    def __init__(self, *arguments: str, cwd: Path, columns: int = 80, lines: int = 30, **environ: str) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        env |= {"PYTHONPATH": SOURCE, "TERM": "xterm-256color", "PYTHONUTF8": "1", **environ}
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-W", "error", "-m", "gpuyard", *arguments],
            cwd=cwd,
            env=env,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def until(self, true: Callable[[], bool], *, limit_s: float = 30) -> None:
        """Read until it is true of the screen."""
        deadline = time.monotonic() + limit_s
        while not true():
            assert time.monotonic() < deadline, self.text
            assert self.read(), f"ended early:\n{self.text}"

    def shows(self, said: str) -> None:
        """Read until the screen shows it."""
        self.until(lambda: said in self.text)

    def read(self) -> bool:
        """Take what comes within a moment; False at the end."""
        if not select.select([self.ours], [], [], 0.2)[0]:
            return True
        try:
            chunk = os.read(self.ours, 65536)
        except OSError:  # The other side has closed.
            return False
        self.raw += chunk
        self.stream.feed(chunk)
        return bool(chunk)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.ours, keys.encode())

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self.read():
            if self.process.poll() is not None and not select.select([self.ours], [], [], 0.2)[0]:
                break
        return self.process.wait(timeout=30)

    def close(self) -> None:
        """End whatever still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self.ours)
