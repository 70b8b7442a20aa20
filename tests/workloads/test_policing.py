"""A run is looked at every few minutes, and moves to where it finishes for clearly less."""

from __future__ import annotations

import pytest

from offers.models import Spell
from tests.conftest import Site
from workloads.models import Event, Lease, Placement, Workload

pytestmark = pytest.mark.django_db


@pytest.fixture
def run_on(make_host, order_run, settle, settings):
    """Start a run on one machine, with much left to do."""
    settings.POLICY_EVERY_S = 20

    def start(usd, **need):
        host = make_host("one", "home/berlin", usd=usd)
        order_run(budget="99", **{"sites": None, **need})
        settle(host, seconds=4)
        site = Site(host.client, next(iter(host.orders.values())), total=400_000)
        site.hello()
        for _ in range(3):
            _, ranges = site.lease()
            settle(host, seconds=2)
            site.give(ranges)
            settle(host, seconds=2)
        return host

    return start


@pytest.fixture
def dear(run_on):
    return run_on("5", sites=1)


def decisions():
    return list(Event.objects.filter(figures__isnull=False).order_by("id"))


def regions():
    open_ = Placement.objects.exclude(state="closed").order_by("id")
    return list(open_.values_list("region", flat=True))


def test_it_stays_where_nothing_better_is_and_says_on_which_figures(dear, settle, ada):
    settle(dear, seconds=25)

    (first, *_) = ada.ok("GET", f"/v1/workloads/{Workload.objects.get().pk}/decisions")["results"]
    assert (first["from"], first["to"], first["why"]) == ("running", "running", "stay")
    assert first["figures"]["usd_to_finish"]["stay at home/berlin"] > 0


def test_it_moves_to_a_cheaper_place_and_leaves_the_old_one_when_the_new_one_trains(dear, make_host, settle):
    cheap = make_host("two", "home/paris", usd="0.5")
    settle(dear, cheap, seconds=24)

    assert regions() == ["home/berlin", "home/paris"], "both, until the new one trains"
    moved = next(one for one in decisions() if one.why.startswith("move"))
    assert moved.why.startswith("move from home/berlin to home/paris, CPU spot")
    settle(dear, cheap, seconds=6)
    assert next(iter(dear.orders.values()))["drain"] is True
    dear.exit(75)
    settle(dear, cheap, seconds=8)

    assert regions() == ["home/paris"]
    assert Workload.objects.get().state == "running"
    assert Lease.objects.filter(state="held").count() == 1


def test_it_does_not_move_for_a_twentieth(dear, make_host, settle):
    near = make_host("two", "home/paris", usd="4.9")

    settle(dear, near, seconds=50)

    assert regions() == ["home/berlin"]
    assert {one.why for one in decisions()} == {"stay"}


def test_a_new_place_that_fails_leaves_the_old_one_as_it_was(dear, make_host, settle):
    cheap = make_host("two", "home/paris", usd="0.5")
    for _ in range(30):
        settle(dear, cheap, seconds=1)
        cheap.fail("ray_failed", "Ray did not start")

    settle(dear, cheap, seconds=10)
    assert Placement.objects.filter(region="home/paris", state="closed").exists()

    assert regions() == ["home/berlin"]
    assert Workload.objects.get().state == "running"
    assert next(iter(dear.orders.values()))["drain"] is False


def test_it_is_not_looked_at_while_it_changes(dear, make_host, settle):
    cheap = make_host("two", "home/paris", usd="0.5")
    settle(dear, cheap, seconds=24)
    make_host("three", "home/rome", usd="0.1")
    before = len(decisions())
    Placement.objects.filter(region="home/paris").update(state="joining")

    settle(dear, seconds=30)

    assert len(decisions()) == before


class TestWithADeadline:
    def test_it_moves_to_a_cheaper_place_too(self, run_on, make_host, settle):
        dear = run_on("5", sites=1, deadline_hours=48)
        cheap = make_host("two", "home/paris", usd="0.5")

        settle(dear, cheap, seconds=24)

        moved = next(one for one in decisions() if one.why.startswith("move"))
        assert moved.why == "move from home/berlin to home/paris, CPU spot"
        assert moved.figures["expected_usd"]
        assert moved.figures["deadline_h_left"] == pytest.approx(48, abs=0.1)
        assert regions() == ["home/berlin", "home/paris"]

    def test_it_grows_where_the_need_leaves_it_open_and_time_is_short(self, run_on, make_host, settle):
        alone = run_on("0.5", max_sites=2, deadline_hours=6)
        other = make_host("two", "home/paris", usd="0.5")

        settle(alone, other, seconds=30)

        assert sorted(regions()) == ["home/berlin", "home/paris"]
        assert Workload.objects.get().sites_wanted == 2
        grown = next(one for one in decisions() if one.why.startswith("grow"))
        assert grown.figures["shadow_usd"] > 0
        assert set(grown.figures["usd_per_hour_of_work"]) == {"home/berlin, CPU", "home/paris, CPU"}

    def test_it_never_sends_home_sites_that_the_need_asks_for(self, run_on, settle):
        only = run_on("5", sites=1, deadline_hours=2000)

        settle(only, seconds=50)

        assert regions() == ["home/berlin"]
        assert {one.why for one in decisions()} == {"stay"}


def test_what_became_of_a_machine_is_a_lesson(dear, settle, owner):
    owner.ok("POST", f"/v1/hosts/{dear.host}/reclaim", {"notice_s": 0})

    settle(seconds=16)

    (spell,) = Spell.objects.all()
    assert (spell.provider, spell.region, spell.market, spell.lost) == ("supplier", "home/berlin", "spot", True)
    assert spell.ended_age_s - spell.began_age_s > 10


def test_a_machine_that_was_given_back_is_no_loss(dear, settle, ada):
    ada.ok("POST", f"/v1/workloads/{Workload.objects.get().pk}/stop")
    settle(dear, seconds=2)
    dear.exit(75)
    settle(dear, seconds=8)

    assert [one.lost for one in Spell.objects.all()] == [False]
