"""
What a machine of Google Cloud costs: the sum of the prices of its parts.

Sources: https://cloud.google.com/billing/docs/reference/rest/v1/services.skus/list (a SKU has a description, a usage
type, regions and a price of `units` + `nanos`/10^9 per `usageUnit`; none names a machine type, so parts are found by
their description), https://docs.cloud.google.com/compute/docs/gpus (accelerators and their memory, which machine types
are sold how, what N1 takes). A month has 730 hours, as on https://cloud.google.com/compute/disks-image-pricing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from providers import fields
from providers.base import BAD_ROW, Market

ON_DEMAND, SPOT = (Market.ON_DEMAND, ""), (Market.SPOT, "")
TERMS = (ON_DEMAND, SPOT, (Market.RESERVED, "1y"), (Market.RESERVED, "3y"))
USAGE = dict(zip(("OnDemand", "Preemptible", "Commit1Yr", "Commit3Yr"), TERMS, strict=True))
HOURS_OF = {"h": 1, "GiBy.h": 1, "GiBy.mo": 730}  # {usageUnit: hours that its price is for}.
MICRO_USD = Decimal("0.000001")
BOOT_DISK_GIB = 100  # What LaunchOrder asks for unless told otherwise.
LOCAL_SSD_GIB = 375  # https://docs.cloud.google.com/compute/docs/disks/local-ssd: every partition of our families.

# A description is a name between marks of how and where it is sold:
#   "Spot Preemptible A3 Instance Core running in Americas"          -> a3 instance core
#   "Nvidia L4 GPU attached to Spot Preemptible VMs running in Iowa" -> nvidia l4 gpu
#   "Commitment v1: A3 Ram in Americas for 1 Year"                   -> a3 ram
#   "SSD backed Local Storage in Bangkok"                            -> ssd backed local storage
# What is sold in any other way keeps the words for it ("Sole Tenancy", "Custom", "Reserved", "DWS Defined Duration",
# "DWS Calendar Mode", "Virtual Workstation") in its name and is no part that we know.
DESCRIPTION = re.compile(
    r"(?P<spot>spot preemptible |preemptible )?(?P<commitment>commitment v1: )?(?P<name>.+?)"
    r"(?P<attached> attached to (?:spot )?preemptible vms)?(?: (?:running )?in .+?)?(?: for [13] years?)?"
)
# "a3 instance core", "a3plus instance ram", "n1 predefined instance core", "a3 cpu", and "cpu" for N1 alone.
HOST_PART = re.compile(r"(?:(?P<family>[a-z]\d\w*(?: ultra)?) )?(?:predefined )?(?:instance )?(?P<part>core|cpu|ram)")
OTHER_PARTS = {
    "ssd backed local storage": "local-ssd",
    "local ssd": "local-ssd",
    "balanced pd capacity": "pd-balanced",
    "hyperdisk balanced capacity": "hyperdisk-balanced",
}
FAMILIES = {"a3-megagpu": "a3plus", "a3-ultragpu": "a3ultra"}  # Where it is not the first word of the machine type.
NOT_ON_DEMAND = re.compile(r"a4-|a3-ultragpu-|a3-highgpu-[124]g")  # Spot, flex-start or a reservation only.
NO_PERSISTENT_DISK = re.compile(r"a4-|a3-ultragpu-|g4-|ct6e-|tpu7x-")  # Hyperdisk only.
# One host per size: within every limit of https://docs.cloud.google.com/compute/docs/gpus#n1-gpus (one V100, P100 or
# T4 takes 12 to 48 vCPUs, eight V100 take 96), so no table of limits is needed.
N1_HOSTS = {"n1-standard-4": (1,), "n1-standard-8": (1, 2, 4, 8), "n1-standard-32": (4, 8)}


@dataclass(frozen=True, slots=True)
class Chip:
    """An accelerator: how offers call it, GiB of its own, and its names in SKUs."""

    label: str
    memory_gib: float
    names: tuple[str, ...]
    is_whole: bool = False  # Its price is that of its share of the machine, with cores, RAM and local SSD.
    interconnect: str = ""


def _tesla(name: str, memory_gib: float, interconnect: str = "pcie") -> Chip:
    return Chip(name, memory_gib, (f"nvidia tesla {name.lower()} gpu",), interconnect=interconnect)


ATTACHABLE = {  # To N1. The K80 is withdrawn.
    "nvidia-tesla-t4": _tesla("T4", 16),
    "nvidia-tesla-p4": _tesla("P4", 8),
    "nvidia-tesla-p100": _tesla("P100", 16),
    "nvidia-tesla-v100": _tesla("V100", 16, "nvlink"),
}
CHIPS = ATTACHABLE | {
    "nvidia-l4": Chip("L4", 24, ("nvidia l4 gpu",), interconnect="pcie"),
    "nvidia-rtx-pro-6000": Chip("RTX-PRO-6000", 96, ("rtx 6000 96gb",), interconnect="pcie"),
    "nvidia-tesla-a100": Chip("A100-40GB", 40, ("nvidia tesla a100 gpu",), interconnect="nvlink"),
    "nvidia-a100-80gb": Chip(
        "A100-80GB", 80, ("nvidia tesla a100 80gb gpu", "nvidia a100 80gb gpu"), interconnect="nvlink"
    ),
    "nvidia-h100-80gb": Chip("H100-SXM", 80, ("nvidia h100 80gb gpu",), interconnect="nvlink"),
    "nvidia-h100-mega-80gb": Chip(
        "H100-SXM",
        80,
        ("nvidia h100 80gb mega gpu", "nvidia h100 mega 80gb gpu", "nvidia h100 80gb plus gpu"),
        interconnect="nvlink",
    ),
    "nvidia-h200-141gb": Chip("H200", 141, ("h200 141gb gpu", "nvidia h200 141gb gpu"), interconnect="nvlink"),
    "nvidia-b200": Chip("B200", 180, ("a4 nvidia b200 (1 gpu slice)",), True, "nvlink"),
    "ct6e": Chip("TPU-v6e", 32, ("tpuv6e",), True),
    "tpu7x": Chip("TPU-v7", 192, ("tpu7x",), True),
}
CHIP_PARTS = {name: kind for kind, chip in CHIPS.items() for name in chip.names}


@dataclass(frozen=True, slots=True)
class Shape:
    """A machine type in a zone, with the accelerators that it has or that are attached to it."""

    machine_type: str  # "a3-highgpu-8g", or "n1-standard-8+nvidia-tesla-t4x2": a host and what is attached.
    host: str
    zone: str
    kind: str  # Of accelerator: a key of CHIPS.
    count: int
    vcpus: int
    ram_mib: int
    local_ssd_gib: int = 0

    @property
    def region(self) -> str:
        """The zone without its letter."""
        return self.zone.rpartition("-")[0]

    @property
    def chip(self) -> Chip:
        """What is known of its accelerator."""
        return CHIPS[self.kind]

    @property
    def is_attached(self) -> bool:
        """Whether the accelerators are asked for separately."""
        return "+" in self.machine_type

    @property
    def disk_type(self) -> str:
        """The cheapest kind of SSD that it boots from."""
        return "hyperdisk-balanced" if NO_PERSISTENT_DISK.match(self.host) else "pd-balanced"


def shapes(zone: str, row: Any, cards: Mapping[str, int]) -> Iterator[Shape]:
    """Yield what can be rented of a machineType; cards: {attachable accelerator in the zone: most of a machine}."""
    host = fields.text(row["name"])
    if (fields.record(row.get("deprecated") or {}).get("state") or "ACTIVE") != "ACTIVE":
        return
    size = (fields.accelerators(row["guestCpus"]), _mib(row["memoryMb"]))
    for kind, most in cards.items():
        for count in N1_HOSTS.get(host, ()):
            if count <= most:
                yield Shape(f"{host}+{kind}x{count}", host, zone, kind, count, *size)
    for held in fields.records(row.get("accelerators")):
        kind = fields.text(held["guestAcceleratorType"])
        if kind not in CHIPS:
            raise ValueError(f"unknown accelerator {kind}")
        count = fields.accelerators(held["guestAcceleratorCount"])
        disks = fields.whole(fields.record(row.get("bundledLocalSsds") or {}).get("partitionCount") or 0)
        yield Shape(host, host, zone, kind, count, *size, disks * LOCAL_SSD_GIB)


def _mib(value: Any) -> int:
    size = fields.positive(value)
    if size is None:
        raise ValueError("a machine without memory")
    return int(size)


class Rates:
    """USD per hour of each part, by how and where it is sold."""

    def __init__(self, skus: Iterable[Any], skipped: Counter[str]) -> None:
        """Read the SKUs that price a part of ours; one that cannot be read is counted in `skipped`."""
        self.by_part: dict[tuple[tuple[Market, str], str, str], Decimal] = {}
        for sku in skus:
            try:
                self._add(sku)
            except BAD_ROW as error:
                skipped[f"SKU: {type(error).__name__}: {error}"[:80]] += 1

    def price(self, shape: Shape, terms: tuple[Market, str]) -> Decimal | None:
        """
        Return USD per hour of the machine with a boot disk of BOOT_DISK_GIB, or None when a part has no price.

        The disk is left out where no SKU prices it: it is a hundredth of the price, and no reason to hide a machine.
        """
        if terms == ON_DEMAND and NOT_ON_DEMAND.match(shape.host):
            return None
        family = FAMILIES.get(shape.host.rpartition("-")[0], shape.host.partition("-")[0])
        parts = {shape.kind: Decimal(shape.count)}
        if not shape.chip.is_whole:
            parts[f"{family} core"] = Decimal(shape.vcpus)
            parts[f"{family} ram"] = Decimal(shape.ram_mib) / 1024
            if shape.local_ssd_gib:
                parts["local-ssd"] = Decimal(shape.local_ssd_gib)
        total = self.by_part.get((ON_DEMAND, shape.region, shape.disk_type), Decimal(0)) * BOOT_DISK_GIB
        for part, amount in parts.items():
            rate = self.by_part.get((terms, shape.region, part))
            if rate is None:
                return None
            total += rate * amount
        return fields.price(total).quantize(MICRO_USD)

    def _add(self, sku: Any) -> None:
        sold = DESCRIPTION.fullmatch(str(sku["description"]).strip().lower())
        part = _part(sold["name"]) if sold else ""
        if not sold or not part:
            return
        usage = fields.text(fields.record(sku["category"])["usageType"])
        # Some spot SKUs call themselves OnDemand: the description knows better.
        terms = SPOT if sold["spot"] or sold["attached"] else USAGE.get(usage)
        if terms is None or bool(sold["commitment"]) != (terms[0] is Market.RESERVED):
            return
        rate = _rate(sku)
        for region in fields.records(sku["serviceRegions"]) if rate else ():
            line = (terms, fields.text(region), part)
            # One part under two descriptions: better dearer than promised too cheap.
            self.by_part[line] = max(rate, self.by_part.get(line, rate))


def _part(name: str) -> str:
    if host := HOST_PART.fullmatch(name):
        family = (host["family"] or "n1").replace(" ", "")
        return f"{family} {'ram' if host['part'] == 'ram' else 'core'}"
    return CHIP_PARTS.get(name) or OTHER_PARTS.get(name, "")


def _rate(sku: Any) -> Decimal:
    """Return the last tier above 0, per hour, or 0: reservations have SKUs without a price."""
    expression = fields.record(sku["pricingInfo"][-1]["pricingExpression"])
    for tier in reversed(fields.records(expression["tieredRates"])):
        money = fields.record(tier["unitPrice"])
        if fields.text(money.get("currencyCode"), "USD") != "USD":
            raise ValueError("not in USD")
        if (found := usd(money)) > 0:
            return fields.price(found / HOURS_OF[expression["usageUnit"]])
    return Decimal(0)


def usd(money: Mapping[str, Any]) -> Decimal:
    """Return Google's Money (whole units and billionths) as a Decimal. Raises ValueError."""
    units, nanos = fields.number(money.get("units")), fields.number(money.get("nanos"))
    return (units or Decimal(0)) + (nanos or Decimal(0)) / 10**9
