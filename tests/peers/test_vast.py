"""Vast.ai's own SDK drives our fake of Vast.ai, so that it agrees with more than our adapter."""

from __future__ import annotations

import pytest

vastai = pytest.importorskip("vastai")
requests = pytest.importorskip("requests")

from tests.providers.vast_cloud import KEY, VastCloud  # noqa: E402  after importorskip


@pytest.fixture
def cloud():
    with VastCloud() as cloud:
        yield cloud


@pytest.fixture
def sdk(cloud):
    return vastai.VastAI(api_key=KEY, server_url=cloud.url, raw=True, quiet=True, retry=1)


def test_the_sdk_finds_offers_of_both_markets(sdk):
    on_demand = sdk.search_offers(query="num_gpus>=2", type="on-demand", storage=100)
    bids = sdk.search_offers(query="num_gpus>=2", type="bid", storage=100)

    assert [row["id"] for row in on_demand] == [row["id"] for row in bids] == [101, 102]
    assert bids[0]["dph_total"] < on_demand[0]["dph_total"]


def test_the_sdk_reads_every_field_of_an_offer(sdk):
    from vastai.data.offer import Offer

    (row,) = sdk.search_offers(query="gpu_name=RTX_3090")

    assert Offer.from_dict(row).gpu_ram == 24576


def test_the_sdk_rents_lists_and_destroys(sdk, cloud):
    made = sdk.create_instance(id=101, image="ubuntu:24.04", disk=100, label="gpuyard-lease-1", ssh=True, direct=True,
                               onstart_cmd="true", cancel_unavail=True)  # fmt: skip
    cloud.boot()

    (row,) = sdk.show_instances()
    assert row["id"] == made["new_contract"] == sdk.show_instance(id=made["new_contract"])["id"]
    assert (row["actual_status"], row["label"], row["extra_env"]) == ("running", "gpuyard-lease-1", {"GPU": "1"})

    assert sdk.destroy_instance(id=made["new_contract"])["success"]
    assert sdk.show_instances() == []


def test_the_sdk_bids_and_is_outbid(sdk, cloud):
    made = sdk.create_instance(id=101, image="ubuntu:24.04", disk=100, bid_price=0.4, label="gpuyard-lease-2")
    cloud.outbid("gpuyard-lease-2")

    row = sdk.show_instance(id=made["new_contract"])

    assert (row["intended_status"], row["cur_state"], row["is_bid"]) == ("stopped", "stopped", True)


def test_the_sdk_follows_the_pages(sdk, cloud):
    for number in range(60):
        cloud.rent(number, {"label": f"lease-{number}"})

    assert len(sdk.show_instances()) == 60
    assert len(sdk.show_instances_v1({"select_filters": {"label": {"in": ["lease-7"]}}, "limit": 5})["instances"]) == 1


def test_the_sdk_hears_that_an_ask_is_gone(sdk):
    with pytest.raises(requests.HTTPError) as caught:
        sdk.create_instance(id=999, image="ubuntu:24.04", disk=10)

    assert caught.value.response.status_code == 404


PEER = {"provider": "vast", "peer": "vastai 1.9.1", "verbs": ["listings", "launch", "machines", "terminate"]}
