"""
What Google Cloud offers where: reading its lists to the end.

Sources: https://docs.cloud.google.com/compute/docs/reference/rest/v1/machineTypes/aggregatedList (acceleratorTypes and
instances have the same; a filter with `eq` is a regular expression) and
https://cloud.google.com/billing/docs/reference/rest/v1/services.skus/list.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from providers import fields, http
from providers.base import BAD_ROW, Listing, Market, Reason, Unreachable
from providers.gcp_prices import ATTACHABLE, BOOT_DISK_GIB, N1_HOSTS, TERMS, Rates, Shape, shapes

COMPUTE_SKUS = "/v1/services/6F81-5844-456A/skus"
GPU_HOSTS = f'name eq "((a[2-9]|g[2-9]|ct6e|tpu7x).*|{"|".join(N1_HOSTS)})"'
CARDS = f'name eq "({"|".join(ATTACHABLE)})"'
PRICES_KEEP_S = 600  # For the check before a launch: the whole list is tens of megabytes and changes daily at most.
PAGES_MAX = 200
Signals = dict[tuple[str, str], tuple[float | None, float | None]]
_prices: dict[str, tuple[float, Rates]] = {}  # {URL: (read at, rates)}. A list price is the same for everybody.


def current_rates(billing: http.Client, skipped: Counter[str], *, keep_s: float = PRICES_KEEP_S) -> Rates:
    """Return what parts cost, read at most keep_s ago. Raises ProviderError."""
    url, now = billing.base_url, time.monotonic()
    if url not in _prices or now - _prices[url][0] > keep_s:
        rates = Rates(_skus(billing, skipped), skipped)
        if not rates.by_part:
            return rates  # Nothing worth keeping.
        _prices[url] = now, rates
    return _prices[url][1]


def current_shapes(compute: http.Client, path: str, skipped: Counter[str], *, machine_type: str = "") -> list[Shape]:
    """Return what exists of all machine types or of one, sorted by zone; path: of the project. Raises ProviderError."""
    host, _, attached = machine_type.partition("+")
    cards: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for zone, row in aggregated(compute, path, "acceleratorTypes", CARDS, skipped) if attached or not host else ():
        try:
            cards[zone][fields.text(row["name"])] = fields.whole(row["maximumCardsPerInstance"])
        except BAD_ROW as error:
            skipped[f"acceleratorType: {error}"[:80]] += 1
    found: dict[tuple[str, str], Shape] = {}
    for zone, row in aggregated(compute, path, "machineTypes", f'name = "{host}"' if host else GPU_HOSTS, skipped):
        try:
            found |= {(zone, shape.machine_type): shape for shape in shapes(zone, row, cards[zone])}
        except BAD_ROW as error:
            skipped[f"machineType: {type(error).__name__}: {error}"[:80]] += 1
    return [found[line] for line in sorted(found) if machine_type in ("", line[1])]


def aggregated(
    compute: http.Client, path: str, kind: str, chosen: str, skipped: Counter[str], *, whole: bool = False
) -> Iterator[tuple[str, Any]]:
    """
    Yield (zone, row) of all zones; chosen: a filter. Raises ProviderError.

    whole: for lists where what is missing counts as gone: a gap is an outage, not a thing to count in `skipped`.
    """
    for answer in _pages(compute, f"{path}/aggregated/{kind}", filter=chosen, maxResults=500):
        try:
            scopes = fields.record(answer.get("items") or {})
            if whole and (gaps := _gaps(answer, scopes, kind)):
                raise ValueError(f"zones without an answer: {gaps}")
            for scope, held in scopes.items():
                for row in fields.records(fields.record(held).get(kind)):
                    yield scope.removeprefix("zones/"), row
        except ValueError as error:
            if whole:
                raise Unreachable(f"gcp: {kind}: {error}", reason=Reason.OUTAGE) from None
            skipped[f"{kind}: {error}"[:80]] += 1


def _gaps(answer: dict[str, Any], scopes: Mapping[str, Any], kind: str) -> str:
    """Name the zones of which a page tells nothing, not even in a warning that there is nothing on it."""
    gaps = [str(zone) for zone in fields.records(answer.get("unreachables"))]
    for scope, held in scopes.items():
        rows, warning = fields.record(held).get(kind), fields.record(held.get("warning") or {})
        is_told = isinstance(rows, list) and (not rows or any(isinstance(row, dict) for row in rows))
        if not is_told and (rows is not None or warning.get("code") != "NO_RESULTS_ON_PAGE"):
            gaps.append(scope)
    return ", ".join(gaps) or ("" if scopes else "all")


def _skus(billing: http.Client, skipped: Counter[str]) -> Iterator[Any]:
    for answer in _pages(billing, COMPUTE_SKUS, pageSize=5000, currencyCode="USD"):
        try:
            yield from fields.records(answer.get("skus"))
        except ValueError as error:
            skipped[f"SKUs: {error}"[:80]] += 1


def _pages(client: http.Client, path: str, **query: Any) -> Iterator[dict[str, Any]]:
    token: str | None = None
    for _ in range(PAGES_MAX):
        answer = client.get(path, **query, pageToken=token)
        if not isinstance(answer, dict):
            break
        yield answer
        token = answer.get("nextPageToken")
        if not token:
            return
    raise Unreachable(f"gcp: {path}: the list has no end", reason=Reason.OUTAGE)


def lines(
    shape: Shape, rates: Rates, signals: Signals, offered: set[tuple[str, ...]], now: datetime
) -> Iterator[Listing]:
    """Translate a shape; offered: the commitments that are listed already, as they hold for a whole region."""
    is_priced = False
    for market, term in TERMS:
        usd_per_hour = rates.price(shape, (market, term))
        commitment = (shape.region, shape.machine_type, term)
        is_priced = is_priced or usd_per_hour is not None
        if usd_per_hour is None or (term and commitment in offered):
            continue
        offered |= {commitment} if term else set()
        signal = signals.get((shape.region, shape.machine_type)) if market is Market.SPOT else None
        yield Listing(
            provider="gcp",
            region=shape.region,
            zone="" if term else shape.zone,
            machine_type=shape.machine_type,
            accelerator_label=shape.chip.label,
            accelerator_count=shape.count,
            memory_gib=shape.chip.memory_gib,
            vcpus=shape.vcpus,
            ram_gib=shape.ram_mib / 1024,
            disk_gib=BOOT_DISK_GIB + shape.local_ssd_gib,
            market=market,
            term=term,
            usd_per_hour=usd_per_hour,
            interruptions_per_hour=signal[0] if signal else None,
            placement_score=signal[1] if signal else None,
            interconnect=shape.chip.interconnect,
            seen_at=now,
        )
    if not is_priced:
        raise ValueError(f"no price for {shape.machine_type}")
