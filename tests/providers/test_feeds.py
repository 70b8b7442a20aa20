"""The keyless feeds, against fakes that serve what the real ones do."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from providers.base import Market
from providers.lium import Lium
from providers.vultr import Vultr
from tests.providers.cloud import Cloud, Reply, Request
from tests.providers.contract import PriceListContract

PLAN = {"id": "vcg-a100-12c-120g-80vram", "vcpu_count": 12, "ram": 122880, "disk": 1400, "monthly_cost": 1750,
        "hourly_cost": 2.397, "type": "vcg", "locations": ["ewr", "ams"], "gpu_vram_gb": 80,
        "gpu_type": "NVIDIA_A100"}  # fmt: skip
METAL = {"id": "vbm-112c-2048gb-8-mi300x-gpu", "cpu_threads": 224, "ram": 2359296, "disk": 3576, "type": "vbm",
         "hourly_cost": 14.72, "hourly_cost_preemptible": 11.04, "locations": ["ord"], "gpu_vram_gb": 1536,
         "gpu_count": 8, "gpu_type": "AMD_MI300X"}  # fmt: skip
CPU_PLAN = {"id": "vcg-cpu", "gpu_type": "", "hourly_cost": 0.1, "locations": ["ewr"]}
NODE = {"id": "5f0c", "gpu_model": "NVIDIA H100 80GB HBM3", "gpu_count": 8, "available_gpu_count": 4,
        "price_per_gpu_hour": 1.9, "gpu_memory_gb": 80, "cpu_count": 128, "ram_gb": 1024, "country_code": "FI",
        "region": "Helsinki", "a_new_field": {}}  # fmt: skip


class VultrCloud(Cloud):
    """Plans in pages of two, as long as the cursor says."""

    def __init__(self) -> None:
        super().__init__()
        self.plans: list[Any] = [PLAN, CPU_PLAN, {**PLAN, "id": "vcg-l40s-16c", "gpu_type": "NVIDIA_L40S"}]
        self.metal: list[Any] = [METAL]

    def answer(self, request: Request) -> Reply | None:
        if request.method != "GET":
            return None
        if request.path == "/v2/plans" and request.query["type"] == ["vcg"]:
            cursor = request.query.get("cursor", ["0"])[0]
            if not cursor.isascii() or not cursor.isdigit():
                return Reply({"error": "Invalid cursor", "status": 400}, 400)
            start = int(cursor)
            following = str(start + 2) if start + 2 < len(self.plans) else ""
            page = {"plans": self.plans[start : start + 2], "meta": {"links": {"next": following}}}
            return Reply(page)
        return Reply({"plans_metal": self.metal}) if request.path == "/v2/plans-metal" else None


class LiumCloud(Cloud):
    """All nodes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[Any] = [NODE, {**NODE, "id": "77aa", "country_code": None, "region": None}]

    def answer(self, request: Request) -> Reply | None:
        return Reply({"nodes": self.nodes}) if request.path == "/api/public/v1/nodes" else None


class TestVultr(PriceListContract):
    @pytest.fixture
    def cloud(self) -> Iterator[VultrCloud]:
        with VultrCloud() as cloud:
            yield cloud

    @pytest.fixture
    def provider(self, cloud):
        return Vultr(base_url=cloud.url)

    def test_a_plan_has_a_line_per_location_on_every_page(self, provider):
        lines = [line for line in provider.listings() if line.market is Market.ON_DEMAND]

        assert [(line.region, line.usd_per_hour, line.accelerator_label) for line in lines] == [
            ("ewr", Decimal("2.397"), "A100"),
            ("ams", Decimal("2.397"), "A100"),
            ("ewr", Decimal("2.397"), "L40S"),
            ("ams", Decimal("2.397"), "L40S"),
            ("ord", Decimal("14.72"), "AMD-MI300X"),
        ]
        assert (lines[0].memory_gib, lines[0].vcpus, lines[0].ram_gib, lines[0].disk_gib) == (80, 12, 120, 1400)
        assert (lines[-1].memory_gib, lines[-1].accelerator_count) == (192, 8)

    def test_bare_metal_may_be_preemptible(self, provider):
        (line,) = [line for line in provider.listings() if line.market is Market.SPOT]

        assert (line.machine_type, line.usd_per_hour) == (METAL["id"], Decimal("11.04"))

    @pytest.mark.parametrize("bad", [{}, {**PLAN, "hourly_cost": "free"}, {**PLAN, "locations": None}, None])
    def test_a_bad_plan_does_not_hide_the_good_one(self, provider, cloud, bad):
        cloud.plans, cloud.metal = [bad, PLAN], []

        assert len(list(provider.listings())) == 2


class TestLium(PriceListContract):
    @pytest.fixture
    def cloud(self) -> Iterator[LiumCloud]:
        with LiumCloud() as cloud:
            yield cloud

    @pytest.fixture
    def provider(self, cloud):
        return Lium(base_url=cloud.url)

    def test_a_node_is_priced_per_gpu_and_sold_by_what_is_free(self, provider):
        line, other = provider.listings()

        assert (line.accelerator_count, line.usd_per_hour) == (4, Decimal("7.6"))
        assert (line.region, line.country, other.region, other.country) == ("helsinki", "FI", "unknown", "")

    @pytest.mark.parametrize(
        "bad", [{}, {**NODE, "available_gpu_count": 0}, {**NODE, "price_per_gpu_hour": None}, None]
    )
    def test_a_bad_node_does_not_hide_the_good_one(self, provider, cloud, bad):
        cloud.nodes = [bad, NODE]

        assert len(list(provider.listings())) == 1
        assert sum(provider.skipped.values()) == 1
