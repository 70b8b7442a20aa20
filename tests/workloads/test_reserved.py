"""Machines that a team has paid for already: at no cost from the quote to the bill, and none is taken twice."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from hashlib import sha256

import pytest

from billing.models import LedgerEntry
from offers import accounts, boot
from offers.matching import need as needs
from offers.models import Offer
from tests.conftest import NOON, Agent, Site
from tests.offers.acme_cloud import LINE, Acme, acme, credentials
from tests.offers.test_accounts import poll
from workloads.models import Lease, Placement, Workload
from workloads.stalls import Gap, Stalls

__all__ = ["acme"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("acme")]
LIST, SOLD = Decimal(16), Decimal("17.6")  # Of one machine: what acme takes, and with the margin.
H100 = {"kind": "NVIDIA H100 80GB HBM3", "memory_gib": 79.6}


@pytest.fixture
def bob(make_caller, clock):
    return make_caller("bob")


@pytest.fixture
def launched(acme, monkeypatch):
    """The orders that reached the cloud."""
    seen = []
    launch = Acme.launch

    def watched(self, order):
        seen.append(order)
        return launch(self, order)

    monkeypatch.setattr(Acme, "launch", watched)
    return seen


@pytest.fixture
def reserve(ada):
    """Reserve machines of acme's only offer in an account of the caller's own."""

    def one(machines=1, by=ada):
        own_account(by)
        body = {"offer": Offer.objects.get(provider="acme").pk, "machines": machines, "until": "2027-06-30T00:00:00Z"}
        return by.ok("POST", "/v1/reservations", body)["id"]

    return one


@pytest.fixture
def order(order_run, ada):
    def one(by=ada, sites=1, **need):
        return order_run(sites=sites, budget="50", by=by, **{"accelerator": "H100-SXM", **need})

    return one


@pytest.fixture
def boot_up(client):
    """The agent of the machine of a lease: it enrols with what the startup script tells it."""

    def one(lease):
        secret = f"secret-of-{lease.key}" * 3
        hardware = {"vcpus": 96, "accelerators": [{**H100, "uuid": f"GPU-{lease.pk}-{n}"} for n in range(8)]}
        body = {"token": boot.token_of(lease.key), "key_sha256": sha256(secret.encode()).hexdigest(),
                "address": "10.1.0.7", "hardware": hardware}  # fmt: skip
        answer = client.post("/v1/agent/enrol", json.dumps(body), content_type="application/json")
        assert answer.status_code == 200, answer.content
        return Agent(client, answer.json()["host"], secret, "10.1.0.7", hardware)

    return one


@pytest.fixture
def lose(settle, clock):
    """The machines of runs vanish; time passes until that is noticed and no longer held against the offer."""

    def all_of(*runs):
        for lease in Lease.objects.filter(placement__workload__in=runs).exclude(state__in=Lease.DEAD):
            del Acme.rented_by[f"AKIA0000{lease.placement.workload.owner.name}"][lease.key]
        for seconds in (62, 62):
            clock.forward(seconds=seconds)
            settle(seconds=6)

    return all_of


def own_account(who):
    name = who.user.username
    accounts.add(owner_id=who.team.pk, provider="acme", credentials=credentials(name), now=NOON)
    if not Offer.objects.filter(provider="acme").exists():
        poll()


def quoted(who, **need):
    """Return the price of a machine of the best quote, and the quote."""
    body = {"accelerator": "H100-SXM", "sites": 1, "samples": 400, "samples_per_s": 1.0, **need}
    best = who.ok("POST", "/v1/quotes", body)["quotes"][0]
    return Decimal(best["sites"][0]["usd_per_hour"]), best


def prices(run):
    """Return (cost, sell) of a run's leases, oldest first."""
    mine = Lease.objects.filter(placement__workload=run).order_by("id")
    return list(mine.values_list("cost_usd_per_hour", "sell_usd_per_hour"))


FREE, FULL = (0, 0), (LIST, SOLD)


class TestAWholeRun:
    def test_costs_nothing_from_the_quote_to_the_bill(self, ada, reserve, order, settle, boot_up, launched, clock):
        reserve()
        usd_per_hour, best = quoted(ada)
        assert usd_per_hour == 0
        assert best["rank"] == 1

        run = order()
        settle(seconds=3)
        (lease,) = Lease.objects.all()
        agent = boot_up(lease)
        settle(agent, seconds=12)
        site = Site(agent.client, next(iter(agent.orders.values())), total=200, world=8)
        site.hello()
        for _ in range(2):
            site.give(site.lease()[1])
            settle(agent, seconds=2)
        assert ada.ok("GET", "/v1/reservations")["results"][0]["in_use"] == 1
        clock.forward(minutes=61)  # Whole hours are metered while it runs.
        agent.beat()
        site.report(20, clock.now, loss=1.0)
        site.save()
        agent.exit(0)
        settle(agent, seconds=1)
        settle(seconds=10)

        assert ada.ok("GET", f"/v1/workloads/{run}")["state"] == "succeeded"
        assert prices(run) == [FREE]
        assert [one.max_usd_per_hour for one in launched] == [LIST]
        bill = ada.ok("GET", f"/v1/workloads/{run}/bill")
        assert (bill["total_usd"], bill["billed_usd"], bill["final"]) == ("0.000000", "0.000000", True)
        assert Decimal(bill["leases"][0]["seconds"]) > 3600
        assert not LedgerEntry.objects.filter(workload=run).exists()
        assert ada.ok("GET", "/v1/me")["available_usd"] == "100.000000"
        assert ada.ok("GET", "/v1/reservations")["results"][0]["in_use"] == 0

    def test_leaves_the_next_at_the_list_price_until_it_ends(self, ada, reserve, order, settle):
        reserve()
        first = order()
        settle(seconds=3)

        assert quoted(ada)[0] == SOLD
        second = order()
        settle(seconds=3)
        assert [prices(first), prices(second)] == [[FREE], [FULL]]

        ada.ok("POST", f"/v1/workloads/{first}/stop")
        settle(seconds=10)
        assert quoted(ada)[0] == 0

    def test_of_a_site_that_is_reserved_in_part_pays_for_the_rest(self, ada, reserve, order, settle):
        reserve(machines=1)

        run = order(accelerators_per_site=16)
        settle(seconds=3)

        assert sorted(prices(run)) == [FREE, FULL]
        assert quoted(ada)[0] == SOLD

    def test_is_not_on_another_teams_reservation(self, ada, bob, reserve, order, settle):
        reserve(machines=3)
        own_account(bob)
        assert quoted(bob)[0] == SOLD

        runs = [order(by=bob), order(by=ada)]  # Both are looked at together.
        settle(seconds=3)

        assert [prices(run) for run in runs] == [[FULL], [FREE]]
        assert quoted(ada)[0] == 0

    def test_is_not_begun_on_the_brokers_account_when_the_teams_own_is_gone(
        self, ada, reserve, order, settle, launched
    ):
        accounts.add(owner_id=None, provider="acme", credentials=credentials("broker"), now=NOON)
        reserve()
        run = order()
        accounts.remove(owner_id=ada.team.pk, provider="acme", now=NOON)

        settle(seconds=3)

        assert launched == []
        lease = Lease.objects.filter(placement__workload=run).order_by("id").first()
        assert (lease.state, "own account at acme" in lease.why) == ("refused", True)


class TestAReplacement:
    def test_is_at_no_price_again_though_its_list_price_is_above_what_the_need_allows(
        self, reserve, order, settle, lose
    ):
        reserve()
        run = order(max_usd_per_hour="1")
        settle(seconds=5)

        lose(run)

        assert prices(run) == [FREE, FREE]

    def test_of_what_was_paid_for_takes_the_machine_that_was_reserved_meanwhile(
        self, ada, reserve, order, settle, lose
    ):
        own_account(ada)
        run = order()
        settle(seconds=5)
        reserve()

        lose(run)

        assert prices(run) == [FULL, FREE]

    def test_is_given_a_reserved_machine_once(self, ada, reserve, order, settle, lose):
        own_account(ada)
        runs = [order(), order()]
        settle(seconds=5)
        reserve()

        lose(*runs)

        assert sorted(prices(run)[1] for run in runs) == [FREE, FULL]

    def test_is_where_it_costs_nothing_before_it_is_at_a_place_of_its_own(
        self, ada, reserve, order, settle, make_host, monkeypatch
    ):
        monkeypatch.setattr("tests.offers.acme_cloud.LINE", replace(LINE, accelerator_count=1))
        chips = {"vcpus": 8, "accelerators": [{**H100, "uuid": "GPU-a"}]}
        hosts = [make_host(name, f"home/{name}", usd="0.5", hardware=chips) for name in ("berlin", "rome")]
        reserve(machines=2)
        run = order(sites=2, accelerators_per_site=1, max_sites=2)
        settle(*hosts, seconds=5)
        places = list(Lease.objects.filter(placement__workload=run).values_list("offer__provider", flat=True))
        assert sorted(places) == ["acme", "supplier"]

        left = Lease.objects.get(offer__provider="supplier").offer.region
        (stays,) = (host for host, name in zip(hosts, ("berlin", "rome"), strict=True) if left != f"home/{name}")
        settle(stays, seconds=40)

        newest = Lease.objects.filter(placement__workload=run).order_by("id").last()
        assert (newest.offer.provider, newest.sell_usd_per_hour) == ("acme", 0)

    def test_within_a_site_of_machines_that_are_paid_for_is_the_reserved_one(
        self, ada, reserve, order, settle, boot_up, clock
    ):
        own_account(ada)
        run = order(accelerators_per_site=16)
        settle(seconds=3)
        head, other = Lease.objects.order_by("id")
        agents = [boot_up(head), boot_up(other)]
        settle(*agents, seconds=12)
        reserve()

        del Acme.rented_by["AKIA0000ada"][other.key]
        for seconds in (62, 62):
            clock.forward(seconds=seconds)
            settle(agents[0], seconds=6)

        assert prices(run) == [FULL, FULL, FREE]
        assert Placement.objects.get().state == "training"

    def test_that_was_found_and_not_yet_placed_counts(self, reserve, order):
        reserve()
        first, second = (Workload.objects.get(pk=order()) for _ in range(2))
        offer = Offer.objects.get()
        Workload.objects.filter(pk=first.pk).update(assigned={"sites": [{"lines": [[offer.pk, 1, "0", "0"]]}]})

        stalls = Stalls([Gap(workload=second, need=needs.parse(second.quote.need), sites=1)], NOON)

        assert stalls.free[stalls.book.reserved].tolist() == [0]
        assert (stalls.free[~stalls.book.reserved] > 0).all()
