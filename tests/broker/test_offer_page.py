"""What the offer page needs beside the offers: small charts, what can be filtered by, how many there are."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from offers import poll
from offers.models import Offer
from providers.base import Market
from tests.conftest import NOON
from tests.providers.test_fake import LISTING

pytestmark = pytest.mark.django_db
SLEEP = {"slept": "SELECT pg_sleep(0.2)::text"}
SPOT = replace(LISTING, market=Market.SPOT, usd_per_hour=Decimal(8))


@pytest.fixture(autouse=True)
def _book(db):
    poll.record([LISTING, SPOT], provider="fake", now=NOON, complete=True)


def spot():
    return Offer.objects.get(market="spot").pk


class TestSparks:
    def test_tell_what_was_in_force_at_each_instant(self, ada, clock):
        poll.record([replace(SPOT, usd_per_hour=Decimal(4))], provider="fake", now=NOON + timedelta(hours=22))
        clock.forward(hours=23)

        told = ada.ok("GET", f"/v1/offers/sparks?offers={spot()}&days={23 / 24}")

        (line,) = told["results"]
        assert (len(told["at"]), told["at"][0][:19], told["at"][-1][:19]) == (
            24, "2026-11-22T12:00:00", "2026-11-23T11:00:00")  # fmt: skip
        assert line == {"offer": spot(), "usd_per_gpu_hour": ["1.000000"] * 22 + ["0.500000"] * 2}

    def test_are_empty_before_an_offer_came_and_after_it_went(self, ada, clock):
        poll.record([LISTING], provider="fake", now=NOON + timedelta(hours=22), complete=True)
        clock.forward(hours=23)

        (line,) = ada.ok("GET", f"/v1/offers/sparks?offers={spot()}&days={46 / 24}")["results"]

        assert line["usd_per_gpu_hour"] == [None] * 12 + ["1.000000"] * 11 + [None]

    def test_leave_out_what_nobody_knows(self, ada):
        told = ada.ok("GET", f"/v1/offers/sparks?offers={spot()},{2**63 - 1}")

        assert [line["offer"] for line in told["results"]] == [spot()]

    @pytest.mark.parametrize(
        "query",
        ["", "offers=", "offers=x", f"offers={2**63}", "offers=-1", "offers=1&days=0", "offers=" + "1," * 201],
    )
    def test_a_question_that_means_nothing_is_refused(self, ada, query):
        assert ada.refused("GET", f"/v1/offers/sparks?{query}") == (422, "invalid")


class TestFacets:
    def test_count_the_values_of_each_filter(self, ada):
        poll.record([replace(LISTING, provider="other")], provider="other", now=NOON, complete=True)

        told = ada.ok("GET", "/v1/offers/facets")

        assert told["provider"] == [{"value": "fake", "offers": 2}, {"value": "other", "offers": 1}]
        assert told["market"] == [{"value": "on_demand", "offers": 2}, {"value": "spot", "offers": 1}]
        assert told["gpu"] == [{"value": "H100-SXM", "offers": 3}]
        assert told["count"] == [{"value": "8", "offers": 3}]

    def test_count_only_what_fits_the_other_filters(self, ada):
        told = ada.ok("GET", "/v1/offers/facets?market=spot&q=h100&min_total_memory_gib=1")

        assert told["market"] == [{"value": "spot", "offers": 1}]
        assert ada.ok("GET", "/v1/offers/facets?gpu=")["market"] == []
        assert ada.refused("GET", "/v1/offers/facets?colour=red") == (422, "invalid")


class TestTotal:
    def test_is_on_the_first_page_when_it_is_asked_for(self, ada):
        first = ada.ok("GET", "/v1/offers?limit=1&total=true&gpu=H100")

        assert (first["count"], first["count_is_exact"]) == (2, True)
        assert "count" not in ada.ok("GET", f"/v1/offers?limit=1&total=true&gpu=H100&cursor={first['next']}")
        assert "count" not in ada.ok("GET", "/v1/offers?limit=1")
        assert ada.refused("GET", "/v1/offers?total=perhaps") == (422, "invalid")

    def test_is_estimated_where_counting_takes_too_long(self, ada, monkeypatch):
        monkeypatch.setattr(Offer.objects.all().__class__, "count", lambda book: list(book.extra(select=SLEEP)))

        first = ada.ok("GET", "/v1/offers?total=true")

        assert first["count_is_exact"] is False
        assert first["count"] >= 1
        assert len(first["results"]) == 2


def test_groups_have_an_address_of_their_own(ada):
    assert ada.ok("GET", "/v1/offers/groups?group_by=gpu,market") == ada.ok("GET", "/v1/offers?group_by=gpu,market")
    assert ada.refused("GET", "/v1/offers/groups") == (422, "invalid")
