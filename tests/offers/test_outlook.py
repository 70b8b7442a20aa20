"""Where one more site of a workload could be, and bought how."""

from __future__ import annotations

import pytest

from offers.matching.book import book_of
from offers.matching.constraints import Scope
from offers.matching.estimate import UNKNOWN, Speed
from offers.matching.need import Need
from offers.matching.outlook import PLACES_MAX, places
from tests.offers.some_offers import offer

FAST = Speed(source="measured", by_accelerator={"H100-SXM": 10.0, "T4": 1.0})


def seen(offers, need=None, *, size=1, speed=FAST, here=(), **scope):
    return places(need or Need(), book_of(offers), size=size, speed=speed, scope=Scope(**scope), here=here)


def test_a_place_knows_its_cheapest_machines_of_each_market():
    (place,) = seen([
        offer(1, market="spot", usd="3", chip="T4"), offer(2, market="spot", usd="2", chip="T4"),
        offer(3, market="on_demand", usd="5", chip="T4"),
    ])  # fmt: skip

    assert (place.spot.lines, place.spot.usd_per_hour) == (((2, 1),), pytest.approx(2))
    assert (place.on_demand.lines, place.on_demand.usd_per_hour) == (((3, 1),), pytest.approx(5))
    assert place.pace == 1.0


def test_places_come_by_what_work_costs_there_not_by_the_hour():
    found = seen([offer(1, chip="T4", usd="1"), offer(2, chip="H100-SXM", usd="4", region="there")])

    assert [place.accelerator for place in found] == ["H100-SXM", "T4"]


def test_only_the_cheapest_are_looked_at_and_where_the_workload_is():
    offers = [offer(n, chip="T4", usd=str(n + 1), region=f"r{n:02}") for n in range(PLACES_MAX + 4)]

    found = seen(offers, here=[("cloud", "r19", "T4")])

    assert len(found) == PLACES_MAX + 1
    assert found[-1].region == "r19"


def test_a_site_takes_whole_machines_and_says_how_many_sites_there_could_be():
    (place,) = seen([offer(1, chip="T4", count=2, usd="1", available=7)], size=4)

    assert (place.on_demand.lines, place.on_demand.sites) == (((1, 2),), 3)


def test_what_the_need_forbids_or_is_sold_out_or_left_alone_is_no_place():
    offers = [
        offer(1, chip="T4"), offer(2, chip="T4", region="forbidden"), offer(3, chip="T4", region="empty", available=0),
        offer(4, chip="T4", region="failed", machine_type="m"),
    ]  # fmt: skip
    barred = {("cloud", "failed", "", "m", "on_demand"): "failed a moment ago"}

    found = seen(offers, Need(not_regions=("forbidden",), sites=3, spread="region"), barred=barred)

    assert [place.region for place in found] == ["here"]


def test_where_no_speed_is_known_every_accelerator_counts_alike():
    found = seen([offer(1, chip="T4", usd="2"), offer(2, chip="L4", usd="1", region="there")], speed=UNKNOWN)

    assert [place.accelerator for place in found] == ["L4", "T4"]
    assert {place.pace for place in found} == {1.0}
