"""One frame of the live view of a run, fitted to the terminal: facts, loss, sites, events, log."""

import re
from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from gpuyard import objects
from gpuyard.cli.chart import curve
from gpuyard.cli.output import duration, printable, rough, rough_range, text
from gpuyard.cli.story import Story, forecast_usd, left_s, open_sites, usd_per_hour
from gpuyard.cli.times import offset
from gpuyard.cli.words import plainly
from gpuyard.money import dollars

SIGNS = {
    "placing": ("◌", "cyan"),
    "starting": ("◔", "cyan"),
    "running": ("●", "green"),
    "recovering": ("◑", "yellow"),
    "stopping": ("◕", "yellow"),
    "succeeded": ("✓", "green"),
    "failed": ("✗", "red"),
    "cancelled": ("■", "yellow"),
}
# (name, rows around it, rows at least, rows at most) of each part, the most important first.
PARTS = (("sites", 2, 2, 8), ("loss", 3, 3, 8), ("events", 2, 2, 5), ("log", 2, 2, 6))
LABEL = 10


def frame(story: Story, *, width: int, height: int, now: datetime) -> RenderableType:
    """All that fits into width x height; what matters least is left out first."""
    workload = story.workload
    if workload is None:
        return Text(story.notice or "Asking the broker ...", style="dim")
    said = fact_rows(story, workload, now)
    parts: list[RenderableType] = [header(story, workload, now), Rule(style="dim"), facts(said)]
    sites = site_rows(story, workload)
    events = [event for event in story.events if event["subject"] != "round" or event["to"] != "open"]
    there = {"sites": len(sites), "loss": 99 if len(story.curve.points) > 1 else 0, "events": len(events),
             "log": len(story.logs)}  # fmt: skip
    rows = allotted(height - 2 - len(said), there)
    if rows["loss"]:
        parts += [Text(), *loss_chart(story, width=width, height=rows["loss"])]
    if rows["sites"]:
        parts += [Text(), sites_table(sites, rows["sites"], width)]
    if rows["events"]:
        parts += [Text(), *event_lines(events[-rows["events"] :], workload, width)]
    if rows["log"]:
        parts += [Text(), *log_lines(list(story.logs)[-rows["log"] :], width)]
    return Group(*parts)


def allotted(room: int, there: dict[str, int]) -> dict[str, int]:
    """How many rows each part gets of `room`: first all the least they need, in order, then one more each in turn."""
    rows = {name: 0 for name, *_ in PARTS}
    for name, around, least, _ in PARTS:
        wanted = min(least, there[name])
        if wanted and room >= around + wanted:
            rows[name], room = wanted, room - around - wanted
    growing = True
    while growing:
        growing = False
        for name, _, _, most in PARTS:
            if room > 0 and 0 < rows[name] < min(most, there[name]):
                rows[name], room, growing = rows[name] + 1, room - 1, True
    return rows


def header(story: Story, workload: objects.Workload, now: datetime) -> RenderableType:
    """Which run, and how it fares."""
    sign, colour = SIGNS.get(workload["state"], ("○", "cyan"))
    left = Text.assemble((printable(workload["name"]), "bold"), (f"  workload {workload['id']}", "dim"))
    state = workload["state"] + (f" ({workload['end_reason']})" if workload["end_reason"] else "")
    right = Text.assemble((f"{sign} {state}", colour), (f"  {running(workload, now)}", "dim"))
    if story.notice:
        right = Text(f"⚠ {printable(story.notice)}", style="yellow")
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    grid.add_column(no_wrap=True, overflow="ellipsis", justify="right")
    grid.add_row(left, right)
    return grid


def running(workload: objects.Workload, now: datetime) -> str:
    """For how long it runs, or ran."""
    if not workload["started_at"]:
        return ""
    until = datetime.fromisoformat(workload["ended_at"]) if workload["ended_at"] else now
    return duration(max((until - datetime.fromisoformat(workload["started_at"])).total_seconds(), 0))


def facts(rows: Sequence[tuple[str, RenderableType]]) -> RenderableType:
    """Progress, speed, finish and cost, one a row."""
    grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
    grid.add_column(width=LABEL, style="dim", no_wrap=True)
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for label, said in rows:
        grid.add_row(label, said)
    return grid


def fact_rows(story: Story, workload: objects.Workload, now: datetime) -> list[tuple[str, RenderableType]]:
    """(label, what is to be said of it)."""
    speed = story.pace.samples_per_s(workload, now.timestamp())
    left = left_s(workload, now.timestamp())
    rows: list[tuple[str, RenderableType]] = [
        ("Progress", progress(workload)),
        ("Speed", speed_line(workload, speed)),
        ("Finish", finish_line(story, workload, left, now)),
        ("Cost", cost_line(story, workload)),
    ]
    if workload["why"]:
        rows.append(("Why", Text(printable(workload["why"]).replace("\n", " "), style="yellow")))
    return rows


def progress(workload: objects.Workload) -> RenderableType:
    """The bar of merged samples, and their number."""
    samples = workload["samples"]
    merged, total = samples["merged"], samples["total"]
    if not total:
        return Text(f"{merged:,} samples")
    grid = Table.grid(expand=True, padding=(0, 1, 0, 0))
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    bar = ProgressBar(
        total=total, completed=merged, complete_style="cyan", finished_style="green", style="bright_black"
    )
    grid.add_row(bar, f"{100 * merged // total} %  {merged:,} of {total:,}")
    return grid


def speed_line(workload: objects.Workload, speed: float | None) -> Text:
    """Samples a second, and how far the shared parameters are."""
    said = f"{speed:,.3g} samples/s" if speed and speed < 100 else f"{speed:,.0f} samples/s" if speed else "-"
    more = [f"version {workload['version']}"] if workload["version"] is not None else []
    more += [f"step {workload['step']:,}"] if workload["step"] else []
    return Text.assemble(said, (f"  {', '.join(more)}", "dim"))


def finish_line(story: Story, workload: objects.Workload, left: float | None, now: datetime) -> Text:
    """When it will be done, and what was promised."""
    promised = ""
    if story.quote and story.quote["outcome"]:
        spread = story.quote["outcome"]["finish_s"]
        promised = f"  quoted {rough(spread['p50'])} ({rough_range(spread['p10'], spread['p90'])})"
    if workload["ended_at"]:
        at = datetime.fromisoformat(workload["ended_at"]).astimezone()
        return Text.assemble(f"at {at:%H:%M}{offset(at)}", (promised, "dim"))
    if left is None:
        return Text.assemble("-", (promised, "dim"))
    at = datetime.fromtimestamp(now.timestamp() + left).astimezone()
    day = f"{at:%Y-%m-%d} " if left > 20 * 3600 else ""
    return Text.assemble(f"in {rough(left)}, {day}{at:%H:%M}{offset(at)}", (promised, "dim"))


def cost_line(story: Story, workload: objects.Workload) -> Text:
    """Spent so far against the budget, what it comes to, and what was promised."""
    spent, budget = workload["spent_usd"], workload["budget_usd"]
    share = float(spent) / float(budget) if budget and float(budget) else 0.0
    said = Text()
    said.append(dollars(spent), style="red" if share >= 1 else "yellow" if share >= 0.8 else "")
    said.append(f" of {dollars(budget)}" if budget else "")
    forecast = forecast_usd(workload)
    if forecast is not None:
        over = workload["forecast"]["over_budget"]
        said.append(f"  to finish {dollars(forecast)}", style="yellow" if over else "")
    rate = usd_per_hour(workload)
    if rate and workload["state"] not in objects.ENDED:
        said.append(f"  {dollars(f'{rate:.6f}')}/h")
    if story.quote and story.quote["outcome"]:
        cost = story.quote["outcome"]["cost_usd"]
        quoted = f"  quoted {dollars(cost['p50'])} ({dollars(cost['p10'])} to {dollars(cost['p90'])})"
        said.append(quoted, style="dim")
    return said


def loss_chart(story: Story, *, width: int, height: int) -> list[Text]:
    """The loss over time, with its highest and lowest value at the left and its times below."""
    points = story.curve.points
    span = max(width - LABEL - 1, 8)
    rows, (low, high) = curve(points, width=span, height=height)
    lines = [
        Text.assemble(
            ("Loss".ljust(LABEL), "dim"), " ", (f"{story.loss:.4f}" if story.loss is not None else "-", "bold")
        )
    ]
    for number, row in enumerate(rows):
        said = f"{high:.4g}" if number == 0 else f"{low:.4g}" if number == height - 1 else ""
        lines.append(Text.assemble((f"{said:>{LABEL}} ", "dim"), (row, "cyan")))
    first, last = (datetime.fromtimestamp(points[index][0]).astimezone() for index in (0, -1))
    day = "%m-%d " if (last - first).total_seconds() > 20 * 3600 else ""
    ends = f"{first:{day}%H:%M}", f"{last:{day}%H:%M}{offset(last)}"
    lines.append(Text(" " * (LABEL + 1) + ends[0] + ends[1].rjust(span - len(ends[0])), style="dim"))
    return lines


def site_rows(story: Story, workload: objects.Workload) -> list[list[str]]:
    """A row for each machine; those of the quote while there are none."""
    rows = [
        [
            site["site"] if number == 0 else "",
            f"{node['accelerators']} x {node['accelerator']}",
            text(node["host"]),
            dollars(node["usd_per_hour"]),
            site["state"] if node["state"] == "held" else node["state"],
            usage_of(node),
        ]
        for site in open_sites(workload)
        for number, node in enumerate(each for each in site["nodes"] if each["closed_at"] is None)
    ]
    if rows or workload["state"] in objects.ENDED or not story.quote:
        return rows
    return [
        [
            site["site"],
            f"{site['nodes'] * site['accelerators']} x {site['accelerator']}",
            "-",
            dollars(site["usd_per_hour"]),
            "planned",
            "",
        ]
        for site in story.quote["sites"]
    ]


def usage_of(node: objects.Node) -> str:
    """How busy the machine is: its accelerators, or else its processors."""
    usage = node.get("usage") or {}
    busy = [each.get("utilisation_percent") for each in usage.get("accelerators") or []]
    known = [each for each in busy if each is not None]
    if known:
        return f"{sum(known) / len(known):.0f} %"
    return f"{usage['cpu_percent']:.0f} % CPU" if usage.get("cpu_percent") is not None else ""


def sites_table(rows: Sequence[Sequence[str]], shown: int, width: int) -> RenderableType:
    """The machines; on a narrow terminal without their names and prices."""
    heads = ["Site", "Machine", "Host", "$/h", "State", "Busy"]
    keep = [0, 1, 4, 5] if width < 72 else [0, 1, 2, 3, 4, 5]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for index in keep:
        right = heads[index] in ("$/h", "Busy")
        table.add_column(heads[index], justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    for row in rows[: shown - (len(rows) > shown)]:
        table.add_row(*(styled(heads[index], row[index]) for index in keep))
    if len(rows) <= shown:
        return table
    return Group(table, Text(f"and {len(rows) - shown + 1} more: yard show", style="dim"))


def styled(head: str, cell: str) -> Text:
    """A cell; states carry a colour beside their word."""
    colours = {"training": "green", "draining": "yellow", "lost": "red", "planned": "dim"}
    return Text(printable(cell), style=colours.get(cell, "cyan") if head == "State" else "")


def event_lines(events: Sequence[objects.Event], workload: objects.Workload, width: int) -> list[Text]:
    """The newest moves, in plain words."""
    lines = [Text("Events", style="dim")]
    for event in events:
        at = datetime.fromisoformat(event["at"]).astimezone()
        said = printable(plainly(event, workload)).replace("\n", " ")
        lines.append(fitted(Text.assemble((f"{at:%H:%M:%S}  ", "dim"), said), width))
    return lines


def log_lines(logs: Sequence[objects.LogLine], width: int) -> list[Text]:
    """The newest lines of the scripts, with their site where there are several."""
    several = len({line["site"] for line in logs}) > 1
    lines = [Text("Log", style="dim")]
    for line in logs:
        where = f"{line['site']} " if several else ""
        lines.append(fitted(Text.assemble((where, "dim"), written(line["text"])), width))
    return lines


def written(text: str) -> str:
    """What a line of a log shows in the end: without colours, and of a bar that was drawn anew its last state."""
    return printable(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.rstrip("\r\n")).split("\r")[-1]).expandtabs(4)


def fitted(line: Text, width: int) -> Text:
    """One row of the terminal, cut off where it ends."""
    line.truncate(width, overflow="ellipsis")
    line.no_wrap = True
    return line
