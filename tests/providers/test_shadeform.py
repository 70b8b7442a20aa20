"""Shadeform against a fake of our own, whose every answer is checked against schemas made from the documentation."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from providers.base import LaunchOrder, MachineState, Market, NoCapacity, Reason, Rejected, Stock, Unreachable
from providers.shadeform import Shadeform
from tests.providers.cloud import LOSE_THE_ANSWER, Reply
from tests.providers.contract import ProviderContract
from tests.providers.shadeform_cloud import KEY, ShadeformCloud, kind

TROUBLES = {
    "sold_out": Reply({"error": "The requested instance type is out of stock"}, 409),
    "quota": Reply({"error": "instance limit exceeded for this account"}, 400),
    "bad_request": Reply({"error": f"invalid os for api key {KEY}"}, 400),
    "auth": Reply({"error": "invalid api key"}, 401),
    "money": Reply({"error": "insufficient balance, please add funds"}, 400),
    "rate_limit": Reply("slow down", 429),
    "outage": Reply("<html>bad gateway</html>", 502),
    "lost_answer": LOSE_THE_ANSWER,
}
ORDER = LaunchOrder(
    key="lease-123",
    region="us-central-1",
    machine_type="hyperstack/H100_sxm5x8",
    market=Market.ON_DEMAND,
    max_usd_per_hour=Decimal("20"),
)
SPOT = replace(ORDER, region="helsinki-1", machine_type="verda/B200x8", market=Market.SPOT,
               max_usd_per_hour=Decimal(30))  # fmt: skip


class TestShadeform(ProviderContract):
    list_path, list_name, list_id = r"/v1/instances$", "instances", "id"

    @pytest.fixture
    def cloud(self):
        with ShadeformCloud() as cloud:
            yield cloud

    @pytest.fixture
    def provider(self, cloud):
        return Shadeform(api_key=KEY, base_url=f"{cloud.url}/v1")

    @pytest.fixture
    def order(self):
        return ORDER

    def make_trouble(self, cloud, trouble):
        cloud.trouble.append(("POST", "/create$", TROUBLES[trouble]))

    def settle(self, cloud):
        cloud.boot()

    def add_foreign_machine(self, cloud):
        cloud.add("my-notebook")

    def secrets(self):
        return (KEY,)

    def test_a_type_has_a_line_per_region_with_its_stock(self, provider):
        lines = [line for line in provider.listings() if line.machine_type == "hyperstack/H100_sxm5x8"]

        assert [(line.region, line.country, line.stock) for line in lines] == [
            ("us-central-1", "US", Stock.UNKNOWN),
            ("canada-1", "", Stock.NONE),
        ]

    def test_cents_become_dollars_of_the_whole_machine(self, provider):
        line = next(iter(provider.listings()))

        assert line.usd_per_hour == Decimal("19.12")
        assert (line.accelerator_label, line.accelerator_count, line.memory_gib) == ("H100", 8, 80)
        assert (line.interconnect, line.boot_s, line.vcpus, line.ram_gib) == ("nvlink", 240, 208, 1800)

    def test_a_spot_entry_has_its_own_price_in_dollars(self, provider):
        lines = {line.market: line for line in provider.listings() if line.machine_type == "verda/B200x8"}

        assert lines[Market.SPOT].usd_per_hour == Decimal("26.76")
        assert lines[Market.SPOT].stock is Stock.UNKNOWN
        assert lines[Market.ON_DEMAND].usd_per_hour == Decimal("53.52")
        assert lines[Market.ON_DEMAND].stock is Stock.NONE

    @pytest.mark.parametrize(
        ("gpu_type", "interconnect", "label"),
        [("A100_80G", "sxm4", "A100-80G"), ("H100", "pcie", "H100 PCIe"), ("H100", "sxm5", "H100")],
    )
    def test_a_chip_is_told_from_its_sisters(self, provider, cloud, gpu_type, interconnect, label):
        cloud.types = [kind("verda", "X", gpu_type, 1, 200, interconnect=interconnect)]

        assert {line.accelerator_label for line in provider.listings()} == {label}

    def test_a_type_that_has_everything_on_one_level_is_read_too(self, provider, cloud, monkeypatch):
        flat = kind("verda", "H100", "H100", 1, 200)
        flat |= flat.pop("configuration")
        monkeypatch.setattr(cloud, "answer", lambda request: Reply({"instance_types": [flat]}))

        assert [line.accelerator_count for line in provider.listings()] == [1, 1]

    def test_containers_and_bad_rows_are_counted_and_hide_nothing(self, provider, cloud, monkeypatch):
        good, container = kind("verda", "H100", "H100", 1, 200), kind("verda", "C", "H100", 1, 200)
        container["deployment_type"] = "container"
        half = kind("verda", "H200", "H200", 1, 200)
        half["availability"] = [None, half["availability"][0], {"region": "x", "available": True, "rental_type": "new"}]
        rows = [None, {}, container, half, good]
        monkeypatch.setattr(cloud, "answer", lambda request: Reply({"instance_types": rows}))

        lines = list(provider.listings())

        assert [line.machine_type for line in lines] == ["verda/H200", "verda/H100", "verda/H100"]
        assert sum(provider.skipped.values()) == 5
        assert provider.skipped["ValueError: a container runs no startup script"] == 1

    def test_a_machine_is_asked_for_by_name_and_tag_with_a_script_and_a_cap(self, provider, cloud):
        provider.launch(replace(ORDER, startup_script="#!/bin/bash\necho hello"))

        (sent,) = [request.body for request in cloud.requests if request.path.endswith("/create")]
        script = sent.pop("launch_configuration")
        assert base64.b64decode(script["script_configuration"]["base64_script"]) == b"#!/bin/bash\necho hello"
        assert sent == {
            "cloud": "hyperstack",
            "region": "us-central-1",
            "shade_instance_type": "H100_sxm5x8",
            "shade_cloud": True,
            "name": "gpuyard-lease-123",
            "tags": ["gpuyard-lease-123"],
            "auto_delete": {"spend_threshold": "14400.00"},  # 20 USD an hour for 30 days.
        }

    def test_a_spot_machine_is_asked_for_as_such(self, provider, cloud):
        provider.launch(SPOT)

        assert cloud.requests[-1].body["rental_type"] == "spot"
        assert cloud.instances[0]["rental_terms"]["hourly_price"] == "26.76"

    def test_a_spot_machine_dearer_than_agreed_is_refused_too(self, provider, cloud):
        with pytest.raises(Rejected) as caught:
            provider.launch(replace(SPOT, max_usd_per_hour=Decimal("26.75")))

        assert caught.value.reason is Reason.PRICE
        assert not cloud.instances

    @pytest.mark.parametrize(
        "change", [{"region": "canada-1"}, {"region": "mars-1"}, {"machine_type": "verda/none"}, {"machine_type": "x"}]
    )
    def test_what_is_not_offered_now_is_sold_out(self, provider, change):
        with pytest.raises(NoCapacity) as caught:
            provider.launch(replace(ORDER, **change))

        assert caught.value.reason is Reason.SOLD_OUT

    def test_a_machine_in_error_is_lost_and_still_deleted(self, provider, cloud):
        provider.launch(ORDER)
        cloud.instances[0]["status"] = "error"

        assert not list(provider.machines())

        with pytest.raises(NoCapacity):
            provider.launch(ORDER)
        assert [instance["status"] for instance in cloud.instances] == ["deleting"]

    def test_a_create_that_fails_and_leaves_a_machine_behind_is_cleaned_up(self, provider, cloud):
        def leave_one(body):
            cloud.add(body["name"])
            cloud.instances[-1]["status"] = "error"
            return Reply({"error": "no capacity at the provider"}, 400)

        cloud._create = leave_one

        with pytest.raises(NoCapacity):
            provider.launch(ORDER)

        assert [instance["status"] for instance in cloud.instances] == ["deleting"]

    @pytest.mark.parametrize(
        ("status", "state"),
        [
            ("creating", MachineState.BOOTING),
            ("pending_provider", MachineState.BOOTING),
            ("pending", MachineState.BOOTING),
            ("active", MachineState.RUNNING),
            ("deleting", MachineState.STOPPING),
        ],
    )
    def test_a_status_is_one_of_our_states(self, provider, cloud, status, state):
        provider.launch(ORDER)
        cloud.instances[0]["status"] = status

        assert [machine.state for machine in provider.machines()] == [state]

    def test_a_reclaimed_machine_says_when_it_leaves(self, provider, cloud):
        provider.launch(SPOT)
        cloud.boot()
        cloud.instances[0]["rental_terms"]["ending_at"] = "2026-11-25T12:00:00+01:00"

        (machine,) = provider.machines()

        assert machine.leaving_at == datetime(2026, 11, 25, 11, tzinfo=UTC)

    def test_a_renamed_machine_is_known_by_its_tag(self, provider, cloud):
        provider.launch(ORDER)
        cloud.instances[0]["name"] = "bob"

        provider.terminate(ORDER.key)

        assert cloud.instances[0]["status"] == "deleting"

    def test_what_still_boots_and_cannot_be_deleted_is_asked_for_again(self, provider, cloud):
        cloud.refuses_to_delete_what_boots = True
        provider.launch(ORDER)

        with pytest.raises(Unreachable):
            provider.terminate(ORDER.key)

        cloud.boot()
        provider.terminate(ORDER.key)
        assert cloud.instances[0]["status"] == "deleting"

    def test_a_machine_that_is_gone_when_deleted_is_no_error(self, provider, cloud):
        provider.launch(ORDER)
        cloud.trouble.append(("POST", "/delete$", Reply({"error": "instance not found"}, 404)))

        provider.terminate(ORDER.key)

    @pytest.mark.parametrize("body", [{}, {"instances": None}, {"instances": "none"}, []])
    def test_a_list_that_is_none_is_not_an_empty_one(self, provider, cloud, body):
        for _ in range(3):
            cloud.trouble.append(("GET", "/instances$", Reply(body)))

        with pytest.raises(Unreachable):
            list(provider.machines())
        with pytest.raises(Unreachable):
            provider.launch(ORDER)
        assert not cloud.instances

    def test_a_wrong_key_is_told_by_check(self, cloud):
        told = Shadeform(api_key="wrong", base_url=f"{cloud.url}/v1").check()

        assert [permission.granted for permission in told] == [None, False, False]
