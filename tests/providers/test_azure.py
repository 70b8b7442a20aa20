"""Azure's adapter against a fake of sign-in, ARM, Resource Graph and the price list."""

from __future__ import annotations

import base64
from dataclasses import replace
from decimal import Decimal

import pytest

from providers.base import (
    LaunchOrder,
    MachineState,
    Market,
    NoCapacity,
    Reason,
    Rejected,
    Unreachable,
)
from tests.providers.azure_cloud import SECRET, AzureCloud, connected
from tests.providers.azure_market import A10_PART, A100
from tests.providers.cloud import LOSE_THE_ANSWER, Reply
from tests.providers.contract import ProviderContract

MACHINE = r"/virtualMachines/gpuyard-"
ANSWERS = {
    "sold_out": (409, "SkuNotAvailable", "The requested tier is currently not available in location 'eastus'."),
    "quota": (409, "OperationNotAllowed", "Operation could not be completed as it results in exceeding approved "
                                          "standardNDSH100v5Family Cores quota."),
    "bad_request": (400, "InvalidParameter", "The value of parameter vmSize is invalid."),
    "auth": (401, "InvalidAuthenticationToken", "The access token is invalid."),
    "money": (409, "ReadOnlyDisabledSubscription", "The subscription is disabled and marked as read only."),
    "rate_limit": (429, "TooManyRequests", "The request is being throttled."),
    "outage": (503, "ServiceUnavailable", "Try again."),
}  # fmt: skip


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Count the pauses instead of taking them."""
    taken: list[float] = []
    monkeypatch.setattr("providers.http.time.sleep", taken.append)
    return taken


@pytest.fixture
def cloud():
    with AzureCloud() as cloud:
        yield cloud


@pytest.fixture
def provider(cloud):
    return connected(cloud)


@pytest.fixture
def order():
    return LaunchOrder(
        key="lease-123", region="eastus", machine_type=A100, market=Market.ON_DEMAND,
        max_usd_per_hour=Decimal(4), startup_script="#!/bin/bash\necho hello",
    )  # fmt: skip


@pytest.fixture
def spot(order):
    return replace(order, market=Market.SPOT, max_usd_per_hour=Decimal("1.5"))


def asked(cloud, method, ending):
    return [one for one in cloud.requests if one.method == method and one.path.endswith(ending)]


class TestAzure(ProviderContract):
    list_path, list_name = r"/virtualMachines$", "value"
    looks_before_it_ends = False  # It asks for the deletion by name.

    @pytest.fixture
    def cloud(self, cloud):
        return cloud

    @pytest.fixture
    def provider(self, provider):
        return provider

    @pytest.fixture
    def order(self, order):
        return order

    def make_trouble(self, cloud, trouble):
        if trouble == "lost_answer":
            cloud.trouble.append(("PUT", MACHINE, LOSE_THE_ANSWER))
            return
        status, code, message = ANSWERS[trouble]
        cloud.trouble.append(("PUT", MACHINE, Reply({"error": {"code": code, "message": message}}, status)))

    def settle(self, cloud):
        cloud.boot()

    def add_foreign_machine(self, cloud):
        cloud.add_stranger()
        cloud.add_stranger("gpuyard-lease-1", group="another-group")

    def secrets(self):
        return SECRET, "header.payload.signature"


class TestSpotOrders(TestAzure):
    """The same for Spot, which is another request and another price."""

    @pytest.fixture
    def order(self, spot):
        return spot


class TestLaunch:
    def test_a_spot_machine_is_bid_for_without_disk_and_address(self, provider, cloud, spot):
        provider.launch(spot)

        properties = cloud.vm("gpuyard-lease-123")["properties"]
        assert (properties["priority"], properties["evictionPolicy"]) == ("Spot", "Delete")
        assert properties["billingProfile"] == {"maxPrice": 1.48184}

    def test_a_spot_machine_dearer_than_agreed_is_refused_by_azure(self, provider, cloud, spot):
        with pytest.raises(Rejected) as caught:
            provider.launch(replace(spot, max_usd_per_hour=Decimal(1)))

        assert caught.value.reason is Reason.PRICE
        assert not cloud.kinds()

    def test_an_on_demand_machine_bids_nothing(self, provider, cloud, order):
        provider.launch(order)

        assert "priority" not in cloud.vm("gpuyard-lease-123")["properties"]

    def test_the_price_of_disk_and_address_counts_too(self, provider, order):
        with pytest.raises(Rejected) as caught:
            provider.launch(replace(order, max_usd_per_hour=Decimal("3.68")))

        assert caught.value.reason is Reason.PRICE

    def test_the_startup_script_arrives_as_custom_data(self, provider, cloud, order):
        provider.launch(order)

        (put,) = asked(cloud, "PUT", "gpuyard-lease-123")
        sent = put.body["properties"]["osProfile"]["customData"]
        assert base64.b64decode(sent).decode() == order.startup_script
        assert put.body["tags"] == {"gpuyard": "lease-123"}

    def test_a_script_without_a_first_line_gets_one(self, provider, cloud, order):
        provider.launch(replace(order, startup_script="echo hello"))

        (put,) = asked(cloud, "PUT", "gpuyard-lease-123")
        sent = put.body["properties"]["osProfile"]["customData"]
        assert base64.b64decode(sent).decode() == "#!/bin/bash\necho hello"

    def test_nobody_knows_the_password(self, provider, cloud, order):
        provider.launch(order)
        provider.launch(replace(order, key="lease-124"))

        passwords = {
            one.body["properties"]["osProfile"]["adminPassword"]
            for one in cloud.requests
            if one.method == "PUT" and "/virtualMachines/" in one.path
        }
        assert len(passwords) == 2

    def test_the_network_of_a_region_is_made_once(self, provider, cloud, order):
        provider.launch(order)
        provider.launch(replace(order, key="lease-124"))

        assert len(asked(cloud, "PUT", "/virtualNetworks/gpuyard-eastus")) == 1

    def test_a_subnet_of_the_team_is_used_as_it_is(self, provider, cloud, order):
        provider.launch(order)
        (mine,) = [one for one in cloud.resources.values() if "virtualNetworks" in one["type"]]
        cloud.requests.clear()

        connected(cloud, subnet_id=f"{mine['id']}/subnets/gpuyard").launch(replace(order, key="lease-124"))

        assert not [one for one in cloud.requests if "/virtualNetworks/" in one.path]

    def test_a_reservation_is_not_launched(self, provider, order):
        with pytest.raises(Rejected) as caught:
            provider.launch(replace(order, market=Market.RESERVED))

        assert caught.value.reason is Reason.BAD_REQUEST

    @pytest.mark.parametrize("machine_type", ["Standard_D2s_v5", A10_PART, "' or 1 eq 1"])
    def test_what_is_not_in_the_table_is_not_launched(self, provider, cloud, order, machine_type):
        with pytest.raises(Rejected) as caught:
            provider.launch(replace(order, machine_type=machine_type))

        assert caught.value.reason is Reason.BAD_REQUEST
        assert not asked(cloud, "PUT", "")

    def test_a_resource_group_that_does_not_exist_is_named(self, cloud, order):
        with pytest.raises(Rejected, match="ResourceGroupNotFound|'nowhere'") as caught:
            connected(cloud, resource_group="nowhere").launch(order)

        assert caught.value.reason is Reason.BAD_REQUEST

    def test_a_second_launch_leaves_the_machine_as_it_is(self, provider, cloud, order):
        provider.launch(order)
        cloud.boot()
        cloud.requests.clear()

        machine = provider.launch(order)

        assert machine.state is MachineState.RUNNING
        assert machine.address == "20.1.2.10"
        assert not [one for one in cloud.requests if one.method != "GET"]

    def test_two_launches_at_once_make_one_machine(self, provider, cloud, order):
        first = provider.launch(order)
        cloud.trouble.append(("GET", MACHINE, Reply({"error": {"code": "ResourceNotFound"}}, 404)))

        second = provider.launch(order)

        assert second.machine_id == first.machine_id

    def test_a_launch_waits_only_so_long(self, cloud, order, pauses):
        machine = connected(cloud, settle_s=4).launch(order)

        assert machine.state is MachineState.BOOTING
        assert [pause for pause in pauses if pause == 2.0] == [2.0, 2.0]


class TestFailedProvisioning:
    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            ("AllocationFailed", Reason.SOLD_OUT),
            ("ZonalAllocationFailed", Reason.SOLD_OUT),
            ("OverconstrainedAllocationRequest", Reason.SOLD_OUT),
            ("SkuNotAvailable", Reason.SOLD_OUT),
            ("OperationNotAllowed", Reason.QUOTA),
            ("QuotaExceeded", Reason.QUOTA),
            ("VMStartTimedOut", Reason.UNKNOWN),
        ],
    )
    def test_a_machine_that_fails_at_once_is_deleted_again(self, provider, cloud, spot, code, reason):
        cloud.doom, cloud.fast = code, True

        with pytest.raises(NoCapacity) as caught:
            provider.launch(spot)

        assert caught.value.reason is reason
        assert not cloud.kinds()

    def test_a_machine_that_fails_later_is_not_listed_and_can_be_ended(self, provider, cloud, spot):
        cloud.doom = "AllocationFailed"
        assert provider.launch(spot).state is MachineState.BOOTING
        cloud.boot()

        assert not list(provider.machines())
        provider.terminate(spot.key)

        assert not cloud.kinds()

    def test_asking_again_for_one_that_failed_says_why_and_clears_up(self, provider, cloud, spot):
        cloud.doom = "AllocationFailed"
        provider.launch(spot)
        cloud.boot()

        with pytest.raises(NoCapacity) as caught:
            provider.launch(spot)

        assert caught.value.reason is Reason.SOLD_OUT
        assert not cloud.kinds()

    def test_a_refusal_that_leaves_a_machine_behind_is_cleared_up(self, provider, cloud, order, monkeypatch):
        make = cloud._make_machine

        def refuse(vm, body):
            make(vm, body)
            raise RefusedAfterAll

        monkeypatch.setattr(cloud, "_make_machine", refuse)
        answer = cloud.answer

        def answer_or_refuse(request):
            try:
                return answer(request)
            except RefusedAfterAll:
                return Reply({"error": {"code": "AllocationFailed", "message": "no capacity"}}, 409)

        monkeypatch.setattr(cloud, "answer", answer_or_refuse)

        with pytest.raises(NoCapacity):
            provider.launch(order)

        assert not cloud.kinds()

    def test_a_machine_that_runs_on_after_a_failed_change_is_kept(self, provider, cloud, order):
        provider.launch(order)
        cloud.boot()
        cloud.vm("gpuyard-lease-123")["properties"]["provisioningState"] = "Failed"

        (machine,) = provider.machines()

        assert machine.state is MachineState.RUNNING


class RefusedAfterAll(Exception):
    """The fake made the machine and then says no."""


class TestMachines:
    def test_an_evicted_machine_is_gone(self, provider, cloud, spot):
        provider.launch(spot)
        cloud.boot()

        cloud.evict("gpuyard-lease-123")

        assert not list(provider.machines())

    def test_a_stopped_machine_is_lost_but_can_be_ended(self, provider, cloud, spot):
        provider.launch(spot)
        cloud.boot()
        cloud.evict("gpuyard-lease-123", policy="Deallocate")

        assert not list(provider.machines())
        provider.terminate(spot.key)

        assert not cloud.kinds()

    def test_a_machine_that_is_being_deleted_is_stopping(self, provider, cloud, order):
        provider.launch(order)
        cloud.boot()
        cloud.vm("gpuyard-lease-123")["properties"]["provisioningState"] = "Deleting"

        (machine,) = provider.machines()

        assert machine.state is MachineState.STOPPING
        with pytest.raises(Unreachable, match="still being deleted"):
            provider.launch(order)

    def test_every_page_of_machines_is_read(self, provider, cloud, order):
        cloud.page = 1
        keys = {f"lease-{number}" for number in range(1, 4)}
        for key in keys:
            provider.launch(replace(order, key=key))
        cloud.boot()

        machines = list(provider.machines())

        assert {machine.key for machine in machines} == keys
        assert len({machine.address for machine in machines}) == 3

    def test_without_machines_one_question_is_enough(self, provider, cloud):
        list(provider.machines())

        assert len([one for one in cloud.requests if one.method == "GET"]) == 1

    def test_terminating_takes_disk_interface_and_address_along(self, provider, cloud, order):
        provider.launch(order)
        assert cloud.kinds() == ["disks", "networkInterfaces", "publicIPAddresses", "virtualMachines"]

        provider.terminate(order.key)

        assert not cloud.kinds()

    def test_what_a_vanished_machine_left_is_deleted(self, provider, cloud, order):
        provider.launch(order)
        cloud.resources.pop(cloud.vm("gpuyard-lease-123")["id"].lower())

        provider.terminate(order.key)

        assert not cloud.kinds()

    def test_what_is_in_a_subscription_that_cannot_be_found_is_not_gone(self, cloud, order):
        """A 404 of a machine means that it is gone, but not this one."""
        connected(cloud).launch(order)
        lost = connected(cloud, subscription_id="another")

        with pytest.raises(Rejected):
            list(lost.machines())
        with pytest.raises(Rejected):
            lost.terminate(order.key)

    def test_terminating_one_leaves_the_next_alone(self, provider, cloud, order):
        provider.launch(replace(order, key="lease-1"))
        provider.launch(replace(order, key="lease-12"))

        provider.terminate("lease-1")

        assert [machine.key for machine in provider.machines()] == ["lease-12"]
