from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from offers.matching.policy import futures, rollout
from offers.matching.policy.forecast import UP, Forecast, gang_ups, lives_h
from offers.matching.policy.gang import GangPolicy, _Race, new_gang_policy
from offers.matching.policy.gang_terms import GangSeen, GangTerms, meets_deadline

SHARED = Path(__file__).parents[2].parent / "shared"
TICK_S = 600.0
DAY = 144  # Ticks.
SPOT_USD, ON_DEMAND_USD = 1.0, 4.0


def terms(*, zones=2, work_s=10 * 3600, deadline_s=20 * 3600, changeover_s=720.0, tick_s=TICK_S, egress_usd=0.0):
    return GangTerms(
        zones=tuple(f"zone-{zone}" for zone in range(zones)),
        on_demand_usd=np.full(zones, ON_DEMAND_USD),
        egress_usd=egress_usd * (1 - np.eye(zones)),
        tick_s=tick_s,
        work_s=float(work_s),
        deadline_s=float(deadline_s),
        changeover_s=changeover_s,
    )


def seen(*, up, spot_usd=None, mode="idle", zone=None, tick=0, progress_s=0.0, changeover_left_s=0.0):
    return GangSeen(
        tick=tick,
        up=np.array(up, bool),
        spot_usd=np.full(len(up), SPOT_USD) if spot_usd is None else np.array(spot_usd, float),
        mode=mode,
        zone=zone,
        progress_s=float(progress_s),
        changeover_left_s=changeover_left_s,
    )


def past(*zones):
    """Ups and downs before the start; each zone a text such as 11101."""
    return np.array([[mark == "1" for mark in zone] for zone in zones])


def decide(what, observed, *, before):
    return GangPolicy(what, past=before).decide(observed)


def run(choose, *, what, up_at):
    """
    Let something choose tick by tick, as the judge does it; return (on time, dollars).

    choose: GangSeen to (mode, zone). up_at: (tick, mode, zone, changeover left) to [zones]; an adversary if it likes.
    """
    mode, zone, left_s, progress_s, usd, tick = "idle", None, 0.0, 0.0, 0.0, 0
    while True:
        if tick and mode != "idle":
            progress_s += max(what.tick_s - left_s, 0.0)
            left_s = max(left_s - what.tick_s, 0.0)
        up = np.array(up_at(tick, mode, zone, left_s), bool)
        if mode == "spot" and not up[zone]:
            mode, left_s = "idle", 0.0
        if what.work_s - progress_s <= 1e-3:
            return tick * what.tick_s <= what.deadline_s + 1e-6, usd
        if tick * what.tick_s > 2 * what.deadline_s:
            return False, math.inf
        observed = seen(up=up, mode=mode, zone=zone, tick=tick, progress_s=progress_s, changeover_left_s=left_s)
        to_mode, to = choose(observed)
        assert to_mode != "spot" or up[to]
        if to_mode != "idle" and (to_mode, to) != (mode, zone):
            left_s = what.changeover_s
            usd += what.egress_usd[zone, to] if zone is not None else 0.0
        mode, zone = to_mode, to if to_mode != "idle" else zone
        usd += {"idle": 0.0, "spot": SPOT_USD, "on_demand": ON_DEMAND_USD}[mode] * what.tick_s / 3600
        tick += 1


@st.composite
def jobs(draw, *, ticks_max):
    """Work that on-demand can just do in time or with more to spare, in ticks of any length."""
    tick_s = draw(st.sampled_from([60.0, 195.0, 600.0, 3600.0]))
    ticks = draw(st.integers(4, ticks_max))
    changeover_s = draw(st.sampled_from([0.0, 0.3, 1.0, 1.2, 3.7])) * tick_s
    deadline_s = ticks * tick_s + draw(st.sampled_from([0.0, 0.4])) * tick_s
    most_s = ticks * tick_s - changeover_s
    work_s = draw(st.sampled_from([0.3, 0.6, 0.9, 1.0])) * max(most_s, tick_s / 4)
    zones = draw(st.integers(1, 3))
    return terms(zones=zones, work_s=work_s, deadline_s=deadline_s, changeover_s=changeover_s, tick_s=tick_s)


class Adversary:
    """Takes a spot machine when its changeover is done, then gives all zones back; or does as chance says."""

    def __init__(self, zones, *, kind, seed):
        self.zones, self.kind, self.random = zones, kind, np.random.default_rng(seed)

    def __call__(self, tick, mode, zone, left_s):
        up = np.ones(self.zones, bool)
        if self.kind == "random":
            return self.random.random(self.zones) < 0.6
        if self.kind == "when_ready" and mode == "spot" and left_s <= 0:
            up[zone] = False
        if self.kind == "at_once" and mode == "spot":
            up[:] = False
        if self.kind == "late" and tick > 6:
            up[:] = False
        return up


KINDS = st.sampled_from(["random", "when_ready", "at_once", "late"])


class TestTheDeadline:
    @given(what=jobs(ticks_max=40), kind=KINDS, seed=st.integers(0, 99))
    @settings(max_examples=400, deadline=None)
    def test_is_met_whatever_is_chosen_among_what_the_net_lets_through(self, what, kind, seed):
        if math.ceil((what.work_s + what.changeover_s) / what.tick_s - 1e-6) > what.ticks:
            return  # On-demand from the first tick would be late.
        random = np.random.default_rng(seed)

        def choose(observed):
            choices = [("idle", observed.zone)]
            choices += [("spot", zone) for zone in np.flatnonzero(observed.up)]
            choices += [("on_demand", zone) for zone in range(len(what.zones))]
            safe = [one for one in choices if meets_deadline(what, observed, mode=one[0], zone=one[1])]
            held = (observed.mode, observed.zone)
            if held in safe and random.random() < 0.7:
                return held
            return safe[random.integers(len(safe))]

        on_time, _ = run(choose, what=what, up_at=Adversary(len(what.zones), kind=kind, seed=seed))

        assert on_time

    @given(what=jobs(ticks_max=24), kind=KINDS, seed=st.integers(0, 99))
    @example(what=terms(work_s=23 * 600 - 720, deadline_s=23 * 600), kind="when_ready", seed=0)
    @settings(max_examples=25, deadline=None)
    def test_is_met_by_the_policy(self, what, kind, seed):
        if math.ceil((what.work_s + what.changeover_s) / what.tick_s - 1e-6) > what.ticks:
            return
        policy = GangPolicy(what, past=np.zeros((len(what.zones), 0), bool))

        def choose(observed):
            decision = policy.decide(observed)
            return decision.mode, decision.zone

        on_time, _ = run(choose, what=what, up_at=Adversary(len(what.zones), kind=kind, seed=seed))

        assert on_time

    def test_lets_a_gang_run_on_that_could_still_be_replaced_when_it_is_lost(self):
        what = terms(work_s=9 * 600, deadline_s=11.2 * 600)
        observed = seen(up=[True, True], mode="spot", zone=0)

        may_stay = meets_deadline(what, observed, mode="spot", zone=0)
        may_move = meets_deadline(what, observed, mode="spot", zone=1)

        assert may_stay
        assert not may_move

    def test_that_no_one_can_meet_ends_in_on_demand_that_runs_on(self):
        what = terms(work_s=20 * 600, deadline_s=20 * 600)

        decision = decide(what, seen(up=[False, False]), before=past("", ""))
        later = decide(what, seen(up=[True, True], mode="on_demand", zone=1, tick=1), before=past("", ""))

        assert decision.mode == "on_demand"
        assert (later.act, later.zone) == ("stay", 1)

    def test_is_met_by_on_demand_at_the_last_moment_where_spot_never_comes(self):
        what = terms(work_s=600 * 8, deadline_s=600 * 20)
        policy = GangPolicy(what, past=past("0" * DAY, "0" * DAY))

        def choose(observed):
            decision = policy.decide(observed)
            return decision.mode, decision.zone

        on_time, usd = run(choose, what=what, up_at=lambda *_: [False, False])

        assert on_time
        assert usd == pytest.approx(math.ceil((8 * 600 + 720) / 600) * 600 / 3600 * ON_DEMAND_USD)


class TestAGang:
    def test_starts_in_the_zone_that_stays_up(self):
        what = terms(work_s=15 * 3600, deadline_s=18 * 3600)
        flicker, steady = "1101011011010110" * 9, "1" * DAY

        decision = decide(what, seen(up=[True, True]), before=past(flicker, steady))

        assert (decision.act, decision.zone) == ("start", 1)

    def test_runs_on_where_no_zone_is_cheaper(self):
        observed = seen(up=[True, True], spot_usd=[1.0, 1.0], mode="spot", zone=0)

        decision = decide(terms(), observed, before=past("1" * DAY, "1" * DAY))

        assert decision.act == "stay"
        assert decision.figures["because"] == "no zone is cheaper"

    def test_moves_to_a_much_cheaper_zone_that_has_long_been_up(self):
        observed = seen(up=[True, True], spot_usd=[3.0, 1.0], mode="spot", zone=0)

        decision = decide(terms(), observed, before=past("1" * DAY, "1" * DAY))

        assert (decision.act, decision.zone) == ("move", 1)

    def test_stays_where_the_move_costs_more_than_it_saves(self):
        observed = seen(up=[True, True], spot_usd=[3.0, 2.9], mode="spot", zone=0)

        decision = decide(terms(egress_usd=2.0), observed, before=past("1" * DAY, "1" * DAY))

        assert decision.act == "stay"

    def test_waits_for_spot_with_time_to_spare(self):
        what = terms(work_s=2 * 3600, deadline_s=40 * 3600)

        decision = decide(what, seen(up=[False, False]), before=past("1" * DAY + "0", "1" * DAY + "0"))

        assert decision.act == "wait"
        assert decision.figures["slack_h"] == 38.0

    def test_buys_on_demand_when_there_is_no_time_to_wait(self):
        what = terms(work_s=19 * 3600, deadline_s=19.3 * 3600)

        decision = decide(what, seen(up=[False, False]), before=past("1" * DAY + "0", "1" * DAY + "0"))

        assert decision.act == "buy_on_demand"
        assert decision.figures["because"] == "the deadline leaves no choice"

    def test_does_not_go_straight_back_to_the_zone_that_took_it(self):
        what = terms(work_s=15 * 3600, deadline_s=18 * 3600)
        before = past("1" * DAY + "0", "1" * (DAY + 1))

        decision = decide(what, seen(up=[True, True], zone=0), before=before)

        assert decision.zone == 1

    def test_holds_a_choice_while_nothing_is_new(self):
        policy = GangPolicy(terms(work_s=15 * 3600, deadline_s=16.5 * 3600), past=past("1" * DAY, "0" * DAY))
        started = policy.decide(seen(up=[True, False], spot_usd=[2.0, 1.9]))

        decision = policy.decide(seen(up=[True, False], spot_usd=[2.0, 1.9], mode="spot", zone=0, tick=1))
        later = policy.decide(seen(up=[True, False], spot_usd=[2.0, 1.9], mode="spot", zone=0, tick=4))

        assert (started.act, started.zone) == ("start", 0)
        assert (decision.act, decision.figures["because"]) == ("stay", "nothing new")
        assert later.figures["because"] == "least expected cost"

    def test_spends_slack_only_for_a_gain_that_is_worth_it(self):
        short, ample = (terms(work_s=15 * 3600, deadline_s=hours * 3600) for hours in (15.8, 40))
        observed = seen(up=[True, True], spot_usd=[1.0, 1.6], mode="spot", zone=1)
        before = past("1" * DAY, "1" * DAY)

        with_little, with_much = (decide(what, observed, before=before).figures for what in (short, ample))

        assert with_little["slack_usd_per_h"] > 10 * with_much["slack_usd_per_h"] > 0

    def test_says_what_each_action_would_cost(self):
        observed = seen(up=[True, True], spot_usd=[3.0, 1.0], mode="spot", zone=0, progress_s=3600)

        figures = decide(terms(), observed, before=past("1" * DAY, "1" * DAY)).figures

        assert figures["expected_usd"]["spot zone-1"] == pytest.approx(9.2, rel=0.2)
        assert min(figures["expected_usd"], key=figures["expected_usd"].get) == "spot zone-1"
        assert figures["work_h"] == 9.0
        assert figures["life_h"] > 1

    def test_decides_alike_when_asked_alike(self):
        observed = seen(up=[True, False, True], spot_usd=[1.0, 1.1, 1.05])
        before = past("1101" * 30, "0011" * 30, "1011" * 30)

        first, second = (decide(terms(zones=3), observed, before=before) for _ in range(2))

        assert first == second


class TestAForecast:
    def test_learns_how_long_a_zone_stays_up(self):
        forecast = Forecast(zones=1, tick_s=TICK_S)
        random = np.random.default_rng(0)
        for _ in range(8000):
            forecast.see(random.random(1) < np.where(forecast.up, 0.8, 0.5))

        life_h, _ = lives_h(forecast.chances()[:, UP], tick_h=1 / 6, changeover_h=0.2, until_h=100.0)

        assert life_h[0, 0] == pytest.approx(5 / 6, rel=0.15)

    def test_gives_the_long_lived_a_longer_life_to_come_before_anything_is_seen(self):
        chances = Forecast(zones=1, tick_s=TICK_S).chances()[:, UP]

        life_h, useful_h = lives_h(chances, tick_h=1 / 6, changeover_h=0.2, until_h=1000.0)

        assert (np.diff(life_h[0, ::6]) > 0).all()
        assert (useful_h < life_h).all()

    def test_takes_the_useful_part_of_a_life_for_what_is_left_after_the_changeover(self):
        chances = np.full((1, 50), 0.1)

        life_h, useful_h = lives_h(chances, tick_h=1.0, changeover_h=1.5, until_h=1e9)

        assert life_h[0, 0] == pytest.approx(10.0)
        assert useful_h[0, 0] == pytest.approx(0.9**2 * (10 + 0.5))

    @pytest.mark.parametrize("size", [1, 2, 8, 16])
    def test_guesses_the_size_of_a_gang_from_what_is_up_now(self, size):
        random = np.random.default_rng(0)
        counts = np.repeat(random.integers(0, 17, (40, 30)), 5, axis=1)

        ups = gang_ups(counts, counts[:, -1] >= size)

        assert ((counts >= size) == ups).mean() > 0.95


class TestFutures:
    def test_lose_zones_as_often_as_the_forecast_says(self):
        forecast = Forecast(zones=2, tick_s=TICK_S)
        random = np.random.default_rng(1)
        for _ in range(5000):
            forecast.see(random.random(2) < 0.7)
        forecast.see(np.array([True, True]))
        chances = forecast.chances()

        drawn = futures.draw(forecast, chances, ticks=200, futures=4000, seed=3)
        lost_at_once = [
            (drawn.zones[one, : drawn.flips[one]][drawn.ticks[one, : drawn.flips[one]] == 1] == 0).any()
            for one in range(4000)
        ]

        assert np.mean(lost_at_once) == pytest.approx(chances[0, UP, forecast.age[0]], rel=0.15)

    def test_are_in_order_of_time_and_end_in_time(self):
        forecast = Forecast(zones=3, tick_s=TICK_S)
        forecast.see(np.array([True, False, True]))

        drawn = futures.draw(forecast, forecast.chances(), ticks=100, futures=50, seed=0)

        for one in range(50):
            at = drawn.ticks[one, : drawn.flips[one]]
            assert (np.diff(at) >= 0).all()
            assert at.size == 0 or (1 <= at[0] and at[-1] < 100)


class TestARollout:
    def market(self, *, ticks=100, changeover_s=720.0):
        return rollout.Market(
            spot_usd=np.array([1.0, 2.0]),
            on_demand_usd=np.array([6.0, 6.0]),
            egress_usd=np.array([[0.0, 0.5], [0.5, 0.0]]),
            life_h=np.full((2, 10), 50.0),
            useful_h=np.full((2, 10), 49.8),
            tick_s=TICK_S,
            ticks=ticks,
            changeover_s=changeover_s,
            usual_usd=1.1,
            saved_usd=4.9,
        )

    def usd(self, market, *, flips, play, held):
        """Cost of one play in one future, flips: [(tick, zone)]."""
        at = np.array([[tick for tick, _ in flips]], np.int64).reshape(1, -1)
        zones = np.array([[zone for _, zone in flips]], np.int64).reshape(1, -1)
        usd = np.zeros((1, 1))
        counts, up, age = np.array([len(flips)]), np.array([True, True]), np.array([5, 5])
        rollout.costs(market, at, zones, counts, up, age, held, np.array([play]), usd)
        return usd[0, 0]

    def test_bills_whole_ticks_and_the_changeover(self):
        held = rollout.Holding(mode=rollout.IDLE, zone=-1, left_s=0.0, work_s=10 * 600.0)

        usd = self.usd(self.market(), flips=[], play=(rollout.SPOT, 0, 0.03, 0.0), held=held)

        assert usd == pytest.approx(math.ceil(11.2) / 6 * 1.0)

    def test_moves_on_when_it_is_lost_and_pays_for_the_way(self):
        held = rollout.Holding(mode=rollout.SPOT, zone=0, left_s=0.0, work_s=10 * 600.0)

        usd = self.usd(self.market(ticks=13), flips=[(4, 0)], play=(rollout.SPOT, 0, 0.3, 0.0), held=held)

        assert usd == pytest.approx(4 / 6 * 1.0 + 0.5 + math.ceil(6 + 1.2) / 6 * 2.0)

    def test_ends_on_demand_when_nothing_is_up(self):
        held = rollout.Holding(mode=rollout.SPOT, zone=0, left_s=0.0, work_s=10 * 600.0)

        usd = self.usd(self.market(ticks=14), flips=[(4, 0), (4, 1)], play=(rollout.SPOT, 0, 0.004, 0.0), held=held)

        assert usd == pytest.approx(4 / 6 * 1.0 + math.ceil(6 + 1.2) / 6 * 6.0)


class TestOnARealTrace:
    def test_it_costs_less_than_uniform_progress(self):
        if not (SHARED / "tools" / "spot_sim.py").exists():
            pytest.skip("no shared traces here")
        spec = importlib.util.spec_from_file_location("spot_sim", SHARED / "tools" / "spot_sim.py")
        judge = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(judge)
        ours_usd = uniform_usd = 0.0

        for name, zones, count, spot, on_demand, tick_s, gang, t0, k, ratio, deadline_s in judge.cases(
            SHARED / "data" / "traces"
        ):
            if not name.startswith("h100") or ratio != 1.5 or gang > 1:
                continue
            window = slice(t0, t0 + 3 * k + 4)
            up = np.pad(count[:, window] >= gang, ((0, 0), (0, 2 * k)))
            price = np.pad(spot[:, window], ((0, 0), (0, 2 * k)))
            egress_usd, work_s = judge.egress_usd(zones), deadline_s / ratio
            common = {"on_demand_usd": on_demand, "tick_s": tick_s, "work_s": work_s, "deadline_s": deadline_s,
                      "changeover_s": judge.CHANGEOVER_S}  # fmt: skip
            ours = new_gang_policy(zones=zones, egress_usd=egress_usd, history=(count[:, :t0], spot[:, :t0]), **common)
            market = (up, price, on_demand, egress_usd, tick_s, work_s, deadline_s, judge.CHANGEOVER_S)
            usd, on_time = judge.run_gang(ours, *market)
            ours_usd += usd
            uniform_usd += judge.run_gang(judge.UniformProgress(**common), *market)[0]
            assert on_time

        assert ours_usd < 0.95 * uniform_usd


class TestAZoneThatIsNew:
    def test_was_not_down_before_it_was_heard_of(self):
        ups = np.array([[True] * 48, [False] * 47 + [True]])
        unheard = np.ones_like(ups)
        unheard[1, :47] = False
        forecasts = [Forecast(zones=2, tick_s=600) for _ in range(2)]
        for tick in range(48):
            forecasts[0].see(ups[:, tick])
            forecasts[1].see(ups[:, tick], unheard[:, tick])

        as_down, as_new = forecasts
        assert as_down.hours[1, 0].sum() == pytest.approx(47 / 6)
        assert as_new.hours[1].sum() == 0
        assert as_new.flips.sum() == 0
        assert (as_new.hours[0] == as_down.hours[0]).all()
        assert as_new.up.all()
        assert as_new.age[1] == 12  # Two hours, as any zone when it is first seen.

    def test_is_moved_to_when_it_is_much_cheaper(self):
        observed = seen(up=[True, True], spot_usd=[5.0, 0.5], mode="spot", zone=0)
        before = past("1" * 2 * DAY, "0" * 2 * DAY)
        known = np.ones(before.shape, bool)
        known[1] = False

        decision = GangPolicy(terms(work_s=5 * 3600, deadline_s=48 * 3600), past=before, known=known).decide(observed)

        assert (decision.act, decision.zone) == ("move", 1)


def test_a_gain_counts_until_the_next_look_however_short_the_ticks():
    """What a tick longer at the dearer place costs is little, but the policy would not look again so soon."""
    usd = np.array([[10.01] * 8, [10.0] * 8])
    race = _Race(plays=np.zeros((2, 4)), actions=np.array([0, 1]), usd=usd)

    assert race.best(0, looks=1.0) == 0
    assert race.best(0, looks=4.5) == 1
    assert race.best(None) == 1
