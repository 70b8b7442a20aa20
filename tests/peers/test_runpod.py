"""RunPod's own SDK drives our fake of RunPod, so that it agrees with more than our adapter."""

from __future__ import annotations

import asyncio

import pytest

runpod = pytest.importorskip("runpod")
pytest.importorskip("runpod.api.rest", reason="an SDK older than 2.0 does not speak REST v2")

from runpod.apps.api import AppsApiClient, is_capacity_error  # noqa: E402  after importorskip

from tests.providers.runpod_cloud import KEY, RunpodCloud  # noqa: E402  after importorskip

RTX = "NVIDIA GeForce RTX 4090"


@pytest.fixture
def cloud(monkeypatch):
    with RunpodCloud() as cloud:
        monkeypatch.setenv("RUNPOD_API_BASE_URL", cloud.url)
        monkeypatch.setattr(runpod, "api_key", KEY)
        yield cloud


def test_the_sdk_reads_the_catalog(cloud):
    gpus = {gpu["id"]: gpu for gpu in runpod.get_gpus()}
    one = runpod.get_gpu(RTX, gpu_quantity=2)

    assert gpus[RTX]["price"] == {"secure": 0.44, "community": 0.31}
    assert [(centre["id"], centre["availability"]) for centre in one["dataCenters"]] == [
        ("US-KS-2", "HIGH"),
        ("EU-RO-1", "LOW"),
    ]


@pytest.mark.parametrize(("count", "level"), [(2, "LOW"), (8, "NONE")])
def test_the_sdk_reads_the_stock_of_a_data_centre(cloud, count, level):
    stock = asyncio.run(AppsApiClient(api_key=KEY).gpu_stock_status(RTX, "EU-RO-1", count, pods=True))

    assert stock == level


def test_the_sdk_rents_lists_and_terminates(cloud):
    made = runpod.create_pod(
        "gpuyard-lease-1",
        "nvidia/cuda:12.4.1-base-ubuntu22.04",
        gpu_type_id=RTX,
        gpu_count=2,
        cloud_type="SECURE",
        data_center_id="US-KS-2",
        container_disk_in_gb=100,
        ports="22/tcp",
        env={"GPUYARD_STARTUP": "dHJ1ZQ=="},
        docker_args="bash -c 'sleep infinity'",
    )
    cloud.boot()

    (pod,) = runpod.get_pods()
    assert pod == runpod.get_pod(made["id"])
    assert (pod["name"], pod["status"], pod["cost"]) == ("gpuyard-lease-1", "RUNNING", 0.88)
    assert (pod["env"], pod["disk"]) == ({"GPUYARD_STARTUP": "dHJ1ZQ=="}, 100)

    runpod.terminate_pod(made["id"])
    assert runpod.get_pods() == []
    assert runpod.get_pod(made["id"]) is None


def test_the_sdk_understands_what_goes_wrong(cloud):
    order = {"image_name": "ubuntu", "gpu_type_id": RTX, "gpu_count": 8, "data_center_id": "EU-RO-1"}
    with pytest.raises(runpod.error.QueryError) as full:
        runpod.create_pod("one", **order)
    with pytest.raises(runpod.error.QueryError) as wrong:
        runpod.create_pod("two", **order | {"container_disk_in_gb": 0})
    runpod.api_key = "wrong"
    with pytest.raises(runpod.error.AuthenticationError):
        runpod.get_pods()

    assert (full.value.status_code, wrong.value.status_code) == (400, 422)
    assert wrong.value.errors


def test_our_adapter_knows_every_phrase_by_which_the_sdk_knows_a_lack_of_capacity():
    from providers.base import NoCapacity
    from providers.runpod import _explain

    phrases = ("resources to deploy your pod", "insufficient capacity", "no available machine", "out of stock")

    for phrase in phrases:
        assert is_capacity_error(Exception(phrase))
        assert isinstance(_explain(400, {"detail": phrase}), NoCapacity)


PEER = {
    "provider": "runpod",
    "peer": "runpod 2.0.0rc2",
    "verbs": ["listings", "launch", "machines", "terminate"],
}
