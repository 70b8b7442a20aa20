"""
What Azure's GPU sizes are and cost: the keyless retail price list and the table of N-series sizes.

Sources: https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices (api-version
2023-01-01-preview: fields, filters, 1,000 rows a page; `retailPrice` of a reservation is for its whole term) and
https://learn.microsoft.com/azure/virtual-machines/sizes/overview#gpu-accelerated (vCPUs and GPUs of every size; a page
per series). Azure charges the disk and the public address apart; a listing here is the sum.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from providers import fields, http
from providers.base import Listing, Market, Rejected, translated

PRICES_URL = "https://prices.azure.com"
API_VERSION = "2023-01-01-preview"
PAGES_MAX = 500
DISK_GIB = 100  # As LaunchOrder asks for; Azure bills it as the next size, E10 (128 GiB of Standard SSD).
DISK = "serviceName eq 'Storage' and productName eq 'Standard SSD Managed Disks' and skuName eq 'E10 LRS'"
DISK_METER = "E10 LRS Disk"
HOURS_PER_MONTH = 730  # Azure's own month: https://azure.microsoft.com/pricing/calculator
ADDRESS_USD_PER_HOUR = Decimal("0.005")  # Standard IPv4: https://azure.microsoft.com/pricing/details/ip-addresses
TERM_HOURS = {"1 Year": ("1y", 365 * 24), "3 Years": ("3y", 3 * 365 * 24)}
CENT_PARTS = Decimal("0.000001")
NOT_FOR_US = ("Low Priority", "Expired", "Windows", "Dedicated", "CloudServices", "Cloud Services", "DevTest", "Promo")

# {size with {} for the vCPUs: (label, GiB per GPU, {vCPUs: GPUs}, link)}. 0 GPUs: a fraction of one. The "r" sizes have
# InfiniBand, but Azure joins it up only within an availability or scale set, and we launch single machines.
A100, A10, H100, RTX = "A100-SXM4-80GB", "A10", "H100 SXM", "RTX PRO 6000"
SIZES: dict[str, tuple[str, int, dict[int, int], str]] = {
    "Standard_NC{}as_T4_v3": ("T4", 16, {4: 1, 8: 1, 16: 1, 64: 4}, "pcie"),
    "Standard_NC{}s_v3": ("V100-16GB", 16, {6: 1, 12: 2, 24: 4}, "pcie"),
    "Standard_NC{}rs_v3": ("V100-16GB", 16, {24: 4}, "pcie"),
    "Standard_NC{}ads_A100_v4": ("NVIDIA A100 80GB PCIe", 80, {24: 1, 48: 2, 96: 4}, "pcie"),
    "Standard_NC{}ads_H100_v5": ("H100 NVL", 94, {40: 1}, ""),
    "Standard_NC{}adis_H100_v5": ("H100 NVL", 94, {80: 2}, "nvlink"),
    "Standard_NC{}ds_xl_RTXPRO6000BSE_v6": (RTX, 96, {36: 0, 72: 0, 128: 1, 144: 1, 256: 2, 288: 2, 320: 2}, "pcie"),
    "Standard_NC{}lds_xl_RTXPRO6000BSE_v6": (
        RTX, 96, {24: 0, 36: 0, 72: 0, 128: 1, 144: 1, 256: 2, 288: 2, 320: 2}, "pcie"),
    "Standard_ND{}rs_v2": ("V100-SXM2-32GB", 32, {40: 8}, "nvlink"),
    "Standard_ND{}asr_v4": ("A100-SXM4-40GB", 40, {96: 8}, "nvlink"),
    "Standard_ND{}ams_A100_v4": (A100, 80, {96: 8}, "nvlink"),
    "Standard_ND{}amsr_A100_v4": (A100, 80, {96: 8}, "nvlink"),
    "Standard_ND{}is_H100_v5": (H100, 80, {96: 8}, "nvlink"),
    "Standard_ND{}isr_H100_v5": (H100, 80, {96: 8}, "nvlink"),
    "Standard_ND{}is_H200_v5": ("H200", 141, {96: 8}, "nvlink"),
    "Standard_ND{}isr_H200_v5": ("H200", 141, {96: 8}, "nvlink"),
    "Standard_ND{}is_MI300X_v5": ("MI300X", 192, {96: 8}, "infinity fabric"),
    "Standard_ND{}isr_MI300X_v5": ("MI300X", 192, {96: 8}, "infinity fabric"),
    "Standard_ND{}isr_NDR_GB200_v6": ("GB200", 192, {128: 4}, "nvlink"),
    "Standard_ND{}isr_GB300_v6": ("GB300", 288, {128: 4}, "nvlink"),
    "Standard_ND{}isrG5_GB300_v6": ("GB300", 288, {128: 4}, "nvlink"),
    "Standard_NV{}s_v3": ("M60", 8, {12: 1, 24: 2, 48: 4}, "pcie"),
    "Standard_NV{}as_v4": ("MI25", 16, {4: 0, 8: 0, 16: 0, 32: 1}, ""),
    "Standard_NV{}ads_A10_v5": (A10, 24, {6: 0, 12: 0, 18: 0, 36: 1, 72: 2}, "pcie"),
    "Standard_NV{}adms_A10_v5": (A10, 24, {36: 1}, ""),
    "Standard_NV{}ads_V710_v5": ("V710", 24, {4: 0, 8: 0, 12: 0, 24: 1}, ""),
    "Standard_NV{}adms_V710_v5": ("V710", 24, {28: 1}, ""),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Size:
    """One machine type with GPUs."""

    name: str  # As ARM spells it.
    vcpus: int
    label: str
    memory_gib: int  # Per GPU.
    count: int  # 0: a fraction of one.
    interconnect: str


BY_NAME = {
    pattern.format(vcpus).lower(): Size(pattern.format(vcpus), vcpus, label, gib, count, link if count > 1 else "")
    for pattern, (label, gib, counts, link) in SIZES.items()
    for vcpus, count in counts.items()
}


def size_of(name: Any) -> Size:
    """Return what a size is, however it is spelt (Resource Graph uses lower case). Raises ValueError."""
    found = BY_NAME.get(fields.text(name).lower())
    if found is None:
        raise ValueError(f"a size that the table does not know: {fields.text(name)[:50]}")
    if not found.count:
        raise ValueError("a fraction of an accelerator")
    return found


def instant(text: Any) -> datetime:
    """Return a time as Azure writes it, aware and UTC. Raises ValueError."""
    found = datetime.fromisoformat(fields.text(text))
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


class Retail:
    """The public price list. It knows no account: what a subscription pays may be less, never more."""

    def __init__(self, *, provider: str, base_url: str) -> None:
        self.client = http.Client(provider=provider, base_url=base_url, identity="prices", every_s=0.1)

    def listings(self, regions: Iterable[str], skipped: Counter[str]) -> list[Listing]:
        """Return a line per size, region, market and term; no regions: all. Raises ProviderError."""
        where = [f" and armRegionName eq '{region}'" for region in regions] or [""]
        rows = [
            row
            for place in where
            for kind in ("Consumption", "Reservation")
            for row in self._rows(f"{_machines(kind)} and contains(armSkuName, 'Standard_N'){place}")
        ]
        return _lines(rows, self.extras(), skipped)

    def usd_per_hour(self, *, machine_type: str, region: str, market: Market) -> Decimal:
        """Return today's price of one line. Raises Rejected when there is none; ProviderError."""
        query = f"{_machines('Consumption')} and armRegionName eq '{region}' and armSkuName eq '{machine_type}'"
        for line in _lines(list(self._rows(query)), self.extras(region), Counter()):
            if line.market is market:
                return line.usd_per_hour
        raise Rejected(f"azure: {machine_type} is not sold {market} in {region}")

    def extras(self, region: str = "") -> dict[str, Decimal]:
        """Return {region: USD per hour of the disk and the address}; "" stands for the regions without a disk price."""
        found = {"": ADDRESS_USD_PER_HOUR}
        for row in self._rows(DISK + (f" and armRegionName eq '{region}'" if region else "")):
            try:
                if (
                    row["meterName"] == DISK_METER
                    and row["unitOfMeasure"] == "1/Month"
                    and row["currencyCode"] == "USD"
                ):
                    per_hour = (fields.price(row["retailPrice"]) / HOURS_PER_MONTH).quantize(CENT_PARTS)
                    found[fields.text(row["armRegionName"])] = per_hour + ADDRESS_USD_PER_HOUR
            except (KeyError, TypeError, ValueError):
                continue
        return found

    def _rows(self, query: str) -> Iterator[Any]:
        """Page by $skip, as NextPageLink does."""
        skip = 0
        for _ in range(PAGES_MAX):
            params = {"api-version": API_VERSION, "$filter": query} | ({"$skip": str(skip)} if skip else {})
            answer = self.client.call("GET", "/api/retail/prices", params=params)
            rows = answer.get("Items") if isinstance(answer, dict) else None
            rows = fields.records(rows) if isinstance(rows, list | dict) else []
            yield from rows
            skip += len(rows)
            if not rows or not answer.get("NextPageLink"):
                return


def _machines(kind: str) -> str:
    return f"serviceName eq 'Virtual Machines' and priceType eq '{kind}'"


def _lines(rows: list[Any], extras: dict[str, Decimal], skipped: Counter[str]) -> list[Listing]:
    """Translate the rows; of several for one line the newest that holds today counts, then the dearest."""
    now = datetime.now(UTC)
    newest_first = sorted(rows, key=_age, reverse=True)
    found: dict[tuple[str, ...], Listing] = {}
    for line in translated(newest_first, lambda row: _translate(row, extras, now), skipped):
        found.setdefault((line.region, line.machine_type, line.market, line.term), line)
    return list(found.values())


def _age(row: Any) -> tuple[str, Decimal]:
    try:
        return str(row["effectiveStartDate"]), fields.number(row["retailPrice"]) or Decimal(0)
    except (KeyError, TypeError, ValueError):
        return "", Decimal(0)


def _translate(row: dict[str, Any], extras: dict[str, Decimal], now: datetime) -> Iterator[Listing]:
    words = f"{row['productName']} {row['meterName']}"
    if any(word in words for word in NOT_FOR_US) or row.get("type") == "DevTestConsumption":
        return
    if row["currencyCode"] != "USD" or row["unitOfMeasure"] != "1 Hour" or instant(row["effectiveStartDate"]) > now:
        return
    size = size_of(row["armSkuName"])
    region = region_name(row["armRegionName"])
    market, term, usd = Market.ON_DEMAND, "", fields.number(row["retailPrice"])
    if row["type"] == "Reservation":
        market, (term, hours) = Market.RESERVED, TERM_HOURS[row["reservationTerm"]]
        usd = ((usd or Decimal(0)) / hours).quantize(CENT_PARTS)
    elif "Spot" in words:
        market = Market.SPOT
    yield Listing(
        provider="azure",
        region=region,
        machine_type=size.name,
        accelerator_label=size.label,
        accelerator_count=size.count,
        memory_gib=size.memory_gib,
        vcpus=size.vcpus,
        ram_gib=None,
        disk_gib=DISK_GIB,
        market=market,
        term=term,
        usd_per_hour=fields.price(usd) + extras.get(region, extras[""]),
        interconnect=size.interconnect,
        seen_at=now,
    )


def region_name(text: Any) -> str:
    """Return a region as ARM spells it: "East US" and "eastus" are "eastus". Raises ValueError."""
    return fields.text(re.sub(r"[^a-z0-9]", "", fields.text(text).lower()))
