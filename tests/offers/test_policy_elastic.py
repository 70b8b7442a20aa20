from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from offers.matching.policy import elastic_supply
from offers.matching.policy.elastic import ElasticPolicy, new_elastic_policy
from offers.matching.policy.elastic_supply import STEPS, Futures, NodeLives
from offers.matching.policy.elastic_terms import Observation, Terms

SHARED = Path(__file__).parents[2].parent / "shared"
TICK_S = 600.0
ON_DEMAND_USD = 10.0


def terms(*, zones=2, work_node_h, deadline_h, nodes_max=4, changeover_s=720.0, on_demand_usd=ON_DEMAND_USD):
    return Terms(
        zones=tuple(f"zone-{zone}" for zone in range(zones)),
        on_demand_usd=(on_demand_usd,) * zones,
        egress_usd=((0.0,) * zones,) * zones,
        tick_s=TICK_S,
        work_node_s=work_node_h * 3600,
        deadline_s=round(deadline_h * 3600),
        changeover_s=changeover_s,
        nodes_max=nodes_max,
    )


def observation(*, available, spot_usd, spot=None, on_demand=None, elapsed_h=0.0, done_node_h=0.0):
    nothing = ((),) * len(available)
    return Observation(
        elapsed_s=elapsed_h * 3600,
        available=tuple(available),
        spot_usd=tuple(spot_usd),
        spot_left_s=nothing if spot is None else spot,
        on_demand_left_s=nothing if on_demand is None else on_demand,
        progress_node_s=done_node_h * 3600,
    )


def steady(count, ticks=288):
    """Two days of a past in which nothing changed."""
    return np.repeat(np.asarray(count)[:, None], ticks, axis=1)


def decide(what, seen, *, past):
    return ElasticPolicy(what, past=np.asarray(past)).decide(seen)


def run(policy, *, counts, spot_usd, what):
    """
    Let a policy work; returns (ticks to finish, or None when late, dollars, most nodes held at once).

    counts: called with (tick, nodes held with no changeover left, nodes held) at each tick; an adversary, if it likes.
    """
    zones = len(what.zones)
    spot, on_demand = [[] for _ in range(zones)], [[] for _ in range(zones)]
    progress_s, usd, most = 0.0, 0.0, 0
    for tick in range(int(what.deadline_s // TICK_S) + 1):
        held = [left for nodes in spot for left in nodes]
        count = counts(tick, sum(left == 0 for left in held), len(held))
        spot = [sorted(nodes)[: count[zone]] for zone, nodes in enumerate(spot)]
        if progress_s >= what.work_node_s - 1e-3:
            return tick, usd, most
        seen = {"spot_held": [len(n) for n in spot], "on_demand_held": [len(n) for n in on_demand]}
        targets = policy.step(tick=tick, available=count, spot_usd=spot_usd, progress_node_s=progress_s, **seen)
        most = max(most, sum(map(sum, targets)))
        assert all(0 <= wanted <= there for wanted, there in zip(targets[0], count, strict=True))
        for nodes, wanted in zip((spot, on_demand), targets, strict=True):
            for zone in range(zones):
                new = max(wanted[zone] - len(nodes[zone]), 0)
                nodes[zone] = sorted(nodes[zone])[: wanted[zone]] + [what.changeover_s] * new
                progress_s += sum(max(TICK_S - left, 0.0) for left in nodes[zone])
                nodes[zone] = [max(left - TICK_S, 0.0) for left in nodes[zone]]
                usd += wanted[zone] * (spot_usd[zone] if nodes is spot else what.on_demand_usd[zone]) * TICK_S / 3600
    return None, usd, most


def by_tick(what, past):
    history = (np.asarray(past), np.zeros(np.shape(past)))
    return new_elastic_policy(**{name: getattr(what, name) for name in Terms.__slots__}, history=history)


class TestDeadline:
    @given(data=st.data())
    @settings(max_examples=60, deadline=None)
    def test_is_met_whatever_the_market_does(self, data):
        zones = data.draw(st.integers(1, 3), "zones")
        nodes_max = data.draw(st.integers(1, 6), "nodes_max")
        changeover_s = data.draw(st.sampled_from([0.0, 300.0, 600.0, 720.0, 1500.0]), "changeover_s")
        ticks = data.draw(st.integers(4, 40), "ticks")
        most_s = nodes_max * (ticks * TICK_S - changeover_s)
        work_s = most_s * data.draw(st.floats(0.05, 1.0), "share of what on-demand alone can do")
        what = terms(zones=zones, work_node_h=work_s / 3600, deadline_h=ticks / 6, nodes_max=nodes_max,
                     changeover_s=changeover_s)  # fmt: skip
        counts = data.draw(st.lists(st.lists(st.integers(0, 8), min_size=zones, max_size=zones), min_size=1), "counts")
        spot_usd = data.draw(st.lists(st.floats(0.1, 20), min_size=zones, max_size=zones), "spot_usd")

        finish, _, most = run(by_tick(what, np.zeros((zones, 0))), what=what, spot_usd=spot_usd,
                              counts=lambda tick, _ready, _held: counts[tick % len(counts)])  # fmt: skip

        assert finish is not None
        assert most <= nodes_max

    @pytest.mark.parametrize("patience", [0, 1, 2, 5, 20])
    @pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
    def test_is_met_against_one_who_takes_all_nodes_once_they_are_ready(self, patience, share):
        what = terms(work_node_h=share * 4 * (20 - 0.2), deadline_h=20)
        ready_ticks = [0]

        def counts(_tick, ready, held):
            ready_ticks[0] = ready_ticks[0] + 1 if ready and ready == held else 0
            return [0, 0] if ready_ticks[0] > patience else [4, 4]

        finish, _, _ = run(by_tick(what, steady([4, 4])), what=what, spot_usd=[1.0, 2.0], counts=counts)

        assert finish is not None

    def test_out_of_reach_buys_all_the_on_demand_there_may_be(self):
        what = terms(work_node_h=100, deadline_h=2)
        seen = observation(available=[0, 0], spot_usd=[1.0, 1.0])

        decision = decide(what, seen, past=steady([0, 0]))

        assert sum(decision.on_demand_target) == 4
        assert decision.figures["forced_nodes"] + sum(decision.on_demand_target) >= 4

    def test_takes_on_demand_no_earlier_than_it_must_while_spot_may_come_back(self):
        what = terms(zones=1, work_node_h=4 * 10, deadline_h=30)
        past = np.tile([4, 4, 4, 4, 4, 4, 0, 0], 36)[None]

        decision = decide(what, observation(available=[0], spot_usd=[1.0]), past=past)

        assert decision.on_demand_target == (0,)
        assert decision.actions == ("wait",)


class TestCheapSupply:
    def test_fills_from_the_cheapest_zone_up_to_the_most_nodes(self):
        what = terms(work_node_h=4 * 20, deadline_h=24)

        decision = decide(what, observation(available=[3, 4], spot_usd=[1.0, 2.0]), past=steady([3, 4]))

        assert decision.spot_target == (3, 1)
        assert decision.on_demand_target == (0, 0)
        assert decision.actions == ("grow", "grow")

    def test_waits_for_the_cheap_zone_when_there_is_time(self):
        what = terms(work_node_h=4 * 10, deadline_h=48)

        decision = decide(what, observation(available=[2, 4], spot_usd=[1.0, 3.0]), past=steady([4, 4]))

        assert decision.spot_target == (2, 0)
        assert decision.actions == ("grow", "wait")
        assert 1.0 < decision.figures["shadow_usd"] < 3.0

    def test_gives_up_dear_nodes_when_there_is_time(self):
        what = terms(work_node_h=4 * 10, deadline_h=48)
        seen = observation(available=[3, 4], spot_usd=[1.0, 3.0], spot=((0.0,) * 3, (0.0,)))

        decision = decide(what, seen, past=steady([4, 4]))

        assert decision.spot_target == (3, 0)
        assert decision.actions == ("stay", "shrink")

    def test_pays_more_when_there_is_no_time(self):
        what = terms(work_node_h=4 * 22, deadline_h=24)

        decision = decide(what, observation(available=[2, 4], spot_usd=[1.0, 6.0]), past=steady([2, 4]))

        assert decision.spot_target == (2, 2)
        assert decision.figures["shadow_usd"] > 6.0

    def test_stays_where_the_difference_does_not_pay_the_changeover(self):
        what = terms(work_node_h=4 * 20, deadline_h=30)
        seen = observation(available=[4, 4], spot_usd=[1.0, 1.06], spot=((), (0.0,) * 4))

        decision = decide(what, seen, past=steady([4, 4]))

        assert decision.spot_target == (0, 4)
        assert decision.actions == ("wait", "stay")

    def test_moves_where_the_difference_pays_and_much_work_is_left(self):
        what = terms(work_node_h=4 * 20, deadline_h=30)
        seen = observation(available=[4, 4], spot_usd=[1.0, 1.2], spot=((), (0.0,) * 4))

        decision = decide(what, seen, past=steady([4, 4]))

        assert decision.spot_target == (4, 0)
        assert decision.actions == ("move", "shrink")

    @pytest.mark.parametrize(("egress_usd", "moves"), [(1.0, True), (400.0, False)])
    def test_moves_only_where_the_copy_of_the_state_pays(self, egress_usd, moves):
        what = replace(terms(work_node_h=4 * 20, deadline_h=30), egress_usd=((0.0, egress_usd), (egress_usd, 0.0)))
        policy = ElasticPolicy(what, past=steady([0, 4]))
        policy.decide(observation(available=[0, 4], spot_usd=[1.0, 3.0]))
        seen = observation(available=[4, 4], spot_usd=[1.0, 3.0], spot=((), (0.0,) * 4), elapsed_h=1, done_node_h=3)

        decision = policy.decide(seen)

        assert decision.spot_target == ((4, 0) if moves else (0, 4))

    def test_stays_for_the_last_of_the_work(self):
        what = terms(work_node_h=4 * 20, deadline_h=30)
        seen = observation(available=[4, 4], spot_usd=[1.0, 1.2], spot=((), (0.0,) * 4), elapsed_h=24, done_node_h=79.0)

        decision = decide(what, seen, past=steady([4, 4]))

        assert decision.spot_target == (0, 4)

    def test_holds_no_more_nodes_than_the_last_tick_needs(self):
        what = terms(work_node_h=4 * 20, deadline_h=30)
        seen = observation(
            available=[4, 4], spot_usd=[1.0, 2.0], spot=((0.0,) * 4, ()), elapsed_h=24, done_node_h=80 - 0.3
        )

        decision = decide(what, seen, past=steady([4, 4]))

        assert decision.spot_target == (2, 0)

    def test_starts_one_node_for_little_work_rather_than_all(self):
        what = terms(work_node_h=80, deadline_h=40)
        seen = observation(available=[4, 4], spot_usd=[1.0, 2.0], elapsed_h=20, done_node_h=80 - 0.4)

        decision = decide(what, seen, past=steady([4, 4]))

        assert decision.spot_target == (1, 0)

    def test_starts_where_all_is_free(self):
        what = terms(work_node_h=80, deadline_h=40)

        decision = decide(what, observation(available=[4, 4], spot_usd=[0.0, 2.0]), past=steady([4, 4]))

        assert decision.spot_target == (4, 0)

    def test_passes_over_spot_dearer_than_on_demand(self):
        what = terms(work_node_h=4 * 23, deadline_h=24)

        decision = decide(what, observation(available=[4, 4], spot_usd=[11.0, 12.0]), past=steady([4, 4]))

        assert decision.spot_target == (0, 0)
        assert sum(decision.on_demand_target) > 0
        assert "buy_on_demand" in decision.actions

    def test_buys_on_demand_ahead_of_the_net_where_spot_will_not_do(self):
        what = terms(zones=1, work_node_h=4 * 20, deadline_h=24)

        decision = decide(what, observation(available=[1], spot_usd=[1.0]), past=steady([1]))

        assert decision.spot_target == (1,)
        assert 1 <= decision.on_demand_target[0] <= 3
        assert decision.figures["forced_nodes"] == 0

    def test_keeps_on_demand_that_most_futures_need(self):
        what = terms(zones=1, work_node_h=4 * 20, deadline_h=24)
        past = np.tile([4] * 5 + [0], 48)[None]
        bare = observation(available=[0], spot_usd=[1.0])
        holding = observation(available=[0], spot_usd=[1.0], on_demand=((0.0, 0.0),))

        bought, kept = decide(what, bare, past=past), decide(what, holding, past=past)

        assert bought.on_demand_target == (0,)
        assert kept.on_demand_target == (2,)
        assert kept.actions == ("stay",)

    @pytest.mark.parametrize(("counts", "leaves"), [([4, 4, 0], False), ([4], True)])
    def test_leaves_on_demand_only_for_spot_that_will_last(self, counts, leaves):
        what = terms(zones=1, work_node_h=4 * 20, deadline_h=24)
        seen = observation(available=[4], spot_usd=[8.0], on_demand=((0.0,) * 4,))

        decision = decide(what, seen, past=np.tile(counts, 96)[None])

        assert decision.spot_target == ((4,) if leaves else (0,))

    def test_keeps_time_back_for_changeovers(self):
        what = terms(zones=1, work_node_h=4 * (24 - 0.3), deadline_h=24)

        decision = decide(what, observation(available=[4], spot_usd=[1.0]), past=steady([4]))

        assert decision.figures["short_chance"] == 1.0

    def test_costs_no_more_than_a_tenth_above_the_cheapest_node_hours_in_a_calm_market(self):
        what = terms(work_node_h=4 * 20, deadline_h=30)

        finish, usd, _ = run(by_tick(what, steady([4, 4])), what=what, spot_usd=[1.0, 2.0],
                             counts=lambda _tick, _ready, _held: [4, 4])  # fmt: skip

        assert finish is not None
        assert usd <= 1.1 * 80


class TestNodeLives:
    def lives_after(self, counts, *, levels=4):
        lives = NodeLives(zones=len(counts), levels=levels, tick_s=TICK_S)
        for count in np.asarray(counts).T:
            lives.see(count)
        return lives.life_h()

    def test_are_longer_where_nothing_was_lost(self):
        quiet, flapping = [4] * 300, [4, 4, 0] * 100

        life_h = self.lives_after([quiet, flapping])

        assert life_h[0, 0] > 3 * life_h[1, 0]

    def test_are_longer_on_a_level_that_has_long_been_up(self):
        counts = [[4] * 10 + [1] * 200 + [4]]

        life_h = self.lives_after(counts)

        assert life_h[0, 0] > life_h[0, 3]

    def test_are_shorter_than_usual_after_losses_of_late(self, monkeypatch):
        counts = [[4] * 200 + [4, 0] * 10 + [4]]
        of_late = self.lives_after(counts)[0, 0]

        monkeypatch.setattr(elastic_supply, "RECENT_BELIEF", 1e9)

        assert of_late < 0.5 * self.lives_after(counts)[0, 0]

    @given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), max_size=30))
    @example([[2, 2, 2]] * 7 + [[0, 0, 0], [1, 1, 1], [2, 2, 2]])
    @settings(max_examples=40, deadline=None)
    def test_are_positive_and_never_grow_with_the_level(self, rows):
        lives = NodeLives(zones=3, levels=4, tick_s=TICK_S)
        for row in rows:
            lives.see(np.array(row))

        life_h = lives.life_h()

        assert np.isfinite(life_h).all()
        assert (life_h > 0).all()
        assert (np.diff(life_h, axis=1) <= 0).all()


class TestFutures:
    def test_keep_what_is_there_for_the_next_minutes(self):
        futures = Futures(zones=2, nodes_max=4, tick_s=TICK_S)

        counts = futures.draw(np.array([[0, 4]] * 50 + [[3, 1]]), left_h=1 / 60)

        assert (counts[:, 0] == [3, 1]).mean() > 0.99

    def test_go_back_to_the_past_in_the_long_run(self):
        futures = Futures(zones=1, nodes_max=4, tick_s=TICK_S)

        counts = futures.draw(np.array([[4]] * 2000 + [[0]]), left_h=300)

        assert counts.shape[1] == STEPS
        assert counts[:, -1].mean() > 3

    def test_let_zones_fail_together_that_failed_together(self):
        futures = Futures(zones=2, nodes_max=4, tick_s=TICK_S)
        past = np.repeat(np.array([[4, 4], [0, 0]]), 2000, axis=0)

        last = futures.draw(past, left_h=1000)[:, -1]

        assert (last[:, 0] == last[:, 1]).mean() > 0.7


@pytest.mark.skipif(not SHARED.exists(), reason="the traces are not here")
class TestRealTrace:
    def test_costs_at_most_a_tenth_above_the_floor_and_is_in_time(self):
        spec = importlib.util.spec_from_file_location("spot_sim", SHARED / "tools" / "spot_sim.py")
        judge = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(judge)
        trace = np.load(SHARED / "data" / "traces" / "h100x8_16node_13zones_2025a.npz")
        zones, on_demand_usd = [str(zone) for zone in trace["zones"]], trace["on_demand_usd"]
        count, spot_usd = trace["count"].astype(int), trace["spot_usd"].astype(float)
        deadline_s, work_node_s = 310 * TICK_S, 16 * 310 * TICK_S / 1.25
        policy = new_elastic_policy(
            zones=zones, on_demand_usd=on_demand_usd, egress_usd=judge.egress_usd(zones), tick_s=TICK_S,
            work_node_s=work_node_s, deadline_s=deadline_s, changeover_s=720.0, nodes_max=16,
            history=(count[:, :310], spot_usd[:, :310]),
        )  # fmt: skip
        window = slice(310, 700)
        market = count[:, window], spot_usd[:, window], on_demand_usd

        usd, in_time = judge.run_elastic(
            policy, *market, judge.egress_usd(zones), TICK_S, work_node_s, deadline_s, 720.0, 16
        )

        assert in_time
        assert usd <= 1.10 * judge.elastic_floor_usd(*market, TICK_S, work_node_s, deadline_s, 16)
