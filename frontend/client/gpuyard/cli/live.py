"""The live view of a run on a terminal: one frame that is drawn anew, and stays as it was when it ends."""

import os
import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gpuyard.cli.output import Output
from gpuyard.cli.story import Story

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from gpuyard import objects

REFRESH_PER_S = 2.0
WIDTH_MIN, HEIGHT_MIN, WIDTH_MAX = 40, 12, 140


def fits(out: Output) -> bool:
    """Whether the terminal can show it: one that can move its cursor, knows the characters, and has room."""
    if not out.is_terminal or os.environ.get("TERM", "") in ("dumb", "unknown"):
        return False
    if (sys.stdout.encoding or "").lower().replace("-", "") != "utf8":
        return False
    columns, lines = os.get_terminal_size(sys.stdout.fileno())
    return (columns == 0 or columns >= WIDTH_MIN) and (lines == 0 or lines >= HEIGHT_MIN)


class LiveTeller:
    """Takes the objects that `Follower.watch` yields and draws them."""

    types = ("event", "metrics", "log")

    def __init__(self, quote: "objects.Quote | None", console: "Console | None" = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self.story = Story(quote=quote)
        self.hint = True
        self.console = console or Console(highlight=False)
        self.live = Live(
            console=self.console,
            get_renderable=self.draw,
            refresh_per_second=REFRESH_PER_S,
            vertical_overflow="crop",
            transient=False,
        )

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.hint = False  # What stays on the screen needs no hint any more.
        self.live.stop()

    def tell(self, seen: dict[str, Any]) -> None:
        """One object of the stream."""
        self.story.take(seen, now=datetime.now(UTC).timestamp())

    def notice(self, said: str) -> None:
        """A remark on the broker: shown in the frame until it is back."""
        self.story.notice = "" if said == "broker is back" else said

    def draw(self) -> "RenderableType":
        """The frame of this moment, with how to leave it below."""
        from rich.console import Group
        from rich.text import Text

        from gpuyard.cli.frame import frame

        width, height = self.console.size
        picture = frame(self.story, width=min(width, WIDTH_MAX), height=height - 2, now=datetime.now(UTC))
        if not self.hint:
            return picture
        return Group(picture, Text(), Text("Ctrl-C leaves; the run goes on.", style="dim", no_wrap=True))
