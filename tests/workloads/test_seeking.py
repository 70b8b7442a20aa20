"""Workloads that lack machines: who gets what is free, who waits, and who gives way."""

from __future__ import annotations

import pytest

from tests.conftest import Site
from workloads.models import Lease, Placement, Workload
from workloads.seeking import seek

pytestmark = pytest.mark.django_db


def states():
    return list(Workload.objects.order_by("id").values_list("state", flat=True))


def sites_of(run):
    return list(Placement.objects.filter(workload=run).order_by("id").values_list("region", flat=True))


def end(ada, agent, settle, run):
    ada.ok("POST", f"/v1/workloads/{run}/stop")
    settle(agent, seconds=2)
    agent.exit(75)
    settle(agent, seconds=6)


class TestStock:
    def test_no_machine_is_given_to_two_and_who_waits_says_for_what(self, make_host, order_run, settle, ada):
        host = make_host("one", "home/berlin")
        first = order_run(sites=1)
        second = order_run(sites=1)

        settle(host, seconds=8)

        assert Lease.objects.count() == 1, "nobody tried in vain"
        assert [*map(sites_of, (first, second))] == [["home/berlin"], []]
        waiting = ada.ok("GET", f"/v1/workloads/{second}")
        assert waiting["state"] == "placing"
        assert waiting["why"].startswith("waits: 1 chips of one kind at one site")

    def test_who_waited_is_placed_when_a_machine_is_free_again(self, make_host, order_run, settle, ada):
        host = make_host("one", "home/berlin")
        first, second = order_run(sites=1), order_run(sites=1)
        settle(host, seconds=8)

        end(ada, host, settle, first)
        settle(host, seconds=6)

        assert sites_of(second) == ["home/berlin"]
        assert ada.ok("GET", f"/v1/workloads/{second}")["why"] == ""

    def test_what_was_quoted_is_taken_while_it_is_free_though_something_is_cheaper_now(
        self, make_host, order_run, settle
    ):
        dear = make_host("one", "home/berlin", usd="0.09")
        run = order_run(sites=1)
        make_host("two", "home/paris", usd="0.01")

        settle(dear, seconds=3)

        assert sites_of(run) == ["home/berlin"]

    def test_what_was_quoted_and_is_gone_is_replaced_by_what_fits(self, make_host, order_run, settle, owner):
        quoted = make_host("one", "home/berlin", usd="0.01")
        run = order_run(sites=1)
        other = make_host("two", "home/paris", usd="0.09")
        owner.ok("POST", f"/v1/hosts/{quoted.host}/reclaim", {"notice_s": 0})

        settle(other, seconds=3)

        assert sites_of(run) == ["home/paris"]

    def test_both_sites_of_an_order_are_looked_for_at_once(self, make_host, order_run, settle):
        hosts = [make_host("one", "home/berlin"), make_host("two", "home/paris")]
        run = order_run(sites=2)

        settle(*hosts, seconds=3)

        assert sorted(sites_of(run)) == ["home/berlin", "home/paris"]

    def test_one_site_trains_while_the_other_is_sought(self, make_host, order_run, settle, owner, clock):
        hosts = [make_host("one", "home/berlin"), make_host("two", "home/paris")]
        run = order_run(sites=2)
        owner.ok("POST", f"/v1/hosts/{hosts[1].host}/reclaim", {"notice_s": 0})

        settle(hosts[0], seconds=6)

        assert states() == ["running"]
        late = make_host("three", "home/rome")
        settle(hosts[0], late, seconds=8)
        assert sites_of(run) == ["home/berlin", "home/rome"]

    def test_what_was_found_for_a_run_that_ended_before_it_was_placed_is_free(
        self, make_host, order_run, settle, ada, clock
    ):
        host = make_host("one", "home/berlin")
        first = order_run(sites=1)
        seek(clock.now)
        assert Workload.objects.get(pk=first).assigned
        ada.ok("POST", f"/v1/workloads/{first}/stop")
        second = order_run(sites=1)

        settle(host, seconds=6)

        assert [*map(sites_of, (first, second))] == [[], ["home/berlin"]]


class TestReplacement:
    @pytest.fixture
    def lost(self, make_host, order_run, settle):
        """A run whose only site has just been lost; two places are left, one of them where it was."""

        def one(**need):
            first = make_host("one", "home/berlin", usd="0.05")
            run = order_run(sites=1, **need)
            settle(first, seconds=4)
            assert sites_of(run) == ["home/berlin"]
            return run

        return one

    def test_costs_at_most_what_the_need_allows_an_hour(self, lost, make_host, settle):
        run = lost(max_usd_per_hour="0.06")
        dear = make_host("two", "home/paris", usd="0.07")

        settle(dear, seconds=16)
        assert sites_of(run) == ["home/berlin"]
        cheap = make_host("three", "home/rome", usd="0.05")
        settle(dear, cheap, seconds=6)

        assert sites_of(run) == ["home/berlin", "home/rome"]

    def test_stands_where_the_need_allows(self, lost, make_host, settle):
        run = lost(not_regions=["home/paris"])
        paris = make_host("two", "home/paris", usd="0.01")
        rome = make_host("three", "home/rome", usd="0.09")

        settle(paris, rome, seconds=16)

        assert sites_of(run) == ["home/berlin", "home/rome"]

    def test_goes_to_a_place_of_its_own_while_there_is_one(self, make_host, order_run, settle):
        first, second = make_host("one", "home/berlin"), make_host("two", "home/paris")
        run = order_run(sites=2)
        settle(first, second, seconds=4)
        same = make_host("three", "home/berlin", usd="0.01")
        other = make_host("four", "home/rome", usd="0.09")

        settle(first, same, other, seconds=16)

        assert sites_of(run)[2:] == ["home/rome"]


class TestRank:
    @pytest.fixture
    def operator(self, make_caller, clock):
        return make_caller("grace")

    def order_at(self, priority, order_run, by):
        run = order_run(sites=1, by=by, queue=True)
        Workload.objects.filter(pk=run).update(priority=priority)
        return run

    def test_the_higher_priority_is_placed_first(self, make_host, order_run, settle, ada):
        host = make_host("one", "home/berlin")
        low, high = self.order_at(0, order_run, ada), self.order_at(5, order_run, ada)

        settle(host, seconds=4)

        assert [*map(sites_of, (low, high))] == [[], ["home/berlin"]]

    def test_a_running_workload_of_lower_priority_hands_in_what_it_has_gives_way_and_waits(
        self, make_host, order_run, settle, ada, operator
    ):
        host = make_host("one", "home/berlin")
        low = order_run(sites=1)
        settle(host, seconds=4)
        site = Site(host.client, next(iter(host.orders.values())))
        site.hello()
        _, ranges = site.lease()

        high = self.order_at(5, order_run, operator)
        settle(host, seconds=4)
        assert next(iter(host.orders.values()))["drain"] is True
        site.give([[ranges[0][0], ranges[0][0] + 20]], partial=True)
        host.exit(75)
        settle(host, seconds=12)

        assert sites_of(high) == ["home/berlin"]
        assert Placement.objects.get(workload=low).why == f"gives way to workload {high}, of priority 5"
        body = ada.ok("GET", f"/v1/workloads/{low}")
        assert (body["state"], body["samples"]["merged"]) == ("recovering", 20)
        end(operator, host, settle, high)
        settle(host, seconds=6)
        assert sites_of(low) == ["home/berlin", "home/berlin"]

    def test_equals_do_not_drain_each_other(self, make_host, order_run, settle, ada, operator):
        host = make_host("one", "home/berlin")
        first = order_run(sites=1)
        settle(host, seconds=4)

        second = order_run(sites=1, by=operator, queue=True)
        settle(host, seconds=30)

        assert [*map(sites_of, (first, second))] == [["home/berlin"], []]
        assert Placement.objects.get().drain_requested_at is None

    def test_the_team_that_used_less_lately_goes_first(self, make_host, order_run, settle, ada, operator, clock):
        host = make_host("one", "home/berlin")
        used = order_run(sites=1)
        settle(host, seconds=60)
        again, fresh = order_run(sites=1, queue=True), order_run(sites=1, by=operator, queue=True)

        end(ada, host, settle, used)
        settle(host, seconds=8)

        assert [*map(sites_of, (again, fresh))] == [[], ["home/berlin"]]

    def test_a_priority_above_zero_needs_an_operators_key(self, make_host, make_caller, ada, order_run):
        make_host("one", "home/berlin")
        plain = make_caller("eve", scopes=("read", "run"))
        order_run(sites=1)
        quote = plain.ok("POST", "/v1/quotes", {"accelerator": "CPU", "sites": 1})["quotes"][0]["id"]
        digest = Workload.objects.get().program.sha256
        plain.call("PUT", f"/v1/programs/{digest}", raw=b"")
        body = {"quote": quote, "program": digest, "script": "train.py", "args": [], "budget_usd": "1", "priority": 1}

        assert plain.refused("POST", "/v1/workloads", body)[0] in (403, 422)
