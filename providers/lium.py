"""
Lium's public list of rentable nodes, which needs no key. Prices only.

Source: https://lium.io/api/public/v1/nodes (price_per_gpu_hour is per GPU; fields are only ever added).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from providers import http
from providers.base import Listing, Market


class Lium:
    """A marketplace of independent hosts: every node is a line of its own."""

    name = "lium"

    def __init__(self, *, base_url: str = "https://lium.io") -> None:
        self.base_url = base_url

    def listings(self) -> Iterable[Listing]:
        """Return one line per node with free GPUs. Raises ProviderError."""
        answer = http.call("GET", f"{self.base_url}/api/public/v1/nodes")
        now = datetime.now(UTC)
        lines: list[Listing] = []
        for node in answer.get("nodes", []):
            try:
                lines.append(_translate(node, now=now))
            except (KeyError, TypeError, ValueError, ArithmeticError):
                continue  # One bad row never hides the good ones.
        return lines


def _translate(node: dict[str, Any], *, now: datetime) -> Listing:
    count = int(node["available_gpu_count"])
    price = Decimal(str(node["price_per_gpu_hour"])) * count
    if count < 1 or price <= 0:
        raise ValueError("nothing to rent")
    return Listing(
        provider="lium",
        region=str(node.get("region") or node.get("country_code") or "unknown").lower(),
        country=str(node.get("country_code") or "")[:2].upper(),
        machine_type=str(node["id"]),
        accelerator_label=str(node["gpu_model"]),
        accelerator_count=count,
        memory_gib=float(node["gpu_memory_gb"]),
        vcpus=float(node["cpu_count"]),
        ram_gib=float(node["ram_gb"]),
        market=Market.ON_DEMAND,
        usd_per_hour=price,
        seen_at=now,
    )
