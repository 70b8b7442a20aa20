"""`yard run`: pack, quote, choose, order, follow, take the model home. JSON shapes: see `gpuyard.watch`."""

import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpuyard import objects
from gpuyard.cli import completing, flags
from gpuyard.cli.follow import Wait, attend
from gpuyard.cli.market import show_excluded, show_quotes
from gpuyard.cli.output import Output, size
from gpuyard.cli.session import connect
from gpuyard.errors import NeedUnmet

if TYPE_CHECKING:
    from gpuyard.client import Client
    from gpuyard.pack import Program


Args = Annotated[list[str] | None, typer.Argument(metavar="[-- ARGS...]", help="What the script gets, after a --.")]
Script = Annotated[
    Path,
    typer.Argument(metavar="SCRIPT", help="The Python script or notebook to run.", autocompletion=completing.scripts),
]
Priority = Annotated[
    int, typer.Option(min=-100, max=100, help="Below 0 lets others go first; above needs the scope operate.")
]
QuoteId = Annotated[int | None, typer.Option(min=1, metavar="ID", help="Order this quote of `yard quote`.")]
Once = Annotated[
    str | None, typer.Option("--idempotency-key", metavar="TEXT", help="Ordered twice with it, it runs once.")
]
Pull = Annotated[Path | None, typer.Option(metavar="PATH", help="At the end, bring the model here.")]


def run(
    script: Script,
    args: Args = None,
    workdir: Annotated[Path | None, typer.Option(help="Send this folder, not the script alone.")] = None,
    requirements: Annotated[Path | None, typer.Option(help="Packages that the script needs.")] = None,
    name: Annotated[str | None, typer.Option(help="A name of your choice.")] = None,
    gpu: flags.Gpu = None,
    sites: flags.Sites = None,
    min_memory: flags.MinMemory = None,
    provider: flags.Providers = None,
    region: flags.Regions = None,
    country: flags.Countries = None,
    market: flags.Markets = None,
    samples: flags.SamplesToDo = None,
    speed: flags.SamplesPerS = None,
    deadline: flags.Deadline = None,
    budget: flags.Budget = None,
    wish: flags.Wished = None,
    priority: Priority = 0,
    resume: flags.Resume = None,
    quote: QuoteId = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Take the best quote without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Pack and quote; order nothing.")] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return as soon as it is ordered.")] = False,
    wait: Wait = False,
    pull: Pull = None,
    once: Once = None,
    json: flags.JsonFlag = False,
) -> None:
    """Train a script where it is cheapest to finish, and follow it to the end.

    Ctrl-C stops following; the workload goes on. Exit codes: 0 succeeded, 4 no capacity, 5 over budget, 10 failed,
    11 cancelled, 12 preempted out.
    """
    wishes = flags.Wishes(
        gpu, sites, min_memory, provider, region, country, market, samples, speed, deadline, budget, wish
    )
    how = How(yes=yes, dry_run=dry_run, detach=detach, wait=wait, pull=pull, json=json)
    check(wishes, how, quote=quote)
    from gpuyard.pack import pack

    program = pack(script=script, workdir=workdir, requirements=requirements)
    asked = Asked(args=args or [], name=name, budget=budget, priority=priority, resume=resume, once=once)
    go(program, wishes, asked, how, quote=quote)


@dataclass(frozen=True)
class How:
    """What happens before and after the order."""

    yes: bool
    dry_run: bool
    detach: bool
    wait: bool
    pull: Path | None
    json: bool


@dataclass(frozen=True)
class Asked:
    """What an order says beside its quote."""

    args: list[str]
    name: str | None
    budget: Decimal | None
    priority: int
    resume: objects.Resumed | None
    once: str | None


def go(program: "Program", wishes: flags.Wishes, asked: Asked, how: How, *, quote: int | None) -> None:
    """Quote, choose, order, follow. Raises: GpuyardError, typer.Exit with the code of its end."""
    out, client = Output(json=how.json), connect()
    tell_program(out, program)
    chosen = quote or choose(out, client, wishes, program=program, yes=how.yes, dry_run=how.dry_run)
    if how.dry_run or chosen is None:
        out.row({"type": "dry_run", "program": program.sha256})
        out.line("Nothing was ordered.")
        return
    workload = order(client, program, asked, quote=chosen)
    out.line(f"Ordered workload {workload['id']} ({workload['name']}).")
    if how.detach:
        out.row({"type": "workload", "workload": workload})
        out.row({"type": "detached", "workload": workload["id"]})
        out.line(f"It runs without you. Follow it: yard watch {workload['id']}. End it: yard stop {workload['id']}.")
        return
    raise typer.Exit(attend(out, workload["id"], pull_to=how.pull, quiet=how.wait))


def check(wishes: flags.Wishes, how: How, *, quote: int | None) -> None:
    """Raises: typer.BadParameter for flags that cannot go together."""
    beside = [flag for flag, given in (("--dry-run", how.dry_run), ("--yes", how.yes)) if given]
    if quote and (wishes.need_quoting or beside):
        raise typer.BadParameter("it is chosen already: leave out --yes, --dry-run and the need", param_hint="--quote")
    if how.pull and (how.detach or how.dry_run):
        raise typer.BadParameter(
            "there is no end to wait for; use `yard pull ID` later, or leave out --detach and --dry-run",
            param_hint="--pull",
        )
    if how.wait and (how.detach or how.dry_run):
        raise typer.BadParameter("leave out --detach and --dry-run: they do not wait", param_hint="--wait")
    if not (quote or how.yes or how.dry_run) and (how.json or not sys.stdin.isatty()):
        raise typer.BadParameter("nobody is there to choose a quote: add --yes, --quote ID or --dry-run")


def tell_program(out: Output, program: "Program") -> None:
    """What was packed, and what was left out."""
    told = {"sha256": program.sha256, "size_bytes": program.size_bytes, "script": program.script}
    out.row({"type": "program", **told, "files": list(program.files)})
    count = len(program.files)
    files = "1 file" if count == 1 else f"{count} files"
    out.line(f"Packed {program.script}: {files}, {size(program.size_bytes)}, sha256 {program.sha256[:12]}")
    if program.left_out:
        more = ", ..." if len(program.left_out) > 8 else ""
        out.note(f"Left out: {', '.join(program.left_out[:8])}{more}")


def choose(
    out: Output, client: "Client", wishes: flags.Wishes, *, program: "Program", yes: bool, dry_run: bool
) -> int | None:
    """Quote the need, show the quotes, and have one chosen; None = none. Raises: NeedUnmet."""
    answer: Any = client.create_quotes(wishes.need(program=program.tar_sha256))
    out.row({"type": "quotes", **answer})
    quotes: list[objects.Quote] = answer["quotes"]
    show_quotes(out, quotes)
    show_excluded(out, answer)
    if not quotes:
        raise NeedUnmet("no offer meets the need")
    if dry_run:
        return None
    if yes:
        return quotes[0]["id"]
    ranks = {str(each["rank"]): each["id"] for each in quotes}
    while True:
        said = str(typer.prompt("Which rank? (n = none)", default=str(quotes[0]["rank"]), err=True)).strip().lower()
        if said in ranks:
            return ranks[said]
        if said in ("n", "no", "none", "q"):
            return None
        out.note(f"There is no rank {said}.")


def order(client: "Client", program: "Program", asked: Asked, *, quote: int) -> objects.Workload:
    """Hand the program over and order. Raises: GpuyardError."""
    client.put_program(program.sha256, content=program.content)
    try:
        return client.create_workload(
            quote=quote,
            program=program.sha256,
            script=program.script,
            args=asked.args,
            name=asked.name,
            budget_usd=asked.budget,
            priority=asked.priority,
            resume=asked.resume,
            idempotency_key=asked.once,
        )
    except KeyboardInterrupt:
        Output(json=False).note("Interrupted while ordering: `yard ps` tells whether the order arrived.")
        raise
