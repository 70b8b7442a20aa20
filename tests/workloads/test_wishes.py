"""What a script may say of its rounds: a quorum, a grace, an early stop; and how far the run is."""

from __future__ import annotations

import pytest

from tests.conftest import Site, hello_body
from tests.workloads.test_rounds import close_round, covered, sites  # noqa: F401 - `sites` is a fixture
from workloads import queries, rounds
from workloads.models import Event, Training

pytestmark = pytest.mark.django_db


def test_a_quorum_waits_for_a_second_site_however_late_it_is(make_host, order_run, settle, clock):
    first, second, third = three_sites(make_host, order_run, settle, quorum=2)
    ranges = [site.lease()[1] for site in (first, second, third)]
    first.give(ranges[0])
    clock.forward(seconds=600)
    close_round(clock)
    assert Training.objects.get().version == 0

    second.give(ranges[1])
    clock.forward(seconds=1)
    close_round(clock)

    assert Training.objects.get().version == 1, "the third was silent, two are enough"


def test_a_quorum_of_more_sites_than_there_are_is_all_of_them(sites, clock):  # noqa: F811
    Training.objects.update(quorum=5)
    ranges = [site.lease()[1] for site in sites]
    for site, each in zip(sites, ranges, strict=True):
        site.give(each)
    close_round(clock)

    assert Training.objects.get().version == 1


def test_a_grace_is_how_long_a_site_that_answers_is_waited_for(make_host, order_run, settle, clock):
    first, second, _ = three_sites(make_host, order_run, settle, grace_s=2.5)
    ranges = [site.lease()[1] for site in (first, second)]
    first.give(ranges[0])
    clock.forward(seconds=1)
    second.poll(called=True)
    clock.forward(seconds=1)
    close_round(clock)
    assert Training.objects.get().version == 0

    clock.forward(seconds=1)
    close_round(clock)

    assert Training.objects.get().version == 1


def test_a_run_that_its_script_stops_is_done_when_what_sites_had_got_is_merged(sites, clock):  # noqa: F811
    _, first = sites[0].lease()
    _, second = sites[1].lease()
    sites[1].ok("POST", "stop", {"why": "the loss does not fall any more"})

    assert sites[0].lease() == ("wait", [])
    assert queries.samples(Training.objects.get().pk) == {"total": 200, "merged": 0, "leased": 200, "free": 0}
    for site, ranges in zip(sites, (first, second), strict=True):
        site.give(ranges)
    assert sites[0].ok("POST", "samples", {"number": 9, "count": 10})["status"] == "wait"
    close_round(clock)

    assert sites[0].lease() == ("done", [])
    assert covered(merged_version=0) == list(range(200))
    event = Event.objects.get(why__contains="early")
    assert event.why == "the script at home/paris ends the run early: the loss does not fall any more"


def test_of_a_stopped_run_what_a_dead_site_held_is_not_trained_on(sites, clock):  # noqa: F811
    _, first = sites[0].lease()
    sites[1].lease()
    sites[0].ok("POST", "stop", {"why": ""})
    rounds.forget(placement_id=sites[1].placement, now=clock.now)
    sites[0].give(first)
    close_round(clock)

    assert sites[0].lease() == ("done", [])


def test_the_progress_counts_what_sites_have_got(sites, clock):  # noqa: F811
    answer = sites[0].ok("POST", "samples", {"number": 1, "count": 100})
    assert answer["progress"] == 0.25
    sites[1].lease()
    rounds.forget(placement_id=sites[0].placement, now=clock.now)

    assert sites[1].ok("POST", "samples", {"number": 2, "count": 1})["progress"] == 101 / 400


@pytest.mark.parametrize(
    "wish",
    [
        {"outer_momentum": float("nan")},
        {"quorum": 0},
        {"quorum": "two"},
        {"grace_s": -1},
        {"grace_s": "long"},
        {"outer_lr": "nan"},
    ],
)
def test_odd_wishes_are_refused(sites, wish):  # noqa: F811
    assert sites[0].call("POST", "hello", hello_body(total_samples=400) | wish).status_code == 422


def three_sites(make_host, order_run, settle, **wishes):
    agents = [make_host(name, f"home/{name}") for name in ("berlin", "paris", "rome")]
    order_run(sites=3)
    settle(*agents, seconds=5)
    made = [Site(agent.client, next(iter(agent.orders.values()))) for agent in agents]
    for site in made:
        site.hello(**wishes)
    return made
