"""Accounts at clouds: kept sealed, opened for whom they serve, and nobody hindered by another's."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection

from broker import env
from offers import accounts, operations, queries, sealing, tasks
from offers import clock as market_clock
from offers.matching.need import Need
from offers.models import Account, Offer, PriceSample, Source
from providers.base import Market, PricePoint, Reason, Rejected, Unreachable
from tests.conftest import NOON
from tests.offers.acme_cloud import LINE, SECRET, Acme, acme, credentials

__all__ = ["acme"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("acme")]
A, B, C = (Fernet.generate_key().decode() for _ in range(3))


@pytest.fixture
def bob(make_caller, clock):
    return make_caller("bob")


def add(who, owner=None, **more):
    return accounts.add(
        owner_id=owner and owner.team.pk, provider="acme", credentials=credentials(who) | more, now=NOON
    )


def used(owner=None):
    return accounts.open_account("acme", owner and owner.team.pk).access_key_id.removeprefix("AKIA0000")


def poll(minutes=0.0):
    now = NOON + timedelta(minutes=minutes)
    market_clock.claim("acme", now=now)
    return market_clock.read("acme", now=now)


class TestSealing:
    def test_what_lies_in_the_database_holds_no_secret_and_no_name_of_one(self, ada, caplog):
        caplog.set_level(logging.DEBUG)
        account = add("ada", ada)

        with connection.cursor() as cursor:
            cursor.execute("SELECT a::text, sealed FROM offers_account a")
            ((text, sealed),) = cursor.fetchall()
        for kept in (text, bytes(sealed).decode(), repr(account), repr(vars(account))):
            assert SECRET.format("ada") not in kept
            assert "secret_key" not in kept
        assert SECRET.format("ada") not in caplog.text
        assert used(ada) == "ada"

    def test_two_teams_with_the_same_credentials_are_sealed_differently(self):
        assert sealing.seal({"a": "b"}) != sealing.seal({"a": "b"})

    def test_every_key_opens_and_after_a_rotation_the_first_alone_does(self, settings, ada):
        settings.CREDENTIAL_KEYS = [A]
        add("ada", ada)
        settings.CREDENTIAL_KEYS = [B, A]
        add("broker")
        assert (used(ada), used()) == ("ada", "broker")

        said = StringIO()
        call_command("rotate_credential_keys", stdout=said)

        assert "2 accounts" in said.getvalue()
        settings.CREDENTIAL_KEYS = [B]
        assert (used(ada), used()) == ("ada", "broker")

    def test_what_was_sealed_before_there_were_keys_can_be_moved_to_the_first_one(self, settings, ada):
        add("ada", ada)
        settings.CREDENTIAL_KEYS = [A]
        assert used(ada) == "ada"

        assert accounts.rotate() == (1, [])

        settings.SECRET_KEY = "another"
        assert used(ada) == "ada"

    def test_a_secret_key_that_changed_opens_nothing(self, settings, ada):
        add("ada", ada)
        settings.SECRET_KEY = "another"

        with pytest.raises(sealing.CredentialsSealedWithAnotherKey, match="GPUYARD_CREDENTIAL_KEYS"):
            used(ada)

    def test_one_account_that_no_key_opens_hinders_no_other(self, settings, ada, bob):
        settings.CREDENTIAL_KEYS = [C]
        add("ada", ada)
        settings.CREDENTIAL_KEYS = [A]
        add("bob", bob)

        with pytest.raises(sealing.CredentialsSealedWithAnotherKey, match=f"acme, team {ada.team.pk}"):
            used(ada)
        assert used(bob) == "bob"
        assert poll().lines == 1
        assert accounts.rotate() == (1, [f"acme, team {ada.team.pk}"])
        with pytest.raises(CommandError, match=f"team {ada.team.pk}"):
            call_command("rotate_credential_keys", stdout=StringIO())

    def test_keys_are_read_from_the_environment_and_a_wrong_one_is_not_shown(self, monkeypatch):
        monkeypatch.setenv("KEYS", f"{A}, {B}")
        assert env.fernet_keys("KEYS") == [A, B]

        monkeypatch.setenv("KEYS", f"{A},{B[:-5]}")
        with pytest.raises(env.SettingWrong, match="key 2") as wrong:
            env.fernet_keys("KEYS")

        assert B[:-5] not in str(wrong.value)


class TestTakingIn:
    @pytest.mark.parametrize(
        ("change", "names"),
        [
            ({"password": "x"}, "'password'"),
            ({"secret_key": ""}, "secret_key"),
            ({"secret_key": "  \n"}, "secret_key"),
            ({"secret_key": None}, "secret_key"),
            ({"secret_key": ["x"]}, "secret_key"),
            ({"secret_key": "x" * (64 << 10) + "y"}, "secret_key is longer than 64 KiB"),
            ({"secret_key": "half \ud800 of a pair"}, "secret_key"),
            ({"access_key_id": "AKIA-1"}, "does not go with"),
        ],
    )
    def test_what_cannot_be_credentials_is_refused_by_name_and_changes_nothing(self, change, names):
        add("old")

        with pytest.raises(accounts.CredentialsInvalid, match=names) as refusal:
            add("new", **change)

        assert SECRET.format("new") not in str(refusal.value)
        assert used() == "old"

    def test_a_required_one_that_is_missing_is_named(self):
        with pytest.raises(accounts.CredentialsInvalid, match="secret_key: missing; acme takes access_key_id"):
            accounts.add(owner_id=None, provider="acme", credentials={"access_key_id": "AKIA00001"}, now=NOON)

    def test_a_provider_that_does_not_exist_is_named_with_those_that_do(self):
        with pytest.raises(accounts.ProviderUnknown, match="'acne'; known: acme, aws"):
            accounts.add(owner_id=None, provider="acne", credentials={}, now=NOON)

    def test_a_new_one_takes_the_place_of_the_old_one_unchecked(self, ada):
        add("ada", ada)
        Acme.denied.add("AKIA0000ada")
        accounts.check(owner_id=ada.team.pk, provider="acme", now=NOON)

        add("eda", ada)

        account = Account.objects.get()
        assert (used(ada), account.hint, account.checked_at, account.denied) == ("eda", "0eda", None, [])

    def test_a_line_break_at_the_end_of_a_file_is_not_part_of_the_key(self):
        assert add("x", secret_key="0123456789\n")

        assert accounts.open_account("acme").secret_key == "0123456789"

    def test_the_hint_is_the_end_of_an_id_and_never_of_a_secret(self):
        assert accounts._hint({"secret_key": "0123456789", "region": "north-of-here"}) == ""
        assert accounts._hint({"client_id": "short"}) == ""
        assert accounts._hint(credentials("ada")) == "0ada"


class TestWhose:
    def test_a_teams_own_goes_before_the_brokers_and_that_before_the_settings(self, settings, ada, bob):
        settings.PROVIDERS = {"acme": credentials("settings")}
        assert used(ada) == used() == "settings"

        add("broker")
        assert used(ada) == used() == "broker"
        add("ada", ada)

        assert (used(ada), used(bob), used()) == ("ada", "broker", "broker")
        assert accounts.holder("acme", ada.team.pk) == ada.team.pk
        assert accounts.holder("acme", bob.team.pk) is None
        assert accounts.all_accounts() == [("acme", None), ("acme", ada.team.pk)]

    def test_who_has_none_gets_none_of_another_teams(self, ada, bob):
        add("bob", bob)

        for owner in (ada, None):
            with pytest.raises(accounts.AccountMissing):
                used(owner)

    def test_what_is_offered_is_leasable_for_those_who_can_rent_it(self, ada, bob):
        add("ada", ada)
        poll()
        need = Need(accelerator="H100-SXM")

        (quote, *_), _ = operations.quote(owner_id=ada.team.pk, need=need, measured={}, now=NOON)
        with pytest.raises(operations.NeedUnmet):
            operations.quote(owner_id=bob.team.pk, need=need, measured={}, now=NOON)

        assert quote.owner_id == ada.team.pk
        assert Offer.objects.get().leasable
        assert queries.open_offers(now=NOON, owner_id=bob.team.pk, leasable_only=True) == []
        add("broker")
        assert operations.quote(owner_id=bob.team.pk, need=need, measured={}, now=NOON)

    def test_suppliers_hosts_are_leasable_for_all(self, ada, make_host):
        make_host("one", "home/berlin")

        for only in (True, False):
            (offer,) = queries.open_offers(now=NOON, owner_id=ada.team.pk, leasable_only=only)
            assert offer.leasable


class TestChecking:
    def test_what_is_denied_is_kept_and_the_secret_struck_out(self, ada):
        add("ada", ada)
        Acme.denied.add("AKIA0000ada")

        found = accounts.check(owner_id=ada.team.pk, provider="acme", now=NOON)

        assert [(one.name, one.granted) for one in found] == [
            ("acme:List", True), ("acme:Rent", False), ("acme:End", None),
        ]  # fmt: skip
        account = Account.objects.get()
        assert (account.checked_at, account.denied) == (NOON, [{"name": "acme:Rent", "why": "not for ***"}])

    def test_credentials_that_are_refused_altogether_are_a_permission_that_is_denied(self, ada):
        add("ada", ada)
        Acme.broken["AKIA0000ada"] = Rejected("no", reason=Reason.AUTH)

        (only,) = accounts.check(owner_id=ada.team.pk, provider="acme", now=NOON)

        assert (only.granted, only.why) == (False, "no: AKIA0000ada with ***")

    def test_a_cloud_that_does_not_answer_has_denied_nothing(self, ada):
        add("ada", ada)
        Acme.broken["AKIA0000ada"] = Unreachable("away")

        with pytest.raises(Unreachable) as error:
            accounts.check(owner_id=ada.team.pk, provider="acme", now=NOON)

        assert str(error.value) == "away: AKIA0000ada with ***"
        assert Account.objects.get().checked_at is None

    def test_the_account_in_the_settings_can_be_checked_too(self, settings):
        settings.PROVIDERS = {"acme": credentials("settings")}

        assert len(accounts.check(owner_id=None, provider="acme", now=NOON)) == 3


class TestPolling:
    def test_a_provider_is_read_once_with_the_brokers_account(self, ada, bob):
        for who, owner in (("ada", ada), ("broker", None), ("bob", bob)):
            add(who, owner)

        assert market_clock.claim_due(now=NOON) == ["acme"]
        assert poll().lines == 1

        assert Acme.read_by == ["AKIA0000broker"]

    def test_without_one_with_the_teams_that_was_checked_last(self, ada, bob, make_caller):
        for who, owner in (("eve", make_caller("eve")), ("ada", ada), ("bob", bob)):
            add(who, owner)
        accounts.check(owner_id=ada.team.pk, provider="acme", now=NOON)
        accounts.check(owner_id=bob.team.pk, provider="acme", now=NOON + timedelta(minutes=1))

        poll()

        assert Acme.read_by == ["AKIA0000bob"]

    @pytest.mark.parametrize("error", [Rejected("no", reason=Reason.AUTH), Unreachable("away")])
    def test_an_account_that_fails_stops_nobody_while_another_works(self, settings, ada, error):
        settings.PROVIDERS = {"acme": {"access_key_id": "A", "unknown": "B"}}
        add("broker")
        add("ada", ada)
        Acme.broken["AKIA0000broker"] = error

        assert poll().lines == 1

        assert Acme.read_by == ["AKIA0000ada"]
        assert Source.objects.get(pk="acme").error == ""

    def test_why_a_teams_account_fails_is_not_told_to_all(self, ada, caplog):
        add("ada", ada)
        Acme.broken["AKIA0000ada"] = Rejected("no", reason=Reason.AUTH)

        assert poll() is None

        assert Source.objects.get(pk="acme").error == "acme: with a team's account: auth"
        assert "AKIA0000ada with ***" in caplog.text, "the operator may know"
        assert SECRET.format("ada") not in caplog.text

    def test_published_prices_are_fetched_with_an_account_that_works(self, ada, monkeypatch, clock):
        monkeypatch.setattr(Acme, "price_history", lambda self, since, until: self._sign_in() or [past])
        past = PricePoint(provider="acme", region=LINE.region, machine_type=LINE.machine_type, market=Market.ON_DEMAND,
                          usd_per_hour=Decimal(12), at=NOON - timedelta(days=1))  # fmt: skip
        assert queries.history_keepers() == []
        add("broker")
        add("ada", ada)
        poll()
        Acme.broken["AKIA0000broker"] = Rejected("no", reason=Reason.AUTH)

        assert queries.history_keepers() == ["acme"]
        tasks.import_published("acme", 2)

        assert PriceSample.objects.filter(usd_per_hour=12).count() == 1


class TestRemoving:
    def test_with_the_last_account_the_offers_cannot_be_leased_until_there_is_another(self, ada):
        add("broker")
        add("ada", ada)
        poll()
        before = Offer.objects.get()
        accounts.remove(owner_id=None, provider="acme", now=NOON)
        assert Offer.objects.get().leasable, "a team has one still"

        accounts.remove(owner_id=ada.team.pk, provider="acme", now=NOON)

        after = Offer.objects.get()
        assert not after.leasable
        assert after.digest != before.digest
        assert market_clock.claim_due(now=NOON + timedelta(hours=1)) == []
        add("ada", ada)
        assert poll(5).changed == 1
        back = Offer.objects.get()
        assert (back.leasable, back.digest, back.pk) == (True, before.digest, before.pk)
        assert poll(10).changed == 0

    def test_what_is_not_there_cannot_be_removed(self, ada):
        add("broker")

        with pytest.raises(accounts.AccountMissing):
            accounts.remove(owner_id=ada.team.pk, provider="acme", now=NOON)

    def test_a_new_account_is_tried_at_once_after_failures(self, ada):
        add("ada", ada)
        Acme.broken["AKIA0000ada"] = Rejected("no", reason=Reason.AUTH)
        poll()
        assert market_clock.claim_due(now=NOON + timedelta(seconds=5)) == []

        add("eda", ada)

        assert market_clock.claim_due(now=NOON + timedelta(seconds=5)) == ["acme"]


@pytest.mark.django_db(transaction=True)
def test_a_removal_is_a_change_for_those_who_follow_the_book(ada):
    add("ada", ada)
    poll()
    before = Offer.objects.get().version

    accounts.remove(owner_id=ada.team.pk, provider="acme", now=NOON)

    assert Offer.objects.get().version > before
    assert json.dumps(accounts.all_accounts()) == "[]"
