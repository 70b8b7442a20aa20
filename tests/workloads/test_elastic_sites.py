"""A site of several machines that loses one, goes on, and gets another in its place."""

from __future__ import annotations

import pytest

from tests.conftest import Site
from workloads import queries
from workloads.models import Contribution, Event, Lease, Placement, Workload
from workloads.operations import request_drain
from workloads.seeking import seek
from workloads.vantage import sites_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def berlin(make_host, order_run, settle):
    """Three hosts at one place, two of them a site that trains: (head, other, spare)."""
    agents = [make_host(f"berlin-{n}", "home/berlin", usd=f"0.0{n}") for n in (1, 2, 3)]
    order_run(sites=1, accelerators_per_site=2)
    settle(*agents, seconds=4)
    assert placement().state == "training"
    return agents


def placement():
    return Placement.objects.get()


def machines():
    return list(Lease.objects.order_by("id").values_list("state", "offer__machine_type"))


def told():
    events = Event.objects.filter(subject_type="placement", from_state="training", to_state="training")
    return list(events.order_by("id").values_list("why", flat=True))


def hello(agent, world, **more):
    site = Site(agent.client, next(iter(agent.orders.values())), world=world, **more)
    site.hello()
    return site


def test_it_goes_on_without_a_machine_that_dies_and_another_joins_it(berlin, settle, ada):
    head, other, spare = berlin
    hello(head, 2)

    settle(head, spare, seconds=14)

    assert placement().state == "training"
    assert [state for state, _ in machines()] == ["held", "lost", "held"]
    assert next(iter(spare.orders.values()))["role"] == "worker"
    assert next(iter(spare.orders.values()))["placement"] == placement().pk
    assert told() == ["lost one of 2 machines, goes on with 1", "goes on with 2 machines instead of 1"]
    run = Workload.objects.get()
    assert run.state == "running"
    why = Event.objects.filter(subject_type="workload", to_state="placing").latest("id").why
    assert why == "a site that lost machines gets others"
    lost, late = Lease.objects.order_by("id")[1:]
    assert lost.closed_at is not None
    assert late.opened_at >= lost.closed_at, "each is paid for its own seconds"
    assert len(ada.ok("GET", f"/v1/workloads/{run.pk}/bill")["leases"]) == 3


def test_it_goes_on_with_its_head_alone_while_there_is_no_other_machine_of_its_place(
    make_host, order_run, settle, owner
):
    head, other = make_host("one", "home/berlin", usd="0.01"), make_host("two", "home/berlin", usd="0.02")
    elsewhere = make_host("three", "home/paris", usd="0.03")
    order_run(sites=1, accelerators_per_site=2)
    settle(head, other, elsewhere, seconds=4)

    settle(head, elsewhere, seconds=20)

    (site,) = sites_of(Workload.objects.get()) or []
    assert site.share == 0.5
    assert (placement().state, Workload.objects.get().state) == ("training", "running")
    assert Lease.objects.count() == 2, "machines of two places do not reach each other"
    assert Workload.objects.get().why.startswith("waits: 1 chips of one kind at one site")
    late = make_host("four", "home/berlin", usd="0.04")
    settle(head, elsewhere, late, seconds=8)
    assert late.orders
    assert queries.short_of_machines().count() == 0


def test_of_two_lost_machines_it_takes_the_one_that_there_is(make_host, order_run, settle):
    agents = [make_host(f"berlin-{n}", "home/berlin", usd=f"0.0{n}") for n in (1, 2, 3)]
    order_run(sites=1, accelerators_per_site=3)
    settle(*agents, seconds=4)
    head, spare = agents[0], make_host("berlin-4", "home/berlin", usd="0.04")

    settle(head, spare, seconds=18)
    assert told() == ["lost 2 of 3 machines, goes on with 1", "goes on with 2 machines instead of 1"]
    another = make_host("berlin-5", "home/berlin", usd="0.05")
    settle(head, spare, another, seconds=8)

    assert told()[2:] == ["goes on with 3 machines instead of 2"]
    assert queries.short_of_machines().count() == 0


def test_two_lost_machines_are_replaced_at_once_where_there_are_two(make_host, order_run, settle):
    agents = [make_host(f"berlin-{n}", "home/berlin", usd=f"0.0{n}") for n in (1, 2, 3, 4, 5)]
    order_run(sites=1, accelerators_per_site=3)
    settle(*agents, seconds=4)

    settle(agents[0], *agents[3:], seconds=14)

    first, second = Lease.objects.order_by("id")[3:]
    assert first.opened_at == second.opened_at, "the script starts anew once"


def test_the_site_is_lost_with_its_head(berlin, settle):
    head, other, spare = berlin

    settle(other, spare, seconds=12)

    first = Placement.objects.order_by("id").first()
    assert first.state == "closed"
    assert first.why.startswith("lost a machine: the machine is gone")


def test_a_machine_whose_agent_failed_is_given_back_and_blames_nobody(berlin, settle):
    head, other, spare = berlin
    other.fail("requirements_failed", "pip could not reach its index")

    settle(head, other, spare, seconds=8)

    assert placement().state == "training"
    assert [state for state, _ in machines()] == ["held", "released", "held"]
    assert Workload.objects.get().end_reason == ""


def test_a_machine_that_is_taken_away_stays_until_the_site_does_without_it(berlin, settle, owner):
    head, other, spare = berlin
    hello(head, 2)

    owner.ok("POST", f"/v1/hosts/{other.host}/reclaim", {"notice_s": 60})
    settle(head, other, seconds=4)
    order = next(iter(head.orders.values()))
    assert (order["drain"], order["ray"]["without"]) == (False, [other.address])
    assert other.orders, "it may hand in first"

    hello(head, 1, total=400)
    settle(head, other, seconds=3)
    assert not other.orders
    assert [state for state, _ in machines()][:2] == ["held", "released"]


def test_a_head_that_is_taken_away_takes_the_site_with_it(berlin, settle, owner):
    head, other, spare = berlin

    owner.ok("POST", f"/v1/hosts/{head.host}/reclaim", {"notice_s": 60})
    settle(head, other, seconds=2)

    assert next(iter(head.orders.values()))["drain"] is True


def test_a_script_that_fails_with_a_lost_machine_is_not_to_blame(berlin, settle):
    head, other, spare = berlin
    settle(head, seconds=6)
    head.exit(1, "RuntimeError: Connection closed by peer")

    settle(head, seconds=20)

    assert Placement.objects.order_by("id").first().why.startswith("lost a machine: ")
    assert Workload.objects.get().end_reason == ""


def test_a_script_that_fails_long_after_a_loss_is_to_blame(berlin, settle):
    head, other, spare = berlin
    settle(head, seconds=40)
    head.exit(1, "ValueError: no such thing")

    settle(head, seconds=20)

    assert Workload.objects.get().end_reason == "script_error"


def test_a_site_without_one_machine_may_hand_in_when_it_is_asked_to_leave(berlin, settle, ada):
    head, other, spare = berlin
    settle(head, seconds=14)
    ada.ok("POST", f"/v1/workloads/{Workload.objects.get().pk}/stop")

    settle(head, seconds=10)

    assert next(iter(head.orders.values()))["drain"] is True
    assert placement().state == "draining"


def test_no_more_accelerators_take_part_than_were_ever_leased(berlin):
    head = berlin[0]
    site = Site(head.client, next(iter(head.orders.values())), world=3)

    with pytest.raises(AssertionError, match="2 accelerators were leased here, the site trains on 3"):
        site.hello()


def test_speed_is_measured_by_the_accelerators_that_trained(berlin, settle, clock):
    head, other, spare = berlin
    site = hello(head, 2)
    _, ranges = site.lease()
    site.give(ranges, train_s=5.0)  # 100 samples: 10 a second for each of two.
    settle(head, spare, seconds=2)
    site.world = 1
    site.hello(incarnation=1_795_000_000_001)
    site.number = 0
    _, ranges = site.lease()
    site.give(ranges, train_s=10.0)  # 10 a second for the one that is left.
    settle(head, spare, seconds=2)

    assert list(Contribution.objects.order_by("id").values_list("accelerators", flat=True)) == [2, 1]
    run = Workload.objects.get()
    assert queries.measured_speed(owner_id=run.owner_id, program_sha256=run.program.sha256) == {"CPU": 10.0}


def test_what_was_found_for_a_site_that_leaves_meanwhile_stays_free(berlin, settle, clock):
    head, other, spare = berlin
    settle(head, seconds=7)
    Lease.objects.filter(offer__machine_type=f"host-{other.host}").update(release_requested_at=clock.now)
    spare.beat()
    assert seek(clock.now) == 1
    (site,) = Workload.objects.get().assigned["sites"]
    assert site["within"] == placement().pk
    request_drain(placement_id=placement().pk, why="enough", now=clock.now)

    settle(head, spare, seconds=2)

    assert not spare.orders
    assert Lease.objects.count() == 2
