"""
Price lists in gpuhunt's catalog format, to hold our own readings against: a second opinion, not something to rent from.

Source: gpuhunt 0.1.34 (https://github.com/dstackai/gpuhunt): one <provider>.csv with the columns instance_name,
location, price (USD per hour of the whole machine), cpu, memory (GB), gpu_count, gpu_name, gpu_memory (GB per GPU),
spot and disk_size; its GPUHUNT_CATALOG_DIR and zip files hold them under these names. gpuhunt itself is not needed.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from providers import fields, http
from providers.base import Listing, Market, Reason, Rejected, translated

OURS = {"lambdalabs": "lambda", "vastai": "vast"}  # Every other name is spelled as ours.
AGREES_WITHIN = Decimal("0.01")
DIFFERENCES_MAX = 10
NEEDED = {"instance_name", "location", "price", "gpu_count", "gpu_name", "spot"}
Key = tuple[str, str, str, Market]  # provider, machine type, region, market
Row = tuple[str, dict[str, str]]


class GpuHunt:
    """Every provider that a catalog holds; each line bears its provider's name as we spell it."""

    name = "gpuhunt"

    def __init__(self, *, source: str) -> None:
        """source: a folder of CSV files, a zip file of them, one CSV file, or the URL of one."""
        self.source = source
        self.skipped: Counter[str] = Counter()

    def listings(self) -> Iterable[Listing]:
        """Return a line per row with accelerators. Raises ProviderError."""
        self.skipped = Counter()
        now = datetime.now(UTC)
        return translated(self._rows(), lambda row: _translate(*row, now=now), self.skipped)

    def _rows(self) -> Iterator[Row]:
        for file, text in self._files():
            rows = csv.DictReader(io.StringIO(text, newline=""))
            provider = PurePosixPath(file).stem
            try:
                if missing := NEEDED - set(rows.fieldnames or ()):
                    self.skipped[f"{file}: no column {', '.join(sorted(missing))}"] += 1
                    continue
                yield from ((OURS.get(provider, provider), row) for row in rows)
            except csv.Error as error:
                self.skipped[f"{file}: {error}"[:80]] += 1

    def _files(self) -> Iterator[tuple[str, str]]:
        if self.source.startswith(("http://", "https://")):
            parts = urlsplit(self.source)
            client = http.Client(provider=self.name, base_url=f"{parts.scheme}://{parts.netloc}")
            yield parts.path, client.ask("GET", self.source, text=True).body
            return
        path = Path(self.source)
        try:
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as packed:
                    for file in sorted(one for one in packed.namelist() if one.endswith(".csv")):
                        yield file, packed.read(file).decode("utf-8", "replace")
                return
            for one in sorted(path.glob("*.csv")) if path.is_dir() else [path]:
                yield one.name, one.read_text("utf-8", "replace")
        except (OSError, zipfile.BadZipFile) as error:
            raise Rejected(f"gpuhunt: {path}: {type(error).__name__}", reason=Reason.BAD_REQUEST) from None


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two readings of one provider's prices agree, on the lines that both have."""

    matched: tuple[Key, ...]
    ours_only: int
    theirs_only: int
    agreeing_share: float | None  # Of the matched, whose prices differ by 1 % of theirs at most. None: none matched.
    differences: tuple[tuple[Key, Decimal, Decimal], ...]  # (line, our USD per hour, theirs), the largest first.


def cross_check(ours: Iterable[Listing], theirs: Iterable[Listing]) -> dict[str, Comparison]:
    """Return {provider: comparison} for every provider that both know. Of a region's zones the cheapest counts."""
    mine, others = _cheapest(ours), _cheapest(theirs)
    found = {}
    for provider in sorted(mine.keys() & others.keys()):
        here, there = mine[provider], others[provider]
        matched = sorted(here.keys() & there.keys())
        apart = sorted(((_apart(here[key], there[key]), key) for key in matched), reverse=True)
        disagreeing = [key for share, key in apart if share > AGREES_WITHIN]
        found[provider] = Comparison(
            matched=tuple(matched),
            ours_only=len(here) - len(matched),
            theirs_only=len(there) - len(matched),
            agreeing_share=1 - len(disagreeing) / len(matched) if matched else None,
            differences=tuple((key, here[key], there[key]) for key in disagreeing[:DIFFERENCES_MAX]),
        )
    return found


def _cheapest(listings: Iterable[Listing]) -> dict[str, dict[Key, Decimal]]:
    found: defaultdict[str, dict[Key, Decimal]] = defaultdict(dict)
    for one in listings:
        key = (one.provider, one.machine_type, one.region, one.market)
        lines = found[one.provider]
        lines[key] = min(lines.get(key, one.usd_per_hour), one.usd_per_hour)
    return found


def _apart(ours: Decimal, theirs: Decimal) -> Decimal:
    return abs(ours - theirs) / theirs


def _translate(provider: str, row: dict[str, str], *, now: datetime) -> Iterator[Listing]:
    if not row["gpu_count"] or not (count := fields.whole(row["gpu_count"])):
        return  # A machine without a GPU.
    machine_type, location = fields.text(row["instance_name"]), fields.text(row["location"])
    memory = fields.positive(row.get("gpu_memory"))
    chip = fields.text(row["gpu_name"])
    if provider == "nebius":
        machine_type = machine_type.replace(" ", "/", 1)  # Theirs is "platform preset".
    zone = location if provider == "gcp" else ""
    yield Listing(
        provider=provider,
        region=location.rpartition("-")[0] if zone else location,
        zone=zone,
        machine_type=machine_type,
        accelerator_label=f"A100-{memory:.0f}GB" if chip == "A100" and memory else chip,
        accelerator_count=count,
        memory_gib=memory,
        vcpus=fields.positive(row.get("cpu")),
        ram_gib=fields.positive(row.get("memory")),
        disk_gib=fields.positive(row.get("disk_size")),
        market={"true": Market.SPOT, "false": Market.ON_DEMAND}[row["spot"].lower()],
        usd_per_hour=fields.price(row["price"]),
        seen_at=now,
    )
