"""
Oracle Cloud's price list, which needs no key. Prices only.

Source: the two files behind https://www.oracle.com/cloud/costestimator.html: shapes.json (what a machine is made of, by
part number) and products.json (what a part costs). Oracle charges a GPU shape by the GPU-hour: the price of its "ocpu"
part times gpuQty. The same price holds in every commercial region (https://www.oracle.com/cloud/pricing/), which
together are the realm OC1; the files name no region and no stock.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from providers import fields, http
from providers.base import Listing, Market, Reason, Unreachable, translated

FILES = "/a/ocom/docs/cloudestimator2/data"
REALM = "oc1"
# https://docs.oracle.com/iaas/Content/Compute/Concepts/preemptible.htm: half of the price on demand.
PREEMPTIBLE = Decimal("0.5")
# The chips of shapes that are not named after them: https://docs.oracle.com/iaas/Content/Compute/References/computeshapes.htm
CHIPS = {"GPU2": "P100", "GPU3": "V100", "GPU4": "A100-40GB", "A100-v2": "A100-80GB", "GM4": "A100-80GB",
         "RTXPRO": "RTX PRO 6000"}  # fmt: skip
PER_GPU = {"MI355X", "GB300"}  # Their gpuMemoryQty is that of one GPU; that of all other shapes is the sum.
ARM = {"GB200", "GB300"}  # A core of theirs is one vCPU; an OCPU of the others is two.


class Oci:
    """Virtual machines and bare metal with GPUs, on demand and preemptible."""

    name = "oci"

    def __init__(self, *, base_url: str = "https://www.oracle.com") -> None:
        self.client = http.Client(provider=self.name, base_url=base_url)
        self.skipped: Counter[str] = Counter()

    def listings(self) -> Iterable[Listing]:
        """Return a line per GPU shape and market. Raises ProviderError."""
        self.skipped = Counter()
        now = datetime.now(UTC)
        shapes, products = (self._items(name) for name in ("shapes.json", "products.json"))
        parts = {part.get("partNumber"): part for part in products if _is_named(part)}
        lines = translated(shapes, lambda shape: _translate(shape, parts, now=now), self.skipped)
        return list({(line.machine_type, line.market): line for line in lines}.values())

    def _items(self, name: str) -> list[Any]:
        answer = self.client.get(f"{FILES}/{name}")
        items = answer.get("items") if isinstance(answer, dict) else None
        if not isinstance(items, list | dict):
            raise Unreachable(f"oci: {name} has no items", reason=Reason.OUTAGE)
        return fields.records(items)


def _is_named(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("partNumber"), str)


def _translate(shape: dict[str, Any], parts: dict[Any, dict[str, Any]], *, now: datetime) -> Iterator[Listing]:
    if not shape.get("gpuQty") or shape.get("hidden") or shape.get("status") != "ACTIVE":
        return  # A machine without GPUs, or one that is not sold.
    name = fields.text(shape["name"]).partition(" (")[0]  # "BM.GPU.GB200.4 (NVL72)" is launched without the rest.
    chip, count = _chip(name), fields.accelerators(shape["gpuQty"])
    memory = fields.positive(shape.get("gpuMemoryQty"))
    made_of = [(fields.record(one)["type"]["value"], one) for one in fields.records(shape["products"])]
    cores = sum(fields.positive(one.get("qty")) or 0 for kind, one in made_of if kind == "ocpu")
    usd = sum((_usd(parts[one["partNumber"]]) * _quantity(kind, one, count) for kind, one in made_of), Decimal(0))
    for market in (Market.ON_DEMAND, Market.SPOT) if shape.get("allowPreemptible") is True else (Market.ON_DEMAND,):
        yield Listing(
            provider="oci",
            region=REALM,
            machine_type=name,
            accelerator_label=chip,
            accelerator_count=count,
            memory_gib=memory if not memory or chip in PER_GPU else memory / count,
            vcpus=(cores if chip in ARM else cores * 2) or None,
            ram_gib=fields.positive(shape.get("bundleMemoryQty")),
            market=market,
            usd_per_hour=fields.price(usd * (PREEMPTIBLE if market is Market.SPOT else 1)),
            seen_at=now,
        )


def _chip(shape: str) -> str:
    """Return the chip of BM.GPU.H100.8, VM.GPU3.1 or BM.GPU.A100-v2.8. Raises ValueError."""
    found = re.fullmatch(r"(?:BM|VM)\.(?:GPU\.([^.]+)|(GPU\d))\.\d+", shape)
    if found is None:
        raise ValueError("a shape whose chip is not known")
    chip = found[1] or found[2]
    return CHIPS.get(chip, re.sub(r"-v\d+$", "", chip))


def _quantity(kind: str, one: dict[str, Any], count: int) -> Decimal:
    """Return how many units of a part are charged: of the GPU's part one per GPU, though its qty counts cores."""
    found = Decimal(count) if kind == "ocpu" else fields.number(one["qty"])
    if found is None:
        raise ValueError("a part without a quantity")
    return found


def _usd(part: dict[str, Any]) -> Decimal:
    """Return what one unit of a part costs an hour. Raises ValueError when there is not exactly one such price."""
    if part.get("pricetype") != "HOUR" or part.get("billingModel") != "UCM":
        raise ValueError("a part that is not charged by the hour")
    for localized in fields.records(part["currencyCodeLocalizations"]):
        if localized["currencyCode"] == "USD":
            (price,) = [one for one in fields.records(localized["prices"]) if one["model"] == "PAY_AS_YOU_GO"]
            return fields.price(price["value"])
    raise ValueError("no price in USD")
