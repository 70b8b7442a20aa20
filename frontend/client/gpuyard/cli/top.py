"""`yard top`: all that runs, on one screen."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpuyard import objects
from gpuyard.cli.chart import sparkline
from gpuyard.cli.flags import JsonFlag
from gpuyard.cli.output import Output, poll_s, printable, rough
from gpuyard.cli.session import connect
from gpuyard.cli.story import Story, forecast_usd, left_s, open_sites, usd_per_hour
from gpuyard.errors import BrokerFailed, BrokerUnreachable, GpuyardError
from gpuyard.money import dollars
from gpuyard.paging import every

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gpuyard.client import Client

LIVE = ("running", "recovering", "starting", "placing", "stopping")
SPARKS = 12
HEADS = ["id", "name", "state", "done", "samples/s", "loss", "trend", "cost/budget", "to finish", "left", "sites"]
RIGHT = ["id", "done", "samples/s", "loss", "cost/budget", "to finish", "left"]
# What a terminal without room for all does without, first to go first.
SPARE = ["to finish", "samples/s", "sites", "trend", "loss", "name"]
NAME_MAX, SITES_MAX = 24, 30


def top(
    once: Annotated[bool, typer.Option("--once", help="One look, also where there is no terminal.")] = False,
    json: JsonFlag = False,
) -> None:
    """All your running workloads, live: state, pace, loss, cost and finish. q or Ctrl-C leaves."""
    out = Output(json=json)
    board = Board(connect())
    if once or json or not out.is_terminal:
        board.look()
        out.document(board.document())
        board.tell(out)
        return
    from gpuyard.cli.keyboard import Keyboard

    try:
        show(board, Keyboard())
    except KeyboardInterrupt:
        return  # That is how one leaves it.


def show(board: "Board", keyboard: Any) -> None:
    """Draw until somebody leaves. Raises: GpuyardError (not for absence)."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    board.look()
    draw = lambda: board.draw(console.width, console.height)  # noqa: E731 - what the screen shows
    with keyboard, Live(console=console, screen=True, auto_refresh=False, get_renderable=draw) as live:
        while True:
            live.refresh()
            if keyboard.pressed(within_s=max(poll_s(), 1.0)) in ("q", "Q"):
                return
            board.look_if_there()


class Board:
    """The workloads that have not ended, and what was seen of each."""

    def __init__(self, client: "Client") -> None:
        self.client = client
        self.stories: dict[int, Story] = {}
        self.losses: dict[int, list[float]] = {}
        self.notice = ""
        self.me: objects.Me | None = None
        self.me_at = 0.0

    def look(self) -> None:
        """Ask for all of it. Raises: GpuyardError."""
        now = datetime.now(UTC).timestamp()
        rows = [row for state in LIVE for row in self.of_state(state)]
        ids = {row["id"] for row in rows}
        self.stories = {number: story for number, story in self.stories.items() if number in ids}
        for row in rows:
            story = self.stories.setdefault(row["id"], Story())
            story.take({"type": "workload", "workload": row}, now=now)
            self.remember(row)
        if self.me is None or time.monotonic() - self.me_at > 30:
            self.me, self.me_at = self.client.me(), time.monotonic()
        self.notice = ""

    def look_if_there(self) -> None:
        """The same; a broker that is away leaves what was seen. Raises: GpuyardError."""
        try:
            self.look()
        except (BrokerUnreachable, BrokerFailed) as error:
            self.notice = f"broker unreachable, waiting ({error.message})"

    def of_state(self, state: str) -> Iterator[objects.Workload]:
        """One's workloads of a state."""
        return every(lambda cursor: self.client.workloads(state=state, cursor=cursor), limit=200)

    def remember(self, row: objects.Workload) -> None:
        """Keep its loss; what was before the first look is taken from its rounds."""
        number = row["id"]
        if number not in self.losses:
            try:
                self.losses[number] = [loss for loss in map(loss_of, self.client.rounds(number)) if loss is not None]
            except GpuyardError:
                self.losses[number] = []
        past = self.losses[number]
        if row["loss"] is not None and (not past or past[-1] != row["loss"]):
            past.append(row["loss"])
        del past[:-400]

    def rows(self) -> list[dict[str, Any]]:
        """What is shown of each, as numbers."""
        now = datetime.now(UTC).timestamp()
        rows = []
        for number, story in sorted(self.stories.items(), reverse=True):
            workload = story.workload
            if workload is None:
                continue
            speed = story.pace.samples_per_s(workload, now)
            rows.append(
                {
                    "workload": workload,
                    "samples_per_s": speed,
                    "left_s": left_s(workload, now),
                    "usd_per_hour": f"{usd_per_hour(workload):.6f}",
                    "forecast_usd": forecast_usd(workload),
                    "losses": self.losses.get(number, []),
                }
            )
        return rows

    def document(self) -> dict[str, Any]:
        """The frame for programs."""
        return {"results": [{**row, "losses": row["losses"][-100:]} for row in self.rows()]}

    def tell(self, out: Output) -> None:
        """The frame as plain text."""
        rows = self.rows()
        if not rows:
            out.line("Nothing runs. yard run SCRIPT begins something; yard ps shows what has ended.")
            return
        out.line(self.summary(rows))
        out.table(HEADS, [cells(row) for row in rows], right=RIGHT)

    def summary(self, rows: list[dict[str, Any]]) -> str:
        """All of it in one line."""
        rate = sum(float(row["usd_per_hour"]) for row in rows)
        spent = sum(float(row["workload"]["spent_usd"]) for row in rows)
        count = "1 workload" if len(rows) == 1 else f"{len(rows)} workloads"
        said = f"{count}, {dollars(f'{rate:.4f}')}/h, {dollars(f'{spent:.4f}')} spent"
        return f"{said}, {dollars(self.me['available_usd'])} free to use" if self.me else said

    def draw(self, width: int, height: int) -> "RenderableType":
        """The frame on a terminal."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        rows = self.rows()
        title = Text.assemble(("yard top  ", "bold"), self.summary(rows) if rows else "nothing runs")
        if self.notice:
            title = Text(f"⚠ {self.notice}", style="yellow")
        title.truncate(width, overflow="ellipsis")
        shown = [cells(row) for row in rows[: max(height - 5, 1)]]
        keep = fitting(shown, width)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", expand=False)
        for head in keep:
            table.add_column(head, justify="right" if head in RIGHT else "left", no_wrap=True, overflow="ellipsis")
        for row in shown:
            table.add_row(*(coloured(head, cell) for head, cell in zip(HEADS, row, strict=True) if head in keep))
        clock = f"{datetime.now().astimezone():%H:%M:%S}"
        return Group(title, Text(), table, Text(), Text(f"q leaves  {clock}", style="dim"))


def fitting(rows: list[list[str]], width: int) -> list[str]:
    """The columns that there is room for."""
    needs = {head: max([len(head), *(len(row[index]) for row in rows)]) + 2 for index, head in enumerate(HEADS)}
    needs["state"] += 2  # Its sign.
    for spare in SPARE:
        if sum(needs.values()) - 2 <= width:
            break
        del needs[spare]
    return list(needs)


def clipped(said: str, most: int) -> str:
    """Cut off where it is too long."""
    return said if len(said) <= most else said[: most - 1] + "…"


def loss_of(row: objects.Round) -> float | None:
    """The mean loss of a round's sites."""
    found = [each["loss"] for each in row["contributors"] if each["loss"] is not None]
    return sum(found) / len(found) if found else None


def cells(row: dict[str, Any]) -> list[str]:
    """One workload as text, in the order of HEADS."""
    workload: objects.Workload = row["workload"]
    samples, speed = workload["samples"], row["samples_per_s"]
    return [
        str(workload["id"]),
        clipped(printable(workload["name"]), NAME_MAX),
        workload["state"],
        f"{100 * samples['merged'] // samples['total']} %" if samples["total"] else f"{samples['merged']:,}",
        "-" if speed is None else f"{speed:,.3g}" if speed < 100 else f"{speed:,.0f}",
        "-" if workload["loss"] is None else f"{workload['loss']:.4f}",
        sparkline(row["losses"][-200:], SPARKS),
        dollars(workload["spent_usd"]) + (f"/{dollars(workload['budget_usd'])}" if workload["budget_usd"] else ""),
        dollars(row["forecast_usd"]),
        rough(row["left_s"]),
        clipped(", ".join(site["site"] for site in open_sites(workload)), SITES_MAX) or "-",
    ]


def coloured(head: str, cell: str) -> Any:
    """A cell; states carry a colour beside their word."""
    from rich.text import Text

    from gpuyard.cli.frame import SIGNS

    if head == "state":
        sign, colour = SIGNS.get(cell, ("○", "cyan"))
        return Text(f"{sign} {cell}", style=colour)
    return Text(cell, style="cyan" if head == "trend" else "")
