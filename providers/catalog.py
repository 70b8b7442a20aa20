"""
Price lists in the SkyPilot catalog schema: one CSV per provider, a row per machine type and zone.

Schema: https://github.com/skypilot-org/skypilot-catalog (columns in any order: InstanceType, AcceleratorName,
AcceleratorCount, vCPUs, MemoryGiB, GpuInfo, Price, SpotPrice, Region, AvailabilityZone). The real files hold rows
without an accelerator, accelerators without a host, missing prices and `GpuInfo` as a Python literal or as JSON.
"""

from __future__ import annotations

import ast
import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from providers import http
from providers.base import Listing, Market, Rejected
from providers.catalog_hosts import ATTACHED_TO, Hosts

NEEDED = {"InstanceType", "AcceleratorName", "AcceleratorCount", "Price", "Region"}
ABSURD_USD_PER_HOUR = Decimal(100_000)  # No machine on any list costs a thousandth of it per GPU.
EXAMPLES_MAX = 20


class RowSkipped(Exception):
    """A row that is about an accelerator but cannot be sold; the argument is the reason."""


@dataclass(slots=True)
class Report:
    """What became of the rows: loaded + not_gpu + skipped = rows."""

    rows: int = 0
    loaded: int = 0
    not_gpu: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def skip(self, line: int, reason: str, row: dict[str, Any]) -> None:
        """Count a row that was left out and keep the first few to show."""
        self.skipped[reason] += 1
        if len(self.examples) < EXAMPLES_MAX:
            text = ",".join(str(value) for value in row.values() if value)[:160]
            self.examples.append({"line": line, "reason": reason, "text": text})


def read(lines: Iterable[str], *, provider: str, now: datetime, report: Report) -> Iterator[Listing]:
    """
    Yield a Listing per priced market of each good row, and count every row in `report`.

    Raises Rejected when the header is not this schema's.
    """
    rows = csv.DictReader(lines, restkey="_extra", strict=False)
    missing = NEEDED - set(rows.fieldnames or ())
    if missing:
        raise Rejected(f"{provider}: not a SkyPilot catalog: no column {', '.join(sorted(missing))}")
    hosts, seen = Hosts(), set[tuple[str, ...]]()
    apart: list[tuple[int, dict[str, Any]]] = []  # Rows of chips without a host, until all hosts are known.
    for line, row in _rows(rows, report):
        if not (row["AcceleratorName"] or "").strip():
            report.not_gpu += 1
            _note(hosts, row)
        elif not (row["InstanceType"] or "").strip():
            apart.append((line, row))
        else:
            yield from _counted(line, row, report, _translate(row, None, provider=provider, now=now), seen)
    for line, row in apart:
        yield from _counted(line, row, report, _translate(row, hosts, provider=provider, now=now), seen)


def _rows(rows: csv.DictReader[str], report: Report) -> Iterator[tuple[int, dict[str, Any]]]:
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            report.rows += 1
            report.skip(rows.line_num, "unreadable row", {"error": str(error)})
            continue
        report.rows += 1
        yield rows.line_num, row


def _note(hosts: Hosts, row: dict[str, Any]) -> None:
    machine_type, region = (row["InstanceType"] or "").strip(), (row["Region"] or "").strip()
    price = _price if machine_type in ATTACHED_TO.values() else _price_or_nothing
    try:
        prices = price(row.get("Price")), price(row.get("SpotPrice"))
    except RowSkipped:
        return
    zone, vcpus = (row.get("AvailabilityZone") or "").strip(), row.get("vCPUs") or ""
    hosts.note(machine_type, region, zone, prices, vcpus, row.get("MemoryGiB") or "")


def _counted(
    line: int, row: dict[str, Any], report: Report, found: Iterator[Listing], seen: set[tuple[str, ...]]
) -> Iterator[Listing]:
    try:
        named = {(one.machine_type, one.region, one.zone, str(one.market)): one for one in found}
    except RowSkipped as reason:
        report.skip(line, str(reason), row)
        return
    fresh = [listing for name, listing in named.items() if name not in seen]
    if not fresh:
        report.skip(line, "the same line twice", row)
        return
    seen.update(named)
    report.loaded += 1
    yield from fresh


def _translate(row: dict[str, Any], hosts: Hosts | None, *, provider: str, now: datetime) -> Iterator[Listing]:
    if "_extra" in row:
        raise RowSkipped("more fields than columns")
    region, zone = (row["Region"] or "").strip(), (row.get("AvailabilityZone") or "").strip()
    if not region:
        raise RowSkipped("no region")
    count = _positive(row["AcceleratorCount"], "accelerator count")
    if count is None:
        raise RowSkipped("no accelerator count")
    if count != int(count):
        raise RowSkipped("a fraction of an accelerator")
    label, prices = row["AcceleratorName"].strip(), (_price(row.get("Price")), _price(row.get("SpotPrice")))
    if not any(prices):
        raise RowSkipped("no price")
    machines = [((row["InstanceType"] or "").strip(), prices, row.get("vCPUs") or "", row.get("MemoryGiB") or "")]
    if hosts is not None:
        machines = list(hosts.machines(label, int(count), region, zone, prices))
        if not machines:
            raise RowSkipped("accelerator without a host")
    for machine_type, whole, vcpus, ram_gib in machines:
        for market, price in zip((Market.ON_DEMAND, Market.SPOT), whole, strict=True):
            if price is not None:
                yield Listing(
                    provider=provider,
                    region=region,
                    zone=zone,
                    machine_type=machine_type,
                    accelerator_label=label,
                    accelerator_count=int(count),
                    memory_gib=_gpu_memory_gib(row.get("GpuInfo")),
                    vcpus=_number(vcpus),
                    ram_gib=_number(ram_gib),
                    market=market,
                    usd_per_hour=price,
                    seen_at=now,
                )


def _price(text: str | None) -> Decimal | None:
    price = _positive(text, "price")
    if price is not None and price > ABSURD_USD_PER_HOUR:
        raise RowSkipped("absurd price")
    return price


def _price_or_nothing(text: str | None) -> Decimal | None:
    """A host whose chips cannot be had without it may cost 0: then the chips' row has the price of both."""
    return Decimal(0) if (text or "").strip() in ("0", "0.0") else _price(text)


def _positive(text: str | None, what: str) -> Decimal | None:
    """Return the number, or None when the field is empty. Raises RowSkipped."""
    if not (text or "").strip():
        return None
    try:
        value = Decimal(str(text).strip())
    except InvalidOperation:
        raise RowSkipped(f"{what} is not a number") from None
    if not value.is_finite() or value <= 0:
        raise RowSkipped(f"{what} is not positive")
    return value


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _gpu_memory_gib(text: str | None) -> float | None:
    """Read SizeInMiB out of GpuInfo, a Python literal or JSON; None when it is absent, 0 or unreadable."""
    if not text:
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            size_mib = float(parse(text)["Gpus"][0]["MemoryInfo"]["SizeInMiB"])
            return size_mib / 1024 if 0 < size_mib < float("inf") else None
        except (ValueError, SyntaxError, KeyError, IndexError, TypeError, RecursionError, MemoryError):
            continue
    return None


class Catalog:
    """One `<directory>/<provider>/vms.csv`. Prices only: nothing can be rented here."""

    def __init__(self, *, path: Path, now: datetime) -> None:
        self.name = path.parent.name
        self.path = path
        self.now = now
        self.report = Report()
        self.skipped: Counter[str] = Counter()

    def listings(self) -> Iterable[Listing]:
        """Return the good rows. Raises Rejected when the file cannot be read or is of another schema."""
        self.report = Report()
        try:
            with self.path.open(newline="", encoding="utf-8", errors="replace") as lines:
                found = list(read(lines, provider=self.name, now=self.now, report=self.report))
        except OSError as error:
            raise Rejected(f"{self.path}: {error.strerror}") from error
        self.skipped = self.report.skipped
        return found


class Online:
    """One provider's `vms.csv` at an address. Prices only."""

    def __init__(self, *, name: str, url: str, now: datetime) -> None:
        self.name, self.url, self.now = name, url, now
        self.skipped: Counter[str] = Counter()

    def listings(self) -> Iterable[Listing]:
        """Return the good rows. Raises Rejected for another schema, Unreachable."""
        report = Report()
        text = http.call("GET", self.url, provider=self.name, text=True)
        found = list(read(text.splitlines(keepends=True), provider=self.name, now=self.now, report=report))
        self.skipped = report.skipped
        return found
