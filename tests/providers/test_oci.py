"""Oracle's two price files, as its cost estimator reads them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from providers.base import Market, Unreachable
from providers.oci import Oci
from tests.providers.cloud import Cloud, Reply, Request
from tests.providers.contract import PriceListContract


def shape(name: str, gpus: int | None, memory: int | None, part: str, cores: int | None, **more):
    return {
        "name": name,
        "hidden": False,
        "status": "ACTIVE",
        "allowPreemptible": False,
        "bundleMemoryQty": 2048,
        "gpuQty": gpus,
        "gpuMemoryQty": memory,
        "processorType": {"value": "hopper"},
        "shapeType": {"value": "bm"},
        "subType": {"value": "gpu"},
        "products": [{"partNumber": part, "qty": cores, "type": {"value": "ocpu"}}],
        **more,
    }


def product(part: str, usd: float, **more):
    prices = [{"model": "PAY_AS_YOU_GO", "value": usd}]
    return {
        "partNumber": part,
        "displayName": "GPU",
        "billingModel": "UCM",
        "pricetype": "HOUR",
        "currencyCodeLocalizations": [
            {"currencyCode": "EUR", "prices": [{"model": "PAY_AS_YOU_GO", "value": usd * 0.9}]},
            {"currencyCode": "USD", "prices": prices},
        ],
        **more,
    }


class OracleFiles(Cloud):
    def __init__(self) -> None:
        super().__init__()
        self.shapes = [
            shape("BM.GPU.H100.8", 8, 640, "B98415", 112),
            shape("BM.GPU4.8", 8, 320, "B92740", 64),
            shape("BM.GPU.A100-v2.8", 8, 640, "B95907", 128),
            shape("BM.GPU.MI355X.8", 8, 288, "B111758", 128),
            shape("BM.GPU.GB200.4 (NVL72)", 4, 756, "B110979", 128, bundleMemoryQty=960),
            shape("BM.GPU.B300.8", 8, 2100, "B112237", None, bundleMemoryQty=None),
            shape("VM.GPU3.1", 1, 16, "B89734", 6, allowPreemptible=True, bundleMemoryQty=90),
            shape("BM.Standard.E4.128", None, None, "B93113", 128),
            shape("BM.GPU.L40S.4", 4, 192, "B98415", 112, hidden=True),
        ]
        self.products = [
            product("B98415", 10),
            product("B92740", 3.05),
            product("B95907", 4),
            product("B111758", 8.6),
            product("B110979", 16),
            product("B112237", 15),
            product("B89734", 2.95),
        ]

    def answer(self, request: Request) -> Reply | None:
        files = {"shapes.json": self.shapes, "products.json": self.products}
        folder, _, name = request.path.rpartition("/")
        if folder != "/a/ocom/docs/cloudestimator2/data" or name not in files:
            return None
        return Reply({"items": files[name]})


class TestOci(PriceListContract):
    @pytest.fixture
    def cloud(self):
        with OracleFiles() as cloud:
            yield cloud

    @pytest.fixture
    def provider(self, cloud):
        return Oci(base_url=cloud.url)

    @pytest.mark.parametrize(
        ("name", "chip", "count", "memory", "vcpus", "usd"),
        [
            ("BM.GPU.H100.8", "H100", 8, 80, 224, "80"),
            ("BM.GPU4.8", "A100-40GB", 8, 40, 128, "24.40"),
            ("BM.GPU.A100-v2.8", "A100-80GB", 8, 80, 256, "32"),
            ("BM.GPU.MI355X.8", "MI355X", 8, 288, 256, "68.8"),  # The file gives the memory of one GPU.
            ("BM.GPU.GB200.4", "GB200", 4, 189, 128, "64"),  # Arm: a core is one vCPU.
            ("BM.GPU.B300.8", "B300", 8, 262.5, None, "120"),  # The file leaves the cores out.
            ("VM.GPU3.1", "V100", 1, 16, 12, "2.95"),
        ],
    )
    def test_a_shape_costs_its_gpu_hours(self, provider, name, chip, count, memory, vcpus, usd):
        (line,) = [one for one in provider.listings() if (one.machine_type, one.market) == (name, Market.ON_DEMAND)]

        assert (line.accelerator_label, line.accelerator_count, line.memory_gib) == (chip, count, memory)
        assert (line.vcpus, line.usd_per_hour, line.region) == (vcpus, Decimal(usd), "oc1")

    def test_only_preemptible_shapes_have_a_spot_line_at_half_the_price(self, provider):
        spot = [line for line in provider.listings() if line.market is Market.SPOT]

        assert [(line.machine_type, line.usd_per_hour) for line in spot] == [("VM.GPU3.1", Decimal("1.475"))]

    def test_hidden_shapes_and_those_without_gpus_are_no_mistakes(self, provider):
        assert len(list(provider.listings())) == 8
        assert not provider.skipped

    def test_a_part_of_another_kind_is_charged_by_its_quantity(self, provider, cloud):
        cloud.shapes = [shape("BM.GPU.H100.8", 8, 640, "B98415", 112)]
        cloud.shapes[0]["products"].append({"partNumber": "MEM", "qty": 100, "type": {"value": "memory"}})
        cloud.products.append(product("MEM", 0.01))

        assert [line.usd_per_hour for line in provider.listings()] == [Decimal(81)]

    @pytest.mark.parametrize(
        "bad",
        [
            None,
            {},
            shape("BM.GPU.H100.8", 8, 640, "unknown", 112),
            shape("BM.Other.8", 8, 640, "B98415", 112),
            shape("BM.GPU.H200.8", 8, 640, "monthly", 112),
            shape("BM.GPU.H200.8", 8, 640, "tiers", 112),
            shape("BM.GPU.H200.8", 8, 640, "euros", 112),
            shape("BM.GPU.H200.8", -8, 640, "B98415", 112),
        ],
    )
    def test_a_bad_shape_is_counted_and_hides_nothing(self, provider, cloud, bad):
        tiers = product("tiers", 1)
        tiers["currencyCodeLocalizations"][1]["prices"] *= 2
        euros = product("euros", 1)
        del euros["currencyCodeLocalizations"][1]
        cloud.products += [None, tiers, euros, product("monthly", 1, pricetype="MONTH")]
        cloud.shapes.append(bad)

        assert len(list(provider.listings())) == 8
        assert sum(provider.skipped.values()) == (0 if bad == {} else 1)

    def test_a_file_that_is_something_else_keeps_the_last_page(self, provider, cloud):
        for _ in range(2):
            cloud.trouble.append(("GET", "shapes", Reply({"items": None})))

        with pytest.raises(Unreachable):
            provider.listings()
