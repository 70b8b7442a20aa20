"""A client that others generated from Lambda's OpenAPI drives our fake of Lambda Cloud."""

from __future__ import annotations

from http import HTTPStatus

import pytest

pytest.importorskip("lambda_ai_cloud_api_client")

from lambda_ai_cloud_api_client import models  # noqa: E402  after importorskip
from lambda_ai_cloud_api_client.api.instances import (  # noqa: E402  after importorskip
    get_instance,
    launch_instance,
    list_instance_types,
    list_instances,
    terminate_instance,
)
from lambda_ai_cloud_api_client.api.ssh_keys import list_ssh_keys  # noqa: E402  after importorskip
from lambda_ai_cloud_api_client.client import AuthenticatedClient  # noqa: E402  after importorskip

from tests.providers.lambdalabs_cloud import FORMS, KEY, LambdaCloud, failure  # noqa: E402  after importorskip

H100 = "gpu_8x_h100_sxm5gdr"


@pytest.fixture
def cloud():
    with LambdaCloud() as cloud:
        yield cloud


@pytest.fixture
def client(cloud):
    with AuthenticatedClient(base_url=cloud.url, token=KEY, raise_on_unexpected_status=True) as client:
        yield client


def request(**more):
    return models.InstanceLaunchRequest(
        **{
            "region_name": models.PublicRegionCode.US_WEST_1,
            "instance_type_name": H100,
            "ssh_key_names": ["first"],
            "name": "gpuyard-lease-1",
            "user_data": "#!/bin/bash\ntrue\n",
        }
        | more
    )


def test_the_client_reads_prices_and_capacity(client):
    items = list_instance_types.sync(client=client).data.additional_properties

    assert items[H100].instance_type.price_cents_per_hour == 3592
    assert items[H100].instance_type.specs.gpus == 8
    assert [region.name for region in items[H100].regions_with_capacity_available] == ["us-west-1"]
    assert items["gpu_1x_gh200"].regions_with_capacity_available == []


def test_the_client_reads_the_keys(client):
    assert [key.name for key in list_ssh_keys.sync(client=client).data] == ["first", "second"]


def test_the_client_rents_lists_and_terminates(client, cloud):
    (machine_id,) = launch_instance.sync(client=client, body=request()).data.instance_ids
    booting = get_instance.sync(client=client, id=machine_id).data
    cloud.boot()

    (instance,) = list_instances.sync(client=client).data
    assert booting.status is models.InstanceStatus.BOOTING
    assert (instance.id, instance.name, instance.ip) == (machine_id, "gpuyard-lease-1", "198.51.100.2")
    assert instance.status is models.InstanceStatus.ACTIVE
    assert cloud.user_data[machine_id] == "#!/bin/bash\ntrue\n"

    ended = terminate_instance.sync(client=client, body=models.InstanceTerminateRequest(instance_ids=[machine_id])).data
    assert [one.status for one in ended.terminated_instances] == [models.InstanceStatus.TERMINATING]


@pytest.mark.parametrize(
    "code", sorted(code for code in FORMS if not code.startswith(("provider/", "global/internal")))
)
def test_the_client_understands_what_goes_wrong(client, cloud, code):
    cloud.trouble.append(("POST", "launch$", failure(code)))

    answer = launch_instance.sync_detailed(client=client, body=request())

    assert answer.status_code is HTTPStatus(FORMS[code][0])
    assert answer.parsed.error.code == code


def test_the_client_meets_the_fakes_own_refusals(client):
    full = launch_instance.sync(client=client, body=request(instance_type_name="gpu_1x_gh200"))
    keyless = launch_instance.sync(client=client, body=request(ssh_key_names=[]))
    unknown = launch_instance.sync(client=client, body=request(ssh_key_names=["nobody's"]))

    assert [answer.error.code for answer in (full, keyless, unknown)] == [
        "instance-operations/launch/insufficient-capacity",
        "global/invalid-parameters",
        "global/object-does-not-exist",
    ]


PEER = {
    "provider": "lambda",
    "peer": "lambda-ai-cloud-api-client 2.4.1",
    "verbs": ["listings", "launch", "machines", "terminate"],
}
