"""Reserved capacity over the API: told, listed with its use, taken back, and nobody else's affair."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from offers.models import Offer, Reservation
from offers.poll import record
from offers.reservations import in_use
from providers.base import Market
from tests.conftest import NOON
from tests.offers.acme_cloud import LINE, acme, credentials
from tests.offers.test_accounts import poll
from workloads.models import Workload
from workloads.operations import place_assigned

__all__ = ["acme"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("acme")]
PATH = "/v1/reservations"
LATER = "2027-06-30T00:00:00Z"


@pytest.fixture
def bob(make_caller, clock):
    return make_caller("bob")


@pytest.fixture
def offer(ada):
    """An open offer at a cloud where ada has an account."""
    ada.ok("PUT", "/v1/providers/acme", {"credentials": credentials("ada")})
    poll()
    return Offer.objects.get()


def add(who, offer, machines=1, until=LATER):
    return who.ok("POST", PATH, {"offer": offer.pk, "machines": machines, "until": until})


def listed(who):
    return who.ok("GET", PATH)["results"]


def message(who, body):
    answer = who.call("POST", PATH, body)
    assert answer.status_code == 422, answer.content
    error = answer.json()["error"]
    return error["code"], error["message"], error["hint"]


class TestAdding:
    def test_what_is_reserved_is_listed_as_it_was_told(self, ada, offer):
        made = add(ada, offer, machines=3)

        assert listed(ada) == [made]
        assert made == {
            "id": Reservation.objects.get().pk, "offer": offer.pk, "site": "acme/reykjavik", "provider": "acme",
            "region": "reykjavik", "instance_type": "h100x8", "accelerator": offer.accelerator, "accelerators": 8,
            "usd_per_hour": "16.000000", "machines": 3, "in_use": 0, "until": LATER,
        }  # fmt: skip

    def test_an_instant_of_another_zone_is_the_same_instant(self, ada, offer):
        assert add(ada, offer, until="2027-06-30T02:00:00+02:00")["until"] == LATER

    @pytest.mark.parametrize(
        "wrong",
        [
            {"offer": None}, {"offer": 0}, {"offer": "h100"}, {"offer": 2**63}, {"machines": 0}, {"machines": -1},
            {"machines": 1.5}, {"machines": 10**9}, {"machines": None}, {"until": None}, {"until": "soon"},
            {"until": NOON.isoformat()}, {"until": "2020-01-01T00:00:00Z"},
        ],
    )  # fmt: skip
    def test_a_field_that_cannot_be_meant_is_refused_by_name(self, ada, offer, wrong):
        code, said, hint = message(ada, {"offer": offer.pk, "machines": 1, "until": LATER} | wrong)

        assert code == "invalid"
        assert said.startswith(f"{next(iter(wrong))}: ")
        assert hint
        assert not Reservation.objects.exists()

    def test_an_offer_that_is_gone_or_never_was_is_refused(self, ada, offer):
        Offer.objects.update(gone_at=NOON)

        for pk in (offer.pk, offer.pk + 999):
            code, said, hint = message(ada, {"offer": pk, "machines": 1, "until": LATER})
            assert (code, said) == ("invalid", f"offer: no open offer has the id {pk}")
            assert "yard offers" in hint

    @pytest.mark.parametrize("market", [Market.SPOT, Market.RESERVED])
    def test_what_no_reservation_covers_when_it_is_launched_is_refused(self, ada, offer, market):
        record([replace(LINE, market=market)], provider="acme", now=NOON, leasable=True)
        other = Offer.objects.get(market=market)

        code, said, _ = message(ada, {"offer": other.pk, "machines": 1, "until": LATER})

        assert (code, market in said) == ("invalid", True)

    def test_the_team_must_have_an_account_of_its_own_there(self, ada, bob, offer):
        ada.ok("PUT", "/v1/providers/acme?broker=true", {"credentials": credentials("broker")})

        code, said, hint = message(bob, {"offer": offer.pk, "machines": 1, "until": LATER})

        assert code == "own_account_needed"
        assert "none at acme" in said
        assert "yard providers add acme" in hint

    def test_where_nobody_can_have_an_account_none_is_asked_for(self, ada):
        record([replace(LINE, provider="vultr")], provider="vultr", now=NOON)

        code, _, hint = message(ada, {"offer": Offer.objects.get().pk, "machines": 1, "until": LATER})

        assert code == "own_account_needed"
        assert hint == "`yard providers list` names the clouds at which you can have an account"


class TestUse:
    def hold(self, ada, order_run, offer, *, sell="0"):
        run = Workload.objects.get(pk=order_run(sites=1, accelerator=offer.accelerator, budget="50", by=ada))
        run.assigned = {"sites": [{"lines": [[offer.pk, 1, "0", sell]]}]}
        place_assigned(workload=run, now=NOON)

    def test_machines_at_no_price_are_in_use_and_others_are_not(self, ada, offer, order_run):
        add(ada, offer, machines=2)
        self.hold(ada, order_run, offer)
        self.hold(ada, order_run, offer, sell="17.6")

        assert [one["in_use"] for one in listed(ada)] == [1]

    def test_the_first_reservation_of_an_offer_is_filled_first(self):
        rows = [(1, 5, 2), (2, 5, 3), (3, 6, 1)]
        all_three = [Reservation(pk=pk, offer_id=offer, machines=machines) for pk, offer, machines in rows]

        assert in_use(all_three, {5: 3}) == {1: 2, 2: 1, 3: 0}

    def test_what_is_over_is_not_listed(self, ada, offer, clock):
        add(ada, offer, until=(NOON + timedelta(hours=1)).isoformat())
        add(ada, offer, machines=2)

        clock.forward(hours=1)

        assert [one["machines"] for one in listed(ada)] == [2]


class TestRemoving:
    def test_what_is_removed_is_shown_once_more_and_is_gone(self, ada, offer):
        made = add(ada, offer)

        assert ada.ok("DELETE", f"{PATH}/{made['id']}") == made

        assert listed(ada) == []
        assert ada.refused("DELETE", f"{PATH}/{made['id']}") == (404, "not_found")


class TestWhose:
    def test_a_reservation_is_its_teams_own(self, ada, bob, offer):
        made = add(ada, offer)

        assert listed(bob) == []
        assert bob.refused("DELETE", f"{PATH}/{made['id']}") == (404, "not_found")
        assert listed(ada) == [made]

    def test_a_key_that_may_only_read_lists_and_changes_nothing(self, ada, offer, make_caller):
        made = add(ada, offer)
        reader = make_caller("ada", scopes=("read",))

        assert listed(reader) == [made]
        body = {"offer": offer.pk, "machines": 1, "until": LATER}
        assert reader.refused("POST", PATH, body) == (403, "scope_missing")
        assert reader.refused("DELETE", f"{PATH}/{made['id']}") == (403, "scope_missing")
