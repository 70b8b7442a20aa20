"""What failed is left alone for a while, longer each time, and by those whom it concerns."""

from __future__ import annotations

from datetime import timedelta

import pytest

from offers import refusals
from offers.models import Account, Offer, Refusal
from providers.base import NoCapacity, Reason, Rejected
from tests.conftest import NOON

pytestmark = pytest.mark.django_db


@pytest.fixture
def h100():
    return Offer.objects.create(
        provider="verda", region="fin-01", machine_type="8H100", market="spot", accelerator="H100-SXM", family="H100",
        accelerators=8, usd_per_hour=16, usd_per_gpu_hour=2, changed_at=NOON, digest=1,
    )  # fmt: skip


LINE = ("verda", "fin-01", "", "8H100", "spot")


def barred(seconds=0, **more):
    return refusals.barred(**({"owner_id": None, "now": NOON + timedelta(seconds=seconds)} | more))


class TestReason:
    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (NoCapacity(reason=Reason.SOLD_OUT), "sold_out"),
            (NoCapacity(reason=Reason.QUOTA), "quota"),
            (Rejected(reason=Reason.PRICE), "price"),
            (Rejected(reason=Reason.AUTH), "failed"),
            (NoCapacity(), "failed"),
        ],
    )
    def test_is_read_off_what_the_provider_says(self, error, reason):
        assert refusals.reason_of(error) == reason


class TestBarred:
    def test_leaves_what_is_sold_out_alone_for_two_minutes(self, h100):
        refusals.remember(offer=h100, reason="sold_out", why="no", now=NOON)

        assert barred(119) == {LINE: "sold out a moment ago"}
        assert barred(120) == {}

    def test_lasts_twice_as_long_each_time_up_to_a_day(self, h100):
        for _ in range(3):
            last = refusals.remember(offer=h100, reason="sold_out", why="no", now=NOON)

        assert (last.times, last.until) == (3, NOON + timedelta(minutes=8))
        assert Refusal.objects.count() == 1
        for _ in range(20):
            last = refusals.remember(offer=h100, reason="sold_out", why="no", now=NOON)
        assert last.until == NOON + timedelta(hours=24)

    def test_tries_what_merely_failed_again_after_half_a_minute_however_often(self, h100):
        for _ in range(5):
            last = refusals.remember(offer=h100, reason="failed", why="lost", now=NOON)

        assert (last.times, last.until) == (5, NOON + timedelta(seconds=30))

    def test_begins_anew_an_hour_after_the_last_one_ended(self, h100):
        refusals.remember(offer=h100, reason="sold_out", why="no", now=NOON)

        again = refusals.remember(offer=h100, reason="sold_out", why="no", now=NOON + timedelta(hours=2))

        assert again.times == 1

    def test_is_forgotten_when_a_machine_comes_up_but_for_the_quota(self, h100):
        refusals.remember(offer=h100, reason="sold_out", why="no", now=NOON)
        refusals.remember(offer=h100, reason="quota", why="no", now=NOON, machines=2)

        refusals.forget(offer=h100)

        assert barred(1, held=lambda line: 2) == {LINE: "over the account's quota"}

    def test_comes_last_for_ten_minutes_more(self, h100):
        refusals.remember(offer=h100, reason="failed", why="no", now=NOON)

        assert barred(31) == {}
        assert barred(31, cautious=True) == {LINE: "failed a moment ago"}
        assert barred(631, cautious=True) == {}


class TestQuota:
    def test_allows_one_more_once_fewer_are_held_than_when_it_was_met(self, h100):
        refusals.remember(offer=h100, reason="quota", why="no", now=NOON, machines=2)

        assert barred(1, held=lambda line: 2) == {LINE: "over the account's quota"}
        assert barred(1, held=lambda line: 1) == {}

    def test_is_the_affair_of_the_account_it_was_met_with(self, h100, ada, owner):
        Account.objects.create(owner=ada.team, provider="verda", sealed=b"x", created_at=NOON)
        refusals.remember(offer=h100, reason="quota", why="no", now=NOON, machines=0, owner_id=ada.team.pk)

        assert barred(1, owner_id=ada.team.pk) == {LINE: "over the account's quota"}
        assert barred(1, owner_id=owner.team.pk) == {}
        assert barred(1) == {}

    def test_of_the_brokers_account_does_not_concern_a_team_with_its_own(self, h100, ada, owner):
        Account.objects.create(owner=ada.team, provider="verda", sealed=b"x", created_at=NOON)
        refusals.remember(offer=h100, reason="quota", why="no", now=NOON, machines=0)

        assert barred(1, owner_id=ada.team.pk) == {}
        assert barred(1, owner_id=owner.team.pk) == {LINE: "over the account's quota"}

    def test_but_what_is_sold_out_is_so_for_everybody(self, h100, ada, owner):
        refusals.remember(offer=h100, reason="sold_out", why="no", now=NOON, owner_id=ada.team.pk)

        assert barred(1, owner_id=owner.team.pk) == {LINE: "sold out a moment ago"}
