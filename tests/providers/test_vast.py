"""The Vast.ai adapter against a market on loopback."""

from __future__ import annotations

import base64
import gzip
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from providers import http
from providers.base import LaunchOrder, Market, NoCapacity, Reason, Rejected, Unreachable
from providers.vast import Vast
from tests.providers.cloud import LOSE_THE_ANSWER, Reply
from tests.providers.contract import ProviderContract, _no_waiting  # noqa: F401  a fixture
from tests.providers.vast_cloud import KEY, VastCloud, offer

TOO_OFTEN = Reply("API requests too frequent: endpoint threshold=4.5", 429)
TROUBLES = {
    "sold_out": Reply({"success": False, "error": "no_such_ask", "msg": "error 410/3907: no_such_ask"}, 410),
    "bad_request": Reply({"success": False, "error": "invalid_args", "msg": f"Invalid args, key {KEY}"}, 400),
    "auth": Reply({"success": False, "error": "auth_error", "msg": "Invalid user key"}, 401),
    "money": Reply({"success": False, "error": "insufficient_credit", "msg": "no credit"}, 400),
    "rate_limit": TOO_OFTEN,
    "outage": Reply("<html>502 Bad Gateway</html>", 502),
    "lost_answer": LOSE_THE_ANSWER,
}


@pytest.fixture
def cloud():
    with VastCloud() as cloud:
        yield cloud


@pytest.fixture
def provider(cloud):
    return Vast(api_key=KEY, base_url=cloud.url)


@pytest.fixture
def order():
    return LaunchOrder(
        key="lease-123",
        region="AT",
        machine_type="ask-101",
        market=Market.ON_DEMAND,
        max_usd_per_hour=Decimal(20),
        startup_script="#!/bin/bash\necho hello\n",
    )


@pytest.fixture
def bid(order):
    return replace(order, market=Market.SPOT, max_usd_per_hour=Decimal("0.5"))


class TestVast(ProviderContract):
    list_path, list_name, list_id = r"^/api/v1/instances/$", "instances", "id"
    impossible = ("quota",)  # No limit on the number of instances is documented.

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
        cloud.trouble.append(("PUT", r"^/api/v0/asks/", TROUBLES[trouble]))

    def settle(self, cloud):
        cloud.boot()

    def add_foreign_machine(self, cloud):
        cloud.rent(555, {"label": "somebody-elses", "image": "ubuntu"})
        cloud.rent(556, {"label": None, "image": "ubuntu"})

    def secrets(self):
        return (KEY,)

    def another(self, order, key):
        """An ask is a single machine, so that another key must name another ask."""
        return replace(order, key=key, machine_type="ask-102")


def lines_of(provider):
    return {(line.machine_type, line.market): line for line in provider.listings()}


def test_the_price_holds_the_share_of_the_disk(provider):
    lines = lines_of(provider)

    # 100 GiB at 0.144 USD a month, of 720 hours: 0.02 an hour.
    assert lines["ask-101", Market.ON_DEMAND].usd_per_hour == Decimal("0.82")
    assert lines["ask-101", Market.SPOT].usd_per_hour == Decimal("0.32")
    assert lines["ask-101", Market.SPOT].disk_gib == 100


def test_a_line_tells_what_the_machine_is(provider):
    line = lines_of(provider)["ask-101", Market.ON_DEMAND]

    assert (line.region, line.country, line.accelerator_label) == ("AT", "AT", "RTX 4090")
    assert (line.accelerator_count, line.memory_gib, line.vcpus, line.ram_gib) == (2, 24.0, 32.0, 64.0)
    assert (line.reliability, line.internet_mbit_per_s, line.available) == (0.995, 850.2, 1)
    assert line.egress_usd_per_gib == Decimal("0.002147")
    assert line.ends_at == datetime.fromtimestamp(1893456000, UTC)


def test_a_host_may_leave_out_what_it_does_not_know(provider):
    line = lines_of(provider)["ask-102", Market.ON_DEMAND]

    assert (line.region, line.country, line.vcpus, line.interconnect) == ("unknown", "", 192.0, "nvlink")
    assert line.ends_at > datetime.now(UTC)


def test_no_bid_is_no_spot_line(provider):
    assert ("ask-103", Market.SPOT) not in lines_of(provider)
    assert lines_of(provider)["ask-103", Market.ON_DEMAND].country == "SE"


def test_only_verified_hosts_are_listed_unless_any_are_wanted(provider, cloud):
    assert "ask-104" not in {name for name, _ in lines_of(provider)}
    assert "ask-104" in {name for name, _ in lines_of(Vast(api_key=KEY, hosts="any", base_url=cloud.url))}


def test_a_region_without_a_country_is_its_name(provider, cloud):
    cloud.offers = [offer(1, geolocation="Somewhere, Nice!")]

    assert {line.region for line in provider.listings()} == {"somewhere-nice"}


@pytest.mark.parametrize(("shape", "count"), [("list", 3), ("map", 3), ("one", 1)])
def test_offers_may_be_a_list_or_a_map_or_a_single_one(provider, cloud, shape, count):
    cloud.shape = shape

    assert len({line.machine_type for line in provider.listings()}) == count


def test_every_page_of_the_market_is_read(provider, cloud):
    cloud.offers = [offer(number, dph_base=1 + number // 40) for number in range(1, 201)]

    assert len({line.machine_type for line in provider.listings()}) == 200


def test_one_bad_row_hides_no_good_one(provider, cloud):
    cloud.offers += [offer(110, num_gpus=None), offer(111, storage_cost=None), offer(112, dph_base=0)]

    assert len({line.machine_type for line in provider.listings()}) == 3
    assert sum(provider.skipped.values()) == 3


@pytest.mark.parametrize("body", [None, [], {"offers": None}])
def test_an_empty_answer_is_not_an_empty_market(provider, cloud, body):
    cloud.trouble = [("POST", "bundles", Reply(body))]

    with pytest.raises(Unreachable):
        list(provider.listings())


@pytest.mark.parametrize("body", [None, {"success": True}])
def test_an_empty_answer_is_not_an_empty_account(provider, cloud, order, body):
    provider.launch(order)
    cloud.trouble = [("GET", "instances", Reply(body))]

    with pytest.raises(Unreachable):
        list(provider.machines())


def test_a_spent_search_quota_is_not_asked_again(provider, cloud):
    spent = Reply({"error": "search_quota_exceeded"}, 429, {"Retry-After": "30000"})
    cloud.trouble = [("POST", "bundles", spent)]

    with pytest.raises(Unreachable) as caught:
        list(provider.listings())

    assert caught.value.reason is Reason.RATE_LIMIT
    assert caught.value.retry_after_s == 30000
    assert len(cloud.requests) == 1


def test_a_refusal_in_plain_text_is_waited_out(provider, cloud):
    cloud.trouble = [("POST", "bundles", TOO_OFTEN)]

    assert list(provider.listings())


def test_all_pages_of_instances_are_read(provider, cloud, order):
    for number in range(60):
        cloud.rent(1000 + number, {"label": f"gpuyard-lease-{number}"})

    assert len(provider.machines()) == 60
    assert provider.launch(replace(order, key="lease-59")).machine_id in {str(n) for n in cloud.instances}
    assert len(cloud.instances) == 60


def test_the_rental_is_what_was_ordered(provider, cloud, order):
    provider.launch(replace(order, disk_gib=250))

    (row,) = cloud.instances.values()
    packed = re.search(r"echo (\S+) \| base64 -d", row["onstart"])[1]
    assert (row["ask_id"], row["disk_space"], row["label"], row["is_bid"]) == (101, 250, "gpuyard-lease-123", False)
    assert gzip.decompress(base64.b64decode(packed)).decode() == order.startup_script


def test_a_script_that_does_not_fit_rents_nothing(provider, cloud, order):
    script = "".join(f"echo {number * 7919 % 10007}\n" for number in range(4000))

    with pytest.raises(Rejected, match="too long"):
        provider.launch(replace(order, startup_script=script))

    assert not cloud.instances


def test_a_bid_leaves_room_for_the_disk(provider, cloud, bid):
    provider.launch(bid)

    (row,) = cloud.instances.values()
    assert row["price"] == 0.48


def test_a_bid_below_the_least_is_refused(provider, cloud, bid):
    with pytest.raises(Rejected) as caught:
        provider.launch(replace(bid, max_usd_per_hour=Decimal("0.31")))

    assert caught.value.reason is Reason.PRICE
    assert not cloud.instances


def test_an_error_that_leaves_a_contract_leaves_none(provider, cloud, bid):
    left = cloud.rent(101, {"label": "gpuyard-lease-123", "price": 0.48})
    cloud.outbid("gpuyard-lease-123")
    row = cloud.instances.pop(left)

    def outbid(request):
        cloud.instances[left] = row
        return Reply({"success": False, "error": "outbid", "new_contract": left}, 400)

    cloud._create = lambda request, ask: outbid(request)

    with pytest.raises(NoCapacity) as caught:
        provider.launch(bid)

    assert caught.value.reason is Reason.SOLD_OUT
    assert not cloud.instances


def test_a_contract_without_success_leaves_none(provider, cloud, order):
    left = cloud.rent(999, {"label": "other"})
    cloud.trouble = [("PUT", "asks", Reply({"success": False, "new_contract": left}))]

    with pytest.raises(NoCapacity):
        provider.launch(order)

    assert not cloud.instances


def test_a_rental_that_was_outbid_unheard_is_ended(provider, cloud, bid):
    cloud.trouble = [("PUT", "asks", LOSE_THE_ANSWER)]
    with pytest.raises(Unreachable):
        provider.launch(bid)
    cloud.outbid("gpuyard-lease-123")

    with pytest.raises(NoCapacity):
        provider.launch(bid)

    assert not cloud.instances


def test_an_unclear_answer_is_asked_again_and_rents_once(provider, cloud, order):
    cloud.trouble = [("PUT", "asks", Reply(None))]

    with pytest.raises(Unreachable):
        provider.launch(order)

    assert provider.launch(order).key == order.key
    assert len(cloud.instances) == 1


def test_an_ask_that_is_gone_is_no_capacity(provider, order):
    with pytest.raises(NoCapacity):
        provider.launch(replace(order, machine_type="ask-999"))


@pytest.mark.parametrize("name", ["ask-0", "ask-1/../2", "101", "ask-"])
def test_what_names_no_ask_is_refused(provider, cloud, order, name):
    with pytest.raises(Rejected):
        provider.launch(replace(order, machine_type=name))

    assert not cloud.requests


def test_an_interruption_is_a_machine_that_is_gone_and_can_still_be_ended(provider, cloud, bid):
    provider.launch(bid)
    cloud.boot()
    assert provider.machines()

    cloud.outbid("gpuyard-lease-123")

    assert not provider.machines()
    assert cloud.instances
    provider.terminate(bid.key)
    assert not cloud.instances


def test_one_key_is_not_the_beginning_of_another(provider, cloud, order):
    provider.launch(order)

    provider.terminate("lease-12")

    assert len(cloud.instances) == 1


def test_terminating_what_goes_meanwhile_is_not_an_error(provider, cloud, order):
    provider.launch(order)
    cloud.trouble = [("DELETE", "instances", Reply({"success": False, "error": "no_such_instance"}, 404))]

    provider.terminate(order.key)


def test_an_end_without_success_is_asked_for_again(provider, cloud, order):
    provider.launch(order)
    cloud.trouble = [("DELETE", "instances", Reply({"success": False, "error": "busy"}))]

    with pytest.raises(Unreachable):
        provider.terminate(order.key)
    provider.terminate(order.key)

    assert not cloud.instances


@pytest.mark.parametrize("missing", ["misc", "instance_read", "instance_write"])
def test_a_missing_permission_is_named(provider, cloud, missing):
    cloud.permissions -= {missing}

    denied = [permission for permission in provider.check() if permission.granted is False]

    assert [permission.name for permission in denied] == [missing]
    assert denied[0].why
    assert not cloud.instances


def test_a_wrong_key_may_do_nothing(cloud):
    assert not [one for one in Vast(api_key="wrong", base_url=cloud.url).check() if one.granted is not False]


def test_it_keeps_no_history(provider):
    now = datetime.now(UTC)

    assert not list(provider.price_history(since=now, until=now))


def test_a_create_is_never_sent_twice(provider, cloud, order):
    cloud.trouble = [("PUT", "asks", Reply("gone", 502))] * http.TRIES

    with pytest.raises(Unreachable):
        provider.launch(order)

    assert len([request for request in cloud.requests if request.method == "PUT"]) == 1


def test_a_page_of_many_whose_last_price_is_missing_goes_on_from_its_dearest(provider, cloud):
    cloud.offers = [{**cloud.offers[0], "id": n, "ask_contract_id": n, "dph_base": n / 1000} for n in range(1000, 1100)]
    cloud.unpriced = {1063}

    names = {line.machine_type for line in provider.listings()}

    assert {f"ask-{n}" for n in range(1064, 1100)} <= names
