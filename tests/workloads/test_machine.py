from __future__ import annotations

import dataclasses
import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from offers.models import Host, Rental
from offers.queries import provider
from providers.base import LaunchOrder, Market, Unreachable
from workloads import bell
from workloads.machine import Nap
from workloads.models import Event, Lease, Placement, Workload
from workloads.operations import request_stop
from workloads.orphans import end_orphans
from workloads.seeking import seek
from workloads.steps.lease import lease_machine
from workloads.steps.workload import workload_machine

pytestmark = pytest.mark.django_db


@pytest.fixture
def lease(make_host, order_run, clock):
    """A lease that is about to be launched."""
    make_host("one", "home/berlin")
    run = order_run(sites=1)
    seek(clock.now)
    workload_machine.advance(run, clock.now)
    return Lease.objects.get()


@pytest.fixture
def replace_step(monkeypatch):
    def replace(state, run):
        step = dataclasses.replace(lease_machine.steps[state], run=run)
        monkeypatch.setitem(lease_machine.steps, state, step)

    return replace


def test_a_move_is_recorded_with_its_reason(lease, clock):
    lease_machine.advance(lease.pk, clock.now)

    lease.refresh_from_db()
    assert (lease.state, lease.opened_at) == ("booting", clock.now)
    event = Event.objects.get(subject_type="lease")
    assert (event.from_state, event.to_state, event.workload_id) == (
        "requested",
        "booting",
        lease.placement.workload_id,
    )


def test_a_decision_to_stay_is_an_event_with_its_figures(lease, clock, replace_step):
    replace_step("requested", lambda subject, now: Nap(seconds=5, why="stay", figures={"usd": 1.5}, set={"why": "w"}))

    lease_machine.advance(lease.pk, clock.now)

    event = Event.objects.get(subject_type="lease")
    assert (event.from_state, event.to_state, event.why) == ("requested", "requested", "stay")
    assert event.figures == {"usd": 1.5}
    lease.refresh_from_db()
    assert (lease.why, lease.wake_at) == ("w", clock.now + timedelta(seconds=5))


def test_a_row_that_another_worker_holds_is_left_alone(lease, clock):
    assert lease_machine.claim(lease.pk, clock.now)

    assert lease_machine.advance(lease.pk, clock.now) is None


def test_a_worker_that_died_is_followed_by_another_and_only_one_machine_is_rented(lease, clock):

    lease_machine.claim(lease.pk, clock.now)
    order = LaunchOrder(key=lease.key, region="", machine_type=lease.offer.machine_type, market=Market.SPOT,
                        max_usd_per_hour=lease.cost_usd_per_hour)  # fmt: skip
    provider("supplier").launch(order)  # It had launched when it died.

    clock.forward(seconds=121)
    Host.objects.update(seen_at=clock.now)
    assert lease_machine.advance(lease.pk, clock.now)

    assert Rental.objects.count() == 1
    assert Lease.objects.get().state == "booting"


def test_a_late_worker_writes_nothing(lease, clock, monkeypatch):
    run = lease_machine._run

    def slow(step, subject, now):
        move = run(step, subject, now)
        Lease.objects.filter(pk=subject.pk).update(claim_token=uuid.uuid4())
        return move

    monkeypatch.setattr(lease_machine, "_run", slow)

    assert lease_machine.advance(lease.pk, clock.now) is None

    lease.refresh_from_db()
    assert lease.state == Lease.State.REQUESTED
    assert not Event.objects.filter(subject_type="lease").exists()


def test_a_step_may_not_write(lease, clock, replace_step):
    replace_step("requested", lambda subject, now: subject.save())

    with pytest.raises(AssertionError, match="may not write"):
        lease_machine.advance(lease.pk, clock.now)


def test_a_step_that_fails_is_tried_again_later_not_at_every_tick(lease, clock, replace_step):
    def fail(subject, now):
        raise ValueError("a bug")

    replace_step("requested", fail)

    with pytest.raises(ValueError, match="a bug"):
        lease_machine.advance(lease.pk, clock.now)

    lease.refresh_from_db()
    assert lease.claim_token is None
    assert lease.wake_at > clock.now


def test_a_world_that_is_away_is_asked_again_with_growing_pauses(lease, clock, replace_step):
    def away(subject, now):
        raise Unreachable("the cloud is down")

    replace_step("requested", away)

    pauses = []
    for _ in range(4):
        move = lease_machine.advance(lease.pk, clock.now)
        pauses.append(move.seconds)
        clock.forward(seconds=move.seconds)

    assert pauses == [1, 2, 4, 8]


def test_a_world_that_answers_again_is_forgiven_its_silence(lease, clock, replace_step):
    moves = [Nap(seconds=20)] * 12 + ["away", "away", Nap(seconds=20), "away"]

    def run(subject, now):
        move = moves.pop(0)
        if move == "away":
            raise Unreachable("the cloud is down")
        return move

    replace_step("requested", run)

    pauses = []
    while moves:
        move = lease_machine.advance(lease.pk, clock.now)
        pauses.append(move.seconds)
        clock.forward(seconds=move.seconds)

    assert pauses == [20] * 12 + [1, 2, 20, 1]


def test_lateness_leads_where_the_state_says(lease, clock):
    clock.forward(minutes=6)

    lease_machine.advance(lease.pk, clock.now)

    lease.refresh_from_db()
    assert lease.state == Lease.State.RELEASING


def test_a_ring_in_the_middle_of_a_step_is_not_lost(lease, clock, replace_step, monkeypatch):
    replace_step("requested", lambda subject, now: Nap(seconds=600))
    run = lease_machine._run

    def rung(step, subject, now):
        move = run(step, subject, now)
        bell.wake("lease", subject.pk, now)
        return move

    monkeypatch.setattr(lease_machine, "_run", rung)

    lease_machine.advance(lease.pk, clock.now)

    lease.refresh_from_db()
    assert lease.wake_at == clock.now


def test_a_finished_lease_that_is_not_closed_is_refused_by_the_database(lease, clock):
    Lease.objects.filter(pk=lease.pk).update(opened_at=clock.now)
    with pytest.raises(IntegrityError, match="a_finished_lease_is_closed"), transaction.atomic():
        Lease.objects.filter(pk=lease.pk).update(state="released")
    with pytest.raises(IntegrityError, match="a_lease_closes_after_it_opens"), transaction.atomic():
        Lease.objects.filter(pk=lease.pk).update(closed_at=clock.now - timedelta(seconds=1))


def test_a_lease_whose_launch_was_never_heard_of_is_ended_as_an_orphan(lease, clock):
    lease_machine.advance(lease.pk, clock.now)
    Lease.objects.filter(pk=lease.pk).update(state="lost", closed_at=clock.now, entered_at=clock.now)

    assert end_orphans(now=clock.now) == 0, "it is still being seen to"
    assert end_orphans(now=clock.forward(seconds=6)) == 1

    assert Rental.objects.get().ended_at is not None


def test_a_stop_is_asked_once_and_the_first_reason_counts(lease, clock):
    run = lease.placement.workload_id
    request_stop(workload_id=run, reason="budget", why="spent", now=clock.now)
    request_stop(workload_id=run, reason="asked", why="later", now=clock.forward(seconds=1))

    assert Workload.objects.get(pk=run).end_reason == "budget"
    assert Placement.objects.get().state == "leasing"
