"""
What Azure tells a subscription about its GPU sizes: restrictions, eviction rates, past prices, placement scores.

Sources: https://learn.microsoft.com/rest/api/compute/resource-skus/list (capabilities, restrictions),
https://learn.microsoft.com/azure/virtual-machines/spot-vms#azure-resource-graph (SpotResources: prices of 90 days,
eviction rates of 28 days) and https://learn.microsoft.com/azure/virtual-machine-scale-sets/spot-placement-score.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from providers import fields, http
from providers.azure_prices import instant, region_name, size_of
from providers.base import BAD_ROW, Listing, Market, PricePoint, ProviderError, Reason, Stock, Unreachable

SKUS, GRAPH, SCORES = "2021-07-01", "2022-10-01", "2025-06-05"  # api-version
GRAPH_PATH = "/providers/Microsoft.ResourceGraph/resources"
PAGES_MAX = 200
SCORE_REGIONS, SCORE_SIZES = 8, 5  # At most in one request.
SCORE_REQUESTS_MAX = 8  # A subscription may ask only so often in an hour; Microsoft names no figure.
PLACEMENT = {"High": 0.9, "Medium": 0.5, "Low": 0.1}  # Azure says a word; the numbers are ours.
Key = tuple[str, str]  # Size, region.


@dataclass(slots=True)
class Signals:
    """What is known of each size and region. What Azure would not tell is left out and named in `untold`."""

    skus: dict[Key, dict[str, Any]] = field(default_factory=dict)
    evictions: dict[Key, float] = field(default_factory=dict)
    scores: dict[Key, float] = field(default_factory=dict)
    untold: Counter[str] = field(default_factory=Counter)

    def added(self, line: Listing) -> Listing:
        """Return the line with what is known of it."""
        key = (line.machine_type, line.region)
        spot = line.market is Market.SPOT
        sku = self.skus.get(key, {})
        return replace(
            line,
            vcpus=sku.get("vcpus") or line.vcpus,
            ram_gib=sku.get("ram_gib") or line.ram_gib,
            stock=Stock.NONE if sku.get("restricted") else line.stock,
            interruptions_per_hour=self.evictions.get(key) if spot else None,
            placement_score=self.scores.get(key) if spot else None,
        )


def read(arm: http.Client, subscription: str, regions: Sequence[str], lines: Iterable[Listing]) -> Signals:
    """Return what Azure tells; a part that it refuses or fails to tell does not hold up the others."""
    found = Signals()
    try:
        found.skus = dict(_skus(arm, subscription, regions))
    except ProviderError as error:
        found.untold[f"no resource SKUs: {error.reason}"] += 1
    try:
        found.evictions = dict(_evictions(arm, regions))
    except ProviderError as error:
        found.untold[f"no eviction rates: {error.reason}"] += 1
    spot = sorted({line.machine_type for line in lines if line.market is Market.SPOT})
    try:
        for scores in _scores(arm, subscription, regions, spot):
            found.scores |= scores
    except ProviderError as error:
        found.untold[f"no placement scores: {error.reason}"] += 1
    return found


def pages(arm: http.Client, path: str, **params: str) -> Iterator[Any]:
    """Yield the rows of an ARM list over all its pages. Raises ProviderError."""
    answer = arm.call("GET", path, params={name.replace("_", "-"): value for name, value in params.items()})
    for _ in range(PAGES_MAX):
        yield from fields.all_of(answer, "value", "azure")
        link = answer.get("nextLink")
        if not link:
            return
        answer = arm.call("GET", str(link))
    raise Unreachable(f"azure: {path.rpartition('/')[2]}: the list has no end", reason=Reason.OUTAGE)


def graph(arm: http.Client, query: str) -> Iterator[Any]:
    """Yield the rows of a Resource Graph query; it must name `id`, else there is no second page."""
    options: dict[str, Any] = {"resultFormat": "objectArray", "authorizationScopeFilter": "AtScopeAboveAndBelow"}
    for _ in range(PAGES_MAX):
        # No subscription: SpotResources belongs to none and answers only a query of the whole tenant.
        body = {"query": query, "options": options}
        answer = arm.call("POST", GRAPH_PATH, params={"api-version": GRAPH}, body=body, again=True)
        if not isinstance(answer, dict):
            return
        rows = answer.get("data")
        yield from rows if isinstance(rows, list) else ()
        token = answer.get("$skipToken")
        if not isinstance(token, str) or not token:
            return
        options = options | {"$skipToken": token}


def price_points(arm: http.Client, regions: Sequence[str], extras: dict[str, Decimal]) -> Iterator[PricePoint]:
    """Yield the Spot prices of 90 days, with the disk and address at today's price as in a listing. ProviderError."""
    query = _spot_resources(
        "skuspotpricehistory/ostype/location", "spotPrices = properties.spotPrices", regions,
        " | where properties.osType =~ 'linux'",
    )  # fmt: skip
    for row in graph(arm, query):
        try:
            size, region = size_of(row["skuName"]), region_name(row["location"])
            for point in row["spotPrices"]:
                yield PricePoint(
                    provider="azure",
                    region=region,
                    machine_type=size.name,
                    market=Market.SPOT,
                    usd_per_hour=fields.price(point["priceUSD"]) + extras.get(region, extras[""]),
                    at=instant(point["effectiveDate"]),
                )
        except BAD_ROW:
            continue


def _spot_resources(kind: str, column: str, regions: Sequence[str], where: str = "") -> str:
    if regions:
        where += " | where location in~ ({})".format(", ".join(f"'{region}'" for region in regions))
    return (
        f"SpotResources | where type =~ 'microsoft.compute/{kind}'{where} | where sku.name startswith 'standard_n'"
        f" | project id, skuName = tostring(sku.name), location, {column} | order by id asc"
    )


def _skus(arm: http.Client, subscription: str, regions: Sequence[str]) -> Iterator[tuple[Key, dict[str, Any]]]:
    path = f"{subscription}/providers/Microsoft.Compute/skus"
    for region in regions or ("",):
        only = {"$filter": f"location eq '{region}'"} if region else {}
        for row in pages(arm, path, api_version=SKUS, **only):
            try:
                if row["resourceType"] == "virtualMachines":
                    yield from _sku(row)
            except BAD_ROW:
                continue


def _sku(row: dict[str, Any]) -> Iterator[tuple[Key, dict[str, Any]]]:
    size = size_of(row["name"])
    told = {one["name"]: one["value"] for one in fields.records(row.get("capabilities"))}
    for place in row["locationInfo"]:
        region = region_name(place["location"])
        yield (
            (size.name, region),
            {
                "vcpus": fields.positive(told.get("vCPUs")),
                "ram_gib": fields.positive(told.get("MemoryGB")),
                "restricted": _restricted(row, region, set(place.get("zones") or ())),
            },
        )


def _restricted(row: dict[str, Any], region: str, zones: set[str]) -> bool:
    """Whether the subscription may not use the size there: not in the region, or in none of the zones that have it."""
    closed: set[str] = set()
    for one in fields.records(row.get("restrictions")):
        info = one.get("restrictionInfo") or {}
        places = info.get("locations") or one.get("values") or ()
        if region in {region_name(place) for place in places}:
            if one["type"] == "Location":
                return True
            closed |= set(info.get("zones") or ())
    return bool(zones) and zones <= closed


def _evictions(arm: http.Client, regions: Sequence[str]) -> Iterator[tuple[Key, float]]:
    query = _spot_resources("skuspotevictionrate/location", "rate = tostring(properties.evictionRate)", regions)
    for row in graph(arm, query):
        try:
            yield (size_of(row["skuName"]).name, region_name(row["location"])), eviction(row["rate"])
        except BAD_ROW:
            continue


def eviction(band: Any) -> float:
    """
    Return the chance per hour, 0 to 1, of a band in per cent such as "0-5": its middle. "20+" has none and is 0.2.

    Per hour: https://learn.microsoft.com/azure/virtual-machines/spot-vms#pricing-and-eviction-history (the tip).
    Raises ValueError.
    """
    found = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3})|\+)?", fields.text(band))
    if not found:
        raise ValueError("not an eviction rate")
    low = int(found[1])
    return min((low + int(found[2] or low)) / 200, 1.0)


def _scores(
    arm: http.Client, subscription: str, regions: Sequence[str], sizes: Sequence[str]
) -> Iterator[dict[Key, float]]:
    """Ask only for the regions that a team has chosen: the whole world would use up the hour's requests."""
    asks = [
        (regions[i : i + SCORE_REGIONS], sizes[j : j + SCORE_SIZES])
        for i in range(0, len(regions), SCORE_REGIONS)
        for j in range(0, len(sizes), SCORE_SIZES)
    ]
    for places, names in asks[:SCORE_REQUESTS_MAX]:
        answer = arm.call(
            "POST",
            f"{subscription}/providers/Microsoft.Compute/locations/{places[0]}/placementScores/spot/generate",
            params={"api-version": SCORES},
            body={
                "desiredCount": 1,
                "desiredLocations": list(places),
                "desiredSizes": [{"sku": name} for name in names],
                "availabilityZones": False,
            },
        )
        yield dict(_score(answer))


def _score(answer: Any) -> Iterator[tuple[Key, float]]:
    rows = answer.get("placementScores") if isinstance(answer, dict) else None
    for row in rows if isinstance(rows, list) else ():
        try:
            yield (size_of(row["sku"]).name, region_name(row["region"])), PLACEMENT[row["score"]]
        except BAD_ROW:
            continue  # Other words, such as DataNotFoundOrStale, say nothing.
