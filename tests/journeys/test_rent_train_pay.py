"""The whole way without Ray: host -> offer -> quote -> lease -> rounds -> model -> ledger, over the real API."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from offers.models import Rental
from tests.conftest import Site
from workloads.models import Lease, SampleRange, Workload

pytestmark = pytest.mark.django_db


@pytest.fixture
def three_hosts(make_host):
    return (
        make_host("berlin-1", "home/berlin"),
        make_host("berlin-2", "home/berlin", usd="0.07"),
        make_host("paris-1", "home/paris", usd="0.08"),
    )


def show(ada, run):
    return ada.ok("GET", f"/v1/workloads/{run}")


def train(sites, settle, agents, *, rounds=50):
    """Train lock-step until the data is used up."""
    for _ in range(rounds):
        done = 0
        for site in sites:
            status, ranges = site.lease()
            done += status == "done"
            if status == "leased":
                assert site.give(ranges)["status"] == "accepted"
        if done == len(sites):
            return
        settle(*agents, seconds=2)
    raise AssertionError("the data never ended")


def merged_positions(run):
    rows = SampleRange.objects.filter(workload=run).exclude(merged_version=None)
    return sorted(p for row in rows for p in range(row.start, row.end))


def test_a_run_on_two_sites_succeeds_and_is_paid_for(ada, owner, three_hosts, order_run, settle):
    run = order_run()
    settle(*three_hosts, seconds=5)
    assert show(ada, run)["state"] == "running"
    used = [agent for agent in three_hosts if agent.orders]
    assert len(used) == 2
    sites = [Site(agent.client, next(iter(agent.orders.values()))) for agent in used]
    for site in sites:
        site.hello()

    train(sites, settle, three_hosts)
    for site in sites:
        site.save()
    for agent in used:
        agent.exit(0)
    settle(*three_hosts, seconds=8)

    body = show(ada, run)
    assert (body["state"], body["end_reason"]) == ("succeeded", "finished")
    assert merged_positions(run) == list(range(400))
    assert body["artifact"]["kind"] == "model"
    assert all(np.array_equal(sites[0].theta[name], sites[1].theta[name]) for name in sites[0].theta)
    assert not Rental.objects.filter(ended_at=None).exists()
    assert set(Lease.objects.values_list("state", flat=True)) == {"released"}
    bill = ada.ok("GET", f"/v1/workloads/{run}/bill")
    assert bill["final"] is True
    assert Decimal(bill["total_usd"]) > 0
    assert bill["total_usd"] == bill["billed_usd"]
    assert ada.ok("GET", "/v1/ledger")["sum_usd"] == "0.000000"
    earned = sum(Decimal(host["earned_usd"]) for host in owner.ok("GET", "/v1/hosts")["results"])
    assert earned == sum(entry_amounts(run, "supplier:"))


def entry_amounts(run, account):
    from billing.models import LedgerEntry

    return [e.amount_usd for e in LedgerEntry.objects.filter(workload=run, credit__startswith=account)]


def test_a_lost_machine_is_replaced_and_no_sample_is_lost_or_counted_twice(ada, three_hosts, order_run, settle):
    run = order_run()
    settle(*three_hosts, seconds=5)
    used = [agent for agent in three_hosts if agent.orders]
    spare = next(agent for agent in three_hosts if not agent.orders)
    survivor = used[1]
    sites = [Site(agent.client, next(iter(agent.orders.values()))) for agent in used]
    for site in sites:
        site.hello()
    status, _ = sites[0].lease()
    _, ranges = sites[1].lease()
    assert status == "leased"
    sites[1].give(ranges)

    settle(survivor, spare, seconds=14)  # The victim is silent in the middle of the round.

    body = show(ada, run)
    assert [e for e in ada.ok("GET", f"/v1/workloads/{run}/events")["results"] if e["to"] == "lost"]
    assert body["state"] in ("starting", "running")
    assert spare.orders, "the third host takes over"
    newcomer = Site(spare.client, next(iter(spare.orders.values())))
    newcomer.hello()
    assert newcomer.version == 1, "it starts from the newest parameters"
    train([sites[1], newcomer], settle, (survivor, spare))
    for site in (sites[1], newcomer):
        site.save()
    for agent in (survivor, spare):
        agent.exit(0)
    settle(survivor, spare, seconds=8)
    assert show(ada, run)["state"] == "succeeded"
    assert merged_positions(run) == list(range(400))
    states = sorted(Lease.objects.values_list("state", flat=True))
    assert states == ["lost", "released", "released"]
    assert sites[0].call("POST", "samples", {"number": 9, "count": 10}).status_code == 409, "the old copy is fenced off"


def test_a_reclaim_with_notice_hands_in_the_partial_round(ada, owner, three_hosts, order_run, settle):
    run = order_run()
    settle(*three_hosts, seconds=5)
    used = [agent for agent in three_hosts if agent.orders]
    sites = [Site(agent.client, next(iter(agent.orders.values()))) for agent in used]
    for site in sites:
        site.hello()
    _, ranges = sites[0].lease()

    owner.ok("POST", f"/v1/hosts/{used[0].host}/reclaim", {"notice_s": 30})
    settle(*three_hosts, seconds=3)
    assert next(iter(used[0].orders.values()))["drain"] is True
    ((start, end),) = ranges
    sites[0].give([[start, start + 40]], partial=True)
    used[0].exit(75)
    settle(*three_hosts, seconds=6)

    assert show(ada, run)["sites"][0]["state"] == "closed"
    host = next(h for h in owner.ok("GET", "/v1/hosts")["results"] if h["id"] == used[0].host)
    assert host["state"] in ("reclaiming", "reclaimed")
    free = SampleRange.objects.filter(workload=run, holder=None, contribution=None)
    assert [(row.start, row.end) for row in free] == [(start + 40, end)]
    assert Workload.objects.get(pk=run).state in ("starting", "running")


def test_a_budget_that_runs_out_stops_the_run_after_a_last_checkpoint(ada, three_hosts, order_run, settle):
    run = order_run(budget="0.002")
    settle(*three_hosts, seconds=4)
    used = [agent for agent in three_hosts if agent.orders]
    sites = [Site(agent.client, next(iter(agent.orders.values())), total=100_000) for agent in used]
    for site in sites:
        site.hello()
    held = [site.lease()[1] for site in sites]

    for _ in range(60):
        settle(*three_hosts, seconds=1)
        if all(order["drain"] for agent in used for order in agent.orders.values()):
            break
    for site, ranges in zip(sites, held, strict=True):
        site.give([[ranges[0][0], ranges[0][0] + 10]], partial=True)
    for agent in used:
        agent.exit(75)
    settle(*three_hosts, seconds=8)

    body = show(ada, run)
    assert (body["state"], body["end_reason"]) == ("cancelled", "budget")
    assert body["artifact"]["kind"] == "checkpoint"
    assert body["samples"]["merged"] == 20
    bill = ada.ok("GET", f"/v1/workloads/{run}/bill")
    assert Decimal(bill["total_usd"]) <= Decimal("0.002")
    assert bill["final"] is True
