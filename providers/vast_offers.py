"""
Reading Vast.ai's offers: what a row of a search means as a line of a price list.

Source: https://docs.vast.ai/api-reference/search/search-offers (the example answer). Prices are for the whole machine
and hour; storage is $ per GB and month of 30 days, so that an hour is 1/720 of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from providers import fields, http
from providers.base import Listing, Market, Reason, Rejected, Unreachable

DISK_GIB = 100  # A listing's price holds the disk of a usual LaunchOrder.
MONTH_HOURS = 720
SEARCH_EVERY_S = 6.0  # 10 searches a minute.
LIMIT = 1000
PAGE = 64  # A search has been seen to end there whatever limit was asked for.
PAGES_MAX = 40
SIX_PLACES = Decimal("0.000001")
GB_PER_GIB = Decimal(2**30) / 10**9


def every(client: http.Client, *, hosts: str, skipped: Counter[str]) -> Iterator[Any]:
    """
    Yield the rows of all pages, cheapest first; a page begins at the price at which the last one ended.

    skipped: told when there are more pages than are read. Raises ProviderError.
    """
    seen: set[str] = set()
    query: dict[str, Any] = {"order": [["dph_total", "asc"]], "limit": LIMIT}
    for _ in range(PAGES_MAX):
        rows, has_more = search(client, hosts=hosts, query=query)
        known = len(seen)
        for row in rows:
            ask = ask_of(row)
            if ask is None or ask not in seen:
                yield row
            seen |= {ask} if ask else set()
        if not has_more or len(seen) == known:
            return
        query["dph_total"] = {"gte": _dearest(rows)}
    skipped["more pages of offers than are read"] += 1


def _dearest(rows: list[Any]) -> Decimal:
    """Return the price at which a page ended. Raises Rejected: without one the rest cannot be asked for."""
    prices = [row.get("dph_total") for row in rows if isinstance(row, dict)]
    known = [Decimal(price) for price in prices if isinstance(price, int | Decimal) and not isinstance(price, bool)]
    if not known:
        raise Rejected("vast: a page of offers without a price", reason=Reason.BAD_REQUEST)
    return max(known)


def search(client: http.Client, *, hosts: str, query: Mapping[str, Any]) -> tuple[list[Any], bool]:
    """
    Return a search's rows, and whether there may be more. Raises ProviderError.

    One search serves both markets: every row has a price for both. `offers` is a list, a map, or in the
    documentation's example a single row. An empty answer says nothing, not that nothing is on offer.
    """
    body = {"type": "ondemand", "rentable": {"eq": True}, "allocated_storage": DISK_GIB, **query}
    if hosts == "verified":
        body["verified"] = {"eq": True}
    answer = client.call("POST", "/api/v0/bundles/", body=body, again=True, every_s=SEARCH_EVERY_S)
    found = answer.get("offers") if isinstance(answer, dict) else None
    if not isinstance(found, list | dict):
        raise Unreachable("vast: an answer without offers", reason=Reason.OUTAGE)
    rows = [found] if isinstance(found, dict) and "gpu_name" in found else fields.records(found)
    return rows, len(rows) >= PAGE or (answer.get("truncated") is True and bool(rows))


def ask_of(row: Any) -> str | None:
    """Return the number under which a row is rented, or None when it has none."""
    if not isinstance(row, dict):
        return None
    found = row.get("id") or row.get("ask_contract_id")
    return str(found) if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None


def prices(row: Mapping[str, Any], disk_gib: int) -> dict[Market, Decimal]:
    """Return the USD an hour of each market in which a row is sold, with a disk. Raises ValueError."""
    disk = disk_usd(row, disk_gib)
    found = {Market.ON_DEMAND: fields.price(row.get("dph_base")) + disk}
    if row.get("min_bid"):
        found[Market.SPOT] = fields.price(row["min_bid"]) + disk
    return {market: price.quantize(SIX_PLACES) for market, price in found.items()}


def disk_usd(row: Mapping[str, Any], disk_gib: int) -> Decimal:
    """Return what a disk costs in an hour. Raises ValueError when the row does not say it."""
    a_month = fields.number(row.get("storage_cost"))
    if a_month is None or not 0 <= a_month <= fields.ABSURD_USD_PER_HOUR:
        raise ValueError("no price of the disk")
    return a_month * disk_gib / MONTH_HOURS


def lines(row: Any, *, hosts: str, now: datetime) -> Iterator[Listing]:
    """Yield a line per market of one row. Raises ValueError and the like for a row that cannot be read."""
    row = fields.record(row)
    if row.get("rented") is True or row.get("rentable") is False:
        return
    if hosts == "verified" and row.get("verification") not in (None, "verified"):
        return
    ask = ask_of(row)
    if ask is None:
        raise ValueError("an offer without a number")
    country = _country(row.get("geolocation"))
    cores, share = _cores(row)
    memory, ram = fields.positive(row.get("gpu_ram")), fields.positive(row.get("cpu_ram"))
    for market, price in prices(row, DISK_GIB).items():
        yield Listing(
            provider="vast",
            region=country or _region(row.get("geolocation")),
            country=country,
            machine_type=f"ask-{ask}",
            accelerator_label=fields.text(row["gpu_name"]),
            accelerator_count=fields.accelerators(row["num_gpus"]),
            memory_gib=memory / 1024 if memory else None,
            vcpus=cores,
            ram_gib=ram * share / 1024 if ram else None,
            disk_gib=DISK_GIB,
            market=market,
            usd_per_hour=price,
            available=1,
            reliability=fields.share(row.get("reliability2", row.get("reliability"))),
            egress_usd_per_gib=_egress(row),
            internet_mbit_per_s=fields.positive(row.get("inet_up")),
            interconnect="nvlink" if fields.positive(row.get("bw_nvlink")) else "",
            ends_at=_ends_at(row, now),
            seen_at=now,
        )


def _country(place: Any) -> str:
    """Find the code at the end of "Atlantis, AT"."""
    found = re.search(r"(?:^|,\s*)([A-Z]{2})\s*$", place) if isinstance(place, str) else None
    return found[1] if found else ""


def _region(place: Any) -> str:
    try:
        words = re.sub(r"[^a-z0-9]+", "-", fields.text(place).lower()).strip("-")
    except ValueError:
        return "unknown"
    return words or "unknown"


def _cores(row: Mapping[str, Any]) -> tuple[float | None, float]:
    """Return the cores of the offer and its share of the machine: `cpu_cores` and `cpu_ram` are the machine's."""
    whole, ours = fields.positive(row.get("cpu_cores")), fields.positive(row.get("cpu_cores_effective"))
    share = fields.share(row.get("gpu_frac")) or 1.0
    if whole and ours:
        share = min(ours / whole, 1.0)
    return ours or (whole * share if whole else None), share


def _egress(row: Mapping[str, Any]) -> Decimal | None:
    """Return USD per GiB upwards, told per TB or per GB; both are powers of ten."""
    for name, gigabytes in (("internet_up_cost_per_tb", 1000), ("inet_up_cost", 1)):
        try:
            found = fields.number(row.get(name))
        except ValueError:
            continue
        if found is not None and 0 <= found <= fields.ABSURD_USD_PER_HOUR:
            return (found / gigabytes * GB_PER_GIB).quantize(SIX_PLACES)
    return None


def _ends_at(row: Mapping[str, Any], now: datetime) -> datetime | None:
    """Return when the host takes the machine back: `end_date`, or else `duration` seconds from now."""
    end, left = fields.positive(row.get("end_date")), fields.positive(row.get("duration"))
    try:
        if end:
            return datetime.fromtimestamp(end, UTC)
        if left:
            at = now + timedelta(seconds=left)
            return at.replace(second=0, microsecond=0)
    except (ValueError, OverflowError):
        return None
    return None
