"""
Vultr's price list, which needs no key. Prices only.

Source: https://www.vultr.com/api/#tag/plans (GET /v2/plans and /v2/plans-metal: ram in MB, hourly_cost of the whole
machine; bare metal may have hourly_cost_preemptible).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from providers import fields, http
from providers.base import Listing, Market, Reason, Rejected, translated

PAGES_MAX = 50


class Vultr:
    """Cloud GPU plans and bare metal with GPUs."""

    name = "vultr"

    def __init__(self, *, base_url: str = "https://api.vultr.com") -> None:
        self.client = http.Client(provider=self.name, base_url=base_url)
        self.skipped: Counter[str] = Counter()

    def listings(self) -> Iterable[Listing]:
        """Return a line per plan, location and market. Raises ProviderError."""
        self.skipped = Counter()
        now = datetime.now(UTC)
        plans = [*self._pages("/v2/plans", "plans", type="vcg"), *self._pages("/v2/plans-metal", "plans_metal")]
        return translated(plans, lambda plan: _translate(plan, now=now), self.skipped)

    def _pages(self, path: str, name: str, **query: str) -> Iterator[Any]:
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            answer = self.client.get(path, per_page=500, cursor=cursor, **query)
            if not isinstance(answer, dict):
                return
            try:
                yield from fields.records(answer.get(name))
            except ValueError as error:
                raise Rejected(f"vultr: {error}", reason=Reason.BAD_REQUEST) from None
            cursor = _next(answer)
            if not cursor:
                return


def _next(answer: dict[str, Any]) -> str | None:
    try:
        return fields.text(answer["meta"]["links"]["next"])
    except (KeyError, TypeError, ValueError):
        return None


def _translate(plan: dict[str, Any], *, now: datetime) -> Iterator[Listing]:
    """Translate `gpu_type` such as NVIDIA_A100 and `gpu_vram_gb` of the plan's whole share."""
    if not plan.get("gpu_type"):
        return  # A machine without a GPU.
    label = fields.text(plan["gpu_type"]).removeprefix("NVIDIA_").replace("_", "-")
    count = fields.accelerators(plan.get("gpu_count") or 1)
    memory = fields.positive(plan.get("gpu_vram_gb"))
    ram, disk = fields.positive(plan.get("ram")), fields.positive(plan.get("disk"))
    prices = [(Market.ON_DEMAND, plan.get("hourly_cost")), (Market.SPOT, plan.get("hourly_cost_preemptible"))]
    for market, price in prices:
        if market is Market.SPOT and not price:
            continue
        for region in fields.records(plan["locations"]):
            yield Listing(
                provider="vultr",
                region=fields.text(region),
                machine_type=fields.text(plan["id"]),
                accelerator_label=label,
                accelerator_count=count,
                memory_gib=memory / count if memory else None,
                vcpus=fields.positive(plan.get("vcpu_count") or plan.get("cpu_threads")),
                ram_gib=ram / 1024 if ram else None,
                disk_gib=disk,
                market=market,
                usd_per_hour=fields.price(price),
                seen_at=now,
            )
