"""What a command says: JSON for programs, rich tables on a terminal, plain aligned text anywhere else."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer

from gpuyard.errors import GpuyardError, InvalidConfig


@dataclass(frozen=True)
class Output:
    """Where a command speaks. Results go to standard output, notes and progress to standard error."""

    json: bool

    @property
    def is_terminal(self) -> bool:
        """Whether a person reads it as it comes."""
        return not self.json and sys.stdout.isatty()

    def document(self, content: Any) -> None:
        """The one JSON document of a command (only with --json)."""
        if self.json:
            typer.echo(json.dumps(content, indent=2))

    def row(self, content: Any) -> None:
        """One JSON object of a stream, on a line of its own (only with --json)."""
        if self.json:
            typer.echo(json.dumps(content, separators=(",", ":")))
            sys.stdout.flush()

    def line(self, text: str = "") -> None:
        """A line for people (never with --json)."""
        if not self.json:
            typer.echo(printable(text))

    def note(self, text: str) -> None:
        """A remark beside the result, on standard error."""
        typer.echo(printable(text), err=True)

    def error(self, text: str) -> None:
        """What went wrong, on standard error; on a terminal that shows colours its first word is red."""
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stderr.isatty()
        head = "Error:" if plain else typer.style("Error:", fg="red", bold=True)
        typer.echo(f"{head} {printable(text)}", err=True)

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
        """A table for people; `right` names the columns of numbers."""
        if self.json:
            return
        cells = [[printable(cell).replace("\n", " ") for cell in row] for row in rows]
        if self.is_terminal:
            rich_table(headers, cells, right=right)
        else:
            plain_table(headers, cells, right=right)


def rich_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str]) -> None:
    """On a terminal, fitted to its width."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header, justify="right" if header in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def plain_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str]) -> None:
    """In a pipe or a file: columns two spaces apart, nothing cut off."""
    lines = [list(headers), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    for line in lines:
        padded = [
            cell.rjust(width) if header in right else cell.ljust(width)
            for cell, width, header in zip(line, widths, headers, strict=True)
        ]
        typer.echo("  ".join(padded).rstrip())


def printable(text: str) -> str:
    """The text without what could steer a terminal: it may come from someone else's machine."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def report(error: GpuyardError, *, as_json: bool) -> int:
    """Tell an error once: for people on standard error, with --json on standard output too. Returns the exit code."""
    out = Output(json=as_json)
    out.row({"type": "error", "error": error.as_dict()})
    out.error(error.message)
    for name, wrong in error.details.items():
        out.note(f"  {name}: {wrong}")
    if error.hint:
        out.note(f"Hint: {error.hint}")
    return error.exit_code


def poll_s() -> float:
    """Seconds between two looks at what is followed: GPUYARD_POLL_S, else 2. Raises: InvalidConfig."""
    text = os.environ.get("GPUYARD_POLL_S", "2")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 3600:
        raise InvalidConfig(f"GPUYARD_POLL_S={text} is not a number of seconds from 0 to 3600", hint="unset it")
    return seconds


def duration(seconds: float | None) -> str:
    """A span for people: 45 s, 3 min 20 s, 5 h 02 min; "-" for None."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def rough(seconds: float | None) -> str:
    """A span to two or three digits, where its end is a guess: 45 s, 21 min, 5.2 h, 3.1 days; "-" for None."""
    return "-" if seconds is None else f"{rough_parts(seconds)[0]} {rough_parts(seconds)[1]}"


def rough_range(low: float, high: float) -> str:
    """From one span to another, with the unit once where it is the same: 9 to 11 min."""
    first, last = rough_parts(low), rough_parts(high)
    if first == last:
        return " ".join(last)
    return f"{first[0]} to {last[0]} {last[1]}" if first[1] == last[1] else f"{' '.join(first)} to {' '.join(last)}"


def rough_parts(seconds: float) -> tuple[str, str]:
    """(number, unit)."""
    for unit, length, upto in (("s", 1, 100), ("min", 60, 100 * 60), ("h", 3600, 48 * 3600)):
        if seconds < upto:
            value = seconds / length
            return (f"{value:.1f}" if unit == "h" else f"{value:.0f}"), unit
    return f"{seconds / 86400:,.1f}", "days"


def size(count: int) -> str:
    """Bytes for people."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def number(value: Any) -> str:
    """A reported value for people: six digits of a number, anything else as it is."""
    return f"{value:.6g}" if isinstance(value, float | int) and not isinstance(value, bool) else str(value)


def text(value: Any) -> str:
    """A cell: "-" for what is not there."""
    return "-" if value is None or value == "" else str(value)
