"""Keys as they are pressed, without Enter, where the terminal can do that."""

import sys
import time
from types import TracebackType
from typing import Any, Self


class Keyboard:
    """While it is entered, keys come one by one and are not echoed; Ctrl-C still interrupts."""

    def __init__(self) -> None:
        self.before: list[Any] | None = None

    def __enter__(self) -> Self:
        if sys.platform != "win32" and sys.stdin.isatty():
            import termios
            import tty

            self.before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if sys.platform != "win32" and self.before is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self.before)

    def pressed(self, *, within_s: float) -> str:
        """The next key, or "" when none was pressed in time."""
        if sys.platform == "win32":
            return self.pressed_on_windows(within_s)
        if self.before is None:
            time.sleep(within_s)
            return ""
        import os
        import select

        ready, _, _ = select.select([sys.stdin], [], [], within_s)
        return os.read(sys.stdin.fileno(), 1).decode(errors="replace") if ready else ""

    def pressed_on_windows(self, within_s: float) -> str:
        """The same, by Windows' own console calls."""
        import importlib

        console: Any = importlib.import_module("msvcrt")
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            if console.kbhit():
                return str(console.getwch())
            time.sleep(0.05)
        return ""
