"""The flags that several commands share, and the need they describe."""

import math
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated, Any, cast

import typer

from gpuyard import objects
from gpuyard.cli import completing
from gpuyard.money import usd


class Market(StrEnum):
    """How a machine is rented."""

    on_demand = "on_demand"
    spot = "spot"


@dataclass(frozen=True)
class Chips:
    """So many accelerators of a kind in each site; `kind` None = any."""

    kind: str | None
    count: int


def amount(text: str) -> Decimal:
    """A positive amount of USD with at most six places. Raises: typer.BadParameter."""
    try:
        value = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or not 0 < value < 10**12 or value != value.quantize(Decimal("0.000001")):
        raise typer.BadParameter(f"{text!r} is not an amount of USD; write it as 12.50")
    return value


def positive(text: str) -> float:
    """A positive number. Raises: typer.BadParameter."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise typer.BadParameter(f"{text!r} is not a positive number")
    return value


def chips(text: str) -> Chips:
    """KIND or KIND:COUNT; the kind `any` means any. Raises: typer.BadParameter."""
    kind, colon, count = text.partition(":")
    if not kind or (colon and not (count.isascii() and count.isdigit() and int(count) > 0)):
        raise typer.BadParameter(f"{text!r} is not KIND or KIND:COUNT; write it as H100-SXM or H100-SXM:8")
    return Chips(kind=None if kind.lower() == "any" else kind, count=int(count) if colon else 1)


def resumed(text: str) -> objects.Resumed:
    """ID or ID@VERSION of a workload. Raises: typer.BadParameter."""
    workload, at, version = text.partition("@")
    if not workload.isdecimal() or (at and not version.isdecimal()):
        raise typer.BadParameter(f"{text!r}: write 12, or 12@180 for version 180 of it")
    return {"workload": int(workload), "version": int(version) if at else None}


LISTS = {name for name in objects.Need.__annotations__ if name.endswith(("providers", "regions", "countries"))}
LISTS |= {"markets", "tiers", "accelerator"}
TEXTS = {"spread", "interconnect", "residency", "budget_usd", "max_usd_per_hour", "max_egress_usd"}
GIVEN_OTHERWISE = {"program", "accelerators_per_site"}


@dataclass(frozen=True)
class Wish:
    """One field of a need."""

    name: str
    value: Any


def wish(text: str) -> Wish:
    """NAME=VALUE of a need, several values with commas between them. Raises: typer.BadParameter."""
    name, equals, value = (part.strip() for part in text.partition("="))
    known = sorted(set(objects.Need.__annotations__) - GIVEN_OTHERWISE)
    if name not in known or not equals or not value:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE; names: {', '.join(known)}")
    if name == "offers":
        return Wish(name, [_number(name, one) for one in value.split(",")])
    if name in LISTS:
        return Wish(name, [one.strip() for one in value.split(",") if one.strip()])
    if name in TEXTS:
        return Wish(name, value)
    if name in ("prefer_own", "queue"):
        if value.lower() not in ("true", "false"):
            raise typer.BadParameter(f"{name} is true or false")
        return Wish(name, value.lower() == "true")
    return Wish(name, _number(name, value))


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise typer.BadParameter(f"{name}: {text!r} is not a number") from None
    return int(number) if number.is_integer() else number


JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
WorkloadId = Annotated[
    int, typer.Argument(metavar="ID", min=1, help="The workload.", autocompletion=completing.workload_ids)
]

Gpu = Annotated[
    Chips | None,
    typer.Option(
        "--gpu",
        parser=chips,
        metavar="KIND[:COUNT]",
        help="Accelerator, and how many in each site: H100-SXM, H100-SXM:8, CPU, any:4. Any, if not given.",
        autocompletion=completing.gpus,
    ),
]
Sites = Annotated[
    int | None, typer.Option(min=1, help="Exactly so many sites; one and several are compared if not given.")
]
MinMemory = Annotated[float | None, typer.Option(parser=positive, metavar="GIB", help="Memory of each accelerator.")]
Providers = Annotated[
    list[str] | None,
    typer.Option("--provider", help="Only there (repeatable).", autocompletion=completing.providers),
]
Regions = Annotated[list[str] | None, typer.Option("--region", help="Only there (repeatable).")]
Countries = Annotated[list[str] | None, typer.Option("--country", help="Only there (repeatable).")]
Markets = Annotated[list[Market] | None, typer.Option("--market", help="Only so (repeatable).")]
SamplesToDo = Annotated[int | None, typer.Option("--samples", min=1, help="The work: samples to train on, in all.")]
SamplesPerS = Annotated[
    float | None,
    typer.Option(
        "--speed",
        parser=positive,
        metavar="NUMBER",
        help="Samples per second per accelerator; else as measured.",
    ),
]
Deadline = Annotated[float | None, typer.Option(parser=positive, metavar="HOURS", help="To be done within.")]
Resume = Annotated[
    Any,
    typer.Option(parser=resumed, metavar="ID[@VERSION]", help="Go on from a workload: its newest version, or this."),
]
Budget = Annotated[Decimal | None, typer.Option(parser=amount, metavar="USD", help="To cost at most.")]
Wished = Annotated[
    list[Wish] | None,
    typer.Option(
        "--wish",
        "-w",
        parser=wish,
        metavar="NAME=VALUE",
        help="Anything else of a need: not_countries=US,CN, residency=EU, max_spot_share=0.5 (repeatable).",
    ),
]


@dataclass(frozen=True)
class Wishes:
    """The need flags of one command line."""

    gpu: Chips | None
    sites: int | None
    min_memory: float | None
    provider: list[str] | None
    region: list[str] | None
    country: list[str] | None
    market: list[Market] | None
    samples: int | None
    speed: float | None
    deadline: float | None
    budget: Decimal | None
    wished: list[Wish] | None = None

    @property
    def need_quoting(self) -> bool:
        """Whether any flag but the budget was set: an order has a budget of its own."""
        return any(value not in (None, []) for name, value in vars(self).items() if name != "budget")

    def need(self, *, program: str | None = None) -> objects.Need:
        """The need they describe; `program` looks up the speed measured in an earlier run."""
        wished = {each.name: each.value for each in self.wished or []}
        per_site = None if "accelerators" in wished else self.gpu.count if self.gpu else 1
        need: dict[str, Any] = {
            "accelerator": self.gpu.kind if self.gpu else None,
            "accelerators_per_site": per_site,
            "sites": self.sites,
            "min_memory_gib": self.min_memory,
            "providers": self.provider or None,
            "regions": self.region or None,
            "countries": self.country or None,
            "markets": [market.value for market in self.market] if self.market else None,
            "samples": self.samples,
            "samples_per_s": self.speed,
            "program": program,
            "deadline_hours": self.deadline,
            "budget_usd": usd(self.budget),
        }
        return cast(objects.Need, need | wished)
