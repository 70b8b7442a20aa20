"""
Lium's public list of rentable nodes, which needs no key. Prices only.

Source: https://lium.io/api/public/v1/nodes (price_per_gpu_hour is per GPU; fields are only ever added).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from providers import fields, http
from providers.base import Listing, Market, Reason, Rejected, translated


class Lium:
    """A marketplace of independent hosts: every node is a line of its own."""

    name = "lium"

    def __init__(self, *, base_url: str = "https://lium.io") -> None:
        self.client = http.Client(provider=self.name, base_url=base_url)
        self.skipped: Counter[str] = Counter()

    def listings(self) -> Iterable[Listing]:
        """Return one line per node with free GPUs. Raises ProviderError."""
        self.skipped = Counter()
        answer = self.client.get("/api/public/v1/nodes")
        try:
            nodes = fields.records(answer.get("nodes") if isinstance(answer, dict) else answer)
        except ValueError as error:
            raise Rejected(f"lium: {error}", reason=Reason.BAD_REQUEST) from None
        now = datetime.now(UTC)
        return translated(nodes, lambda node: _translate(node, now=now), self.skipped)


def _translate(node: dict[str, Any], *, now: datetime) -> Iterator[Listing]:
    count = fields.accelerators(node["available_gpu_count"])
    country = fields.text(node.get("country_code"), "").upper()
    yield Listing(
        provider="lium",
        region=fields.text(node.get("region"), country or "unknown").lower(),
        country=country if len(country) == 2 else "",
        machine_type=fields.text(node["id"]),
        accelerator_label=fields.text(node["gpu_model"]),
        accelerator_count=count,
        memory_gib=fields.positive(node.get("gpu_memory_gb")),
        vcpus=fields.positive(node.get("cpu_count")),
        ram_gib=fields.positive(node.get("ram_gb")),
        disk_gib=fields.positive(node.get("disk_free_gb")),
        market=Market.ON_DEMAND,
        usd_per_hour=fields.price(node["price_per_gpu_hour"]) * count,
        available=1,
        seen_at=now,
    )
