"""Google's own library drives our Google Cloud: it reads our answers and our cloud takes its requests."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest

compute = pytest.importorskip("google.cloud.compute_v1")
from google.api_core import exceptions  # noqa: E402  after importorskip
from google.auth.credentials import AnonymousCredentials  # noqa: E402
from google.cloud.compute_v1.services.advice.transports import AdviceRestTransport  # noqa: E402
from google.cloud.compute_v1.services.instances.transports import InstancesRestTransport  # noqa: E402
from google.cloud.compute_v1.services.machine_types.transports import MachineTypesRestTransport  # noqa: E402
from google.cloud.compute_v1.services.zone_operations.transports import ZoneOperationsRestTransport  # noqa: E402

from providers.base import LaunchOrder, Market  # noqa: E402
from providers.gcp import Gcp  # noqa: E402
from providers.gcp_instances import wanted  # noqa: E402
from providers.gcp_prices import Shape  # noqa: E402
from tests.providers.gcp_cloud import PROJECT, GcpCloud, key_json  # noqa: E402

ZONE = "us-central1-a"
SHAPE = Shape("a3-highgpu-8g", "a3-highgpu-8g", ZONE, "nvidia-h100-80gb", 8, 208, 1872 * 1024, 6000)


@pytest.fixture
def cloud():
    with GcpCloud(anonymous=True) as served:
        yield served


@pytest.fixture
def clients(cloud):
    options = {"host": cloud.url.removeprefix("http://"), "url_scheme": "http", "credentials": AnonymousCredentials()}
    return {
        "advice": compute.AdviceClient(transport=AdviceRestTransport(**options)),
        "instances": compute.InstancesClient(transport=InstancesRestTransport(**options)),
        "machine_types": compute.MachineTypesClient(transport=MachineTypesRestTransport(**options)),
        "operations": compute.ZoneOperationsClient(transport=ZoneOperationsRestTransport(**options)),
    }


def instance(name: str = "gpuyard-lease-123", **scheduling: object) -> compute.Instance:
    disk = compute.AttachedDiskInitializeParams(
        source_image="projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-amd64", disk_size_gb=100,
        disk_type=f"zones/{ZONE}/diskTypes/pd-balanced",
    )  # fmt: skip
    return compute.Instance(
        name=name,
        machine_type=f"zones/{ZONE}/machineTypes/a3-highgpu-8g",
        labels={"gpuyard": "lease-123"},
        disks=[compute.AttachedDisk(boot=True, auto_delete=True, initialize_params=disk)],
        network_interfaces=[compute.NetworkInterface(
            network="global/networks/default", access_configs=[compute.AccessConfig(type_="ONE_TO_ONE_NAT")])],
        scheduling=compute.Scheduling(**({"on_host_maintenance": "TERMINATE", "provisioning_model": "SPOT",
                                          "instance_termination_action": "DELETE"} | scheduling)),
    )  # fmt: skip


def insert(clients: dict, row: compute.Instance, **more: str) -> object:
    request = compute.InsertInstanceRequest(project=PROJECT, zone=ZONE, instance_resource=row, **more)
    return clients["instances"].insert(request=request)


def ended(clients: dict, operation: object) -> object:
    """Wait as the library would, whose own waiting cannot be pointed at another host."""
    done = clients["operations"].wait(project=PROJECT, zone=ZONE, operation=operation.name)
    assert done.status is compute.Operation.Status.DONE
    return done


def all_of(clients: dict, chosen: str) -> list:
    request = compute.AggregatedListInstancesRequest(project=PROJECT, filter=chosen)
    return [row for _, held in clients["instances"].aggregated_list(request=request) for row in held.instances]


def test_a_machine_lives_its_whole_life(cloud, clients):
    assert not ended(clients, insert(clients, instance())).error.errors
    (row,) = all_of(clients, "labels.gpuyard:*")
    assert (row.name, row.status) == ("gpuyard-lease-123", "PROVISIONING")

    cloud.boot()
    (row,) = all_of(clients, 'name = "gpuyard-lease-123"')
    assert row.status == "RUNNING"
    assert row.network_interfaces[0].access_configs[0].nat_i_p

    ended(clients, clients["instances"].delete(project=PROJECT, zone=ZONE, instance=row.name))
    cloud.boot()
    assert not all_of(clients, "")


def test_what_our_adapter_asks_for_is_an_instance_to_the_library(clients):
    order = LaunchOrder(key="lease-7", region="us-central1", zone=ZONE, machine_type="a3-highgpu-8g",
                        market=Market.SPOT, max_usd_per_hour=Decimal(50), startup_script="true")  # fmt: skip

    query, body = wanted(order, SHAPE, "")
    row = compute.Instance.from_json(json.dumps(body), ignore_unknown_fields=False)
    operation = insert(clients, row, request_id=query["requestId"])

    assert not ended(clients, operation).error.errors
    assert row.scheduling.preemption_notice_duration.seconds == 120


def test_the_same_request_is_carried_out_once(cloud, clients):
    request_id = "8f9c2b1e-5f0a-5d8e-9a55-3f1f6f1d2c3b"

    names = {insert(clients, instance(), request_id=request_id).name for _ in range(2)}

    assert len(names) == 1
    assert len(cloud.instances) == 1


def test_a_sold_out_zone_is_an_error_of_the_operation(cloud, clients):
    cloud.failures.append("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS")

    done = ended(clients, insert(clients, instance()))

    assert [error.code for error in done.error.errors] == ["ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"]
    assert not cloud.instances


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (instance("Not A Name"), exceptions.BadRequest),
        (instance(on_host_maintenance="MIGRATE"), exceptions.BadRequest),
        (instance(provisioning_model="STANDARD"), exceptions.BadRequest),
    ],
)
def test_what_is_wrong_is_refused(clients, row, kind):
    with pytest.raises(kind):
        insert(clients, row)


def test_a_name_that_is_taken_is_a_conflict(clients):
    insert(clients, instance())

    with pytest.raises(exceptions.Conflict):
        insert(clients, instance())


def test_what_is_not_there_is_not_found(clients):
    with pytest.raises(exceptions.NotFound):
        clients["instances"].delete(project=PROJECT, zone=ZONE, instance="gpuyard-lease-9")


def test_machine_types_are_listed_over_pages(cloud, clients):
    cloud.page_rows = 2
    request = compute.AggregatedListMachineTypesRequest(project=PROJECT, filter='name eq "(a3-.*|n1-standard-8)"')

    rows = [row for _, held in clients["machine_types"].aggregated_list(request=request) for row in held.machine_types]

    assert sorted(row.name for row in rows) == ["a3-highgpu-1g", "a3-highgpu-8g", "a3-highgpu-8g", "n1-standard-8"]
    (small,) = (row for row in rows if row.name == "a3-highgpu-1g")
    assert small.accelerators[0].guest_accelerator_type == "nvidia-h100-80gb"
    assert small.bundled_local_ssds.partition_count == 2


def test_spot_signals_are_told(clients):
    scheduling = {"provisioning_model": "SPOT"}
    history = clients["advice"].capacity_history(
        project=PROJECT, region="us-central1",
        capacity_history_request_resource=compute.CapacityHistoryRequest(
            types=["PRICE"], instance_properties={"machine_type": "a3-highgpu-8g", "scheduling": scheduling}),
    )  # fmt: skip
    taken = clients["advice"].capacity_history(
        project=PROJECT, region="us-central1",
        capacity_history_request_resource=compute.CapacityHistoryRequest(
            types=["PREEMPTION"], instance_properties={"machine_type": "a3-highgpu-8g", "scheduling": scheduling}),
    )  # fmt: skip
    advice = clients["advice"].capacity(
        project=PROJECT, region="us-central1",
        capacity_advice_request_resource=compute.CapacityAdviceRequest(
            size=1, instance_properties={"scheduling": scheduling},
            instance_flexibility_policy={"instance_selections": {"one": {"machine_types": ["a3-highgpu-8g"]}}}),
    )  # fmt: skip

    assert [point.list_price.units for point in history.price_history] == [21, 21]
    assert [one.preemption_rate for one in taken.preemption_history] == [0.36, 0.19]
    assert advice.recommendations[0].scores.obtainability == 0.7


class Recorded(GcpCloud):
    """Keeps what was asked and answered below Compute Engine's own path."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, object, object]] = []

    def answer(self, request):
        reply = super().answer(request)
        if request.path.startswith("/compute/"):
            self.told.append((request.path, request.body, reply.body))
        return reply


SENT = {
    "zones/[^/]+/instances$": compute.Instance,
    "/capacity$": compute.CapacityAdviceRequest,
    "/capacityHistory$": compute.CapacityHistoryRequest,
}
ANSWERED = {
    "aggregated/machineTypes$": compute.MachineTypeAggregatedList,
    "aggregated/acceleratorTypes$": compute.AcceleratorTypeAggregatedList,
    "aggregated/instances$": compute.InstanceAggregatedList,
    "/capacity$": compute.CapacityAdviceResponse,
    "/capacityHistory$": compute.CapacityHistoryResponse,
    "/zones/[^/]+/instances": compute.Operation,
    "/operations/[^/]+/wait$": compute.Operation,
}


def test_whatever_our_adapter_asks_and_our_cloud_answers_has_the_library_s_fields():
    """The library's messages refuse a field that they do not have, or one of another type."""
    with Recorded() as cloud:
        urls = dict.fromkeys(("compute_url", "billing_url", "projects_url", "token_url"), cloud.url)
        gcp = Gcp(service_account=key_json(), **urls)
        (line, *_) = [line for line in gcp.listings() if line.machine_type.startswith("n1-")]
        order = LaunchOrder(key="lease-7", region=line.region, zone=line.zone, machine_type=line.machine_type,
                            market=line.market, max_usd_per_hour=line.usd_per_hour)  # fmt: skip
        gcp.launch(order)
        cloud.boot()
        list(gcp.machines())
        list(gcp.price_history(since=datetime(2026, 1, 1, tzinfo=UTC), until=datetime(2027, 1, 1, tzinfo=UTC)))
        gcp.terminate("lease-7")

    seen = set()
    for path, body, answer in cloud.told:
        for messages, value in ((SENT, body), (ANSWERED, answer)):
            for pattern, message in messages.items():
                if value is not None and re.search(pattern, path):
                    message.from_json(json.dumps(value), ignore_unknown_fields=False)
                    seen.add(pattern)

    assert seen == set(SENT) | set(ANSWERED)


PEER = {
    "provider": "gcp",
    "peer": "google-cloud-compute 1.57.0",
    "verbs": ["listings", "launch", "machines", "terminate"],
}
