"""Verda's own SDK drives our fake of Verda, so that it agrees with more than our adapter."""

from __future__ import annotations

import pytest

verda = pytest.importorskip("verda")

from tests.providers.verda_cloud import CLIENT_ID, CLIENT_SECRET, VerdaCloud  # noqa: E402  after importorskip

H100 = "1H100.80S.30V"


@pytest.fixture
def cloud():
    with VerdaCloud() as cloud:
        yield cloud


@pytest.fixture
def sdk(cloud):
    return verda.VerdaClient(CLIENT_ID, CLIENT_SECRET, base_url=cloud.url)


def make(sdk, **options):
    asked = {"instance_type": H100, "image": "ubuntu-24.04-cuda-12.8-open-docker", "hostname": "gpuyard-lease-1",
             "description": "gpuyard-lease-1", "location": "FIN-03", "wait_for_status": None}  # fmt: skip
    return sdk.instances.create(**asked | options)


def test_the_sdk_reads_the_price_list(sdk):
    found = {kind.instance_type: kind for kind in sdk.instance_types.get() if kind.instance_type == H100}

    assert (found[H100].price_per_hour, found[H100].spot_price_per_hour, found[H100].currency) == (3.95, 1.7, "usd")


def test_the_sdk_reads_places_and_stock(sdk):
    assert [place["code"] for place in sdk.locations.get()] == ["FIN-03", "ICE-01"]
    assert sdk.instances.get_availabilities(is_spot=True)[0] == {"location_code": "FIN-03", "availabilities": [H100]}
    assert H100 in sdk.instances.get_availabilities(is_spot=False)[0]["availabilities"]
    assert [kind.price_per_month_per_gb for kind in sdk.volume_types.get()] == [0.2]


def test_the_sdk_makes_lists_and_deletes(sdk, cloud):
    script = sdk.startup_scripts.create("gpuyard-lease-1", "#!/bin/bash\ntrue\n")
    keys = [key.id for key in sdk.ssh_keys.get()]
    volume = verda.instances.OSVolume(name="gpuyard-lease-1", size=100)
    made = make(sdk, ssh_key_ids=keys, startup_script_id=script.id, os_volume=volume, contract="PAY_AS_YOU_GO")
    cloud.boot()

    (row,) = sdk.instances.get()
    assert (row.id, row.status, row.hostname, row.ip) == (made.id, "running", "gpuyard-lease-1", "203.0.113.7")
    assert (row.startup_script_id, row.ssh_key_ids, row.is_spot) == (script.id, keys, False)

    sdk.instances.action(made.id, "delete", volume_ids=[made.os_volume_id], delete_permanently=True)
    sdk.startup_scripts.delete_by_id(script.id)
    assert sdk.instances.get() == []
    assert sdk.startup_scripts.get() == []
    assert not cloud.disks


def test_the_sdk_makes_spot_and_loses_it(sdk, cloud):
    volume = verda.instances.OSVolume(name="os", size=100, on_spot_discontinue="delete_permanently")
    made = make(sdk, os_volume=volume, is_spot=True, contract="SPOT")
    cloud.take_away("gpuyard-lease-1")

    assert sdk.instances.get_by_id(made.id).status == "discontinued"
    assert not cloud.disks


def test_the_sdk_renews_its_token(sdk, cloud):
    cloud.expires_in = 0
    sdk._authentication.authenticate()

    assert sdk.balance.get().amount == 100.0


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda cloud: setattr(cloud, "balance", 0), "insufficient_funds"),
        (lambda cloud: cloud.free[False].clear(), "service_unavailable"),
        (lambda cloud: cloud.kinds.clear(), "invalid_request"),
    ],
)
def test_the_sdk_reads_our_refusals(sdk, cloud, spoil, code):
    spoil(cloud)

    with pytest.raises(verda.exceptions.APIException) as caught:
        make(sdk)

    assert caught.value.code == code


PEER = {"provider": "verda", "peer": "verda 1.25.0", "verbs": ["listings", "launch", "machines", "terminate"]}
