"""What stands behind `%%yard`: the flags of `yard run`, by the same words, and what only a notebook has."""

import shlex
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from gpuyard.cli import flags
from gpuyard.errors import GpuyardError

HOURS = {"m": 1 / 60, "h": 1.0, "d": 24.0}
GROUPS = frozenset({"EU", "EEA", "GDPR"})


class WrongUsage(GpuyardError):
    """A flag that is not known, or not so."""

    exit_code = 2
    default_code = "usage"
    default_hint = "%%yard --help names every flag"


@dataclass(frozen=True)
class Options:
    """The flags of one cell. pick: the rank of the quote to order; None asks."""

    wishes: flags.Wishes
    name: str | None
    budget: Decimal | None
    priority: int
    requirements: Path | None
    workdir: Path | None
    send: list[str]
    get: list[str]
    pick: int | None
    dry_run: bool
    detach: bool
    pull: Path | None


def hours(text: str) -> float:
    """6h, 30m, 2d, or hours alone. Raises: typer.BadParameter."""
    number, unit = (text[:-1], text[-1]) if text[-1:].lower() in HOURS else (text, "h")
    return flags.positive(number) * HOURS[unit.lower()]


def places(text: str) -> dict[str, list[str]]:
    """EU (or another group of countries), DE, provider/region or a region, several with commas, as fields of a need.

    Raises: typer.BadParameter.
    """
    found: dict[str, list[str]] = {}
    for place in (each.strip() for each in text.split(",")):
        if place.upper() in GROUPS:
            found.setdefault("residency", []).append(place.upper())
        elif len(place) == 2 and place.isalpha():
            found.setdefault("country", []).append(place.upper())
        elif "/" in place:
            provider, _, region = place.partition("/")
            found.setdefault("provider", []).append(provider)
            found.setdefault("region", []).append(region)
        elif place:
            found.setdefault("region", []).append(place)
    if len(found.get("residency", [])) > 1 or not found:
        raise typer.BadParameter(f"{text!r}: name one of {', '.join(sorted(GROUPS))}, or countries, or regions")
    return found


app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})


Deadline = Annotated[float | None, typer.Option(parser=hours, metavar="TIME", help="To be done within: 6h, 30m, 2d.")]
Where = Annotated[
    Any, typer.Option(parser=places, metavar="PLACE", help="EU, EEA, GDPR, a country, a region, provider/region.")
]
Spot = Annotated[bool, typer.Option("--spot", help="Only machines that may be taken away.")]
OnDemand = Annotated[bool, typer.Option("--on-demand", help="Only machines that stay.")]
Requirements = Annotated[Path | None, typer.Option(help="Packages that the cell needs.")]
Workdir = Annotated[Path | None, typer.Option(help="Send this folder along, too.")]
Send = Annotated[str, typer.Option(metavar="NAME,...", help="Names to send along that the cell does not say.")]
Get = Annotated[str, typer.Option(metavar="NAME,...", help="Names that must come home, whatever their size.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Take the best quote without asking.")]
Pick = Annotated[int | None, typer.Option(min=1, metavar="RANK", help="Take this quote without asking.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Pack and quote; order nothing.")]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Return as soon as it is ordered.")]
Pull = Annotated[Path | None, typer.Option(metavar="PATH", help="Keep the model's file here, too.")]
Name = Annotated[str | None, typer.Option(help="A name of your choice.")]
Priority = Annotated[int, typer.Option(min=-100, max=100, help="Below 0 lets others go first.")]


@app.command()
def cell(
    gpu: flags.Gpu = None,
    sites: flags.Sites = None,
    samples: flags.SamplesToDo = None,
    budget: flags.Budget = None,
    deadline: Deadline = None,
    where: Where = None,
    spot: Spot = False,
    on_demand: OnDemand = False,
    requirements: Requirements = None,
    workdir: Workdir = None,
    send: Send = "",
    get: Get = "",
    yes: Yes = False,
    pick: Pick = None,
    dry_run: DryRun = False,
    detach: Detach = False,
    pull: Pull = None,
    name: Name = None,
    priority: Priority = 0,
    min_memory: flags.MinMemory = None,
    provider: flags.Providers = None,
    region: flags.Regions = None,
    country: flags.Countries = None,
    speed: flags.SamplesPerS = None,
    wish: flags.Wished = None,
) -> Options:
    """Train this cell, and what it names, where it is cheapest to finish.

    Shows quotes to choose from, follows the run, and brings home what the cell assigned.
    """
    if pull and (detach or dry_run):
        raise typer.BadParameter("there is no end to wait for: leave out --detach and --dry-run", param_hint="--pull")
    there = {"provider": provider, "region": region, "country": country, "wished": wish}
    wanted = {"gpu": gpu, "sites": sites, "samples": samples, "speed": speed, "min_memory": min_memory,
              "deadline": deadline, "budget": budget, "market": market(spot=spot, on_demand=on_demand)}  # fmt: skip
    said = {"name": name, "budget": budget, "priority": priority, "requirements": requirements, "workdir": workdir,
            "send": listed(send), "get": listed(get), "pick": pick or (1 if yes else None), "dry_run": dry_run,
            "detach": detach, "pull": pull}  # fmt: skip
    return Options(wishes=flags.Wishes(**wanted, **placed(there, where or {})), **said)


def market(*, spot: bool, on_demand: bool) -> list[flags.Market] | None:
    """How machines may be rented; None: either way. Raises: typer.BadParameter."""
    if spot and on_demand:
        raise typer.BadParameter("it is one or the other", param_hint="--spot, --on-demand")
    return [flags.Market.spot] if spot else [flags.Market.on_demand] if on_demand else None


def placed(said: dict[str, Any], where: dict[str, list[str]]) -> dict[str, list[Any]]:
    """The flags that name places, and those that --where stands for."""
    found = {name: [*(values or []), *where.get(name, [])] for name, values in said.items()}
    found["wished"] += [flags.Wish("residency", each) for each in where.get("residency", [])]
    return found


def listed(text: str) -> list[str]:
    """Names with commas between. Raises: typer.BadParameter."""
    names = [each.strip() for each in text.split(",") if each.strip()]
    for name in names:
        if not name.isidentifier():
            raise typer.BadParameter(f"{name!r} is not a name; write --get losses,model")
    return names


def parse(line: str) -> Options | None:
    """The flags of a line; None when it only asked for help. Raises: WrongUsage."""
    try:
        found = typer.main.get_command(app)(args=shlex.split(line), prog_name="%%yard", standalone_mode=False)
    except TyperException as error:
        raise WrongUsage(error.format_message()) from None
    except ValueError as error:
        raise WrongUsage(f"{line!r}: {error}") from None
    return found if isinstance(found, Options) else None
