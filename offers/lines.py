"""A provider's listing, made ready for the book: named in our words, placed on the map, written as a row of COPY."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b

from offers import gpus, places
from providers.base import Listing, Stock

KEY = ("provider", "region", "zone", "machine_type", "market", "term")
COLUMNS = (
    *KEY, "country", "latitude", "longitude", "gco2_per_kwh", "carbon_source", "accelerator", "family", "vendor",
    "accelerators", "memory_gib", "vcpus", "ram_gib", "disk_gib", "usd_per_hour", "usd_per_gpu_hour", "leasable",
    "available", "stock",
    "interruptions_per_hour", "placement_score", "reliability", "egress_usd_per_gib", "internet_mbit_per_s",
    "interconnect", "boot_s", "ends_at",
)  # fmt: skip
LONGEST = {"provider": 32, "region": 64, "zone": 64, "machine_type": 96, "term": 8}
STOCK = {Stock.UNKNOWN: r"\N", Stock.NONE: "0", Stock.LOW: "1", Stock.MEDIUM: "2", Stock.HIGH: "3"}
ACCELERATOR_MAX, INTERCONNECT_MAX = 64, 32
USD_MIN, USD_MAX = Decimal("0.000001"), Decimal(10) ** 12  # What the column holds.
UNFIT = re.compile(r"[\x00-\x1f\x7f\\]")  # Would end a field of COPY's text format, or cannot be stored.
NULL = r"\N"


class LineRefused(Exception):
    """The listing cannot be a line of the book; the argument is the reason."""


class PriceImpossible(LineRefused):
    """The price is zero, negative, or more than any machine costs."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row for COPY: COLUMNS in their order, tabs between them. `digest` tells whether it changed."""

    key: tuple[str, ...]
    text: str
    digest: int
    accelerator: gpus.Accelerator


def line_of(listing: Listing, *, leasable: bool) -> Line:
    """Return the line that a listing makes. Raises LineRefused."""
    machine_type, market, term = listing.machine_type, listing.market.value, listing.term
    chip = gpus.identify(listing.accelerator_label, listing.memory_gib)
    where, what = _where(listing.provider, listing.region, listing.zone, listing.country), _what(chip)
    if not machine_type or len(machine_type) > LONGEST["machine_type"] or UNFIT.search(machine_type):
        raise LineRefused("a machine type that cannot be kept")
    count = listing.accelerator_count * chip.per_label
    if not 1 <= count <= 1_000_000:
        raise LineRefused("no accelerator")
    price = listing.usd_per_hour
    if not price.is_finite():
        raise PriceImpossible("the price is not a number")
    if not USD_MIN <= price < USD_MAX:
        raise PriceImpossible("the price is not positive" if price < USD_MIN else "the price is absurd")
    memory = listing.memory_gib if listing.memory_gib and chip.per_label == 1 else chip.memory_gib
    vcpus, ram_gib, disk_gib = listing.vcpus, listing.ram_gib, listing.disk_gib
    text = (
        f"{where[0]}\t{machine_type}\t{market}\t{_term(term)}\t{where[1]}\t{what}\t{count}\t{memory or NULL}\t"
        f"{NULL if vcpus is None else vcpus}\t{NULL if ram_gib is None else ram_gib}\t"
        f"{NULL if disk_gib is None else disk_gib}\t{price:.6f}\t{price / count:.6f}\t{'t' if leasable else 'f'}\t"
        f"{_signals(listing)}"
    )
    digest = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)
    key = (listing.provider, listing.region, listing.zone, machine_type, market, term)
    return Line(key, text, digest, chip)


@lru_cache(maxsize=16384)
def _where(provider: str, region: str, zone: str, country: str) -> tuple[str, str]:
    """Return the columns that name the place, and those that say where on earth it is."""
    for name, part in (("provider", provider), ("region", region), ("zone", zone)):
        if len(part) > LONGEST[name]:
            raise LineRefused(f"{name} is longer than {LONGEST[name]}")
    if not region or UNFIT.search(provider + region + zone):
        raise LineRefused("a region that cannot be kept")
    found = places.find(provider, region, country[:2].upper() if country.isalpha() and country.isascii() else "")
    numbers = (found.latitude, found.longitude, found.gco2_per_kwh)
    return (
        f"{provider}\t{region}\t{zone}",
        "\t".join((found.country, *map(_number, numbers), found.carbon_source)),
    )


@lru_cache(maxsize=4096)
def _what(chip: gpus.Accelerator) -> str:
    if not chip.name or len(chip.name) > ACCELERATOR_MAX or UNFIT.search(chip.name):
        raise LineRefused("an accelerator's name that cannot be kept")
    return f"{chip.name}\t{chip.family}\t{chip.vendor}"


@lru_cache(maxsize=256)
def _term(term: str) -> str:
    if len(term) > LONGEST["term"] or UNFIT.search(term):
        raise LineRefused("a term that cannot be kept")
    return term


def _signals(listing: Listing) -> str:
    """Return the columns that many providers leave empty."""
    egress, interconnect = listing.egress_usd_per_gib, listing.interconnect
    if egress is None:
        egress = places.egress_usd_per_gib(listing.provider)
    if len(interconnect) > INTERCONNECT_MAX or UNFIT.search(interconnect):
        raise LineRefused("an interconnect that cannot be kept")
    return "\t".join(
        (
            NULL if listing.available is None else str(min(max(listing.available, 0), 1_000_000)),
            STOCK[listing.stock],
            _number(listing.interruptions_per_hour),
            _number(listing.placement_score),
            _number(listing.reliability),
            NULL if egress is None or not 0 <= egress < USD_MAX else f"{egress:.6f}",
            _number(listing.internet_mbit_per_s),
            interconnect,
            _number(listing.boot_s),
            NULL if listing.ends_at is None else listing.ends_at.isoformat(),
        )
    )


def _number(value: float | None) -> str:
    return NULL if value is None else repr(value)
