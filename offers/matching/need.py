"""What a workload asks for, checked."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any

from offers import gpus
from offers.matching.book import TIERS

SITES_MAX = 16
OFFERS_PICKED_MAX = 100
SITES_COMPARED_MAX = 3  # When the need leaves the number of sites open.
CHANCE = 0.9
SPREADS = ("provider", "region", "country")
RESIDENCY = Path(__file__).parents[1] / "data" / "residency.csv"
MONEY = ("budget_usd", "max_usd_per_hour", "max_egress_usd")


class NeedInvalid(Exception):
    """A need that means nothing; field: where, or "" where it is no field's fault."""

    def __init__(self, why: str, field: str = "") -> None:
        super().__init__(why)
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """
    GPUs, work, deadline, budget and the places it may run; tied to no provider.

    None means "no wish" everywhere; `sites` and `max_sites` None let the engine compare one and several.
    """

    accelerator: str | tuple[str, ...] | None = None  # Names or families: "H100" is every variant of it.
    accelerators: int | None = None  # Of all sites together, split as it comes cheapest.
    accelerators_per_site: int | None = None  # At every site; 1 where neither is given.
    min_accelerators_per_site: int | None = None
    sites: int | None = None
    max_sites: int | None = None
    spread: str | None = None  # One of SPREADS: no two sites share it.
    min_memory_gib: float | None = None  # Per accelerator.
    interconnect: str | None = None  # Inside a site that has several machines.
    offers: tuple[int, ...] | None = None  # Only these, picked by hand.
    providers: tuple[str, ...] | None = None
    not_providers: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None
    not_regions: tuple[str, ...] | None = None
    countries: tuple[str, ...] | None = None
    not_countries: tuple[str, ...] | None = None
    residency: str | None = None  # A group of countries of offers/data/residency.csv.
    markets: tuple[str, ...] | None = None
    tiers: tuple[str, ...] | None = None  # Of book.TIERS.
    prefer_own: bool | None = None  # As many of the team's own accelerators as there are, then others.
    queue: bool | None = None  # May wait for machines that are busy now.
    max_spot_share: float | None = None  # Of the accelerators, 0 to 1.
    samples: int | None = None
    samples_per_s: float | None = None  # Per accelerator.
    program: str | None = None
    data_gib: float | None = None  # Every site reads so much before it trains.
    checkpoint_gib: float | None = None  # What leaves a site when it hands in its state.
    deadline_hours: float | None = None
    chance: float | None = None  # Of meeting the deadline, 0 to 1; CHANCE where it is not given.
    budget_usd: Decimal | None = None
    max_usd_per_hour: Decimal | None = None  # Of the whole plan.
    max_egress_usd: Decimal | None = None

    @property
    def site_size(self) -> int:
        """Accelerators that every site has at least."""
        own = 1 if self.accelerators_per_site is None else self.accelerators_per_site
        return max(own, self.min_accelerators_per_site or 1)

    @property
    def sizes(self) -> range:
        """The numbers of sites that are compared."""
        if self.sites is not None:
            return range(self.sites, self.sites + 1)
        return range(1, (self.max_sites or SITES_COMPARED_MAX) + 1)

    @property
    def wishes(self) -> tuple[str, ...]:
        """The accelerators as the researcher names them; empty: any."""
        if self.accelerator is None:
            return ()
        return (self.accelerator,) if isinstance(self.accelerator, str) else self.accelerator

    @property
    def chips(self) -> frozenset[str]:
        """Our names of the accelerators that will do, in lower case; empty: any."""
        return frozenset(name.casefold() for wish in self.wishes for name in gpus.meant_by(wish))

    @property
    def wanted_chance(self) -> float:
        """Of meeting the deadline."""
        return CHANCE if self.chance is None else self.chance

    def as_json(self) -> dict[str, Any]:
        """Return it with money as a string, for storing and for the API."""
        shown = asdict(self)
        for name in MONEY:
            shown[name] = None if shown[name] is None else str(shown[name])
        return shown


def parse(body: Any) -> Need:
    """Read a need out of JSON. Raises NeedInvalid."""
    if not isinstance(body, dict):
        raise NeedInvalid("a need is a JSON object")
    known = {field.name for field in fields(Need)}
    unknown = sorted(set(body) - known)
    if unknown:
        raise NeedInvalid(f"unknown field {unknown[0]!r}; known: {', '.join(sorted(known))}")
    given = {name: value for name, value in body.items() if value is not None}
    need = Need(**{name: _read(name, value) for name, value in given.items()})
    _must_agree(need)
    return need


def _read(name: str, value: Any) -> Any:
    try:
        return _READERS[name](name, value)
    except NeedInvalid as error:
        raise NeedInvalid(str(error), name) from None


@cache
def residencies() -> dict[str, frozenset[str]]:
    """Return {group: countries, ISO 3166 alpha-2} in which data may be kept where law asks for the group."""
    found: dict[str, set[str]] = {}
    with RESIDENCY.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            found.setdefault(row["group"], set()).add(row["country"])
    return {group: frozenset(countries) for group, countries in found.items()}


def _must_agree(need: Need) -> None:
    """Refuse fields that contradict one another."""
    if need.accelerators is not None and need.accelerators_per_site is not None:
        raise NeedInvalid(
            "accelerators (of all sites) and accelerators_per_site exclude each other: give one", "accelerators"
        )
    if need.sites is not None and need.max_sites is not None and need.sites > need.max_sites:
        raise NeedInvalid(f"sites is {need.sites}, but max_sites is {need.max_sites}", "sites")
    least = (need.min_accelerators_per_site or 1) * (need.sites or 1)
    if need.accelerators is not None and need.accelerators < least:
        raise NeedInvalid(f"accelerators must be at least {least} for so many sites of that size", "accelerators")
    if need.chance is not None and need.deadline_hours is None:
        raise NeedInvalid("chance is that of meeting deadline_hours: give that too", "chance")
    if need.prefer_own and need.tiers is not None and "own" not in need.tiers:
        raise NeedInvalid("prefer_own needs the tier own: add it to tiers or leave tiers out", "tiers")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 200:
        raise NeedInvalid(f"{name} must be a short text")
    return value.strip()


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise NeedInvalid(f"{name} must be a list of texts that is not empty")
    return tuple(_text(name, one) for one in value)


def _text_or_texts(name: str, value: Any) -> str | tuple[str, ...]:
    return _texts(name, value) if isinstance(value, list | tuple) else _text(name, value)


def _one_of(*known: str) -> Callable[[str, Any], str]:
    def read(name: str, value: Any) -> str:
        text = _text(name, value)
        named = {one.casefold(): one for one in known}
        if text.casefold() not in named:
            raise NeedInvalid(f"{name} must be one of {', '.join(known)}, not {text!r}")
        return named[text.casefold()]

    return read


def _some_of(*known: str) -> Callable[[str, Any], tuple[str, ...]]:
    read = _one_of(*known)
    return lambda name, value: tuple(read(name, one) for one in _texts(name, value))


def _residency(name: str, value: Any) -> str:
    return _one_of(*residencies())(name, value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise NeedInvalid(f"{name} must be true or false")
    return value


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**15:
        raise NeedInvalid(f"{name} must be a whole number of at least 1")
    return value


def _accelerators(name: str, value: Any) -> int:
    if _count(name, value) > 100_000:
        raise NeedInvalid(f"{name} must be at most 100000")
    return int(value)


def _sites(name: str, value: Any) -> int:
    if _count(name, value) > SITES_MAX:
        raise NeedInvalid(f"{name} must be at most {SITES_MAX}")
    return int(value)


def _picked(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= OFFERS_PICKED_MAX:
        raise NeedInvalid(f"{name} must be a list of 1 to {OFFERS_PICKED_MAX} offers' numbers")
    return tuple(_count(name, one) for one in value)


def _quantity(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e15:
        raise NeedInvalid(f"{name} must be a positive number")
    return float(value)


def _share(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise NeedInvalid(f"{name} must be a number from 0 to 1")
    return float(value)


def _chance(name: str, value: Any) -> float:
    if not 0 < _share(name, value) < 1:
        raise NeedInvalid(f"{name} must be above 0 and below 1: nothing is certain")
    return float(value)


def _money(name: str, value: Any) -> Decimal:
    try:
        usd = Decimal(str(value))
    except InvalidOperation:
        raise NeedInvalid(f"{name} must be an amount in USD such as 5 or 0.50") from None
    if isinstance(value, bool) or not usd.is_finite() or not 0 < usd < 10**9:
        raise NeedInvalid(f"{name} must be a positive amount in USD")
    return usd.quantize(Decimal("0.000001"))


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "accelerator": _text_or_texts,
    "accelerators": _accelerators,
    "accelerators_per_site": _accelerators,
    "min_accelerators_per_site": _accelerators,
    "sites": _sites,
    "max_sites": _sites,
    "spread": _one_of(*SPREADS),
    "min_memory_gib": _quantity,
    "interconnect": _text,
    "offers": _picked,
    "providers": _texts,
    "not_providers": _texts,
    "regions": _texts,
    "not_regions": _texts,
    "countries": _texts,
    "not_countries": _texts,
    "residency": _residency,
    "markets": _texts,
    "tiers": _some_of(*TIERS),
    "prefer_own": _flag,
    "queue": _flag,
    "max_spot_share": _share,
    "samples": _count,
    "samples_per_s": _quantity,
    "program": _text,
    "data_gib": _quantity,
    "checkpoint_gib": _quantity,
    "deadline_hours": _quantity,
    "chance": _chance,
    "budget_usd": _money,
    "max_usd_per_hour": _money,
    "max_egress_usd": _money,
}
