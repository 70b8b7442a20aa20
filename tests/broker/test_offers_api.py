from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.api import stream
from offers import changes, history, poll, search
from providers.base import Market
from tests.broker.streams import listen
from tests.conftest import NOON
from tests.providers.test_fake import LISTING

pytestmark = pytest.mark.django_db
SPOT = replace(LISTING, market=Market.SPOT, usd_per_hour=Decimal(8))


@pytest.fixture(autouse=True)
def _book(db):
    poll.record([LISTING, SPOT], provider="fake", now=NOON, complete=True)


class TestOffers:
    def test_are_listed_cheapest_first_with_money_as_text(self, ada):
        rows = ada.ok("GET", "/v1/offers?gpu=H100&limit=1")

        (row,) = rows["results"]
        assert (row["usd_per_hour"], row["usd_per_gpu_hour"], row["market"]) == ("8.000000", "1.000000", "spot")
        assert row["seen_at"].startswith("2026-11-22T12:00:00")
        assert row["stale"] is False
        (dearer,) = ada.ok("GET", f"/v1/offers?gpu=H100&limit=1&cursor={rows['next']}")["results"]
        assert dearer["market"] == "on_demand"

    def test_a_filter_may_be_given_twice(self, ada):
        assert len(ada.ok("GET", "/v1/offers?market=spot&market=on_demand")["results"]) == 2

    def test_are_grouped(self, ada):
        (row,) = ada.ok("GET", "/v1/offers?group_by=gpu")["results"]

        assert row == {"gpu": "H100-SXM", "offers": 2, "providers": 1, "available": None,
                       "min_usd_per_gpu_hour": "1.000000", "median_usd_per_gpu_hour": "1.000000",
                       "max_usd_per_gpu_hour": "2.000000"}  # fmt: skip

    @pytest.mark.parametrize(
        "query", ["colour=red", "min_count=many", "sort=colour", "group_by=x", "cursor=x", "limit=x"]
    )
    def test_a_query_that_means_nothing_is_refused(self, ada, query):
        assert ada.refused("GET", f"/v1/offers?{query}") == (422, "invalid")

    def test_nobody_sees_them_without_a_key(self, client):
        for path in ("/v1/offers", "/v1/offers/history?gpu=H100", "/v1/offers/sources", "/v1/offers/stream"):
            assert client.get(path).status_code == 401, path

    def test_sources_say_what_failed(self, ada):
        (row,) = ada.ok("GET", "/v1/offers/sources")["results"]

        assert (row["provider"], row["lines"], row["failures"], row["stale"]) == ("fake", 2, 0, False)

    def test_quarantined_lines_say_why(self, ada):
        poll.record([replace(LISTING, usd_per_hour=Decimal(0))], provider="fake", now=NOON)

        (row,) = ada.ok("GET", "/v1/offers/quarantine")["results"]

        assert (row["why"], row["instance_type"]) == ("the price is not positive", "h100x8")


class TestHistory:
    def test_is_ready_for_a_chart(self, ada):
        history.draw_all(since=NOON, until=NOON)

        (line,) = ada.ok("GET", "/v1/offers/history?gpu=h100&days=30&market=spot")["results"]

        assert line["points"][0]["median"] == "1.000000"
        assert line["width"] == "day"

    @pytest.mark.parametrize(
        "query", ["", "gpu=H100&days=0", "gpu=H100&days=x", "gpu=H100&by=x", "gpu=H100&colour=red"]
    )
    def test_a_question_that_means_nothing_is_refused(self, ada, query):
        assert ada.refused("GET", f"/v1/offers/history?{query}") == (422, "invalid")

    def test_only_an_operator_fetches_the_past_and_only_where_there_is_one(self, ada, make_caller):
        reader = make_caller("bob", scopes=("read",))

        assert reader.refused("POST", "/v1/offers/history", {"provider": "aws"}) == (403, "scope_missing")
        assert ada.refused("POST", "/v1/offers/history", {"provider": "nobody"}) == (422, "invalid")


class TestStream:
    """Between tests' own transactions nothing commits, so these let theirs."""

    pytestmark = pytest.mark.django_db(transaction=True)

    @pytest.fixture(autouse=True)
    def _fast(self, monkeypatch):
        monkeypatch.setattr(stream, "LOOK_EVERY_S", 0.02)

    def listen(self, key, *, act, until, query="", last=""):
        """Open the stream, do something, and return the events that came until `until` of them were there."""
        told = listen(
            key,
            f"/v1/offers/stream{query}",
            act=lambda told: act(),
            until=lambda told: len(told) >= until,
            last=last,
        )
        return [(one.kind, one.data, one.place) for one in told[:until]]

    def test_tells_what_changes_and_what_goes(self, ada):
        def act():
            poll.record([replace(SPOT, usd_per_hour=Decimal(7))], provider="fake", now=NOON, complete=True)

        events = self.listen(ada.key, act=act, until=2)

        assert sorted((kind, offer["market"], offer["usd_per_hour"]) for kind, offer, _ in events) == [
            ("gone", "on_demand", "16.000000"),
            ("offer", "spot", "7.000000"),
        ]

    def test_who_comes_back_misses_nothing_and_gets_nothing_twice(self, ada):
        def change(usd):
            poll.record([replace(SPOT, usd_per_hour=Decimal(usd))], provider="fake", now=NOON + timedelta(seconds=usd))

        (first,) = self.listen(ada.key, act=lambda: change(7), until=1)
        change(6)
        change(5)

        events = self.listen(ada.key, act=lambda: change(4), until=2, last=first[2])

        assert [offer["usd_per_hour"] for _, offer, _ in events] == ["5.000000", "4.000000"]

    def test_a_filter_holds_for_the_stream_too(self, ada):
        def act():
            poll.record([replace(SPOT, usd_per_hour=Decimal(7)), replace(LISTING, usd_per_hour=Decimal(15))],
                        provider="fake", now=NOON)  # fmt: skip

        (event,) = self.listen(ada.key, act=act, until=1, query="?market=on_demand")

        assert event[1]["usd_per_hour"] == "15.000000"

    def test_a_change_that_is_not_committed_yet_is_not_passed_by(self):
        """A reader must not take a transaction that began first and ends last for one that it has."""
        import threading

        from django.db import connections, transaction

        start = changes.here()
        written, go_on = threading.Event(), threading.Event()

        def slow():
            try:
                with transaction.atomic():
                    poll.record([replace(SPOT, usd_per_hour=Decimal(3))], provider="fake", now=NOON)
                    written.set()
                    assert go_on.wait(20)
            finally:
                connections.close_all()

        thread = threading.Thread(target=slow)
        thread.start()
        assert written.wait(20)
        quick = replace(LISTING, provider="quick")
        poll.record([quick], provider="quick", now=NOON)
        first, place = changes.since(start, {}, now=NOON)
        go_on.set()
        thread.join()
        later, place = changes.since(place, {}, now=NOON)
        last, _ = changes.since(place, {}, now=NOON)

        told = [[json.loads(change.text)["provider"] for change in told] for told in (first, later, last)]
        assert told == [["quick"], ["fake"], []], "the one that is committed does not wait for the other"

    def test_a_place_that_is_none_is_refused(self, ada):
        assert ada.call("GET", "/v1/offers/stream", last_event_id="x").status_code == 422
        assert ada.call("GET", "/v1/offers/stream?colour=red").status_code == 422


VALUES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["1e14", "-1", "1.5", "1e-30", "99999999999999999999", "NaN", "\x00", "a\x00b", "1,2,x", ",", "%",
                     "H100,", "90,0,1", "91,181,-5", "0,0,1e99", "true", "spot,", "٣"]),
)  # fmt: skip


@settings(max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    wishes=st.dictionaries(
        st.sampled_from([*search.FILTERS, "sort", "limit", "cursor", "group_by"]), VALUES, max_size=3
    )
)
def test_whatever_is_asked_gets_an_answer_or_a_clear_no(ada, wishes):
    answer = ada.call("GET", f"/v1/offers?{urlencode(wishes)}")

    assert answer.status_code in (200, 422), (wishes, answer.content)


@pytest.mark.parametrize("sort", [*search.SORTS])
@pytest.mark.parametrize(
    "place", [["x", 1], [None, 1], [{}, 1], ["1", 10**30], [1e300, 1], [[], 1], ["\x00", 1], [True, 1]]
)
def test_a_cursor_of_somebody_elses_making_gets_a_clear_no(ada, sort, place):
    cursor = base64.urlsafe_b64encode(json.dumps(place).encode()).decode()

    assert ada.call("GET", f"/v1/offers?sort={sort}&cursor={cursor}").status_code in (200, 422)
