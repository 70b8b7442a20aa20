"""Quotes on a terminal: a plan of one row a site, with what it costs, when it is done, and how sure that is."""

from typing import TYPE_CHECKING

from gpuyard import objects
from gpuyard.cli.output import printable, rough, rough_range
from gpuyard.money import dollars

if TYPE_CHECKING:
    from rich.console import RenderableType


WIDE, WIDEST, NARROW, NARROWEST = 110, 140, 90, 70


def show(quotes: list[objects.Quote]) -> None:
    """Print them, fitted to the terminal."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print(table(quotes, width=console.width))


def table(quotes: list[objects.Quote], *, width: int) -> "RenderableType":
    """The plans, best first. Wide terminals see chances and carbon too."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    wide, widest = width >= WIDE, width >= WIDEST
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False)
    shown.add_column("#", justify="right", no_wrap=True, style="bold")
    shown.add_column("Where", overflow="fold", min_width=16)
    if width >= NARROWEST:
        shown.add_column("$/h", justify="right", no_wrap=True)
    shown.add_column("Cost to finish", justify="right", no_wrap=True)
    shown.add_column("Done in", justify="right", no_wrap=True)
    if wide:
        shown.add_column("Best at", overflow="fold")
        shown.add_column("In time", justify="right", no_wrap=True)
        shown.add_column("Quote", justify="right", no_wrap=True, style="dim")
    if widest:
        shown.add_column("Speed", no_wrap=True)
        shown.add_column("CO2e", justify="right", no_wrap=True)
    for each in quotes:
        outcome = each["outcome"]
        cells = [
            Text(str(each["rank"])),
            where(each, width=width),
            *([Text(dollars(each["usd_per_hour"]))] if width >= NARROWEST else []),
            two(dollars(each["cost_usd"]), cost_range(outcome)),
            two(rough(each["finish_s"]), finish_range(outcome)),
        ]
        if wide:
            chance = percent(outcome["deadline_chance"] if outcome else None)
            cells += [Text(", ".join(each["labels"]) or "-"), Text(chance), Text(str(each["id"]))]
        if widest:
            cells += [speed(each["speed"]), Text(carbon(outcome))]
        shown.add_row(*cells)
    return shown


def speed(found: objects.Speed) -> "RenderableType":
    """Samples a second, and how we know."""
    rate = found["samples_per_s"]
    return two(f"{rate:,.4g}/s", found["source"]) if rate is not None else two("-", found["source"])


def where(quote: objects.Quote, *, width: int) -> "RenderableType":
    """The sites, one a row, each with its machines; where room is short, their market and labels too."""
    from rich.text import Text

    text, narrow = Text(), "\n  " if width < NARROW else "  "
    for number, site in enumerate(quote["sites"]):
        chips = f"{site['nodes'] * site['accelerators']} x {site['accelerator']} {site['market'].replace('_', '-')}"
        text.append("\n" if number else "")
        text.append(printable(site["site"]), style="bold")
        text.append(f"{narrow}{printable(chips)}")
    if width < WIDE and quote["labels"]:
        text.append(f"\n{', '.join(quote['labels'])}", style="green")
    return text


def two(first: str, second: str) -> "RenderableType":
    """The most likely value, and in how wide a range it may lie."""
    from rich.text import Text

    return Text.assemble((first, "bold"), (f"\n{second}" if second else "", "dim"))


def cost_range(outcome: objects.Outcome | None) -> str:
    """What it costs in eight of ten futures."""
    return f"{dollars(outcome['cost_usd']['p10'])} to {dollars(outcome['cost_usd']['p90'])}" if outcome else ""


def finish_range(outcome: objects.Outcome | None) -> str:
    """When it is done in eight of ten futures."""
    return rough_range(outcome["finish_s"]["p10"], outcome["finish_s"]["p90"]) if outcome else ""


def percent(share: float | None) -> str:
    """A chance for people."""
    return "-" if share is None else f"{100 * share:.0f} %"


def carbon(outcome: objects.Outcome | None) -> str:
    """What the run's power emits."""
    return "-" if outcome is None or outcome["carbon_kg"] is None else f"{outcome['carbon_kg']:.3g} kg"
