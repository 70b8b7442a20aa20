"""RunPod's adapter against a RunPod of our own making."""

from __future__ import annotations

import base64
from dataclasses import replace
from decimal import Decimal

import pytest

from providers.base import LaunchOrder, MachineState, Market, NoCapacity, Reason, Rejected, Stock, Unreachable
from providers.runpod import IMAGE, Runpod
from tests.providers.cloud import LOSE_THE_ANSWER, Reply
from tests.providers.contract import ProviderContract, _no_waiting  # noqa: F401  a fixture
from tests.providers.runpod_cloud import KEY, NO_CAPACITY, RunpodCloud, problem

DISK_USD = Decimal("0.013699")  # 100 GiB at 0.10 USD a month of 730 hours.
RTX = "NVIDIA GeForce RTX 4090"
TROUBLES = {
    "sold_out": (400, NO_CAPACITY),
    "quota": (400, "This would exceed your spend limit of $80 per hour. Contact support to raise it."),
    "bad_request": (400, "mounts.persistent and mounts.network cannot both be set"),
    "auth": (403, "access denied"),
    "money": (402, "insufficient balance"),
    "rate_limit": (429, "rate limit exceeded for the minute window"),
    "outage": (503, "upstream unavailable"),
}


class TestRunpod(ProviderContract):
    list_path, list_name, list_id = r"^/v2/pods$", "pods", "id"

    @pytest.fixture
    def cloud(self):
        with RunpodCloud() as cloud:
            yield cloud

    @pytest.fixture
    def provider(self, cloud):
        return Runpod(api_key=KEY, base_url=cloud.url)

    @pytest.fixture
    def order(self):
        return LaunchOrder(
            key="lease-123",
            region="US-KS-2",
            machine_type=f"2x {RTX} secure",
            market=Market.ON_DEMAND,
            max_usd_per_hour=Decimal("0.893699"),
            startup_script="#!/bin/bash\necho 'it''s up' > /root/up\n",
        )

    def make_trouble(self, cloud, trouble):
        if trouble == "lost_answer":
            cloud.trouble.append(("POST", r"^/v2/pods$", LOSE_THE_ANSWER))
            return
        status, detail = TROUBLES[trouble]
        cloud.trouble.append(("POST", r"^/v2/pods$", problem(status, detail)))

    def settle(self, cloud):
        cloud.boot()

    def add_foreign_machine(self, cloud):
        cloud.add({"name": "my-training-pod", "image": "runpod/pytorch", "gpu": {"id": RTX}})

    def secrets(self):
        return (KEY,)

    def test_a_price_is_of_the_whole_pod_with_its_disk(self, provider):
        lines = {(line.region, line.machine_type): line for line in provider.listings()}

        assert lines["US-KS-2", f"1x {RTX} secure"].usd_per_hour == Decimal("0.44") + DISK_USD
        assert lines["US-KS-2", f"8x {RTX} secure"].usd_per_hour == Decimal("3.52") + DISK_USD
        assert lines["CA-MTL-1", f"4x {RTX} community"].usd_per_hour == Decimal("1.24") + DISK_USD

    def test_a_line_is_a_count_of_a_gpu_in_a_data_centre_of_a_cloud(self, provider):
        lines = {(line.region, line.machine_type) for line in provider.listings()}

        assert lines == {
            *{("US-KS-2", f"{count}x {RTX} secure") for count in (1, 2, 4, 8)},
            *{("EU-RO-1", f"{count}x {RTX} secure") for count in (1, 2)},
            *{("CA-MTL-1", f"{count}x {RTX} community") for count in (1, 2, 4)},
            *{("EUR-IS-1", f"{count}x NVIDIA H100 80GB HBM3 secure") for count in (1, 2, 4, 8)},
        }

    def test_a_line_says_its_country_and_stock(self, provider, cloud):
        cloud.stock[RTX, "SECURE", "EU-RO-1"] = ("NONE", 8)
        cloud.stock[RTX, "SECURE", "XX-1"] = ("MEDIUM", 8)

        lines = {line.region: line for line in provider.listings()}

        assert {region: (line.country, line.stock) for region, line in lines.items()} == {
            "US-KS-2": ("US", Stock.HIGH),
            "EU-RO-1": ("RO", Stock.NONE),
            "CA-MTL-1": ("CA", Stock.MEDIUM),
            "EUR-IS-1": ("IS", Stock.LOW),
            "XX-1": ("", Stock.MEDIUM),
        }

    def test_what_no_data_centre_has_is_counted(self, provider):
        list(provider.listings())

        assert provider.skipped["ValueError: no data centre has it now"] > 0

    def test_what_is_placed_by_runpod_itself_can_be_rented(self, provider, cloud, order):
        cloud._availability = lambda name, cloud, count: {"availability": "LOW"}
        cloud.gpus[1]["maxCount"]["community"] = 8  # A host has them, but they are not for sale.
        lines = {(line.region, line.machine_type) for line in provider.listings()}

        provider.launch(replace(order, region="any"))

        assert lines == {
            *{("any", f"{count}x {gpu['id']} secure") for gpu in cloud.gpus for count in (1, 2, 4, 8)},
            *{("any", f"{count}x {RTX} community") for count in (1, 2, 4)},  # It says that 4 are the most.
            *{("any", f"{count}x NVIDIA A40 community") for count in (1, 2, 4, 8)},
        }
        assert cloud.requests[-1].body["dataCenterIds"] == []

    def test_a_bad_data_centre_hides_no_other(self, provider, cloud):
        cloud.stock[RTX, "SECURE", ""] = ("HIGH", 8)

        regions = {line.region for line in provider.listings()}

        assert regions == {"US-KS-2", "EU-RO-1", "CA-MTL-1", "EUR-IS-1"}
        assert provider.skipped["ValueError: a text is missing"] == 4

    def test_every_line_can_be_rented_as_it_is_named(self, provider, cloud, order):
        for number, line in enumerate(list(provider.listings())):
            provider.launch(
                replace(
                    order,
                    key=f"lease-{number}",
                    region=line.region,
                    machine_type=line.machine_type,
                    max_usd_per_hour=line.usd_per_hour,
                )
            )
            pod = list(cloud.pods.values())[-1]

            assert pod["dataCenterId"] == line.region
            assert pod["gpu"] == {"id": line.accelerator_label, "count": line.accelerator_count}
            assert pod["cloud"] == line.machine_type.rpartition(" ")[2].upper()

    def test_the_script_reaches_the_container(self, provider, cloud, order):
        provider.launch(order)

        (pod,) = cloud.pods.values()
        assert base64.b64decode(pod["env"]["GPUYARD_STARTUP"]).decode() == order.startup_script
        assert pod["args"].startswith("bash -c '")
        assert pod["args"].count("'") == 2
        assert "$GPUYARD_STARTUP" in pod["args"]
        assert pod["image"] == IMAGE

    def test_the_image_is_the_teams_if_it_names_one(self, cloud, order):
        Runpod(api_key=KEY, image="example/torch:1", base_url=cloud.url).launch(order)

        assert [pod["image"] for pod in cloud.pods.values()] == ["example/torch:1"]

    def test_what_has_become_dearer_is_not_even_asked_for(self, provider, cloud, order):
        with pytest.raises(Rejected):
            provider.launch(replace(order, max_usd_per_hour=Decimal("0.88")))

        assert not [request for request in cloud.requests if request.method == "POST"]

    def test_a_pod_that_costs_more_than_was_said_is_ended(self, provider, cloud, order):
        cloud.surcharge_usd_per_hour = 0.5

        with pytest.raises(Rejected) as caught:
            provider.launch(order)

        assert caught.value.reason is Reason.PRICE
        assert not cloud.pods

    def test_a_cost_that_is_rounded_up_is_not_dearer(self, provider, cloud, order):
        cloud.surcharge_usd_per_hour = 0.01375

        assert provider.launch(order).key == order.key

    @pytest.mark.parametrize("status", ["EXITED", "ERROR"])
    def test_a_pod_that_ended_is_lost_and_can_be_deleted(self, provider, cloud, order, status):
        machine = provider.launch(order)
        cloud.boot()
        cloud.stop(machine.machine_id, status)

        listed = list(provider.machines())
        provider.terminate(order.key)

        assert not listed
        assert not cloud.pods

    def test_a_key_whose_pod_ended_buys_no_second(self, provider, cloud, order):
        machine = provider.launch(order)
        cloud.stop(machine.machine_id, "ERROR")

        with pytest.raises(NoCapacity) as caught:
            provider.launch(order)

        assert caught.value.reason is Reason.SOLD_OUT
        assert not cloud.pods

    def test_a_pod_without_a_public_address_runs_without_one(self, provider, cloud, order):
        machine = provider.launch(order)
        cloud.boot()
        cloud.pods[machine.machine_id]["ssh"]["direct"] = None

        (seen,) = provider.machines()

        assert (seen.state, seen.address) == (MachineState.RUNNING, None)

    def test_a_malformed_pod_hides_no_other(self, provider, cloud, order):
        provider.launch(order)
        pods = [None, {"name": None}, {"name": "gpuyard-x", "status": []}, *cloud.pods.values()]
        cloud.trouble.append(("GET", r"^/v2/pods$", Reply({"pods": pods})))

        assert [machine.key for machine in provider.machines()] == ["x", order.key]

    @pytest.mark.parametrize("body", [None, {}, [], {"pods": None}, {"pods": "none"}])
    def test_an_answer_without_pods_is_not_an_empty_account(self, provider, cloud, body):
        cloud.trouble.append(("GET", r"^/v2/pods$", Reply(body)))

        with pytest.raises(Unreachable):
            list(provider.machines())

    def test_a_pod_that_went_meanwhile_is_terminated(self, provider, cloud, order):
        provider.launch(order)
        cloud.trouble.append(("DELETE", "/v2/pods/", problem(404, "pod not found")))

        provider.terminate(order.key)

    def test_a_wait_that_is_asked_for_is_waited(self, provider, cloud, order, monkeypatch):
        pauses: list[float] = []
        monkeypatch.setattr("providers.http.time.sleep", pauses.append)
        reply = problem(429, "rate limit exceeded for the minute window")
        reply.headers["Retry-After"] = "12"
        cloud.trouble.append(("POST", r"^/v2/pods$", reply))

        provider.launch(order)

        assert any(12 <= pause < 13 for pause in pauses)

    @pytest.mark.parametrize(
        "words",
        [
            "There are no longer any instances available with enough disk space.",
            "There are not enough free GPUs on the host machine to start this pod.",
            "This machine does not have the resources to deploy your pod. Please try a different machine.",
            "No available machine of that type",
            "Insufficient capacity",
            "NVIDIA A40 is out of stock",
        ],
    )
    def test_a_400_about_what_is_free_means_sold_out(self, provider, cloud, order, words):
        cloud.trouble.append(("POST", r"^/v2/pods$", problem(400, words)))

        with pytest.raises(NoCapacity) as caught:
            provider.launch(order)

        assert caught.value.reason is Reason.SOLD_OUT

    def test_a_line_that_is_none_is_refused(self, provider, order):
        for wrong in ({"machine_type": RTX}, {"market": Market.SPOT}, {"machine_type": "1x Unheard secure"}):
            with pytest.raises(Rejected) as caught:
                provider.launch(replace(order, **wrong))

            assert caught.value.reason is Reason.BAD_REQUEST

    def test_a_key_that_may_only_read_is_found_out(self, provider, cloud):
        cloud.read_only = True

        refused = [permission.name for permission in provider.check() if permission.granted is False]

        assert refused == ["POST /v2/pods"]
        assert not cloud.pods

    def test_a_wrong_key_is_found_out(self, cloud):
        permissions = Runpod(api_key="rpa_wrong", base_url=cloud.url).check()

        assert [permission.granted for permission in permissions] == [False, False, False, None]
