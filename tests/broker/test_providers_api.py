"""Accounts at clouds over the API: whose they are, what is told of them, and that no secret comes back."""

from __future__ import annotations

import json
import logging

import pytest

from offers import accounts
from offers.models import Account, Offer
from providers.base import Reason, Rejected, Unreachable
from tests.offers.acme_cloud import SECRET, Acme, acme, credentials
from tests.offers.test_accounts import poll

__all__ = ["acme"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("acme")]
PATH = "/v1/providers/acme"


@pytest.fixture
def bob(make_caller, clock):
    return make_caller("bob")


@pytest.fixture
def customer(make_caller, clock):
    """A team that may run, but not operate the broker."""
    return make_caller("customer", scopes=("read", "run"))


def body(who, **more):
    return {"credentials": credentials(who) | more}


def shown(caller, query=""):
    return next(one for one in caller.ok("GET", f"/v1/providers{query}")["results"] if one["name"] == "acme")


class TestTenancy:
    def test_nobody_sees_checks_uses_or_removes_anothers(self, ada, bob):
        bob.ok("PUT", PATH, body("bob"))

        assert shown(ada) == {
            "name": "acme",
            "credentials": {"access_key_id": True, "secret_key": True, "region": False},
            "connected": None, "hint": "", "checked_at": None, "denied": [], "source": None,
        }  # fmt: skip
        assert ada.refused("POST", f"{PATH}/check") == (404, "not_found")
        assert ada.refused("DELETE", PATH) == (404, "not_found")
        with pytest.raises(accounts.AccountMissing):
            accounts.open_account("acme", ada.team.pk)
        assert (shown(bob)["connected"], shown(bob)["hint"]) == ("own", "0bob")

    def test_each_has_one_of_its_own(self, ada, bob):
        ada.ok("PUT", PATH, body("ada"))
        bob.ok("PUT", PATH, body("bob"))
        ada.ok("DELETE", PATH)

        assert [account.owner_id for account in Account.objects.all()] == [bob.team.pk]

    def test_of_the_brokers_a_team_learns_only_that_it_is_there(self, ada, customer):
        Acme.denied.add("AKIA0000broker")
        ada.ok("PUT", f"{PATH}?broker=true", body("broker"))
        ada.ok("POST", f"{PATH}/check?broker=true")

        seen = shown(customer)

        assert (seen["connected"], seen["hint"], seen["checked_at"], seen["denied"]) == ("broker", "", None, [])
        operators = shown(ada, "?broker=true")
        assert (operators["connected"], operators["hint"]) == ("broker", "oker")
        assert operators["denied"] == [{"name": "acme:Rent", "why": "not for ***"}]

    @pytest.mark.parametrize(("method", "path"), [
        ("GET", "/v1/providers"), ("PUT", PATH), ("POST", f"{PATH}/check"), ("DELETE", PATH),
    ])  # fmt: skip
    def test_the_brokers_own_needs_the_scope_operate(self, customer, method, path):
        assert customer.refused(method, f"{path}?broker=true", body("x")) == (403, "scope_missing")
        assert not Account.objects.exists()

    def test_ones_own_needs_the_scope_run_and_a_list_only_read(self, make_caller, clock):
        reader = make_caller("reader", scopes=("read",))

        assert reader.refused("PUT", PATH, body("x")) == (403, "scope_missing")
        assert reader.refused("POST", f"{PATH}/check") == (403, "scope_missing")
        assert reader.refused("DELETE", PATH) == (403, "scope_missing")
        assert shown(reader)["connected"] is None

    def test_an_account_in_the_settings_is_the_brokers(self, customer, settings):
        settings.PROVIDERS = {"acme": credentials("settings")}

        assert shown(customer)["connected"] == "broker"


class TestSecrecy:
    def test_no_answer_and_no_log_record_holds_a_secret(self, ada, caplog):
        caplog.set_level(logging.DEBUG)
        Acme.denied.add("AKIA0000ada")
        said = [
            ada.call("PUT", PATH, body("ada")),
            ada.call("PUT", PATH, body("ada", surplus=SECRET.format("ada"))),
            ada.call("PUT", PATH, body("ada", access_key_id="AKIA-of-another-cloud")),
            ada.call("PUT", PATH, body("ada", access_key_id=[SECRET.format("ada")])),
            ada.call("PUT", f"{PATH}x", body("ada")),
            ada.call("POST", f"{PATH}/check"),
            ada.call("GET", "/v1/providers"),
        ]
        poll()
        Acme.broken["AKIA0000ada"] = Rejected("no", reason=Reason.AUTH)
        said += [ada.call("POST", f"{PATH}/check"), ada.call("GET", "/v1/providers")]
        Acme.broken["AKIA0000ada"] = Unreachable("away")
        said += [ada.call("POST", f"{PATH}/check")]
        poll(60)
        said += [ada.call("GET", "/v1/offers/sources"), ada.call("DELETE", PATH)]

        assert [one.status_code for one in said] == [200, 422, 422, 422, 404, 200, 200, 200, 200, 424, 200, 200]
        for one in said:
            assert SECRET.format("ada") not in one.content.decode()
        assert "away: AKIA0000ada with ***" in said[9].json()["error"]["message"]
        records = [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
        assert records
        assert not [record for record in records if SECRET.format("ada") in record]

    def test_what_was_sealed_with_another_key_is_told_to_be_handed_over_again(self, ada, settings):
        ada.ok("PUT", PATH, body("ada"))
        settings.SECRET_KEY = "another"

        assert ada.refused("POST", f"{PATH}/check") == (409, "credentials_sealed")
        assert shown(ada)["connected"] == "own"
        ada.ok("PUT", PATH, body("ada"))
        assert len(ada.ok("POST", f"{PATH}/check")["permissions"]) == 3


class TestRequests:
    @pytest.mark.parametrize("sent", [[], {}, {"credentials": None}, {"credentials": ["x"]}, {"credentials": "x"}])
    def test_a_body_without_credentials_is_refused(self, ada, sent):
        assert ada.refused("PUT", PATH, sent) == (422, "invalid")

    def test_a_missing_credential_is_named(self, ada):
        answer = ada.call("PUT", PATH, {"credentials": {"access_key_id": "AKIA00001"}})

        assert "secret_key: missing" in answer.json()["error"]["message"]

    @pytest.mark.parametrize("provider", ["acne", "vultr", "supplier"])
    def test_what_is_no_cloud_to_rent_at_is_not_found(self, ada, provider):
        for method, more in (("PUT", ""), ("POST", "/check"), ("DELETE", "")):
            assert ada.refused(method, f"/v1/providers/{provider}{more}", body("x")) == (404, "not_found")

    def test_a_switch_that_is_none_is_refused(self, ada):
        assert ada.refused("DELETE", f"{PATH}?broker=perhaps") == (422, "invalid")

    def test_every_real_cloud_is_listed_with_what_it_takes(self, ada):
        listed = {one["name"]: one["credentials"] for one in ada.ok("GET", "/v1/providers")["results"]}

        assert {"aws", "gcp", "azure", "lambda", "runpod", "vast"} <= set(listed)
        assert listed["aws"]["secret_access_key"] is True
        assert listed["aws"]["regions"] is False


def test_from_the_credentials_to_offers_that_can_be_rented_and_back(ada):
    ada.ok("PUT", PATH, body("ada", region="north"))
    poll()
    assert shown(ada)["source"]["lines"] == 1
    assert Offer.objects.get().leasable

    assert ada.ok("DELETE", PATH)["connected"] is None

    assert not Offer.objects.get().leasable
    assert json.dumps(shown(ada)).count("north") == 0
