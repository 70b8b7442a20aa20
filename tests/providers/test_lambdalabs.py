"""Lambda's adapter against a Lambda Cloud of our own making."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from providers.base import LaunchOrder, MachineState, Market, NoCapacity, Reason, Rejected, Unreachable
from providers.lambdalabs import Lambda
from tests.providers.cloud import LOSE_THE_ANSWER, Reply
from tests.providers.contract import ProviderContract, _no_waiting  # noqa: F401  a fixture
from tests.providers.lambdalabs_cloud import KEY, LambdaCloud, failure

LAUNCH = r"^/api/v1/instance-operations/launch$"
TROUBLES = {
    "sold_out": failure("instance-operations/launch/insufficient-capacity"),
    "quota": failure("global/quota-exceeded"),
    "bad_request": failure("global/invalid-parameters"),
    "auth": failure("global/invalid-api-key"),
    "money": failure("global/account-inactive"),
    "rate_limit": Reply("Too Many Requests", 429),
    "outage": failure("global/internal-error"),
    "lost_answer": LOSE_THE_ANSWER,
}


class TestLambda(ProviderContract):
    list_path, list_name, list_id = r"/instances$", "data", "id"

    @pytest.fixture
    def cloud(self):
        with LambdaCloud() as cloud:
            yield cloud

    @pytest.fixture
    def provider(self, cloud):
        return Lambda(api_key=KEY, base_url=cloud.url)

    @pytest.fixture
    def order(self):
        return LaunchOrder(
            key="lease-123",
            region="us-west-1",
            machine_type="gpu_8x_h100_sxm5gdr",
            market=Market.ON_DEMAND,
            max_usd_per_hour=Decimal("35.92"),
            startup_script="#!/bin/bash\ntouch /root/up\n",
        )

    def make_trouble(self, cloud, trouble):
        cloud.trouble.append(("POST", LAUNCH, TROUBLES[trouble]))

    def settle(self, cloud):
        cloud.boot()

    def add_foreign_machine(self, cloud):
        for name in ({"name": "My Instance"}, {}):
            cloud.add({"region_name": "us-west-1", "instance_type_name": "gpu_1x_a10", "ssh_key_names": []} | name)

    def secrets(self):
        return (KEY,)

    def test_a_line_is_a_type_in_a_region_that_has_it(self, provider):
        lines = {(line.machine_type, line.region): line.country for line in provider.listings()}

        assert lines == {
            ("gpu_8x_h100_sxm5gdr", "us-west-1"): "US",
            ("gpu_1x_a10", "us-west-1"): "US",
            ("gpu_1x_a10", "europe-central-1"): "DE",
            ("gpu_1x_a10", "asia-northeast-1"): "JP",
        }

    def test_a_price_in_cents_is_of_the_whole_instance(self, provider):
        line = next(line for line in provider.listings() if line.accelerator_count == 8)

        assert line.usd_per_hour == Decimal("35.92")
        assert (line.accelerator_label, line.memory_gib) == ("H100 (80 GB SXM5)", 80)
        assert (line.vcpus, line.ram_gib, line.disk_gib) == (208, 1800, 24780)

    def test_what_no_region_has_is_counted(self, provider):
        list(provider.listings())

        assert provider.skipped == {"ValueError: no region has it now": 1, "ValueError: no accelerator": 1}

    def test_a_bad_region_hides_no_other(self, provider, cloud):
        cloud.trouble.append(("GET", "instance-types", Reply({"data": {"gpu_1x_a10": cloud._item("gpu_1x_a10")}})))
        regions = cloud.trouble[0][2].body["data"]["gpu_1x_a10"]["regions_with_capacity_available"]
        regions[0] = {"name": None}

        lines = list(provider.listings())

        assert [line.region for line in lines] == ["europe-central-1", "asia-northeast-1"]
        assert provider.skipped == {"ValueError: a text is missing": 1}

    def test_every_line_can_be_rented_as_it_is_named(self, provider, cloud, order):
        for number, line in enumerate(list(provider.listings())):
            machine = provider.launch(
                replace(
                    order,
                    key=f"lease-{number}",
                    region=line.region,
                    machine_type=line.machine_type,
                    max_usd_per_hour=line.usd_per_hour,
                )
            )

            instance = cloud.instances[machine.machine_id]
            assert instance["region"]["name"] == line.region
            assert instance["instance_type"]["name"] == line.machine_type

    def test_the_script_reaches_the_instance(self, provider, cloud, order):
        one = provider.launch(order)
        two = provider.launch(replace(order, key="lease-2", startup_script="touch /root/up"))

        assert cloud.user_data[one.machine_id] == order.startup_script
        assert cloud.user_data[two.machine_id] == "#!/bin/bash\ntouch /root/up"

    def test_the_first_key_is_taken_if_none_is_named(self, provider, cloud, order):
        provider.launch(order)

        assert cloud.requests[-1].body["ssh_key_names"] == ["first"]

    def test_the_key_that_is_named_is_taken(self, cloud, order):
        Lambda(api_key=KEY, ssh_key_name="second", base_url=cloud.url).launch(order)

        assert cloud.requests[-1].body["ssh_key_names"] == ["second"]

    @pytest.mark.parametrize(("named", "keys", "why"), [("", [], "an SSH key"), ("mine", None, "the SSH key mine")])
    def test_an_account_without_the_key_is_told_so(self, cloud, order, named, keys, why):
        cloud.keys = cloud.keys if keys is None else keys
        provider = Lambda(api_key=KEY, ssh_key_name=named, base_url=cloud.url)

        refused = [permission for permission in provider.check() if permission.granted is False]
        with pytest.raises(Rejected) as caught:
            provider.launch(order)

        assert [permission.name for permission in refused] == ["GET /api/v1/ssh-keys"]
        assert why in refused[0].why
        assert caught.value.reason is Reason.BAD_REQUEST

    def test_a_launch_waits_twelve_seconds_for_its_turn(self, provider, cloud, order, monkeypatch):
        monkeypatch.setattr("providers.http._paces", {})
        provider.launch(order)
        pauses: list[float] = []
        monkeypatch.setattr("providers.http.time.sleep", pauses.append)

        provider.launch(replace(order, key="lease-2"))

        assert max(pauses) > 11

    def test_a_region_without_capacity_costs_no_launch(self, provider, cloud, order):
        with pytest.raises(NoCapacity) as caught:
            provider.launch(replace(order, machine_type="gpu_1x_gh200"))

        assert caught.value.reason is Reason.SOLD_OUT
        assert not [request for request in cloud.requests if request.method == "POST"]

    def test_a_line_that_is_none_is_refused(self, provider, order):
        for wrong in ({"machine_type": "gpu_3x_abacus"}, {"market": Market.SPOT}):
            with pytest.raises(Rejected) as caught:
                provider.launch(replace(order, **wrong))

            assert caught.value.reason is Reason.BAD_REQUEST

    def test_an_address_of_the_bill_that_is_wrong_is_about_money(self, provider, cloud, order):
        cloud.trouble.append(("POST", LAUNCH, failure("global/invalid-address")))

        with pytest.raises(Rejected) as caught:
            provider.launch(order)

        assert caught.value.reason is Reason.MONEY

    def test_trouble_behind_lambda_is_an_outage_with_any_status(self, provider, cloud, order):
        cloud.trouble.append(("POST", LAUNCH, failure("provider/internal-unavailable")))

        with pytest.raises(Unreachable) as caught:
            provider.launch(order)

        assert caught.value.reason is Reason.OUTAGE

    @pytest.mark.parametrize(
        ("status", "state"),
        [
            ("booting", MachineState.BOOTING),
            ("active", MachineState.RUNNING),
            ("unhealthy", MachineState.RUNNING),
            ("terminating", MachineState.STOPPING),
            ("terminated", None),
            ("preempted", None),
        ],
    )
    def test_a_status_says_whether_it_is_still_rented(self, provider, cloud, order, status, state):
        machine = provider.launch(order)
        cloud.instances[machine.machine_id]["status"] = status

        assert [machine.state for machine in provider.machines()] == ([state] if state else [])

    @pytest.mark.parametrize("status", ["preempted", "terminating"])
    def test_a_key_whose_instance_ended_buys_no_second(self, provider, cloud, order, status):
        machine = provider.launch(order)
        cloud.instances[machine.machine_id]["status"] = status

        with pytest.raises(NoCapacity):
            provider.launch(order)

        assert len(cloud.instances) == 1

    def test_a_preempted_instance_can_still_be_terminated(self, provider, cloud, order):
        machine = provider.launch(order)
        cloud.instances[machine.machine_id]["status"] = "preempted"

        provider.terminate(order.key)

        assert cloud.instances[machine.machine_id]["status"] == "terminating"

    def test_an_instance_that_went_meanwhile_is_terminated(self, provider, cloud, order):
        provider.launch(order)
        cloud.trouble.append(("POST", "terminate$", failure("global/object-does-not-exist")))

        provider.terminate(order.key)

    def test_a_malformed_instance_hides_no_other(self, provider, cloud, order):
        provider.launch(order)
        bad = [None, {"name": []}, {"name": "gpuyard-x"}, {"name": "gpuyard-y", "id": None}]
        cloud.trouble.append(("GET", "instances$", Reply({"data": [*bad, *cloud.instances.values()]})))

        assert [machine.key for machine in provider.machines()] == ["x", "y", order.key]

    def test_a_launch_looks_again_when_its_turn_has_come(self, provider, cloud, order, monkeypatch):
        """A launch whose answer was lost may be listed late: longer ago than a launch waits for its turn it is not."""
        cloud.trouble.append(("POST", LAUNCH, LOSE_THE_ANSWER))
        with pytest.raises(Unreachable):
            provider.launch(order)
        late = Reply({"data": []})
        cloud.trouble.append(("GET", "instances$", late))

        machine = provider.launch(order)

        assert [machine.machine_id] == list(cloud.instances)

    @pytest.mark.parametrize("body", [None, {}, [], {"data": None}, "busy"])
    def test_an_answer_without_data_is_not_an_empty_account(self, provider, cloud, body):
        cloud.trouble.append(("GET", "instances$", Reply(body)))

        with pytest.raises((Unreachable, Rejected)):
            list(provider.machines())

    def test_a_wrong_key_is_found_out(self, cloud):
        permissions = Lambda(api_key="wrong", base_url=cloud.url).check()

        assert [permission.granted for permission in permissions] == [False, False, False, None, None]
