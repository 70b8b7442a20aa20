"""
Vultr's price list, which needs no key. Prices only.

Source: https://www.vultr.com/api/#tag/plans (GET /v2/plans: ram in MB, hourly_cost of the whole machine).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from providers import http
from providers.base import Listing, Market


class Vultr:
    """Cloud GPU plans; fractions of a GPU (vGPU slices) are left out."""

    name = "vultr"

    def __init__(self, *, base_url: str = "https://api.vultr.com") -> None:
        self.base_url = base_url

    def listings(self) -> Iterable[Listing]:
        """Return one line per plan and location. Raises ProviderError."""
        answer = http.call("GET", f"{self.base_url}/v2/plans", params={"type": "vcg", "per_page": 500})
        now = datetime.now(UTC)
        lines: list[Listing] = []
        for plan in answer.get("plans", []):
            try:
                lines.extend(_translate(plan, now=now))
            except (KeyError, TypeError, ValueError, ArithmeticError):
                continue  # One bad row never hides the good ones.
        return lines


def _translate(plan: dict[str, Any], *, now: datetime) -> Iterable[Listing]:
    """Translate `gpu_type` such as NVIDIA_A100 and `gpu_vram_gb` of the plan's whole share."""
    price = Decimal(str(plan["hourly_cost"]))
    label = str(plan["gpu_type"]).removeprefix("NVIDIA_").replace("_", "-")
    count = int(plan.get("gpu_count") or 1)
    if price <= 0 or not label:
        return
    for region in plan["locations"]:
        yield Listing(
            provider="vultr",
            region=str(region),
            machine_type=str(plan["id"]),
            accelerator_label=label,
            accelerator_count=count,
            memory_gib=float(plan["gpu_vram_gb"]) / count,
            vcpus=float(plan["vcpu_count"]),
            ram_gib=float(plan["ram"]) / 1024,
            market=Market.ON_DEMAND,
            usd_per_hour=price,
            seen_at=now,
        )
