"""
Where a region is, how dirty its electricity is, and what it costs to carry data away.

Tables in offers/data. regions.csv: regions of clouds that name them freely (from the clouds' region pages; Azure's
coordinates are its location metadata's, others those of the city that the cloud names). Its gCO2e/kWh is the cloud's
own figure for that region's grid: Google's "Carbon free energy for Google Cloud regions", data of 2024
(cloud.google.com/sustainability/region-carbon). cities.csv: cities that region names spell out, "frankfurt-germany-5".
grid.csv: the average of each country's electricity, gCO2e/kWh over the life cycle, by Ember and the Energy Institute
as published by Our World in Data (ourworldindata.org/grapher/carbon-intensity-electricity), with the year.
egress.csv: list prices to the internet of providers that have one for all machines, each with its source.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path

DATA = Path(__file__).parent / "data"
GOOGLE = "Google, region's grid, 2024"
COUNTRIES = {
    "australia": "AU", "canada": "CA", "finland": "FI", "france": "FR", "germany": "DE", "iceland": "IS", "india": "IN",
    "ireland": "IE", "israel": "IL", "italy": "IT", "japan": "JP", "netherlands": "NL", "norway": "NO", "poland": "PL",
    "singapore": "SG", "spain": "ES", "sweden": "SE", "uk": "GB", "usa": "US",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where machines stand. Empty or None: not known."""

    country: str = ""  # ISO 3166-1 alpha-2.
    latitude: float | None = None  # Degrees.
    longitude: float | None = None
    gco2_per_kwh: float | None = None  # Grams of CO2 equivalent.
    carbon_source: str = ""


@lru_cache(maxsize=16384)
def find(provider: str, region: str, country: str = "") -> Place:
    """
    Return what is known of a provider's region.

    country: what the provider says; it wins over our table. A region like "us-east-1-foo" that the table does not
    know is not taken for its parent: local zones stand in other countries than their region.
    """
    row = _regions().get((provider, region.casefold())) or _city(region)
    if row is not None and country and row.country != country:
        row = None
    place = row or Place(country=country)
    if place.gco2_per_kwh is not None or not place.country:
        return place
    grid = _grid().get(place.country)
    if grid is None:
        return place
    return Place(
        place.country, place.latitude, place.longitude, grid[0], f"Ember via Our World in Data, country, {grid[1]}"
    )


def on_map(provider: str, region: str, country: str = "") -> Place:
    """
    Return where to draw a region.

    A supplier's own "home/berlin" is drawn at the city of that name: good enough for a map, not for a law on data.
    """
    place = find(provider, region, country)
    city = _cities().get(region.partition("/")[2].replace("-", ""))
    if place.latitude is not None or city is None or (country and city.country != country):
        return place
    return Place(country or city.country, city.latitude, city.longitude)


def egress_usd_per_gib(provider: str) -> Decimal | None:
    """Return a provider's list price for data that leaves it to the internet, or None when it is not known."""
    return _egress().get(provider)


def _city(region: str) -> Place | None:
    """Read "city-country-3", as aggregators write it."""
    found = re.fullmatch(r"([a-z. ]+)[-_]([a-z]+)(?:[-_]\d+)?", region.casefold())
    city = _cities().get(found[1].replace(" ", "").replace(".", "")) if found else None
    country = COUNTRIES.get(found[2], "") if found else ""
    if not country:
        return None  # "us-ca-2" is in California, not in Canada: two letters say nothing.
    return city if city is not None and city.country == country else Place(country=country)


def _rows(name: str) -> Iterator[dict[str, str]]:
    with (DATA / name).open(newline="", encoding="utf-8") as lines:
        yield from csv.DictReader(lines)


@cache
def _regions() -> dict[tuple[str, str], Place]:
    return {
        (row["provider"], row["region"].casefold()): Place(
            row["country"],
            float(row["latitude"]),
            float(row["longitude"]),
            float(row["gco2_per_kwh"]) if row["gco2_per_kwh"] else None,
            GOOGLE if row["gco2_per_kwh"] else "",
        )
        for row in _rows("regions.csv")
    }


@cache
def _cities() -> dict[str, Place]:
    return {
        row["city"]: Place(row["country"], float(row["latitude"]), float(row["longitude"]))
        for row in _rows("cities.csv")
    }


@cache
def _egress() -> dict[str, Decimal]:
    return {row["provider"]: Decimal(row["usd_per_gib"]) for row in _rows("egress.csv")}


@cache
def _grid() -> dict[str, tuple[float, str]]:
    return {row["country"]: (float(row["gco2_per_kwh"]), row["year"]) for row in _rows("grid.csv")}
