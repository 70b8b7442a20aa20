"""The Verda adapter against a cloud on loopback."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from providers.base import LaunchOrder, MachineState, Market, NoCapacity, Reason, Rejected, Stock, Unreachable
from providers.verda import Verda
from tests.providers.cloud import LOSE_THE_ANSWER, Reply
from tests.providers.contract import ProviderContract, _no_waiting  # noqa: F401  a fixture
from tests.providers.verda_cloud import CLIENT_ID, CLIENT_SECRET, VerdaCloud, kind

H100 = "1H100.80S.30V"
TROUBLES = {
    "sold_out": Reply({"code": "service_unavailable", "message": "No capacity for this instance type"}, 503),
    "quota": Reply({"code": "forbidden_action", "message": "The limit of your account is 8 GPUs"}, 403),
    "bad_request": Reply({"code": "invalid_request", "message": f"hostname; secret {CLIENT_SECRET}"}, 400),
    "auth": Reply({"code": "forbidden_action", "message": "This client may not do that"}, 403),
    "money": Reply({"code": "insufficient_funds", "message": "Not enough funds to perform the action"}, 402),
    "rate_limit": Reply("Too many requests", 429),
    "outage": Reply({"code": "server_error", "message": "Something went wrong"}, 500),
    "lost_answer": LOSE_THE_ANSWER,
}


@pytest.fixture
def cloud():
    with VerdaCloud() as cloud:
        yield cloud


@pytest.fixture
def provider(cloud):
    return Verda(client_id=CLIENT_ID, client_secret=CLIENT_SECRET, base_url=cloud.url)


@pytest.fixture
def order():
    return LaunchOrder(
        key="lease-123",
        region="FIN-03",
        machine_type=H100,
        market=Market.ON_DEMAND,
        max_usd_per_hour=Decimal(5),
        startup_script="#!/bin/bash\necho hello\n",
    )


@pytest.fixture
def spot(order):
    return replace(order, market=Market.SPOT)


class TestVerda(ProviderContract):
    list_path, list_name, list_id = r"^/instances$", "", "id"

    @pytest.fixture
    def cloud(self, cloud):
        return cloud

    @pytest.fixture
    def provider(self, provider):
        return provider

    @pytest.fixture
    def order(self, order):
        return order

    def give_past(self, cloud):
        day = (datetime.now(UTC) - timedelta(days=9)).date().isoformat()
        cloud.history = {H100: [{"date": day, "fixed_price_per_hour": "2.5", "currency": "usd"}]}

    def make_trouble(self, cloud, trouble):
        cloud.trouble.append(("POST", r"^/instances$", TROUBLES[trouble]))

    def settle(self, cloud):
        cloud.boot()

    def add_foreign_machine(self, cloud):
        cloud.make({"instance_type": H100, "image": "ubuntu-24.04", "hostname": "theirs", "description": "gpuyard-x"})

    def secrets(self):
        return (CLIENT_SECRET, "token-")


def lines_of(provider):
    return {(line.machine_type, line.region, line.market): line for line in provider.listings()}


def test_the_price_holds_the_disk(provider):
    lines = lines_of(provider)

    # 100 GiB at 0.2 USD a month, of 730 hours: 0.027397 an hour.
    assert lines[H100, "FIN-03", Market.ON_DEMAND].usd_per_hour == Decimal("3.977397")
    assert lines[H100, "FIN-03", Market.SPOT].usd_per_hour == Decimal("1.727397")


def test_a_line_tells_what_the_machine_is(provider):
    line = lines_of(provider)["8H100.80S.240V", "ICE-01", Market.ON_DEMAND]

    assert (line.country, line.accelerator_label, line.accelerator_count) == ("IS", "H100 SXM5 80GB", 8)
    assert (line.memory_gib, line.vcpus, line.ram_gib, line.interconnect) == (80.0, 240.0, 960.0, "nvlink")


def test_a_type_is_listed_everywhere_and_says_where_it_is_free(provider):
    lines = lines_of(provider)

    assert lines[H100, "FIN-03", Market.SPOT].stock is Stock.UNKNOWN
    assert lines[H100, "FIN-03", Market.SPOT].available is None
    assert lines[H100, "ICE-01", Market.ON_DEMAND].stock is Stock.NONE
    assert lines["8H100.80S.240V", "ICE-01", Market.SPOT].available == 0


def test_machines_without_gpus_and_prices_without_spot_make_no_line(provider):
    lines = lines_of(provider)

    assert not [name for name, _, _ in lines if name.startswith("CPU")]
    assert ("1B300.30V", "FIN-03", Market.SPOT) not in lines
    assert not provider.skipped


def test_a_place_that_only_the_stock_names_is_listed(provider, cloud):
    cloud.free[False]["FIN-09"] = [H100]

    assert lines_of(provider)[H100, "FIN-09", Market.ON_DEMAND].stock is Stock.UNKNOWN


def test_euros_need_a_stated_rate(provider, cloud):
    cloud.kinds = [kind("1A", 1, "2.0", None, currency="eur"), kind("1B", 1, "2.0", None)]
    rated = Verda(client_id=CLIENT_ID, client_secret=CLIENT_SECRET, usd_per_eur="1.25", base_url=cloud.url)

    assert {name for name, _, _ in lines_of(provider)} == {"1B"}
    assert provider.skipped == {"ValueError: a price in eur, and no rate for it": 1}
    assert lines_of(rated)["1A", "FIN-03", Market.ON_DEMAND].usd_per_hour == Decimal("2.527397")


def test_without_a_price_of_the_disk_nothing_is_priced(provider, cloud):
    cloud.volume_price = {}

    assert not lines_of(provider)
    assert provider.skipped == {"ValueError: no price of the disk": 3}


def test_one_bad_row_hides_no_good_one(provider, cloud):
    cloud.kinds += [kind("1X", 1, "free", None), {"gpu": None}]

    assert len({name for name, _, _ in lines_of(provider)}) == 3
    assert sum(provider.skipped.values()) == 2


@pytest.mark.parametrize("path", ["/instances", "/instance-types"])
def test_an_empty_answer_is_not_an_empty_cloud(provider, cloud, path):
    cloud.trouble = [("GET", f"^{path}$", Reply(None))]

    with pytest.raises(Unreachable):
        list(provider.machines() if path == "/instances" else provider.listings())


def test_one_token_serves_many_requests(provider, cloud):
    list(provider.listings())
    list(provider.machines())

    assert len([request for request in cloud.requests if request.path == "/oauth2/token"]) == 1


def test_a_token_that_is_not_taken_any_more_is_renewed(provider, cloud, order):
    list(provider.machines())
    cloud.end_tokens()

    assert provider.launch(order).key == order.key


def test_a_token_that_is_about_to_end_is_renewed(provider, cloud):
    cloud.expires_in = 30

    list(provider.machines())
    list(provider.machines())

    assert len([request for request in cloud.requests if request.path == "/oauth2/token"]) == 2


def test_a_wrong_secret_is_said_so(cloud):
    wrong = Verda(client_id=CLIENT_ID, client_secret="wrong-secret-123456", base_url=cloud.url)

    with pytest.raises(Rejected) as caught:
        list(wrong.machines())

    assert caught.value.reason is Reason.AUTH
    assert "wrong-secret-123456" not in str(caught.value)


def test_the_machine_is_what_was_ordered(provider, cloud, order):
    provider.launch(replace(order, disk_gib=250))

    (row,) = cloud.instances.values()
    (script,) = cloud.scripts.values()
    assert (row["instance_type"], row["location"], row["hostname"]) == (H100, "FIN-03", "gpuyard-lease-123")
    assert (row["_os_volume"]["size"], row["is_spot"], row["contract"]) == (250, False, "PAY_AS_YOU_GO")
    assert row["ssh_key_ids"] == ["key-1", "key-2"]
    assert (script["script"], row["startup_script_id"]) == (order.startup_script, script["id"])


def test_spot_is_asked_for_as_spot(provider, cloud, spot):
    provider.launch(spot)

    (row,) = cloud.instances.values()
    assert (row["is_spot"], row["contract"]) == (True, "SPOT")
    assert row["_os_volume"]["on_spot_discontinue"] == "delete_permanently"


def test_spot_that_is_dearer_than_agreed_is_refused(provider, cloud, spot):
    with pytest.raises(Rejected) as caught:
        provider.launch(replace(spot, max_usd_per_hour=Decimal("1.7")))

    assert caught.value.reason is Reason.PRICE
    assert not cloud.scripts


def test_the_image_is_one_that_the_type_can_run(provider, cloud, order):
    provider.launch(replace(order, machine_type="1B300.30V", region="ICE-01", max_usd_per_hour=Decimal(7)))

    assert [row["image"] for row in cloud.instances.values()] == ["ubuntu-24.04-cuda-13.0-open-docker"]


def test_a_chosen_image_is_taken(cloud, order):
    chosen = Verda(client_id=CLIENT_ID, client_secret=CLIENT_SECRET, image="ubuntu-24.04", base_url=cloud.url)

    chosen.launch(order)

    assert [row["image"] for row in cloud.instances.values()] == ["ubuntu-24.04"]


def test_what_is_not_free_there_is_no_capacity_and_leaves_no_script(provider, cloud, order):
    with pytest.raises(NoCapacity) as caught:
        provider.launch(replace(order, region="ICE-01"))

    assert caught.value.reason is Reason.SOLD_OUT
    assert not cloud.scripts


@pytest.mark.parametrize("status", ["no_capacity", "error", "installation_failed"])
def test_a_machine_that_fails_at_once_is_ended(provider, cloud, order, status):
    cloud.fail_with = status

    with pytest.raises(NoCapacity):
        provider.launch(order)

    assert not cloud.instances
    assert not cloud.disks
    assert not cloud.scripts


def test_a_machine_that_has_failed_unheard_is_ended(provider, cloud, order):
    cloud.fail_with = "no_capacity"
    cloud.trouble = [("POST", "^/instances$", LOSE_THE_ANSWER)]
    with pytest.raises(Unreachable):
        provider.launch(order)

    with pytest.raises(NoCapacity):
        provider.launch(order)

    assert not cloud.instances


def test_a_machine_that_cannot_be_looked_at_yet_is_made_all_the_same(provider, cloud, order):
    cloud.trouble = [("GET", "^/instances/", Reply({"code": "not_found", "message": ""}, 404))]

    assert provider.launch(order).state is MachineState.BOOTING


def test_a_script_is_made_once(provider, cloud, order):
    cloud.trouble = [("POST", "^/scripts$", LOSE_THE_ANSWER)]
    with pytest.raises(Unreachable):
        provider.launch(order)

    provider.launch(order)

    assert len(cloud.scripts) == 1


def test_an_interruption_is_a_machine_that_is_gone_and_can_still_be_ended(provider, cloud, spot):
    provider.launch(spot)
    cloud.boot()
    assert provider.machines()

    cloud.take_away("gpuyard-lease-123")

    assert not provider.machines()
    assert not cloud.disks
    provider.terminate(spot.key)
    assert not cloud.instances


def test_the_end_takes_disks_and_script_along(provider, cloud, order):
    provider.launch(order)
    cloud.boot()

    provider.terminate(order.key)

    assert not cloud.instances
    assert not cloud.disks
    assert not cloud.scripts


def test_somebody_elses_script_is_left_alone(provider, cloud, order):
    cloud.scripts["script-x"] = {"id": "script-x", "name": "theirs", "script": order.startup_script}

    provider.launch(order)
    provider.terminate(order.key)

    assert list(cloud.scripts) == ["script-x"]


def test_an_end_that_fails_in_part_is_asked_for_again(provider, cloud, order):
    provider.launch(order)
    cloud.trouble = [("PUT", "^/instances$", Reply([{"action": "delete", "instanceId": "x", "status": "error"}], 207))]

    with pytest.raises(Unreachable):
        provider.terminate(order.key)


def test_the_history_has_the_changes_of_the_fixed_price(provider, cloud):
    def day(date, fixed):
        return {"date": date, "fixed_price_per_hour": fixed, "dynamic_price_per_hour": 1.0, "currency": "usd"}

    days = [day("2026-11-03", "3.95"), day("2026-11-01", 2.5), day("2026-11-02T00:00:00Z", "2.5"), {"date": "junk"}]
    cloud.history = {H100: [*days, day("2026-10-01", 9)], "1X": None}
    since, until = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)

    points = list(provider.price_history(since=since, until=until))

    assert [(point.at.day, point.usd_per_hour) for point in points if point.region == "FIN-03"] == [
        (1, Decimal("2.527397")),
        (3, Decimal("3.977397")),
    ]
    assert {(point.machine_type, point.region, point.market) for point in points} == {
        (H100, "FIN-03", Market.ON_DEMAND),
        (H100, "ICE-01", Market.ON_DEMAND),
    }
    assert len(points) == 4


def test_a_history_that_was_removed_is_no_error(provider, cloud):
    cloud.history = None
    now = datetime.now(UTC)

    assert not list(provider.price_history(since=now - timedelta(days=90), until=now))


@pytest.mark.parametrize("path", ["/instances", "/scripts", "/sshkeys"])
def test_a_missing_permission_is_named(provider, cloud, path):
    cloud.denied = {path}

    denied = [permission for permission in provider.check() if permission.granted is False]

    assert [permission.name for permission in denied] == [f"GET {path}"]
    assert denied[0].why


def test_what_only_doing_would_tell_is_said_so(provider, cloud):
    assert [permission.name for permission in provider.check() if permission.granted is None] == ["POST /instances"]
    assert not cloud.instances
