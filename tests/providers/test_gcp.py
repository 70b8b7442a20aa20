"""Google Cloud's adapter against a project of our own."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from providers import gcp_catalog
from providers.base import (
    LaunchOrder,
    MachineState,
    Market,
    NoCapacity,
    Reason,
    Rejected,
    Unreachable,
)
from providers.gcp import NEEDED, Gcp
from tests.providers.cloud import LOSE_THE_ANSWER, Reply
from tests.providers.contract import ProviderContract, _no_waiting  # noqa: F401  a fixture
from tests.providers.gcp_cloud import PROJECT, TOKEN, GcpCloud, key_json, machine_type, sku

ORDER = LaunchOrder(
    key="lease-123",
    region="us-central1",
    zone="us-central1-a",
    machine_type="a3-highgpu-8g",
    market=Market.ON_DEMAND,
    max_usd_per_hour=Decimal(100),
    startup_script="#!/bin/bash\ntrue\n",
)
SPOT = replace(ORDER, market=Market.SPOT)


def error(status: int, reason: str, **more: object) -> Reply:
    return Reply({"error": {"code": status, "message": reason, "errors": [{"reason": reason}], **more}}, status)


def made(cloud: GcpCloud, **settings: object) -> Gcp:
    urls = dict.fromkeys(("compute_url", "billing_url", "projects_url", "token_url"), cloud.url)
    return Gcp(**({"service_account": key_json()} | urls | settings))


@pytest.fixture
def cloud():
    gcp_catalog._prices.clear()  # Another cloud may have had this port.
    with GcpCloud() as served:
        yield served


@pytest.fixture
def provider(cloud):
    gcp = made(cloud)
    gcp.compute.authorize()  # So that no test is about the first token by accident.
    return gcp


def lines_of(provider, **chosen):
    return [line for line in provider.listings() if all(getattr(line, name) == is_ for name, is_ in chosen.items())]


class TestGcp(ProviderContract):
    list_path, list_name = r"aggregated/instances$", "items"

    @pytest.fixture
    def cloud(self, cloud):
        return cloud

    @pytest.fixture
    def provider(self, provider):
        return provider

    @pytest.fixture
    def order(self):
        return ORDER

    def make_trouble(self, cloud, trouble):
        disabled = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "BILLING_DISABLED"}]
        reply = {
            "quota": error(403, "quotaExceeded"),
            "bad_request": error(400, "invalid"),
            "auth": error(403, "forbidden"),
            "money": error(403, "forbidden", details=disabled),
            "rate_limit": error(403, "rateLimitExceeded"),
            "outage": error(503, "backendError"),
            "lost_answer": LOSE_THE_ANSWER,
        }
        if trouble == "sold_out":
            cloud.failures.append("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS")
        else:
            cloud.trouble.append(("POST", r"/instances$", reply[trouble]))

    def settle(self, cloud):
        cloud.boot()

    def add_foreign_machine(self, cloud):
        for name, labels in (("somebody-else", {"gpuyard": "lease-1"}), ("gpuyard-lease-2", {})):
            cloud.instances["us-central1-a", name] = {
                "name": name, "labels": labels, "status": "RUNNING", "zone": "zones/us-central1-a"}  # fmt: skip

    def secrets(self):
        return (TOKEN, json.loads(key_json())["private_key"].splitlines()[1])


class TestPrices:
    def test_a_price_is_the_sum_of_cores_ram_accelerators_local_ssd_and_the_disk(self, provider):
        (line,) = lines_of(provider, machine_type="a3-highgpu-8g", zone="us-central1-a", market=Market.ON_DEMAND)

        ssd, disk = Decimal(6000) * Decimal("0.08") / 730, Decimal(100) * Decimal("0.1") / 730
        whole = 208 * Decimal("0.03") + 1872 * Decimal("0.0025") + 8 * Decimal("10.5") + ssd + disk
        assert line.usd_per_hour == whole.quantize(Decimal("0.000001"))
        assert (line.accelerator_label, line.accelerator_count, line.memory_gib) == ("H100-SXM", 8, 80)
        assert (line.vcpus, line.ram_gib, line.disk_gib, line.interconnect) == (208, 1872, 6100, "nvlink")

    def test_spot_has_parts_of_its_own(self, provider):
        (line,) = lines_of(provider, machine_type="a3-highgpu-8g", zone="us-central1-b", market=Market.SPOT)

        ssd, disk = Decimal(6000) * Decimal("0.04") / 730, Decimal(100) * Decimal("0.1") / 730
        whole = 208 * Decimal("0.01") + 1872 * Decimal("0.001") + 8 * Decimal("2.25") + ssd + disk
        assert line.usd_per_hour == whole.quantize(Decimal("0.000001"))

    def test_a_commitment_is_listed_once_a_region_and_only_where_every_part_can_be_committed_to(self, provider):
        committed = lines_of(provider, market=Market.RESERVED, machine_type="a3-highgpu-8g")

        assert [(line.region, line.zone, line.term) for line in committed] == [("us-central1", "", "1y")]

    def test_a_whole_slice_has_no_other_parts(self, provider):
        (line,) = lines_of(provider, machine_type="a4-highgpu-8g")

        assert line.market is Market.SPOT  # Its SKU calls itself OnDemand, and on demand it is not sold.
        assert line.usd_per_hour == 8 * Decimal("4.95")

    def test_what_is_sold_as_spot_only_has_no_price_on_demand(self, provider):
        assert {line.market for line in lines_of(provider, machine_type="a3-highgpu-1g") if not line.term} == {
            Market.SPOT
        }

    def test_n1_is_offered_with_as_many_cards_as_the_zone_allows(self, provider):
        lines = [line for line in provider.listings() if line.machine_type.startswith("n1-")]

        assert [line.machine_type for line in lines] == [
            f"n1-standard-8+nvidia-tesla-t4x{count}" for count in (1, 2, 4)
        ]
        disk = Decimal(100) * Decimal("0.1") / 730
        whole = 8 * Decimal("0.03") + 30 * Decimal("0.004") + 2 * Decimal("0.35") + disk
        assert lines[1].usd_per_hour == whole.quantize(Decimal("0.000001"))
        assert {line.accelerator_label for line in lines} == {"T4"}

    def test_a_region_without_a_disk_price_still_has_its_machines(self, provider):
        (line,) = lines_of(provider, region="europe-west4")

        assert line.usd_per_hour == 4 * Decimal("0.0275") + 16 * Decimal("0.0032") + Decimal("0.61")

    def test_what_cannot_be_priced_is_counted(self, provider):
        list(provider.listings())

        assert provider.skipped["ValueError: no price for a2-highgpu-1g"] == 1
        assert provider.skipped["machineType: ValueError: unknown accelerator nvidia-gb200"] == 1

    def test_a_sku_that_cannot_be_read_is_counted_and_hides_no_other(self, provider, cloud):
        odd = sku("G2 Instance Core running in Iowa", "0.02", unit="GiBy.d")
        euro = sku("G2 Instance Ram running in Iowa", "0.02")
        euro["pricingInfo"][0]["pricingExpression"]["tieredRates"][0]["unitPrice"]["currencyCode"] = "EUR"
        cloud.skus = [odd, euro, {"description": None}, 7, *cloud.skus]

        lines = list(provider.listings())

        assert lines
        assert provider.skipped["SKU: KeyError: 'GiBy.d'"] == 1
        assert provider.skipped["SKU: ValueError: not in USD"] == 1

    def test_the_last_tier_that_costs_anything_counts(self, provider, cloud):
        (gpu,) = (one for one in cloud.skus if one["description"] == "Nvidia L4 GPU running in Netherlands")
        tiers = gpu["pricingInfo"][0]["pricingExpression"]["tieredRates"]
        free = {"startUsageAmount": 0, "unitPrice": {"currencyCode": "USD", "units": "0", "nanos": 0}}
        tiers.insert(0, free)
        tiers.append(free)

        (line,) = lines_of(provider, region="europe-west4")

        assert line.usd_per_hour == 4 * Decimal("0.0275") + 16 * Decimal("0.0032") + Decimal("0.61")

    def test_of_two_prices_for_one_part_the_dearer_counts(self, provider, cloud):
        cloud.skus.append(sku("Nvidia L4 GPU in Netherlands", "0.01", region="europe-west4"))

        (line,) = lines_of(provider, region="europe-west4")

        assert line.usd_per_hour > Decimal("0.61")

    def test_newer_families_are_found_under_their_own_names(self, provider, cloud):
        cloud.machine_types = [machine_type("us-central1-a", "a3-megagpu-8g", 208, 1872, "nvidia-h100-mega-80gb", 8),
                               machine_type("us-central1-a", "a3-ultragpu-8g", 224, 2952, "nvidia-h200-141gb", 8),
                               machine_type("us-central1-a", "g4-standard-48", 48, 180, "nvidia-rtx-pro-6000", 1),
                               machine_type("us-central1-a", "ct6e-standard-4t", 180, 720, "ct6e", 4)]  # fmt: skip
        cloud.skus = [
            sku("A3Plus Instance Core running in Americas", "1"),
            sku("A3Plus Instance Ram running in Americas", "1", unit="GiBy.h"),
            sku("Nvidia H100 80GB Mega GPU running in Americas", "1"),
            sku("Spot Preemptible A3 Ultra Instance Core running in Americas", "1", "Preemptible"),
            sku("Spot Preemptible A3Ultra Instance Ram running in Americas", "1", "Preemptible", unit="GiBy.h"),
            sku("H200 141GB GPU attached to Spot Preemptible VMs running in Americas", "1", "Preemptible"),
            sku("G4 Instance Core running in Iowa", "1"),
            sku("G4 Instance Ram running in Iowa", "1", unit="GiBy.h"),
            sku("RTX 6000 96GB running in Iowa", "1"),
            sku("TpuV6e running in Iowa", "1"),
            sku("Hyperdisk Balanced Capacity in Iowa", "7.3", unit="GiBy.mo"),
        ]

        prices = {(line.machine_type, line.market): line.usd_per_hour for line in provider.listings()}

        assert prices == {
            ("a3-megagpu-8g", Market.ON_DEMAND): 208 + 1872 + 8,
            ("a3-ultragpu-8g", Market.SPOT): 224 + 2952 + 8 + 1,
            ("g4-standard-48", Market.ON_DEMAND): 48 + 180 + 1 + 1,
            ("ct6e-standard-4t", Market.ON_DEMAND): 4 + 1,
        }

    def test_every_page_is_read(self, provider, cloud):
        before = len(list(provider.listings()))
        cloud.page_rows = 1

        assert len(list(provider.listings())) == before

    def test_only_the_regions_of_the_account_are_offered(self, cloud):
        assert {line.region for line in made(cloud, regions="europe-west4, us-east1").listings()} == {"europe-west4"}

    def test_a_withdrawn_machine_type_is_not_offered(self, provider, cloud):
        cloud.machine_types[-1]["deprecated"] = {"state": "OBSOLETE"}

        assert not lines_of(provider, region="europe-west4")


class TestSpotSignals:
    def test_a_spot_line_says_how_often_machines_are_taken_and_whether_one_is_to_be_had(self, provider):
        (line,) = lines_of(provider, machine_type="a3-highgpu-8g", zone="us-central1-a", market=Market.SPOT)
        (other,) = lines_of(provider, machine_type="a3-highgpu-8g", zone="us-central1-a", market=Market.ON_DEMAND)

        # Of 100 machines 0.64 * 0.81 are left after two days.
        assert line.interruptions_per_hour == pytest.approx(1 - (0.64 * 0.81) ** (1 / 48))
        assert line.placement_score == 0.7
        assert (other.interruptions_per_hour, other.placement_score) == (None, None)

    def test_what_is_attached_is_not_asked_for(self, provider, cloud):
        list(provider.listings())

        asked = {request.body["instanceProperties"].get("machineType") for request in cloud.requests
                 if request.path.endswith("capacityHistory")}  # fmt: skip
        assert asked == {"a4-highgpu-8g", "a3-highgpu-8g", "a3-highgpu-1g", "a2-highgpu-1g", "g2-standard-4"}

    def test_they_are_asked_for_the_largest_machines_first_and_no_more_than_wanted(self, cloud):
        list(made(cloud, advice_max=1).listings())

        asked = [request.body for request in cloud.requests if "/advice/" in request.path]
        assert len(asked) == 2
        assert asked[0]["instanceProperties"]["machineType"] == "a4-highgpu-8g"

    def test_they_can_be_left_out(self, cloud):
        list(made(cloud, advice_max=0).listings())

        assert not [request for request in cloud.requests if "/advice/" in request.path]

    @pytest.mark.parametrize("reply", [error(403, "forbidden"), error(404, "notFound"), Reply("Not Found", 404)])
    def test_who_may_not_ask_is_told_once_and_gets_prices_all_the_same(self, provider, cloud, reply):
        cloud.trouble += [("POST", "/advice/capacity", reply)] * 2

        lines = lines_of(provider, market=Market.SPOT)

        assert lines
        assert {line.placement_score for line in lines} == {None}
        assert len([request for request in cloud.requests if "/advice/" in request.path]) == 2

    def test_a_machine_type_without_history_does_not_hide_the_others(self, provider, cloud):
        cloud.trouble.append(("POST", "/advice/capacityHistory", error(400, "invalid")))

        lines = {line.machine_type: line for line in lines_of(provider, market=Market.SPOT)}

        assert lines["a4-highgpu-8g"].interruptions_per_hour is None
        assert lines["a3-highgpu-8g"].interruptions_per_hour is not None

    def test_a_region_s_past_prices_are_those_of_each_of_its_zones(self, provider):
        since, until = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC)

        points = [point for point in provider.price_history(since=since, until=until)
                  if point.machine_type == "a3-highgpu-8g"]  # fmt: skip

        assert [(point.zone, point.usd_per_hour) for point in points] == [
            ("us-central1-a", Decimal("21.5")), ("us-central1-a", Decimal("21.25")),
            ("us-central1-b", Decimal("21.5")), ("us-central1-b", Decimal("21.25"))]  # fmt: skip
        assert points[0].at == datetime(2026, 11, 18, 8, tzinfo=UTC)
        assert {point.market for point in points} == {Market.SPOT}

    def test_past_prices_are_those_of_the_time_that_was_asked_for(self, provider):
        since, until = datetime(2026, 11, 18, 9, tzinfo=UTC), datetime(2026, 11, 19, 9, tzinfo=UTC)

        points = provider.price_history(since=since, until=until)

        assert {point.at for point in points} == {datetime(2026, 11, 19, 8, tzinfo=UTC)}


class TestLaunch:
    def sent(self, cloud):
        return [
            request for request in cloud.requests if request.method == "POST" and request.path.endswith("/instances")
        ]

    def test_a_spot_machine_is_deleted_when_it_is_taken_and_is_told_two_minutes_before(self, provider, cloud):
        provider.launch(SPOT)

        (request,) = self.sent(cloud)
        assert request.body["scheduling"] == {
            "provisioningModel": "SPOT", "instanceTerminationAction": "DELETE", "onHostMaintenance": "TERMINATE",
            "automaticRestart": False, "preemptionNoticeDuration": {"seconds": "120"}}  # fmt: skip

    def test_the_machine_bears_the_key_and_the_script_and_a_disk_of_the_size_asked_for(self, provider, cloud):
        provider.launch(replace(ORDER, disk_gib=321))

        (request,) = self.sent(cloud)
        body = request.body
        assert (body["name"], body["labels"]) == ("gpuyard-lease-123", {"gpuyard": "lease-123"})
        assert body["metadata"] == {"items": [{"key": "startup-script", "value": "#!/bin/bash\ntrue\n"}]}
        assert body["disks"][0]["initializeParams"]["diskSizeGb"] == "321"
        assert "serviceAccounts" not in body
        assert body["scheduling"]["provisioningModel"] == "STANDARD"

    def test_a_request_bears_an_id_of_its_key_and_place(self, provider, cloud):
        for zone in ("us-central1-a", "us-central1-b", "us-central1-a"):
            provider.launch(replace(ORDER, zone=zone))
            cloud.instances.clear()

        one, other, again = (request.query["requestId"] for request in self.sent(cloud))
        assert one == again != other

    def test_the_cards_of_an_n1_are_asked_for(self, provider, cloud):
        provider.launch(replace(ORDER, machine_type="n1-standard-8+nvidia-tesla-t4x2"))

        (request,) = self.sent(cloud)
        assert request.body["machineType"] == "zones/us-central1-a/machineTypes/n1-standard-8"
        (cards,) = request.body["guestAccelerators"]
        assert cards == {
            "acceleratorType": "zones/us-central1-a/acceleratorTypes/nvidia-tesla-t4",
            "acceleratorCount": 2,
        }

    def test_a_customer_s_own_image_is_booted(self, cloud):
        made(cloud, image="projects/yard-project/global/images/ours").launch(ORDER)

        (request,) = self.sent(cloud)
        source = request.body["disks"][0]["initializeParams"]["sourceImage"]
        assert source == "projects/yard-project/global/images/ours"

    def test_every_line_of_the_list_can_be_rented(self, provider, cloud):
        lines = [line for line in provider.listings() if line.market is not Market.RESERVED]

        for number, line in enumerate(lines):
            order = LaunchOrder(key=f"lease-{number}", region=line.region, zone=line.zone, market=line.market,
                                machine_type=line.machine_type, max_usd_per_hour=line.usd_per_hour)  # fmt: skip
            provider.launch(order)

        assert len(list(provider.machines())) == len(lines)

    def test_without_a_zone_one_after_the_other_is_tried(self, provider, cloud):
        cloud.failures.append("ZONE_RESOURCE_POOL_EXHAUSTED")

        machine = provider.launch(replace(ORDER, zone=""))

        assert machine.machine_id == "us-central1-b/gpuyard-lease-123"
        assert [one.machine_id for one in provider.machines()] == [machine.machine_id]

    def test_a_quota_is_not_looked_for_in_other_zones(self, provider, cloud):
        cloud.failures.append("QUOTA_EXCEEDED")

        with pytest.raises(NoCapacity) as caught:
            provider.launch(replace(ORDER, zone=""))

        assert caught.value.reason is Reason.QUOTA
        assert len(self.sent(cloud)) == 1

    @pytest.mark.parametrize(
        ("code", "kind", "reason"),
        [
            ("ZONE_RESOURCE_POOL_EXHAUSTED", NoCapacity, Reason.SOLD_OUT),
            ("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", NoCapacity, Reason.SOLD_OUT),
            ("RESOURCE_POOL_EXHAUSTED", NoCapacity, Reason.SOLD_OUT),
            ("STOCKOUT", NoCapacity, Reason.SOLD_OUT),
            ("QUOTA_EXCEEDED", NoCapacity, Reason.QUOTA),
            ("INTERNAL_ERROR", Unreachable, Reason.OUTAGE),
            ("INVALID_USAGE", Rejected, Reason.BAD_REQUEST),
        ],
    )
    def test_an_operation_that_fails_says_why_and_what_it_leaves_is_ended(self, provider, cloud, code, kind, reason):
        cloud.failures.append(code)
        cloud.leaves_remains = True

        with pytest.raises(kind) as caught:
            provider.launch(ORDER)

        assert (type(caught.value), caught.value.reason) == (kind, reason)
        assert code in str(caught.value)
        cloud.boot()
        assert not cloud.instances

    def test_an_operation_that_takes_long_is_a_machine_that_boots(self, provider, cloud):
        cloud.slow = True

        assert provider.launch(ORDER).state is MachineState.BOOTING

    @pytest.mark.parametrize("reply", [error(403, "forbidden"), error(503, "backendError"), Reply([])])
    def test_who_may_not_wait_has_a_machine_all_the_same(self, provider, cloud, reply):
        cloud.trouble += [("POST", "/wait$", reply)] * 3

        assert provider.launch(ORDER).state is MachineState.BOOTING
        assert [machine.key for machine in provider.machines()] == ["lease-123"]

    def test_a_machine_that_another_process_rented_meanwhile_is_ours(self, provider, cloud):
        first = provider.launch(ORDER)
        nothing = {"zones/us-central1-a": {"warning": {"code": "NO_RESULTS_ON_PAGE"}}}
        cloud.trouble.append(("GET", "aggregated/instances", Reply({"items": nothing})))
        cloud.by_request.clear()

        assert provider.launch(ORDER).machine_id == first.machine_id
        assert len(cloud.instances) == 1

    def test_something_else_that_is_in_the_way_is_an_error(self, provider, cloud):
        cloud.trouble.append(("POST", "/instances$", error(409, "alreadyExists")))

        with pytest.raises(Rejected):
            provider.launch(ORDER)

    def test_a_key_whose_machine_was_taken_buys_no_other(self, provider, cloud):
        provider.launch(SPOT)
        cloud.instances["us-central1-a", "gpuyard-lease-123"]["status"] = "TERMINATED"

        with pytest.raises(NoCapacity):
            provider.launch(SPOT)

        cloud.boot()
        assert not cloud.instances

    def test_a_spot_machine_that_costs_more_than_agreed_is_refused(self, provider, cloud):
        with pytest.raises(Rejected) as caught:
            provider.launch(replace(SPOT, max_usd_per_hour=Decimal(1)))

        assert caught.value.reason is Reason.PRICE
        assert not cloud.instances

    def test_the_price_list_is_not_read_for_every_launch(self, provider, cloud):
        list(provider.listings())
        before = len(cloud.requests)

        provider.launch(ORDER)

        assert not [request for request in cloud.requests[before:] if request.path.endswith("/skus")]
        assert len(cloud.requests) - before == 4  # Look, find the machine type, insert, wait.

    @pytest.mark.parametrize(
        "wrong",
        [
            {"machine_type": "a9-highgpu-8g"},
            {"machine_type": "n1-standard-8+nvidia-tesla-t4x8"},
            {"zone": "us-central1-f"},
            {"region": "mars-north1", "zone": ""},
            {"market": Market.RESERVED},
            {"machine_type": "a4-highgpu-8g"},
        ],
    )
    def test_what_is_not_for_rent_is_refused(self, provider, cloud, wrong):
        with pytest.raises(Rejected) as caught:
            provider.launch(replace(ORDER, **wrong))

        assert caught.value.reason is Reason.BAD_REQUEST
        assert not self.sent(cloud)


class TestMachines:
    @pytest.mark.parametrize(
        ("status", "state"),
        [
            ("PROVISIONING", MachineState.BOOTING),
            ("STAGING", MachineState.BOOTING),
            ("REPAIRING", MachineState.BOOTING),
            ("RUNNING", MachineState.RUNNING),
            ("PENDING_STOP", MachineState.STOPPING),
            ("STOPPING", MachineState.STOPPING),
            ("SUSPENDING", MachineState.STOPPING),
            ("SOMETHING_NEW", MachineState.BOOTING),
            (["RUNNING"], MachineState.BOOTING),
        ],
    )
    def test_a_state_is_one_of_three(self, provider, cloud, status, state):
        provider.launch(ORDER)
        cloud.instances["us-central1-a", "gpuyard-lease-123"]["status"] = status

        assert [machine.state for machine in provider.machines()] == [state]

    @pytest.mark.parametrize("status", ["STOPPED", "SUSPENDED", "TERMINATED"])
    def test_what_was_taken_away_is_lost_and_can_still_be_ended(self, provider, cloud, status):
        provider.launch(ORDER)
        cloud.instances["us-central1-a", "gpuyard-lease-123"]["status"] = status

        assert not list(provider.machines())

        provider.terminate("lease-123")
        cloud.boot()
        assert not cloud.instances

    def test_every_zone_and_page_is_looked_at(self, provider, cloud):
        provider.launch(ORDER)
        provider.launch(replace(ORDER, key="lease-124", zone="us-central1-b"))
        cloud.page_rows = 1

        assert {machine.key for machine in provider.machines()} == {"lease-123", "lease-124"}

    def test_a_zone_that_does_not_answer_is_an_outage_and_not_the_end_of_its_machines(self, provider, cloud):
        cloud.unreachable_zones = ["zones/us-central1-a"]

        with pytest.raises(Unreachable):
            list(provider.machines())
        with pytest.raises(Unreachable):
            provider.terminate("lease-123")

    @pytest.mark.parametrize(
        "answer",
        [
            [],
            {},
            {"items": 7},
            {"items": {"zones/us-central1-a": {"instances": "x"}}},
            {"items": {"zones/us-central1-a": {"instances": [None]}}},
            {"items": {"zones/us-central1-a": {}}},
            {"items": {"zones/us-central1-a": {"warning": {"code": "UNREACHABLE"}}}},
        ],
    )
    def test_an_answer_that_makes_no_sense_is_not_the_end_of_all_machines(self, provider, cloud, answer):
        cloud.trouble.append(("GET", "aggregated/instances", Reply(answer)))

        with pytest.raises(Unreachable):
            list(provider.machines())

    def test_an_instance_that_cannot_be_read_hides_no_other(self, provider, cloud):
        provider.launch(ORDER)
        row = cloud.instances["us-central1-a", "gpuyard-lease-123"] | {"networkInterfaces": [None]}
        rows = {"zones/us-central1-a": {"instances": [None, 7, {"labels": 3}, row]}}
        cloud.trouble.append(("GET", "aggregated/instances", Reply({"items": rows})))

        assert [(machine.key, machine.address) for machine in provider.machines()] == [("lease-123", None)]

    def test_an_instance_that_is_just_being_made_is_ended_at_another_time(self, provider, cloud):
        provider.launch(ORDER)
        cloud.trouble += [("DELETE", "gpuyard-lease-123", error(400, "resourceNotReady"))] * 3

        with pytest.raises(Unreachable):
            provider.terminate("lease-123")

    def test_an_instance_that_goes_while_it_is_ended_is_gone(self, provider, cloud):
        provider.launch(ORDER)
        cloud.trouble.append(("DELETE", "gpuyard-lease-123", error(404, "notFound")))

        provider.terminate("lease-123")


class TestAccount:
    @pytest.mark.parametrize("text", ["", "{}", "not JSON", "[]", '{"client_email": "a@b", "private_key": "x"}'])
    def test_what_is_not_a_key_is_refused_at_once(self, text):
        with pytest.raises(Rejected) as caught:
            Gcp(service_account=text)

        assert caught.value.reason is Reason.AUTH

    def test_a_project_of_another_name_is_used(self, cloud):
        gcp = made(cloud, project="another-project")

        with pytest.raises(Rejected):
            list(gcp.machines())

        assert cloud.requests[-1].path.startswith("/compute/v1/projects/another-project/")

    def test_a_key_without_a_project_needs_one(self):
        key = json.dumps({name: value for name, value in json.loads(key_json()).items() if name != "project_id"})

        with pytest.raises(Rejected):
            Gcp(service_account=key)
        assert Gcp(service_account=key, project=PROJECT).project == PROJECT

    def test_a_token_serves_for_many_requests(self, cloud):
        gcp = made(cloud)

        gcp.launch(ORDER)
        list(gcp.machines())

        assert len([request for request in cloud.requests if request.path == "/token"]) == 1

    def test_a_token_about_to_end_is_renewed(self, cloud):
        gcp = made(cloud)
        short = {"access_token": TOKEN, "expires_in": 60, "token_type": "Bearer"}
        cloud.trouble.append(("POST", "/token", Reply(short)))

        list(gcp.machines())
        list(gcp.machines())

        assert len([request for request in cloud.requests if request.path == "/token"]) == 2

    def test_a_key_that_was_withdrawn_is_an_error_of_ours(self, cloud):
        gcp = made(cloud)
        cloud.trouble.append(("POST", "/token", Reply({"error": "invalid_grant"}, 400)))

        with pytest.raises(Rejected) as caught:
            list(gcp.machines())

        assert caught.value.reason is Reason.AUTH
        assert "invalid_grant" in str(caught.value)

    @pytest.mark.parametrize("answer", [{}, [], {"access_token": 7}, {"access_token": "a\nb"}])
    def test_an_answer_without_a_token_is_an_error_of_ours(self, cloud, answer):
        gcp = made(cloud)
        cloud.trouble.append(("POST", "/token", Reply(answer)))

        with pytest.raises(Rejected):
            list(gcp.machines())


class TestCheck:
    def test_it_names_exactly_what_is_missing(self, provider, cloud):
        cloud.permissions -= {"compute.instances.setLabels", "compute.advice.capacity"}

        missing = [permission.name for permission in provider.check() if permission.granted is False]

        assert missing == ["compute.instances.setLabels", "compute.advice.capacity"]

    def test_it_rents_nothing(self, provider, cloud):
        found = provider.check()

        assert len(found) == len(NEEDED) + 1
        assert {request.path for request in cloud.requests} == {
            "/token", f"/v1/projects/{PROJECT}:testIamPermissions", "/v1/services/6F81-5844-456A/skus"}  # fmt: skip

    def test_without_the_api_that_knows_nobody_knows(self, provider, cloud):
        cloud.trouble.append(("POST", ":testIamPermissions$", error(403, "accessNotConfigured")))

        found = provider.check()

        assert {permission.granted for permission in found[:-1]} == {None}
        assert "accessNotConfigured" in found[0].why

    def test_a_wrong_key_is_allowed_nothing(self, cloud):
        cloud.trouble += [("POST", "/token", Reply({"error": "invalid_grant"}, 400))] * 2

        found = made(cloud).check()

        assert {permission.granted for permission in found} == {False}

    def test_the_price_list_must_be_readable(self, provider, cloud):
        cloud.trouble.append(("GET", "/skus$", error(403, "accessNotConfigured")))

        (prices,) = (one for one in provider.check() if "skus" in one.name)

        assert prices.granted is False
        assert "accessNotConfigured" in prices.why

    def test_an_outage_is_raised(self, provider, cloud):
        cloud.trouble += [("POST", ":testIamPermissions$", error(503, "backendError"))] * 3

        with pytest.raises(Unreachable):
            provider.check()
