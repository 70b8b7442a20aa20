"""
What EC2's answers say of shapes and prices. Asks nobody: `providers.aws` hands over what it was told.

Written from https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceTypeInfo.html, API_SpotPrice.html and
https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

from providers import fields, http
from providers.base import BAD_ROW, Listing, Market, PricePoint

Read = TypeVar("Read")
HOURS_PER_MONTH = 730  # As in https://aws.amazon.com/ebs/pricing/.
ROOT_DISK_GIB = 100  # What LaunchOrder asks for by default.
PUBLIC_IPV4_USD_PER_HOUR = Decimal("0.005")  # In every region: aws.amazon.com/vpc/pricing, "Public IPv4 Addresses".
# gp3 in us-east-1 (aws.amazon.com/ebs/pricing), for a region whose own price cannot be read.
GP3_USD_PER_GIB_MONTH = Decimal("0.08")
# EC2 calls chips of two sizes by one name; the bigger one is told by its memory.
BIGGER = {("A100", 80): "A100-80GB", ("V100", 32): "V100-32GB"}
TRAINIUM2_GIB = 96.0  # EC2 says 512; aws.amazon.com/ec2/instance-types/trn2 says 1.5 TiB in 16 chips.
# P machines with several GPUs join them by NVLink, Trn machines by NeuronLink (aws.amazon.com/ec2/instance-types).
LINKS = {"p": "nvlink", "trn": "neuronlink"}
TERMS = {"1yr": "1y", "3yr": "3y"}
CHIPS = (("GpuInfo", "Gpus"), ("NeuronInfo", "NeuronDevices"), ("InferenceAcceleratorInfo", "Accelerators"),
         ("MediaAcceleratorInfo", "Accelerators"))  # fmt: skip
# The filters of GetProducts that leave one price for a plain Linux machine. A capacity block is sold for 0 USD there.
PLAIN = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used",
         "marketoption": "OnDemand"}  # fmt: skip
INSTANCE_FAMILIES = ("GPU instance", "Machine Learning ASIC Instances", "Media Accelerator Instances")
TYPE_PATTERNS = ("dl*", "g*", "inf*", "p*", "trn*", "u-p*", "vt*")  # Finds what has accelerators among 1,400 types.


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """An instance type with accelerators. `local_gib` is instance storage; `sold_as` are EC2's usage classes."""

    machine_type: str
    label: str
    count: int
    memory_gib: float | None
    vcpus: float | None
    ram_gib: float | None
    local_gib: float
    interconnect: str
    sold_as: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """What is needed to write a region's lines. `extra`: USD per hour for the root disk and the public address."""

    name: str
    shapes: Mapping[str, Shape]
    plain: Mapping[str, Mapping[str, Decimal]]  # {machine type: {term, or "" on demand: USD per hour}}.
    extra: Decimal
    scores: Mapping[tuple[str, str], float]  # {(machine type, zone's id): 0 to 1}.
    now: datetime

    def on_demand(self, offering: Any) -> Iterator[Listing]:
        """Translate an InstanceTypeOffering of one zone. Raises BAD_ROW."""
        shape, zone = self.shapes.get(fields.text(offering["InstanceType"])), fields.text(offering["Location"])
        if shape and "on-demand" in shape.sold_as and self._is_zone(zone):
            if price := self.plain.get(shape.machine_type, {}).get(""):
                yield self._line(shape, Market.ON_DEMAND, price, zone=zone)

    def reserved(self, machine_type: str) -> Iterator[Listing]:
        """Write a line per term of a regional reservation without upfront payment."""
        shape = self.shapes.get(machine_type)
        for term, price in self.plain[machine_type].items():
            if shape and term:
                yield self._line(shape, Market.RESERVED, price, term=term)

    def spot(self, row: Any) -> Iterator[Listing]:
        """Translate a SpotPrice. Raises BAD_ROW."""
        shape, zone = self.shapes.get(fields.text(row["InstanceType"])), fields.text(row["AvailabilityZone"])
        if shape and "spot" in shape.sold_as and self._is_zone(zone):
            score = self.scores.get((shape.machine_type, fields.text(row.get("AvailabilityZoneId"), "")))
            yield self._line(shape, Market.SPOT, fields.price(row["SpotPrice"]), zone=zone, score=score)

    def point(self, row: Any) -> list[PricePoint]:
        """Translate a SpotPrice of the past. Raises BAD_ROW."""
        machine_type, zone = fields.text(row["InstanceType"]), fields.text(row["AvailabilityZone"])
        if machine_type not in self.shapes or not self._is_zone(zone):
            return []
        return [PricePoint(
            provider="aws", region=self.name, zone=zone, machine_type=machine_type, market=Market.SPOT,
            usd_per_hour=fields.price(row["SpotPrice"]) + self.extra, at=instant(row["Timestamp"]),
        )]  # fmt: skip

    def _is_zone(self, zone: str) -> bool:
        # A local zone has prices of its own and no default subnet.
        return re.fullmatch(re.escape(self.name) + "[a-z]", zone) is not None

    def _line(
        self,
        shape: Shape,
        market: Market,
        price: Decimal,
        *,
        zone: str = "",
        term: str = "",
        score: float | None = None,
    ) -> Listing:
        return Listing(
            provider="aws", region=self.name, zone=zone, machine_type=shape.machine_type,
            accelerator_label=shape.label, accelerator_count=shape.count, memory_gib=shape.memory_gib,
            vcpus=shape.vcpus, ram_gib=shape.ram_gib, disk_gib=shape.local_gib + ROOT_DISK_GIB,
            market=market, term=term, usd_per_hour=price + self.extra, placement_score=score,
            interconnect=shape.interconnect, seen_at=self.now,
        )  # fmt: skip


def extra_usd_per_hour(gp3_usd_per_gib_month: Decimal, disk_gib: int = ROOT_DISK_GIB) -> Decimal:
    """Return what a machine costs beside its type: a gp3 root disk and a public IPv4 address."""
    return gp3_usd_per_gib_month * disk_gib / HOURS_PER_MONTH + PUBLIC_IPV4_USD_PER_HOUR


def readable(rows: Iterable[Any], read: Callable[[Any], Read], skipped: Counter[str]) -> Iterator[Read]:
    """Yield what `read` makes of each row, and count the rows of which it can make nothing."""
    for row in rows:
        try:
            found = read(row)
        except BAD_ROW as error:
            skipped[f"{type(error).__name__}: {error}"[:80]] += 1
            continue
        yield found


def shapes(rows: Iterable[Any], skipped: Counter[str]) -> dict[str, Shape]:
    """Return {machine type: shape} of the instance types with accelerators."""
    return {shape.machine_type: shape for shape in readable(rows, _shape, skipped) if shape}


def _shape(row: Any) -> Shape | None:
    chips = _chips(row)
    if not chips:
        return None
    machine_type, chip = fields.text(row["InstanceType"]), fields.record(chips[0])
    count = fields.accelerators(chip["Count"])  # A fraction of a GPU (g6f) has a count of 0 and is not sold here.
    memory = _gib(_inside(chip, "MemoryInfo", "SizeInMiB"))
    label = fields.text(chip["Name"])
    if label == "Trainium2":
        memory = TRAINIUM2_GIB
    local_gb = fields.positive(_inside(row, "InstanceStorageInfo", "TotalSizeInGB"))
    return Shape(
        machine_type=machine_type, label=BIGGER.get((label, round(memory or 0)), label), count=count,
        memory_gib=memory, vcpus=fields.positive(_inside(row, "VCpuInfo", "DefaultVCpus")),
        ram_gib=_gib(_inside(row, "MemoryInfo", "SizeInMiB")), local_gib=(local_gb or 0) * 1e9 / 2**30,
        interconnect=_interconnect(machine_type, count, has_efa=_inside(row, "NetworkInfo", "EfaSupported") is True),
        sold_as=frozenset(fields.text(one) for one in fields.records(row.get("SupportedUsageClasses"))),
    )  # fmt: skip


def _chips(row: Any) -> list[Any]:
    """Return the first list of accelerators that an instance type has. Inferentia is in two; both say the same."""
    return next(filter(None, (fields.records(_inside(row, *path)) for path in CHIPS)), [])


def _interconnect(machine_type: str, count: int, *, has_efa: bool) -> str:
    """Name what joins the accelerators and, where there is EFA, what joins the machines: "nvlink efa"."""
    family = re.match(r"(?:u-)?([a-z]*)", machine_type)
    inside = LINKS.get(family[1] if family else "", "pcie") if count > 1 else ""
    return " ".join(filter(None, (inside, "efa" if has_efa else "")))


def plain_prices(products: Iterable[Any], skipped: Counter[str]) -> dict[str, dict[str, Decimal]]:
    """Return {machine type: {term: USD per hour}} of GetProducts' JSON texts; the term of on-demand is ""."""
    found: dict[str, dict[str, Decimal]] = {}
    for machine_type, prices in readable(products, _product, skipped):
        found.setdefault(machine_type, {}).update(prices)
    return found


def _product(text: Any) -> tuple[str, dict[str, Decimal]]:
    product = fields.record(http.loads(text))
    machine_type = fields.text(product["product"]["attributes"]["instanceType"])
    return machine_type, dict(_terms(fields.record(product["terms"])))


def _terms(terms: Mapping[str, Any]) -> Iterator[tuple[str, Decimal]]:
    for offer in fields.records(terms.get("OnDemand")):
        yield "", _price_per("Hrs", offer)
    for offer in fields.records(terms.get("Reserved")):
        said = fields.record(offer["termAttributes"])
        term = TERMS.get(fields.text(said.get("LeaseContractLength"), ""))
        if term and said.get("PurchaseOption") == "No Upfront" and said.get("OfferingClass") == "standard":
            yield term, _price_per("Hrs", offer)


def _price_per(unit: str, offer: Any) -> Decimal:
    (dimension,) = fields.records(offer["priceDimensions"])
    if dimension["unit"] != unit:
        raise ValueError(f"a price that is not per {unit}")
    return fields.price(dimension["pricePerUnit"]["USD"])


def gp3_usd_per_gib_month(products: Iterable[Any], skipped: Counter[str]) -> Decimal:
    """Return the price of a GiB of gp3 for a month, or that of us-east-1 where none can be read."""
    prices = readable(products, lambda text: _gp3(http.loads(text)), skipped)
    return next(prices, GP3_USD_PER_GIB_MONTH)


def _gp3(product: Any) -> Decimal:
    (offer,) = fields.records(product["terms"]["OnDemand"])
    return _price_per("GB-Mo", offer)


def score(row: Any) -> tuple[str, float]:
    """Return a zone's id and its SpotPlacementScore of 1 to 10 as a share. Raises BAD_ROW."""
    return fields.text(row["AvailabilityZoneId"]), min(fields.whole(row["Score"]), 10) / 10


def newest(rows: Iterable[Any], skipped: Counter[str]) -> list[Any]:
    """Return the latest SpotPrice of each type and zone."""
    found: dict[tuple[str, str], tuple[datetime, Any]] = {}
    for name, at, row in readable(rows, _dated, skipped):
        if name not in found or at > found[name][0]:
            found[name] = at, row
    return [row for _, row in found.values()]


def _dated(row: Any) -> tuple[tuple[str, str], datetime, Any]:
    return (fields.text(row["InstanceType"]), fields.text(row["AvailabilityZone"])), instant(row["Timestamp"]), row


def instant(value: Any) -> datetime:
    """Return a moment in UTC. Raises ValueError."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("no moment")
    return value.astimezone(UTC)


def _gib(mib: Any) -> float | None:
    size = fields.positive(mib)
    return size / 1024 if size else None


def _inside(row: Any, *names: str) -> Any:
    for name in names:
        row = row.get(name) if isinstance(row, dict) else None
    return row
