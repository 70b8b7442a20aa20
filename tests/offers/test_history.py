from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connections

from offers import history, poll
from offers.history import Chart
from offers.models import PriceBucket, PriceSample
from providers.base import Market, PricePoint
from providers.fake import Fake
from tests.conftest import NOON
from tests.providers.test_fake import LISTING

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
MIDNIGHT = NOON - timedelta(hours=12)


def listed(usd, *, at, region="reykjavik", market=Market.ON_DEMAND, provider="fake"):
    line = replace(LISTING, provider=provider, usd_per_hour=Decimal(usd), region=region, market=market)
    poll.record([line], provider=provider, now=at)


def drawn(days=10, **wish):
    history.draw_all(since=NOON - days * DAY, until=NOON)
    wish = {"gpu": "H100", "since": NOON - days * DAY, "until": NOON + DAY, **wish}
    return history.chart(Chart(**wish))


def medians(line):
    return [(point["at"].date().day, float(point["median"])) for point in line["points"]]


def test_a_price_counts_until_the_next_one():
    listed(8, at=NOON - 3 * DAY)
    listed(16, at=NOON - 1 * DAY)

    (line,) = drawn()

    assert line["gpu"] == "H100-SXM"
    assert medians(line) == [(19, 1.0), (20, 1.0), (21, 1.0), (22, 2.0)]
    changed = line["points"][2]
    assert (changed["min"], changed["max"], changed["prices"]) == (1, 2, 2)


def test_a_line_that_is_gone_counts_no_longer():
    listed(8, at=NOON - 3 * DAY)
    poll.record([], provider="fake", now=NOON - 2 * DAY, complete=True)

    (line,) = drawn()

    assert [day for day, _ in medians(line)] == [19, 20]


def test_min_median_and_max_are_over_all_that_fits():
    for index, usd in enumerate((8, 16, 80)):
        listed(usd, at=NOON - DAY, region=f"r{index}", market=Market.SPOT if index else Market.ON_DEMAND)

    (everything,) = drawn()
    (spot,) = drawn(market="spot")
    by_market = drawn(by="market")
    (one,) = drawn(region="r2")

    point = everything["points"][-1]
    assert (point["min"], point["median"], point["max"], point["prices"]) == (1, 2, 10, 3)
    assert (spot["points"][-1]["min"], spot["points"][-1]["max"]) == (2, 10)
    assert [line["market"] for line in by_market] == ["on_demand", "spot"]
    assert (one["provider"], one["region"], one["points"][-1]["median"]) == ("fake", "r2", 10)


def test_a_line_for_each_provider_or_region():
    listed(8, at=NOON - DAY, provider="one", region="a")
    listed(16, at=NOON - DAY, provider="two", region="a")
    listed(24, at=NOON - DAY, provider="two", region="b")

    assert [line["provider"] for line in drawn(by="provider")] == ["one", "two"]
    assert [(line["provider"], line["region"]) for line in drawn(by="region")] == [
        ("one", "a"), ("two", "a"), ("two", "b"),
    ]  # fmt: skip
    assert [line["provider"] for line in drawn(by="provider", provider="two")] == ["two"]


def test_a_family_is_a_line_for_each_variant():
    listed(8, at=NOON - DAY)
    nvl = replace(LISTING, accelerator_label="H100 NVL", machine_type="nvl")
    poll.record([nvl], provider="fake", now=NOON - DAY)

    assert [line["gpu"] for line in drawn()] == ["H100-NVL", "H100-SXM"]


def test_a_few_days_are_drawn_in_hours():
    listed(8, at=NOON - timedelta(hours=30))
    listed(16, at=NOON - timedelta(hours=2, minutes=30))

    (line,) = drawn(days=2)

    assert line["width"] == "hour"
    assert len(line["points"]) == 31
    assert [float(point["median"]) for point in line["points"][-5:]] == [1, 1, 2, 2, 2]
    assert line["points"][0]["at"] == NOON - timedelta(hours=30)


def test_drawing_the_newest_is_drawing_all():
    listed(8, at=NOON - 3 * DAY)
    history.draw_all(since=NOON - 4 * DAY, until=NOON - DAY)
    listed(16, at=NOON - timedelta(minutes=30))
    history.draw_newest(now=NOON)
    newest = list(
        PriceBucket.objects.order_by("width", "at", "provider", "region", "market").values_list("at", "max_usd")
    )

    history.draw_all(since=NOON - 4 * DAY, until=NOON)

    again = dict(PriceBucket.objects.filter(width="day", region="", market="").values_list("at", "max_usd"))
    assert again[MIDNIGHT] == 2
    assert (MIDNIGHT, Decimal(2)) in newest


@pytest.mark.parametrize("wish", [{"by": "colour"}, {"width": "year"}, {"since": NOON, "until": NOON}])
def test_a_chart_that_means_nothing_is_refused(wish):
    with pytest.raises(history.HistoryInvalid):
        history.chart(Chart(**{"gpu": "H100", "since": NOON - DAY, "until": NOON, **wish}))


class TestPublished:
    def point(self, usd, days, **changed):
        return replace(
            PricePoint(provider="fake", region="reykjavik", machine_type="h100x8", market=Market.ON_DEMAND,
                       usd_per_hour=Decimal(usd), at=NOON - days * DAY),
            **changed,
        )  # fmt: skip

    def published(self, *points):
        return history.import_published(Fake(history=points), since=NOON - 90 * DAY, until=NOON)

    def test_the_past_joins_what_we_saw_ourselves(self):
        listed(16, at=NOON)

        kept = self.published(self.point(8, 80), self.point(12, 40), self.point(4, 40, region="nowhere"),
                              self.point("NaN", 3))  # fmt: skip

        assert (kept.read, kept.kept, kept.no_line, kept.unfit) == (4, 2, 1, 1)
        assert list(PriceSample.objects.order_by("seen_at").values_list("usd_per_hour", flat=True)) == [8, 12, 16]
        (line,) = history.chart(Chart(gpu="H100", since=NOON - 90 * DAY, until=NOON + DAY))
        assert [float(point["median"]) for point in line["points"]][:42] == [1.0] * 40 + [1.0, 1.5]

    def test_asked_twice_it_is_kept_once(self):
        listed(16, at=NOON)
        self.published(self.point(8, 80))

        again = self.published(self.point(8, 80))

        assert (again.kept, again.known) == (0, 1)
        assert PriceSample.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_who_draw_the_same_bucket_draw_it_one_after_the_other():
    listed(8, at=NOON - DAY)
    errors = []

    def draw():
        try:
            for _ in range(10):
                history.draw("day", MIDNIGHT)
        except DatabaseError as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not errors
    assert PriceBucket.objects.filter(region="", provider="", market="").count() == 1
