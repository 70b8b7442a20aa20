"""
Reading Verda's price list: instance types, the places where they are sold, and the disk that is sold beside them.

Source: https://api.verda.com/v1/docs (Instance Types, Instance Availability, Locations, Volume Types). Prices are for
the whole machine and hour, as text. The disk is not in them; its month has 730 hours, as its price of a second shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from providers import fields
from providers.base import Listing, Market, PricePoint, Stock

DISK_GIB = 100  # A listing's price holds the disk of a usual LaunchOrder.
DISK_TYPE = "NVMe"
MONTH_HOURS = 730
SIX_PLACES = Decimal("0.000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """How prices become USD. usd_per_eur: None where nobody has stated a rate."""

    usd_per_eur: Decimal | None = None

    def usd(self, price: Any, currency: Any) -> Decimal:
        """Return a price in USD. Raises ValueError: no price, or a currency without a rate."""
        found = fields.price(price)
        match str(currency or "usd").lower():
            case "usd":
                return found
            case "eur" if self.usd_per_eur is not None:
                return found * self.usd_per_eur
        raise ValueError(f"a price in {fields.text(currency)}, and no rate for it")

    def disk_usd(self, volume_types: Any) -> Decimal:
        """Return what a GiB costs in an hour. Raises ValueError when the answer does not say it."""
        for row in fields.records(volume_types):
            if isinstance(row, dict) and row.get("type") == DISK_TYPE and isinstance(row.get("price"), dict):
                price = row["price"]
                return self.usd(price.get("price_per_month_per_gb"), price.get("currency")) / MONTH_HOURS
        raise ValueError("no price of the disk")

    def prices(self, row: Mapping[str, Any], disk_usd: Decimal) -> dict[Market, Decimal]:
        """Return the USD an hour of each market in which a type is sold, with a disk. Raises ValueError."""
        told = {Market.ON_DEMAND: row.get("price_per_hour"), Market.SPOT: row.get("spot_price")}
        return {
            market: (self.usd(price, row.get("currency")) + disk_usd).quantize(SIX_PLACES)
            for market, price in told.items()
            if market is Market.ON_DEMAND or fields.number(price)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where machines are sold: {location: country}, and {market: {(location, type)}} of what is free there."""

    countries: Mapping[str, str]
    free: Mapping[Market, frozenset[tuple[str, str]]]

    @classmethod
    def read(cls, locations: Any, *, on_demand: Any, spot: Any) -> Places:
        """Read GET /locations and GET /instance-availability twice; what cannot be read is left out."""
        free = {Market.ON_DEMAND: frozenset(_free(on_demand)), Market.SPOT: frozenset(_free(spot))}
        countries = {place: "" for pairs in free.values() for place, _ in pairs}
        for row in _rows(locations):
            if code := _code(row.get("code")):
                country = row.get("country_code")
                is_country = isinstance(country, str) and re.fullmatch("[A-Z]{2}", country)
                countries[code] = country if isinstance(country, str) and is_country else ""
        return cls(countries=countries, free=free)


def lines(row: Any, *, money: Money, disk_usd: Decimal | None, places: Places, now: datetime) -> Iterator[Listing]:
    """Yield a line per place and market of a type with GPUs, also where none is free, so that its history goes on."""
    row = fields.record(row)
    gpu = fields.record(row["gpu"])
    if not fields.whole(gpu.get("number_of_gpus") or 0):
        return
    if disk_usd is None:
        raise ValueError("no price of the disk")
    count = fields.accelerators(gpu["number_of_gpus"])
    name = fields.text(row["instance_type"])
    memory = _size(row.get("gpu_memory"))
    label = re.sub(r"^\d+\s*x\s+", "", fields.text(gpu.get("description") or row.get("name") or row["model"]))
    for market, price in money.prices(row, disk_usd * DISK_GIB).items():
        for place, country in places.countries.items():
            is_free = (place, name) in places.free[market]
            yield Listing(
                provider="verda",
                region=place,
                country=country,
                machine_type=name,
                accelerator_label=fields.text(label),
                accelerator_count=count,
                memory_gib=memory / count if memory else None,
                vcpus=fields.positive(fields.record(row.get("cpu") or {}).get("number_of_cores")),
                ram_gib=_size(row.get("memory")),
                disk_gib=DISK_GIB,
                market=market,
                usd_per_hour=price,
                available=None if is_free else 0,
                stock=Stock.UNKNOWN if is_free else Stock.NONE,
                interconnect="nvlink" if "nvlink" in str(row.get("p2p")).lower() else "",
                seen_at=now,
            )


def points(
    name: str, rows: Any, *, money: Money, disk_usd: Decimal, places: Places, since: datetime, until: datetime
) -> Iterator[PricePoint]:
    """
    Yield the changes of a type's fixed price in [since, until), the same in every place.

    Days are UTC. The dynamic price was another way to pay for a machine that is not taken away: no spot price.
    """
    days: dict[datetime, Decimal] = {}
    for row in _rows(rows):
        try:
            at = datetime.fromisoformat(fields.text(row["date"])[:10]).replace(tzinfo=UTC)
            price = money.usd(row.get("fixed_price_per_hour"), row.get("currency")) + disk_usd * DISK_GIB
        except (KeyError, TypeError, ValueError, ArithmeticError):
            continue
        if since <= at < until:
            days[at] = price.quantize(SIX_PLACES)
    for place in places.countries:
        last = None
        for at, price in sorted(days.items()):
            if price != last:
                yield PricePoint(
                    provider="verda", region=place, machine_type=name, market=Market.ON_DEMAND, usd_per_hour=price,
                    at=at,
                )  # fmt: skip
            last = price


def _rows(value: Any) -> list[Mapping[str, Any]]:
    found = fields.records(value) if isinstance(value, list | dict) else []
    return [row for row in found if isinstance(row, dict)]


def _free(answer: Any) -> Iterator[tuple[str, str]]:
    for row in _rows(answer):
        place = _code(row.get("location_code"))
        names = row.get("availabilities")
        for name in fields.records(names) if isinstance(names, list | dict) else []:
            if place and isinstance(name, str):
                yield place, name


def _code(value: Any) -> str:
    try:
        return fields.text(value)
    except ValueError:
        return ""


def _size(value: Any) -> float | None:
    return fields.positive(value.get("size_in_gigabytes")) if isinstance(value, dict) else None
