"""Ends and accidents of a workload that the journeys do not tell, with agents that speak the real protocol."""

from __future__ import annotations

import pytest

from tests.conftest import Site
from workloads import hub, queries, retention, storage
from workloads.models import Artifact, Contribution, Lease, Placement, Round, Training, Workload
from workloads.operations import RAY_PORTS

pytestmark = pytest.mark.django_db


@pytest.fixture
def one(make_host, order_run, settle):
    """One host that runs one site."""
    agent = make_host("one", "home/berlin")
    order_run(sites=1)
    settle(agent, seconds=4)
    return agent


def site_of(agent, **more):
    site = Site(agent.client, next(iter(agent.orders.values())), **more)
    site.hello()
    return site


def train(site, settle, agent, rounds, **how):
    for _ in range(rounds):
        status, ranges = site.lease()
        if status == "done":
            return
        site.give(ranges, **how)
        settle(agent, seconds=2)


def run_of():
    return Workload.objects.get()


def test_a_script_that_saves_no_model_leaves_its_last_checkpoint(one, ada, settle):
    site = site_of(one)
    train(site, settle, one, 6)
    one.exit(0)
    settle(one, seconds=5)

    body = ada.ok("GET", f"/v1/workloads/{run_of().pk}")
    assert (body["state"], body["artifact"]["kind"], body["artifact"]["version"]) == ("succeeded", "checkpoint", 4)
    assert "saved no model" in body["why"]


def test_no_machine_for_long_ends_the_run_and_says_why_the_last_was_lost(one, settle, clock, settings):
    settings.NO_CAPACITY_AFTER_S = 60
    site_of(one)

    settle(seconds=12)
    assert run_of().state == "recovering"
    clock.forward(seconds=61)
    settle(seconds=4)

    assert (run_of().state, run_of().end_reason) == ("failed", "no_capacity")
    assert "the machine is gone" in run_of().why


def test_a_script_that_reports_nothing_for_long_is_stopped(one, settle, settings):
    settings.SILENT_AFTER_S = 20

    settle(one, seconds=24)
    assert next(iter(one.orders.values()))["drain"] is True
    one.exit(75)
    settle(one, seconds=5)

    assert (run_of().state, run_of().end_reason) == ("failed", "silent")


def test_an_agent_that_restarted_costs_a_site_not_the_run(one, make_host, settle):
    spare = make_host("two", "home/paris", usd="0.09")
    one.fail("agent_restarted", "the agent was started anew")

    settle(one, spare, seconds=8)

    assert run_of().state in ("starting", "running")
    assert spare.orders


def test_a_host_without_its_accelerators_is_offered_no_more(one, owner, settle):
    one.fail("accelerators_missing", "1 x CPU were offered, this machine has 0")

    settle(one, seconds=3)

    (host,) = owner.ok("GET", "/v1/hosts")["results"]
    assert (host["state"], host["why"]) == ("barred", "1 x CPU were offered, this machine has 0")
    assert run_of().end_reason == "", "it is not the script's fault"


def test_an_offer_that_failed_a_moment_ago_is_not_tried_at_once_but_later(one, settle):
    one.fail("ray_failed", "Ray did not start")
    settle(one, seconds=10)
    assert Lease.objects.count() == 1

    settle(one, seconds=30)

    assert Lease.objects.count() == 2


def test_a_stop_keeps_what_was_trained(one, ada, settle):
    site = site_of(one)
    _, ranges = site.lease()
    ada.ok("POST", f"/v1/workloads/{run_of().pk}/stop")
    settle(one, seconds=2)
    site.give([[ranges[0][0], ranges[0][0] + 20]], partial=True)
    one.exit(75)
    settle(one, seconds=6)

    body = ada.ok("GET", f"/v1/workloads/{run_of().pk}")
    assert (body["state"], body["end_reason"]) == ("cancelled", "asked")
    assert body["samples"]["merged"] == 20
    assert body["artifact"]["kind"] == "checkpoint"


def test_a_site_that_does_not_leave_when_asked_is_left_behind(one, ada, settle):
    site_of(one)
    ada.ok("POST", f"/v1/workloads/{run_of().pk}/stop")

    settle(one, seconds=60)

    assert run_of().state == "cancelled"
    assert Lease.objects.get().state == "released"


def test_the_last_round_of_an_ended_workload_is_not_looked_at_for_ever(one, settle, clock):
    site = site_of(one)
    train(site, settle, one, 6)
    site.save()
    one.exit(0)
    settle(one, seconds=5)
    clock.forward(seconds=31)
    settle(one, seconds=2)

    assert run_of().state == "succeeded"
    assert not Round.objects.filter(state="open").exists()


def test_the_store_keeps_the_model_and_the_newest_checkpoint_of_a_run_that_ended(one, ada, settle, clock):
    site = site_of(one)
    train(site, settle, one, 6)
    site.save()
    one.exit(0)
    settle(one, seconds=5)
    handed_in = list(Contribution.objects.values_list("sha256", flat=True))
    assert retention.sweep(now=clock.now) == 0, "answers may still be asked again"

    assert retention.sweep(now=clock.forward(minutes=11)) > 0

    kept = Artifact.objects.order_by("id").values_list("kind", "version")
    assert list(kept) == [("checkpoint", 4), ("model", 4)]
    assert all(storage.exists(a.sha256) for a in Artifact.objects.all())
    assert not any(storage.exists(sha256) for sha256 in handed_in)
    assert retention.sweep(now=clock.now) == 0
    assert ada.ok("GET", f"/v1/workloads/{run_of().pk}/rounds")["results"][0]["samples"] == 100


def test_updates_are_kept_from_the_oldest_checkpoint_on_and_what_the_hub_needs_too(
    one, settle, clock, monkeypatch, settings
):
    settings.VERSIONS_KEPT = 4
    monkeypatch.setattr(hub, "SMALL_BYTES", 0)
    monkeypatch.setattr(hub, "SNAPSHOT_EVERY", 2)
    site = site_of(one, total=1100)
    for number in range(9):
        train(site, settle, one, 1, pull=0.1 if number in (0, 8) else 0.01 * number)
    assert Training.objects.get().version == 9

    retention.sweep(now=clock.forward(minutes=11))

    checkpoints = sorted(Artifact.objects.filter(kind="checkpoint").values_list("version", flat=True))
    assert checkpoints == [4, 6, 8]
    kept = Round.objects.filter(state="closed", update_kept=True).order_by("version")
    assert [round_.version for round_ in kept] == [4, 5, 6, 7, 8]
    assert all(storage.exists(round_.update_sha256) for round_ in kept)
    gone = Round.objects.filter(state="closed", update_kept=False).values_list("update_sha256", flat=True)
    assert [storage.exists(sha256) for sha256 in gone.order_by("version")] == [True, False, False, False]
    assert gone.earliest("version") == kept.latest("version").update_sha256, "two rounds, one step, one object"
    training = Training.objects.get()
    told = {since: queries.state(training, since=since)["updates"] for since in (3, 4, 5, 8, 9)}
    # From version 5 on by updates; 4 would be too far behind, and of those since 3 one is gone.
    assert {since: [one["version"] for one in updates] for since, updates in told.items()} == {
        3: [8], 4: [8], 5: [5, 6, 7, 8], 8: [8], 9: []
    }  # fmt: skip
    Round.objects.filter(version=6).update(update_kept=False)
    assert [one["version"] for one in queries.state(training, since=5)["updates"]] == [8]
    hub.MEMORY._states.clear()
    assert hub.MEMORY.take(Training.objects.get()).version == 9, "the contributions since the snapshot are still there"


def test_two_brokers_whose_hosts_share_a_machine_begin_their_rays_at_other_ports(
    make_host, order_run, settle, settings
):
    for name in ("one", "two", "three"):
        make_host(name, "home/berlin")

    def begun(secret):
        settings.SECRET_KEY = secret
        run = order_run(sites=1)
        settle(seconds=1)
        placement = Placement.objects.get(workload=run)
        return (placement.ray_port - placement.pk) % len(RAY_PORTS)

    first, same, other = begun("ours"), begun("ours"), begun("theirs")
    assert first == same != other
