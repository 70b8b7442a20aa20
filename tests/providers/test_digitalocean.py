"""DigitalOcean's list of sizes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from providers.base import Reason, Rejected, Stock, Unreachable
from providers.digitalocean import DigitalOcean
from tests.providers.cloud import Cloud, Reply, Request
from tests.providers.contract import PriceListContract

KEY = "dop_v1_5ecret"


def gib(amount: int) -> dict[str, Any]:
    return {"amount": amount, "unit": "gib"}


def size(slug: str, model: str | None, count: int, usd: float, regions: list[str], **more: Any) -> dict[str, Any]:
    gpu = {"gpu_info": {"count": count, "vram": gib(80 * count), "model": model}} if model else {}
    return {
        "slug": slug,
        "memory": 245760 * count,
        "vcpus": 20 * count,
        "disk": 720,
        "transfer": 15.0,
        "price_monthly": usd * 744,
        "price_hourly": usd,
        "regions": regions,
        "available": True,
        "description": "H100 GPU",
        "networking_throughput": 10000,
        "disk_info": [{"type": "local", "size": gib(720)}, {"type": "scratch", "size": gib(5120)}],
        **gpu,
        **more,
    }


class DigitalOceanCloud(Cloud):
    def __init__(self) -> None:
        super().__init__()
        self.length_max = 200
        self.sizes = [
            size("s-1vcpu-1gb", None, 1, 0.00893, ["ams3", "nyc1"]),
            size("gpu-h100x1-80gb", "nvidia_h100", 1, 3.39, ["nyc2", "tor1"]),
            size("gpu-h100x8-640gb", "nvidia_h100", 8, 23.92, ["nyc2"]),
            size("gpu-mi300x8-1536gb", "amd_mi300x", 8, 15.92, ["atl1"], available=False),
            size("gpu-6000adax1-48gb", "nvidia_rtx6000_ada", 1, 1.57, ["tor1"]),
        ]

    def answer(self, request: Request) -> Reply | None:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return Reply({"id": "Unauthorized", "message": "Unable to authenticate you"}, 401)
        if (request.method, request.path) != ("GET", "/v2/sizes"):
            return None
        page = int(request.query.get("page", ["1"])[0])
        length = min(int(request.query.get("per_page", ["20"])[0]), self.length_max)
        pages = {}
        if page * length < len(self.sizes):
            pages["next"] = f"{self.url}/v2/sizes?page={page + 1}&per_page={length}"
        shown = self.sizes[(page - 1) * length : page * length]
        links = {"pages": pages} if pages else {}
        return Reply({"sizes": shown, "links": links, "meta": {"total": len(self.sizes)}})


class TestDigitalOcean(PriceListContract):
    @pytest.fixture
    def cloud(self):
        with DigitalOceanCloud() as cloud:
            yield cloud

    @pytest.fixture
    def provider(self, cloud):
        return DigitalOcean(api_key=KEY, base_url=cloud.url)

    def test_a_size_has_a_line_per_region_at_the_price_of_the_machine(self, provider):
        lines = [line for line in provider.listings() if line.accelerator_label == "H100"]

        assert [(line.machine_type, line.region, line.accelerator_count, line.usd_per_hour) for line in lines] == [
            ("gpu-h100x1-80gb", "nyc2", 1, Decimal("3.39")),
            ("gpu-h100x1-80gb", "tor1", 1, Decimal("3.39")),
            ("gpu-h100x8-640gb", "nyc2", 8, Decimal("23.92")),
        ]
        assert {line.memory_gib for line in lines} == {80}
        assert (lines[2].vcpus, lines[2].ram_gib, lines[2].disk_gib) == (160, 1920, 720)

    def test_a_chip_has_the_name_that_people_know(self, provider):
        assert {line.accelerator_label for line in provider.listings()} == {"H100", "MI300X", "RTX6000Ada"}

    def test_what_cannot_be_made_now_is_sold_out(self, provider):
        stocks = {line.accelerator_label: line.stock for line in provider.listings()}

        assert (stocks["MI300X"], stocks["H100"]) == (Stock.NONE, Stock.UNKNOWN)

    def test_all_pages_are_read_by_their_links(self, provider, cloud):
        cloud.length_max = 2

        assert len(list(provider.listings())) == 5
        assert len(cloud.requests) == 3

    def test_a_link_to_another_host_is_not_followed(self, provider, cloud):
        answer = {"sizes": [], "links": {"pages": {"next": "https://elsewhere.example/v2/sizes"}}}
        cloud.trouble.append(("GET", "sizes", Reply(answer)))

        with pytest.raises(Rejected):
            provider.listings()

    @pytest.mark.parametrize("bad", [None, {"gpu_info": {}}, {"gpu_info": {"count": 1}}, size("x", "y", 0, 1, ["z"])])
    def test_a_bad_size_hides_nothing(self, provider, cloud, bad):
        cloud.sizes.append(bad)

        assert len(list(provider.listings())) == 5

    def test_without_a_key_nothing_is_asked(self, cloud):
        with pytest.raises(Rejected) as caught:
            DigitalOcean(base_url=cloud.url).listings()

        assert caught.value.reason is Reason.AUTH
        assert not cloud.requests

    def test_a_list_that_is_none_is_not_an_empty_one(self, provider, cloud):
        cloud.trouble.append(("GET", "sizes", Reply({"sizes": None})))

        with pytest.raises(Unreachable):
            provider.listings()
