"""The open offers as columns: what a need is held against, a hundred thousand rows in a few milliseconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from offers.matching import hazard_prior
from offers.matching.survival import AGES_S, time_in_ages

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Thing = TypeVar("Thing")
Line = tuple[str, str, str, str, str]  # provider, region, zone, machine type, market

MARKETS = ("on_demand", "spot", "reserved")
SPOT = MARKETS.index("spot")
TIERS = ("own", "secure", "community")  # How far its owner is trusted.
OWN, SECURE, COMMUNITY = range(3)
HOSTS = "supplier"  # The provider that is our own suppliers' hosts (offers.marketplace.NAME).
STRANGERS = frozenset({HOSTS, "vast", "lium"})  # Where strangers rent out their machines.
NO_LIMIT = 2**31 - 1  # Machines free, where nobody says.
MICRO = 1_000_000
HOST_BOOT_S, CLOUD_BOOT_S = 30.0, 240.0  # Until the first step, where nobody says: hosts run our agent already.
# Losses are told apart in steps of a tenth, boots in steps of 15 s: so that there are fewer kinds of offers to compare.
LOSSES_STEP, BOOT_STEP_S = math.log(1.1), 15.0
LINK_STEP = math.log(1.25)  # And the internet's links in steps of a quarter.
DAY_S = 86_400.0
RATE_MIN = 1e-9  # Losses an hour, so that there is a logarithm.
Rates = Callable[[Sequence[hazard_prior.Line]], Floats]  # Losses per hour by age: [lines, ages].
PRIOR: Rates = hazard_prior.prior_rates


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOffer:
    """
    An offer as the engine sees it. `usd_per_hour` is what the customer would pay for one machine.

    None: nobody says. reserved: paid for already, by the one who asks; its price is 0.
    """

    id: int
    provider: str
    region: str
    country: str
    market: str
    accelerator: str
    accelerators: int
    memory_gib: float | None
    usd_per_hour: Decimal
    leasable: bool
    available: int | None
    zone: str = ""
    machine_type: str = ""
    interconnect: str = ""
    interruptions_per_hour: float | None = None
    boot_s: float | None = None
    egress_usd_per_gib: float | None = None
    gco2_per_kwh: float | None = None
    placement_score: float | None = None
    reliability: float | None = None
    internet_mbit_per_s: float | None = None  # Upwards.
    stock: str | None = None  # In the words of models.STOCK.
    reserved: bool = False

    @property
    def usd_per_accelerator_hour(self) -> Decimal:
        """The price of one chip of the machine."""
        return self.usd_per_hour / self.accelerators


class Codes(Generic[Thing]):
    """Things and their numbers. It only grows, so that books of different moments share it."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.things: list[Thing] = []
        self.of: dict[Thing, int] = {}

    def code(self, thing: Thing) -> int:
        """Return the thing's number, a new one where it is new."""
        known = self.of.get(thing)
        if known is None:
            self.things.append(thing)
            known = self.of[thing] = len(self.things) - 1
        return known


WORDS = ("provider", "region", "site", "zone", "country", "machine_type", "accelerator", "interconnect")


@dataclass(frozen=True, slots=True, eq=False)
class Book:
    """
    Open offers, one row each, sorted so that rows which differ in price and stock alone stand together, cheapest first.

    Arrays: [rows]. Texts are codes of `words`; market and tier are indexes of MARKETS and TIERS. A price is whole
    micro-USD. NaN: nobody says. group: rows of one number differ in price, stock and names alone.
    """

    words: Mapping[str, Codes[str]]
    curves: Codes[tuple[int, ...]]  # Losses by age, in LOSSES_STEPs.
    id: Ints
    provider: Ints
    region: Ints
    site: Ints  # provider and region.
    zone: Ints
    country: Ints
    machine_type: Ints
    accelerator: Ints
    interconnect: Ints
    market: Ints
    tier: Ints
    accelerators: Ints
    memory_gib: Floats
    micro_usd: Ints  # One machine, one hour.
    leasable: Flags
    reserved: Flags
    available: Ints  # Machines; NO_LIMIT where nobody says.
    curve: Ints  # Of one machine's losses, a code of `curves`.
    boot_s: Floats
    egress_usd_per_gib: Floats
    gco2_per_kwh: Floats
    internet_mbit_per_s: Floats  # Upwards.
    group: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.id)

    def offer(self, row: int) -> OpenOffer:
        """Return a row as an offer; what nobody said comes back as what was taken for it."""
        free = int(self.available[row])
        return OpenOffer(
            id=int(self.id[row]),
            usd_per_hour=Decimal(int(self.micro_usd[row])).scaleb(-6),
            market=MARKETS[self.market[row]],
            accelerators=int(self.accelerators[row]),
            memory_gib=_known(self.memory_gib[row]),
            leasable=bool(self.leasable[row]),
            reserved=bool(self.reserved[row]),
            available=None if free == NO_LIMIT else free,
            boot_s=float(self.boot_s[row]),
            egress_usd_per_gib=_known(self.egress_usd_per_gib[row]),
            gco2_per_kwh=_known(self.gco2_per_kwh[row]),
            internet_mbit_per_s=_known(self.internet_mbit_per_s[row]),
            **{name: self.text(name, row) for name in WORDS if name != "site"},  # type: ignore[arg-type]
        )

    def text(self, column: str, row: int) -> str:
        """Return what stands in a column of texts."""
        return str(self.words[column].things[getattr(self, column)[row]])

    def rows_of(self, line: Line) -> Ints:
        """Return the rows of a line of a price list."""
        codes = [
            self.words[name].of.get(text)
            for name, text in zip(("provider", "region", "zone", "machine_type"), line, strict=False)
        ]
        if None in codes or line[4] not in MARKETS:
            return np.empty(0, np.int64)
        provider, region, zone, machine_type = codes
        rows = np.flatnonzero(self.machine_type == machine_type)
        same = (self.provider[rows] == provider) & (self.region[rows] == region) & (self.zone[rows] == zone)
        return np.asarray(rows[same & (self.market[rows] == MARKETS.index(line[4]))])

    def changed(self, offers: Iterable[OpenOffer], *, gone: Iterable[int] = (), rates: Rates = PRIOR) -> Book:
        """Return the book with these offers in place of those of the same id, and without what is gone."""
        news = _columns(list(offers), self.words, self.curves, rates)
        out = np.concatenate([news["id"], np.fromiter(gone, np.int64)])
        kept = ~np.isin(self.id, out)
        both = {name: np.concatenate([getattr(self, name)[kept], column]) for name, column in news.items()}
        return _sorted(self.words, self.curves, both)

    @property
    def losses_per_hour(self) -> Floats:
        """How often one machine of each row is lost in an hour of its first day: [rows]."""
        inside_s = time_in_ages(np.zeros(1), np.full(1, DAY_S))[0]
        return np.asarray((self.curve_table() @ (inside_s / DAY_S))[self.curve])

    def curve_table(self) -> Floats:
        """Return losses an hour of each curve by age: [curves, ages of survival.AGES_S]."""
        return np.exp(np.array(self.curves.things, np.float64).reshape(-1, len(AGES_S)) * LOSSES_STEP)

    def with_same_words(self, offers: Iterable[OpenOffer], *, rates: Rates = PRIOR) -> Book:
        """Return a book of other offers that can stand beside this one."""
        return _sorted(self.words, self.curves, _columns(list(offers), self.words, self.curves, rates))

    def beside(self, others: Sequence[Book]) -> Book:
        """Return its rows and those of books with the same words, one after another; groups mean nothing then."""
        books = (self, *others)
        columns: dict[str, Any] = {
            one.name: np.concatenate([getattr(book, one.name) for book in books])
            for one in fields(self)
            if one.name not in ("words", "curves")
        }
        return replace(self, **columns)

    def when_free(self) -> Book:
        """Return the book as if one machine of everything that is sold out were free."""
        return replace(self, available=np.maximum(self.available, 1))

    def take(self, rows: Ints) -> Book:
        """Return these rows alone, in this order; groups keep their numbers."""
        taken = {one.name: getattr(self, one.name)[rows] for one in fields(self) if one.name not in ("words", "curves")}
        return replace(self, **taken)


def book_of(offers: Iterable[OpenOffer], *, rates: Rates = PRIOR) -> Book:
    """Return a book of offers. rates: how often their machines are lost."""
    words: dict[str, Codes[str]] = {name: Codes() for name in WORDS}
    curves: Codes[tuple[int, ...]] = Codes()
    return _sorted(words, curves, _columns(list(offers), words, curves, rates))


def tier(offer: OpenOffer) -> int:
    """Return how far the owner of the machine is trusted by anybody."""
    if offer.reserved:
        return OWN
    community = offer.provider in STRANGERS or offer.machine_type.endswith(" community")  # RunPod has both.
    return COMMUNITY if community else SECURE


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _columns(
    offers: list[OpenOffer], words: Mapping[str, Codes[str]], curves: Codes[tuple[int, ...]], rates: Rates
) -> dict[str, Any]:
    def texts(name: str, of: Iterable[str]) -> Ints:
        code = words[name].code
        return np.fromiter((code(text) for text in of), np.int64, len(offers))

    def numbers(of: Iterable[float | None]) -> Floats:
        return np.fromiter((math.nan if one is None else one for one in of), np.float64, len(offers))

    def whole(of: Iterable[int]) -> Ints:
        return np.fromiter(of, np.int64, len(offers))

    kept = ("provider", "region", "zone", "country", "machine_type", "accelerator", "interconnect")
    boots = (_boot_s(one) for one in offers)
    links = numbers(one.internet_mbit_per_s for one in offers)
    return {
        **{name: texts(name, (getattr(one, name) for one in offers)) for name in kept},
        "site": texts("site", (f"{one.provider}\n{one.region}" for one in offers)),
        "id": whole(one.id for one in offers),
        "market": whole(MARKETS.index(one.market) for one in offers),
        "tier": whole(tier(one) for one in offers),
        "accelerators": whole(one.accelerators for one in offers),
        "memory_gib": numbers(one.memory_gib for one in offers),
        "micro_usd": whole(int(one.usd_per_hour.scaleb(6)) for one in offers),
        "leasable": np.fromiter((one.leasable for one in offers), np.bool_, len(offers)),
        "reserved": np.fromiter((one.reserved for one in offers), np.bool_, len(offers)),
        "available": whole(NO_LIMIT if one.available is None else one.available for one in offers),
        "curve": whole(map(curves.code, _curves(offers, rates))),
        "boot_s": np.round(numbers(boots) / BOOT_STEP_S) * BOOT_STEP_S,
        "egress_usd_per_gib": numbers(one.egress_usd_per_gib for one in offers),
        "gco2_per_kwh": numbers(one.gco2_per_kwh for one in offers),
        "internet_mbit_per_s": np.exp(np.round(np.log(np.maximum(links, 1.0)) / LINK_STEP) * LINK_STEP),
    }


def _curves(offers: list[OpenOffer], rates: Rates) -> Iterable[tuple[int, ...]]:
    """Return how often machines are lost by age, each rate as a number of steps from 1 an hour."""
    if not offers:
        return ()
    told = np.maximum(rates([hazard_line(one) for one in offers]), RATE_MIN)
    return map(tuple, np.round(np.log(told) / LOSSES_STEP).astype(np.int64).tolist())


def hazard_line(offer: OpenOffer) -> hazard_prior.Line:
    """Return what an offer says of how often its machines are lost."""
    return hazard_prior.Line(
        key=(offer.provider, offer.region, offer.zone, offer.machine_type),
        accelerator=offer.accelerator,
        market="reserved" if offer.reserved else offer.market,
        accelerators=offer.accelerators,
        interruptions_per_hour=offer.interruptions_per_hour,
        placement_score=offer.placement_score,
        stock=offer.stock,
        reliability=offer.reliability,
        is_community=tier(offer) == COMMUNITY,
    )


def _boot_s(offer: OpenOffer) -> float:
    if offer.boot_s is not None:
        return offer.boot_s
    return HOST_BOOT_S if offer.provider == HOSTS else CLOUD_BOOT_S


def _sorted(words: Mapping[str, Codes[str]], curves: Codes[tuple[int, ...]], columns: dict[str, Any]) -> Book:
    """Number the groups and bring the rows into their order."""
    group = columns["site"]
    for name in ("accelerator", "accelerators", "market", "tier", "reserved", "interconnect", "memory_gib",
                 "curve", "boot_s", "egress_usd_per_gib", "gco2_per_kwh", "internet_mbit_per_s"):  # fmt: skip
        group = _paired(group, columns[name])
    order = np.lexsort((columns["id"], columns["micro_usd"], group))
    return Book(
        words=words, curves=curves, group=group[order], **{name: column[order] for name, column in columns.items()}
    )


def _paired(group: Ints, column: NDArray[Any]) -> Ints:
    """Split groups by one column more."""
    if len(column) == 0 or (column == column[0]).all() or np.isnan(column.astype(np.float64)).all():
        return group
    values, code = np.unique(column, return_inverse=True)
    return np.asarray(np.unique(group * len(values) + code, return_inverse=True)[1])
