"""What the market has for one more site of a workload, place by place: on the spot market and for good."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from offers.matching import constraints, sites
from offers.matching.book import MICRO, NO_LIMIT, SPOT, Book, Flags, Floats, Ints
from offers.matching.constraints import Scope
from offers.matching.estimate import Speed
from offers.matching.need import Need
from offers.matching.sites import Fills

PLACES_MAX = 16  # The cheapest so many are looked at, and those where the workload is.


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Machines that fill a site: ((offer, machines), ...), what they cost an hour, and what to expect of them."""

    lines: tuple[tuple[int, int], ...]
    usd_per_hour: float
    sites: int  # How many sites there could be of it now.
    boot_s: float
    losses_per_hour: Floats  # Of any of its machines, by age: [survival.AGES_S].


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A site that could be: one kind of accelerator at one place. pace: samples a second, 1 where nobody knows."""

    provider: str
    region: str
    country: str
    accelerator: str
    pace: float
    spot: Way | None = None
    on_demand: Way | None = None

    @property
    def usd_per_pace(self) -> float:
        """What work costs there at the least."""
        return min(way.usd_per_hour for way in (self.spot, self.on_demand) if way is not None) / self.pace

    def __str__(self) -> str:
        """For people, as Offer.site."""
        return self.region if "/" in self.region else f"{self.provider}/{self.region}"


def places(
    need: Need, book: Book, *, size: int, speed: Speed, scope: Scope, here: Collection[tuple[str, str, str]]
) -> list[Place]:
    """
    Return where a site of `size` accelerators could be, the cheapest work first; `here` is kept, however dear.

    here: (provider, region, accelerator) of the sites that the workload has.
    """
    one = replace(
        need,
        accelerators=None,
        accelerators_per_site=size,
        min_accelerators_per_site=None,
        sites=1,
        max_sites=None,
        spread=None,
        prefer_own=None,
    )
    rows = constraints.sieve(need, book, speed=speed, scope=scope).passing()
    found: dict[tuple[int, int], dict[str, Way]] = {}
    spot: Flags = (book.market[rows] == SPOT) & ~book.reserved[rows]
    for market, some in (("spot", rows[spot]), ("on_demand", rows[~spot])):
        for key, way in _cheapest(one, book, some, scope).items():
            found.setdefault(key, {})[market] = way
    made = []
    for key, ways in found.items():
        provider, region = book.words["site"].things[key[0]].split("\n")
        accelerator = book.words["accelerator"].things[key[1]]
        pace = (speed.of(accelerator) or 1 / size) * size
        country = book.text("country", int(np.flatnonzero(book.site == key[0])[0]))
        made.append(
            Place(provider=provider, region=region, country=country, accelerator=accelerator, pace=pace, **ways)
        )
    made.sort(key=lambda place: (place.usd_per_pace, place.provider, place.region, place.accelerator))
    kept = set(here)
    return [
        place for index, place in enumerate(made)
        if index < PLACES_MAX or (place.provider, place.region, place.accelerator) in kept
    ]  # fmt: skip


def _cheapest(need: Need, book: Book, rows: Ints, scope: Scope) -> dict[tuple[int, int], Way]:
    """Return {(site, accelerator): the cheapest fill}."""
    some = book.take(sites.cheapest_of_each(book, rows, most=need.site_size))
    if not len(some):
        return {}
    ways = sites.fills(need, some, constraints.tiers(some, scope))
    best: dict[tuple[int, int], Way] = {}
    for fill in np.argsort(ways.micro_usd, kind="stable").tolist():
        first = ways.first[fill]
        key = int(some.site[first]), int(some.accelerator[first])
        if key not in best:
            best[key] = _way(ways, fill)
    return best


def _way(fills: Fills, fill: int) -> Way:
    book, lines = fills.book, fills.lines(fill)
    free = min(
        NO_LIMIT if book.available[row] == NO_LIMIT else int(book.available[row]) // count for row, count in lines
    )
    return Way(
        lines=tuple((int(book.id[row]), count) for row, count in lines),
        usd_per_hour=float(fills.micro_usd[fill]) / MICRO,
        sites=int(free),
        boot_s=float(fills.boot_s[fill]),
        losses_per_hour=fills.losses_per_hour[fill],
    )
