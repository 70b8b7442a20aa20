"""Leases at a cloud stand in the account of their workload's owner, and are looked for, ended and swept there."""

from __future__ import annotations

import pytest

from offers import accounts, sightings
from offers.models import Offer
from providers.base import LaunchOrder, Market
from tests.conftest import NOON
from tests.offers.acme_cloud import LINE, Acme, acme, credentials
from tests.offers.test_accounts import poll
from workloads.models import Lease
from workloads.orphans import end_orphans
from workloads.seeking import seek
from workloads.steps.workload import workload_machine

__all__ = ["acme"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("acme")]
PATH = "/v1/providers/acme"


@pytest.fixture
def bob(make_caller, clock):
    return make_caller("bob")


@pytest.fixture
def order(order_run):
    def one(by):
        return order_run(sites=1, accelerator=Offer.objects.get().accelerator, budget="50", by=by)

    return one


def add(who, owner=None):
    accounts.add(owner_id=owner and owner.team.pk, provider="acme", credentials=credentials(who), now=NOON)


def rented(who):
    return list(Acme.rented_by.get(f"AKIA0000{who}", {}))


def looked():
    """Return {owner: keys} of the newest looks at the cloud."""
    return {owner: list(look.machines) for (name, owner), look in sightings._looks.items() if name == "acme"}


def rent(who, key):
    order = LaunchOrder(key=key, region=LINE.region, machine_type=LINE.machine_type, market=Market.ON_DEMAND,
                        max_usd_per_hour=LINE.usd_per_hour)  # fmt: skip
    Acme(**credentials(who)).launch(order)


def test_each_is_launched_looked_after_and_ended_in_its_owners_account(ada, bob, order, settle):
    add("broker")
    add("ada", ada)
    poll()
    run = order(ada)
    order(bob)

    settle(seconds=8)

    of_ada, of_bob = Lease.objects.order_by("id")
    assert (rented("ada"), rented("broker")) == ([of_ada.key], [of_bob.key])
    assert {of_ada.state, of_bob.state} == {"booting"}, "each was found where it stands"
    assert looked() == {None: [of_bob.key], ada.team.pk: [of_ada.key]}
    ada.ok("POST", f"/v1/workloads/{run}/stop")
    settle(seconds=8)
    assert (rented("ada"), rented("broker")) == ([], [of_bob.key])
    of_ada.refresh_from_db()
    assert of_ada.state == "released"


def test_orphans_are_ended_in_every_account_and_what_lives_in_none(ada, bob, order, settle, clock):
    for who, owner in (("broker", None), ("ada", ada), ("bob", bob)):
        add(who, owner)
    poll()
    order(ada)
    settle(seconds=3)
    for who in ("broker", "ada", "bob"):
        rent(who, "lease-999999999")
    rent("bob", "of-another-broker")

    assert end_orphans(now=clock.now) == 3

    key = Lease.objects.get().key
    assert (rented("broker"), rented("ada"), rented("bob")) == ([], [key], ["of-another-broker"])
    end_orphans(now=clock.now)
    assert looked() == {None: [], ada.team.pk: [key], bob.team.pk: ["of-another-broker"]}


def test_an_account_that_cannot_be_opened_keeps_no_orphan_alive_in_another(ada, settings, clock):
    add("ada", ada)
    settings.SECRET_KEY = "another"
    add("broker")
    rent("broker", "lease-999999999")

    assert end_orphans(now=clock.now) == 1


def test_an_account_that_is_gone_by_the_launch_refuses_the_lease(ada, order, settle):
    add("ada", ada)
    poll()
    run = order(ada)
    seek(NOON)
    workload_machine.advance(run, NOON)
    accounts.remove(owner_id=ada.team.pk, provider="acme", now=NOON)

    settle(seconds=4)

    lease = Lease.objects.order_by("id").first()
    assert lease.state == "refused"
    assert "neither this team nor the broker has an account at acme" in lease.why


def test_an_account_does_not_change_hands_while_machines_stand_in_it(ada, bob, order, settle):
    ada.ok("PUT", f"{PATH}?broker=true", {"credentials": credentials("broker")})
    ada.ok("PUT", PATH, {"credentials": credentials("ada")})
    poll()
    runs = {caller: order(caller) for caller in (ada, bob)}
    settle(seconds=3)

    assert ada.refused("DELETE", PATH) == (409, "account_in_use")
    assert ada.refused("DELETE", f"{PATH}?broker=true") == (409, "account_in_use")
    assert bob.refused("PUT", PATH, {"credentials": credentials("bob")}) == (409, "account_in_use")
    ada.ok("PUT", PATH, {"credentials": credentials("ada")})  # A new key of the same account.

    for caller, run in runs.items():
        caller.ok("POST", f"/v1/workloads/{run}/stop")
    settle(seconds=8)
    bob.ok("PUT", PATH, {"credentials": credentials("bob")})
    ada.ok("DELETE", PATH)
    ada.ok("DELETE", f"{PATH}?broker=true")
