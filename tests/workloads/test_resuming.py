"""A run that goes on from a version of another, with another number of sites."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import Site
from tests.workloads.test_rounds import close_round, covered
from workloads import hub, queries, retention
from workloads.models import Artifact, Placement, SampleRange, Training, Workload

pytestmark = pytest.mark.django_db


@pytest.fixture
def place(make_host, order_run, settle):
    """place(count, **order) -> (workload, its sites), each on a host of its own."""
    made = []

    def order(count, **options):
        agents = [make_host(f"host{len(made) + at}", f"home/place{len(made) + at}") for at in range(count)]
        made.extend(agents)
        workload = order_run(sites=count, **options)
        settle(*made, seconds=5)
        orders = [next(iter(agent.orders.values())) for agent in agents]
        return workload, [Site(agent.client, one) for agent, one in zip(agents, orders, strict=True)]

    return order


def rounds(sites, count, clock):
    """All sites hand in so many times; return the theta after each."""
    seen = []
    for _ in range(count):
        leased = [site.lease()[1] for site in sites]
        for at, (site, ranges) in enumerate(zip(sites, leased, strict=True)):
            if ranges:
                site.give(ranges, pull=0.1 + 0.1 * at)
        close_round(clock)
        sites[0].catch_up()
        seen.append({name: tensor.copy() for name, tensor in sites[0].theta.items()})
    return seen


@pytest.fixture
def ended(place, ada, clock):
    """A run of two sites and 400 samples that was stopped after two rounds of 50 samples a site."""
    workload, sites = place(2)
    for site in sites:
        site.count = 50
        site.hello()
    thetas = rounds(sites, 2, clock)
    ada.ok("POST", f"/v1/workloads/{workload}/stop")
    return workload, thetas


def test_it_goes_on_from_the_newest_version_on_one_site_and_trains_the_rest_once(ended, place, clock, ada):
    first, thetas = ended
    momentum = hub.state_at(Training.objects.get(pk=first), 2).momentum
    second, (site,) = place(1, resume={"workload": first})
    site.hello()

    assert ada.ok("GET", f"/v1/workloads/{second}")["resumes"] == {"workload": first, "version": 2}
    for name, tensor in thetas[1].items():
        assert np.array_equal(site.theta[name], tensor)
    assert np.array_equal(hub.state_at(Training.objects.get(pk=second), 0).momentum, momentum)
    assert momentum.any()
    assert queries.samples(second) == {"total": 400, "merged": 200, "leased": 0, "free": 200}
    site.count = 200
    assert site.lease() == ("leased", [[200, 400]])
    site.give([[200, 400]])
    close_round(clock)
    assert site.lease() == ("done", [])
    assert queries.samples(second)["merged"] == 400
    assert covered(workload=second, merged_version=0) == list(range(200, 400))


def test_it_goes_on_from_an_older_version_whose_later_samples_are_free_again(ended, place, monkeypatch, clock):
    first, thetas = ended
    _, sites = place(3, resume={"workload": first, "version": 1})
    for site in sites:
        site.count = 100
        site.hello()

    for site in sites:
        for name, tensor in thetas[0].items():
            assert np.array_equal(site.theta[name], tensor)
    rounds(sites, 2, clock)
    second = Workload.objects.latest("id").pk
    later = SampleRange.objects.filter(workload=first, merged_version__gte=1)
    again = sorted(p for row in later for p in range(row.start, row.end))
    assert len(again) == 100
    assert sorted([*again, *range(200, 400)]) == covered(workload=second, merged_version__isnull=False)


def test_it_goes_on_from_a_version_before_the_newest_snapshot(ended, place, monkeypatch):
    first, thetas = ended
    Training.objects.filter(pk=first).update(snapshot_version=2)  # As of a large model, of which few are kept.
    Artifact.objects.filter(workload=first, version=1).delete()
    _, (site,) = place(1, resume={"workload": first, "version": 1})
    site.hello()

    assert np.array_equal(site.theta["w"], thetas[0]["w"])
    assert not hub.state_at(Training.objects.latest("pk"), 0).momentum.any()


def test_what_was_resumed_can_be_resumed(ended, place, clock, ada):
    first, _ = ended
    second, (site,) = place(1, resume={"workload": first})
    site.count = 60
    site.hello()
    (theta,) = rounds([site], 1, clock)
    ada.ok("POST", f"/v1/workloads/{second}/stop")
    third, (site,) = place(1, resume={"workload": second})
    site.hello()

    assert np.array_equal(site.theta["w"], theta["w"])
    assert queries.samples(third) == {"total": 400, "merged": 260, "leased": 0, "free": 140}


def test_more_samples_may_follow_but_not_fewer_than_were_begun(ended, place):
    first, _ = ended
    second, (site,) = place(1, resume={"workload": first})
    site.total = 150
    answer = site.call("POST", "hello", hello(site))
    assert answer.status_code == 409
    assert "200 were begun" in answer.json()["error"]["message"]
    site.total = 1000
    site.hello()

    assert queries.samples(second) == {"total": 1000, "merged": 200, "leased": 0, "free": 800}


def hello(site, **changed):
    from tests.conftest import hello_body

    return hello_body(world=site.world, total_samples=site.total) | changed


def test_another_model_cannot_go_on(ended, place):
    _, (site,) = place(1, resume={"workload": ended[0]})
    spec = {"w": {"shape": [3], "dtype": "float32"}}

    answer = site.call("POST", "hello", hello(site, tensors=spec))

    assert answer.status_code == 409
    assert "tensors" in answer.json()["error"]["message"]


def test_versions_that_cannot_be_had_are_named(ended, order_run, make_host, make_caller, ada, settle):
    first, _ = ended
    settle(make_host("free", "home/free"), seconds=5)

    for by, resume, why in (
        (ada, {"workload": first, "version": 3}, "version_gone.*the newest is 2"),
        (ada, {"workload": first + 7}, "not_found"),
        (make_caller("bob"), {"workload": first}, "not_found"),
        (ada, {"workload": first, "version": -1}, "invalid"),
        (ada, {"workload": first, "version": 10**30}, "invalid"),
        (ada, {"workload": 10**30}, "invalid"),
        (ada, {"version": 1}, "invalid"),
    ):
        with pytest.raises(AssertionError, match=why):
            order_run(sites=1, by=by, resume=resume)


def test_what_has_not_trained_cannot_be_resumed(place, order_run, make_host, settle):
    first, _ = place(1)
    settle(make_host("free", "home/free"), seconds=5)

    with pytest.raises(AssertionError, match="version_gone.*has no parameters yet"):
        order_run(sites=1, resume={"workload": first})


def test_retention_keeps_what_is_still_to_be_resumed(ended, place, clock, settings):
    settings.VERSIONS_KEPT = 0
    first, thetas = ended
    _, (site,) = place(1, resume={"workload": first, "version": 1})
    clock.forward(hours=2)
    retention.sweep(now=clock.now)
    site.hello()

    assert np.array_equal(site.theta["w"], thetas[0]["w"])
    assert Placement.objects.get(pk=site.placement).workload.training.version == 0


def test_a_snapshot_that_is_not_the_version_it_should_be_is_found(ended):
    Training.objects.update(fingerprint="0" * 64)

    with pytest.raises(hub.Diverged, match="its snapshot is not version 2"):
        hub.state_at(Training.objects.get(), 2)
