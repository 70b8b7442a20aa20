"""What the pages of a run, of a launch and of a host show beside the plain objects."""

from __future__ import annotations

import tarfile
from datetime import datetime, timedelta
from decimal import Decimal
from io import BytesIO

import pytest

from broker.api import examples
from offers import places
from offers.models import Offer, Rental
from tests.conftest import packed
from tests.workloads.test_rounds import close_round, sites  # noqa: F401 - `sites` is a fixture
from workloads.models import Lease, Placement, Workload

pytestmark = pytest.mark.django_db


@pytest.fixture
def shown(ada):
    return lambda: ada.ok("GET", f"/v1/workloads/{Workload.objects.get().pk}")


def test_each_machine_says_how_it_was_bought(sites, shown):  # noqa: F811
    Offer.objects.filter(region="home/paris").update(market="on_demand")

    bought = {site["site"]: [node["market"] for node in site["nodes"]] for site in shown()["sites"]}

    assert bought == {"home/berlin": ["spot"], "home/paris": ["on_demand"]}


class TestForecast:
    def test_is_unknown_before_anything_was_trained(self, sites, shown):  # noqa: F811
        assert shown()["forecast"] == {"finish_at": None, "cost_usd": None, "over_budget": False}

    def test_goes_on_at_the_speed_of_each_sites_newest_contribution(self, sites, shown, clock):  # noqa: F811
        leased = [site.lease()[1] for site in sites]
        sites[0].give(leased[0], train_s=10.0)
        sites[1].give(leased[1], train_s=20.0)
        close_round(clock)

        run = shown()

        assert run["samples"]["merged"] == 200
        left_s = 200 / (100 / 10 + 100 / 20)
        assert run["forecast"]["finish_at"][:19] == f"{clock.now + timedelta(seconds=left_s):%Y-%m-%dT%H:%M:%S}"
        rate = sum(Decimal(node["usd_per_hour"]) for site in run["sites"] for node in site["nodes"])
        cost = Decimal(run["spent_usd"]) + rate * Decimal(left_s) / 3600
        assert abs(Decimal(run["forecast"]["cost_usd"]) - cost) <= Decimal("0.000001")

    def test_says_when_it_will_cost_more_than_its_budget(self, sites, shown, clock):  # noqa: F811
        leased = [site.lease()[1] for site in sites]
        sites[0].give(leased[0], train_s=10_000_000.0)
        sites[1].give(leased[1], train_s=10_000_000.0)
        close_round(clock)

        assert shown()["forecast"]["over_budget"] is True

    def test_of_a_site_that_left_counts_no_more(self, sites, shown, clock):  # noqa: F811
        leased = [site.lease()[1] for site in sites]
        for site, ranges in zip(sites, leased, strict=True):
            site.give(ranges, train_s=10.0)
        close_round(clock)
        Placement.objects.filter(pk=sites[1].placement).update(state="closed")

        assert shown()["forecast"]["finish_at"][:19] == f"{clock.now + timedelta(seconds=20):%Y-%m-%dT%H:%M:%S}"

    def test_of_one_that_ended_is_what_it_cost(self, sites, shown, clock):  # noqa: F811
        Lease.objects.update(closed_at=clock.now)
        Workload.objects.update(state="cancelled", ended_at=clock.now, end_reason="asked")

        run = shown()

        assert run["forecast"] == {"finish_at": None, "cost_usd": run["spent_usd"], "over_budget": False}


class TestMap:
    def test_sites_of_quotes_and_runs_say_where_they_stand(self, ada, sites, shown):  # noqa: F811
        berlin = shown()["sites"][0]

        assert (berlin["site"], berlin["country"], berlin["latitude"], berlin["longitude"]) == (
            "home/berlin", "DE", 52.52, 13.41)  # fmt: skip
        quote = ada.ok("GET", f"/v1/quotes/{shown()['quote']}")
        assert {site["country"] for site in quote["sites"]} == {"DE", "FR"}

    def test_a_supplier_in_another_country_is_not_drawn_in_the_city_of_the_same_name(self):
        assert places.on_map("supplier", "home/berlin", "US").latitude is None
        assert places.on_map("supplier", "home/nowhere").country == ""
        assert places.on_map("aws", "eu-central-1") == places.find("aws", "eu-central-1")


class TestExamples:
    def test_can_be_packed_and_put_and_quoted(self, ada, make_host):
        make_host("one", "home/berlin")
        make_host("two", "home/paris")

        told = ada.ok("GET", "/v1/examples")["results"]

        assert "tiny_gpt" in {one["name"] for one in told}
        for one in told:
            raw = packed({file["path"]: file["text"] for file in one["files"]})
            with tarfile.open(fileobj=BytesIO(raw)) as archive:
                assert one["script"] in archive.getnames()
            assert one["title"]
            assert ada.call("POST", "/v1/quotes", one["need"]).status_code == 201

    def test_a_folder_is_one_program(self, tmp_path):
        (tmp_path / "lora").mkdir()
        (tmp_path / "lora" / "train.py").write_text('"""Tune a model.\n\nAll of it.\n"""\n')
        (tmp_path / "lora" / "requirements.txt").write_text("peft\n")
        (tmp_path / "lora" / "weights.bin").write_bytes(b"\xff")
        (tmp_path / "silent.py").write_text("pass\n")

        (one,) = examples.examples(tmp_path)

        assert (one["name"], one["title"], one["about"], one["script"]) == (
            "lora", "Tune a model", "All of it.", "train.py")  # fmt: skip
        assert one["requirements"] == "peft\n"
        assert [file["path"] for file in one["files"]] == ["requirements.txt", "train.py"]


def test_a_host_says_since_when_it_is_rented(owner, sites, make_host):  # noqa: F811
    free = make_host("free", "home/berlin").host

    rented, *_ = hosts = owner.ok("GET", "/v1/hosts")["results"]

    began_at = Rental.objects.get(host=rented["id"], ended_at=None).began_at
    assert datetime.fromisoformat(rented["rented_at"]) == began_at
    assert [host["rented_at"] for host in hosts if host["id"] == free] == [None]


class TestEarnings:
    def test_are_told_day_by_day_and_add_up_to_the_spans(self, owner, sites, clock):  # noqa: F811
        host = owner.ok("GET", "/v1/hosts")["results"][0]
        lease = Lease.objects.get(pk=host["lease"])
        Lease.objects.filter(pk=lease.pk).update(opened_at=clock.now, closed_at=clock.now + timedelta(hours=24))
        clock.forward(hours=30)

        rows = owner.ok("GET", f"/v1/hosts/{host['id']}/earnings?days=3")["results"]

        assert [(row["day"], row["seconds"]) for row in rows[:1]] == [("2026-11-21", 0.0)]
        assert sum(row["seconds"] for row in rows) == 24 * 3600
        assert [row["day"] for row in rows] == ["2026-11-21", "2026-11-22", "2026-11-23"]
        usd = sum(Decimal(row["usd"]) for row in rows)
        assert abs(usd - 24 * lease.cost_usd_per_hour) < Decimal("0.0001")

    def test_are_the_owners_alone_and_of_so_many_days(self, ada, owner, make_host):
        host = make_host("one", "home/berlin").host

        assert ada.refused("GET", f"/v1/hosts/{host}/earnings") == (404, "not_found")
        assert len(owner.ok("GET", f"/v1/hosts/{host}/earnings")["results"]) == 30
        for days in ("0", "x", "367"):
            assert owner.refused("GET", f"/v1/hosts/{host}/earnings?days={days}") == (422, "invalid")
