"""
What one configuration of Prime Intellect's price list offers, and what it costs.

Source: https://docs.primeintellect.ai/api-reference/availability: prices.onDemand and communityPrice are of the whole
configuration per hour. disk, vcpu and memory are fixed (defaultCount alone) or ours to choose from minCount to maxCount
at pricePerUnit per hour; defaultIncludedInPrice says that the first defaultCount of them cost nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any

from providers import fields
from providers.base import Listing, Market, Stock

TEMPLATE = "custom_template"
DISK_GIB = 100  # What a LaunchOrder asks for when it says nothing.
STOCKS = {"Unavailable": Stock.NONE, "Low": Stock.LOW, "Medium": Stock.MEDIUM, "High": Stock.HIGH}
LABELS = {"RTX_PRO_6000B": "RTX PRO 6000"}
FIELDS = {"disk": "diskSize", "vcpu": "vcpus", "memory": "memory"}  # Of a request for a pod.
PARTS = ("minCount", "defaultCount", "maxCount", "pricePerUnit", "step")
ZERO, ONE = Decimal(0), Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of each resource a pod gets."""

    of: dict[str, Decimal | None]  # {"disk", "vcpu", "memory": size}; None where the list does not say.
    chosen: dict[str, int]  # {field of a request: size} of those that are ours to choose.
    extra_per_hour: Decimal  # In the currency of the configuration.


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What makes a configuration fit for us."""

    template: bool  # Whether it must take a custom template.
    usd_per_eur: Decimal | None = None  # None: what is priced in EUR is left out.

    def listing(self, item: dict[str, Any], *, disk_gib: int = DISK_GIB) -> Iterator[Listing]:
        """Yield the line of a configuration, none for a machine without GPUs. Raises ValueError for one not for us."""
        gpu_type, socket = fields.text(item["gpuType"]), fields.text(item["socket"])
        if gpu_type == "CPU_NODE":
            return
        if item.get("prepaidTime"):
            raise ValueError("paid in advance")
        images = fields.records(item.get("images"))
        if self.template and TEMPLATE not in images:
            raise ValueError("takes no custom template")
        count, size = fields.accelerators(item["gpuCount"]), sizes(item, disk_gib)
        security = fields.text(item.get("security"), "secure_cloud")
        names = (fields.text(item["provider"]), fields.text(item["cloudId"]), gpu_type, socket, str(count))
        country = fields.text(item.get("country"), "").upper()
        minutes = fields.positive(item.get("provisioningTime"))
        yield Listing(
            provider="prime",
            region=fields.text(item.get("region"), "unknown"),
            zone=fields.text(item.get("dataCenter"), country),
            country=country if re.fullmatch("[A-Z]{2}", country) else "",
            machine_type="/".join((*names, security.removesuffix("_cloud"))),
            accelerator_label=_label(gpu_type, socket),
            accelerator_count=count,
            memory_gib=fields.positive(item.get("gpuMemory")),
            vcpus=fields.positive(size.of["vcpu"]),
            ram_gib=fields.positive(size.of["memory"]),
            disk_gib=fields.positive(size.of["disk"]),
            market=Market.SPOT if item.get("isSpot") is True else Market.ON_DEMAND,
            usd_per_hour=self._usd_per_hour(item, size.extra_per_hour),
            stock=STOCKS.get(fields.text(item.get("stockStatus"), ""), Stock.UNKNOWN),
            internet_mbit_per_s=fields.positive(item.get("internetSpeed")),
            interconnect="nvlink" if socket.startswith("SXM") else "pcie",
            boot_s=minutes * 60 if minutes else None,
            seen_at=datetime.now(UTC),
        )

    def usd_per(self, prices: Any) -> Decimal:
        """Return what one unit of the currency of these prices costs. Raises ValueError when it is not known."""
        currency = fields.text(fields.record(prices).get("currency"), "USD")
        rate = {"USD": ONE, "EUR": self.usd_per_eur}.get(currency)
        if rate is None:
            raise ValueError(f"priced in {currency}")
        return rate

    def _usd_per_hour(self, item: dict[str, Any], extra: Decimal) -> Decimal:
        prices = fields.record(item["prices"])
        shared = prices.get("communityPrice") if item.get("security") == "community_cloud" else None
        asked = fields.price(prices.get("onDemand") if shared is None else shared)
        return fields.price((asked + extra) * self.usd_per(prices))


def named(line: Listing) -> tuple[str, ...]:
    """Return what names a line."""
    return line.region, line.zone, line.machine_type, line.market


def rank(line: Listing) -> tuple[bool, Decimal]:
    """Order lines of one name: what is in stock first, then the cheap."""
    return line.stock is Stock.NONE, line.usd_per_hour


def sizes(item: dict[str, Any], disk_gib: int) -> Sizes:
    """Return what a pod of this configuration gets with so much disk, as near as it can. Raises ValueError."""
    of: dict[str, Decimal | None] = {}
    chosen, extra = {}, ZERO
    for resource, name in FIELDS.items():
        spec = fields.record(item.get(resource) or {})
        least, usual, most, unit, step = (fields.number(spec.get(part)) for part in PARTS)
        included = usual if usual and spec.get("defaultIncludedInPrice") is True else ZERO
        size = usual if usual is not None else least
        if least is not None or most is not None:
            wanted = Decimal(disk_gib) if resource == "disk" else size
            size = _fitting(max(wanted or ONE, included), least or ONE, most, step)
            chosen[name] = int(size)
        of[resource] = size
        extra += max(ZERO, (size or ZERO) - included) * max(ZERO, unit or ZERO)
    return Sizes(of=of, chosen=chosen, extra_per_hour=extra)


def _fitting(wanted: Decimal, least: Decimal, most: Decimal | None, step: Decimal | None) -> Decimal:
    """Return the smallest size that can be had and is not below `wanted`, or the largest there is."""
    stride = step if step and step > 0 else ONE
    steps = ((max(wanted, least) - least) / stride).to_integral_value(ROUND_CEILING)
    size = least + steps * stride
    return size if most is None else min(size, most)


def _label(gpu_type: str, socket: str) -> str:
    """Return such as H200 for H200_141GB; with its memory or socket where that tells two chips apart."""
    chip = re.sub(r"_\d+GB$", "", gpu_type)
    if chip in ("A100", "V100"):
        return gpu_type.replace("_", "-")
    return "H100 PCIe" if (chip, socket) == ("H100", "PCIe") else LABELS.get(chip, chip)
