"""The hazard model: what it learns, what it answers, how it is judged."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from offers.matching import survival
from offers.matching.calibration import calibration
from offers.matching.hazard import Spell, Watch, learn, spells_of_counts
from offers.matching.hazard_prior import FAILURES_PER_GPU_HOUR, SPOT_PER_HOUR, Line, prior_rates
from tests.benchmarks import matching_hazard

HOUR_S = 3600.0
SPOT = Line(key=("aws", "us-east-2", "us-east-2a", "p3.2xlarge"), accelerator="V100", market="spot")
FALLING = np.array([2.0, 1.5, 0.8, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02])
RATES = arrays(np.float64, len(survival.AGES_S), elements=st.floats(1e-4, 5.0))
TIMES = st.floats(0.0, 400_000.0)
GRIDS = arrays(np.bool_, st.tuples(st.integers(1, 4), st.integers(0, 40)))


def spell(line: Line = SPOT, *, began_h: float = 0.0, ended_h: float, lost: bool = True) -> Spell:
    """Return a spell of a line, in hours of age."""
    return Spell(
        key=line.key, accelerator=line.accelerator, market=line.market,
        began_age_s=began_h * HOUR_S, ended_age_s=ended_h * HOUR_S, lost=lost,
    )  # fmt: skip


def at(zone: str, **others: object) -> Line:
    """Return the same machine in another zone."""
    return replace(SPOT, key=(*SPOT.key[:2], zone, SPOT.key[3]), **others)


def lives_s(rates: np.ndarray, age_s: float, count: int, random: np.random.Generator) -> np.ndarray:
    """Draw how long machines of an age have left, by inverting the cumulative hazard."""
    grown = np.concatenate([[0.0], np.cumsum(rates[:-1] * np.diff(survival.AGES_S) / HOUR_S)])
    column = np.searchsorted(survival.AGES_S, age_s, side="right") - 1
    wanted = grown[column] + rates[column] * (age_s - survival.AGES_S[column]) / HOUR_S + random.exponential(size=count)
    ended = np.searchsorted(grown, wanted, side="right") - 1
    return survival.AGES_S[ended] + (wanted - grown[ended]) / rates[ended] * HOUR_S - age_s


class TestSurvival:
    @given(RATES, TIMES, TIMES, TIMES)
    def test_of_two_stretches_is_the_product_of_both(self, rates, age_s, first_s, second_s):
        whole = survival.survival(rates, age_s, first_s + second_s)

        parts = survival.survival(rates, age_s, first_s) * survival.survival(rates, age_s + first_s, second_s)

        assert whole == pytest.approx(parts, rel=1e-9, abs=1e-12)

    @given(RATES, TIMES, st.floats(1.0, 400_000.0))
    def test_never_grows_with_the_horizon(self, rates, age_s, horizon_s):
        chances = survival.survival(rates, age_s, np.linspace(0, horizon_s, 20))

        assert chances[0] == 1
        assert (np.diff(chances) <= 1e-12).all()

    def test_answers_for_arrays_of_zones_ages_and_horizons_at_once(self):
        rates = np.stack([FALLING, FALLING / 2])

        chances = survival.survival(rates[:, None, :], np.array([[0.0, 7200.0, 90_000.0]]), HOUR_S)

        assert chances.shape == (2, 3)
        assert chances[1, 2] == pytest.approx(math.exp(-0.025))
        assert chances[0] == pytest.approx(chances[1] ** 2)

    def test_reads_the_rate_of_the_age_it_is_in(self):
        ages_s = np.array([0.0, 899.0, 900.0, 3600.0, 1e9])

        rates = survival.rate_at(FALLING, ages_s)

        assert rates == pytest.approx([2.0, 2.0, 1.5, 0.5, 0.02])


class TestLife:
    @given(st.floats(0.01, 5.0), TIMES)
    def test_of_a_constant_hazard_is_its_inverse_at_any_age(self, rate, age_s):
        assert survival.life_s(np.full(9, rate), age_s) == pytest.approx(HOUR_S / rate)

    @given(RATES, TIMES, st.floats(600.0, 100_000.0))
    def test_is_the_area_under_survival(self, rates, age_s, until_s):
        middles_s = (np.arange(20_000) + 0.5) * until_s / 20_000

        area_s = survival.survival(rates, age_s, middles_s).mean() * until_s

        assert survival.life_s(rates, age_s, until_s) == pytest.approx(area_s, rel=1e-4)


class TestUse:
    def test_of_a_constant_hazard_loses_in_proportion_to_time(self):
        rates = np.array([np.full(9, 0.2), np.full(9, 0.01)])

        found = survival.use(rates, 50 * HOUR_S, changeover_s=600)

        assert found.losses == pytest.approx([10.0, 0.5], rel=1e-3)

    @pytest.mark.parametrize(("age_s", "next_age_s"), [(0.0, 0.0), (20_000.0, 0.0), (20_000.0, 7200.0)])
    def test_is_what_a_simulation_of_losses_and_replacements_gives(self, age_s, next_age_s):
        random, use_s, count = np.random.default_rng(7), 20 * HOUR_S, 20_000
        used_s, useful_s, losses, running = np.zeros(count), np.zeros(count), np.zeros(count), np.arange(count)
        while len(running):
            left_s = use_s - used_s[running]
            own_s = lives_s(
                FALLING, age_s if not losses.any() and not used_s.any() else next_age_s, len(running), random
            )
            is_lost = own_s < left_s
            useful_s[running] += np.clip(np.where(is_lost, own_s - 900, left_s - 600), 0, None)
            losses[running] += is_lost
            used_s[running] += np.minimum(own_s, left_s)
            running = running[is_lost]

        found = survival.use(
            FALLING[None], use_s, changeover_s=600, redone_s=300, age_s=age_s, next_age_s=next_age_s
        )  # fmt: skip

        assert found.losses[0] == pytest.approx(losses.mean(), rel=0.02)
        assert found.useful_share[0] == pytest.approx(useful_s.mean() / use_s, abs=0.004)

    def test_in_the_long_run_comes_to_the_share_in_closed_form(self):
        rates = np.full((1, 9), 0.5)

        long = survival.use(rates, 400 * HOUR_S, changeover_s=600, redone_s=300)

        assert survival.useful_share(rates, dead_s=900) == pytest.approx(math.exp(-0.5 * 900 / HOUR_S))
        assert long.useful_share == pytest.approx(survival.useful_share(rates, dead_s=900), abs=0.005)

    @given(RATES, st.floats(0.0, 5000.0), TIMES)
    def test_share_is_better_with_a_shorter_changeover(self, rates, dead_s, age_s):
        slow = survival.useful_share(rates, dead_s=dead_s + 60, age_s=age_s)

        quick = survival.useful_share(rates, dead_s=dead_s, age_s=age_s)

        assert 0 <= slow < quick <= 1 + 1e-12


class TestPrior:
    def test_of_on_demand_is_the_failure_rate_that_llama_3_met_at_any_age(self):
        line = replace(SPOT, market="on_demand", accelerators=8)

        rates = prior_rates([line])[0]

        assert rates * 16384 / 8 * 54 * 24 == pytest.approx(np.full(9, 419))

    def test_of_spot_that_nobody_speaks_of_falls_with_age_as_public_traces_do(self):
        rates = prior_rates([SPOT])[0]

        assert rates == pytest.approx(SPOT_PER_HOUR + FAILURES_PER_GPU_HOUR)

    def test_of_a_stated_chance_loses_that_many_in_the_first_day(self):
        stated = replace(SPOT, interruptions_per_hour=0.05)

        lost = (prior_rates([stated])[0] * survival.time_in_ages(0, 86400)).sum() / HOUR_S

        assert lost == pytest.approx(24 * (-math.log(0.95) + FAILURES_PER_GPU_HOUR))

    @pytest.mark.parametrize("chance", [0.0, 1.0])
    def test_of_a_stated_certainty_stays_finite_and_above_zero(self, chance):
        rates = prior_rates([replace(SPOT, interruptions_per_hour=chance)])

        assert (rates > 0).all()
        assert np.isfinite(rates).all()

    @pytest.mark.parametrize(
        ("safer", "riskier"),
        [
            ({"stock": "high"}, {"stock": "medium"}),
            ({"stock": "medium"}, {"stock": "low"}),
            ({"placement_score": 0.9}, {"placement_score": 0.3}),
            ({"interruptions_per_hour": 0.01}, {"interruptions_per_hour": 0.1}),
            ({"reliability": 0.999}, {"reliability": 0.95}),
            ({"market": "on_demand"}, {"market": "spot"}),
            ({"market": "on_demand"}, {"market": "on_demand", "is_community": True}),
            ({"accelerators": 1}, {"accelerators": 8}),
        ],
    )
    def test_moves_with_what_is_said(self, safer, riskier):
        rates = prior_rates([replace(SPOT, **safer), replace(SPOT, **riskier)])

        assert (rates[0] < rates[1]).all()

    def test_reads_uptime_as_a_rate_of_failures(self):
        rates = prior_rates([replace(SPOT, market="on_demand", reliability=0.98)])

        assert rates[0] == pytest.approx(0.02 / 0.98 / 2 + FAILURES_PER_GPU_HOUR)


class TestLearning:
    def test_finds_the_hazard_that_machines_had(self):
        ends_s = lives_s(FALLING, 0.0, 20_000, np.random.default_rng(3))

        learnt = learn([spell(ended_h=end_s / HOUR_S) for end_s in ends_s])

        assert learnt.rates_per_hour([SPOT])[0][:8] == pytest.approx(FALLING[:8], rel=0.12)

    def test_counts_only_the_ages_that_were_watched(self):
        late = [spell(began_h=10, ended_h=12, lost=False) for _ in range(1000)]

        learnt = learn(late)

        assert learnt.exposure_h[0].tolist() == [0, 0, 0, 0, 0, 0, 2000, 0, 0]

    @given(st.lists(st.tuples(TIMES, TIMES, st.booleans()), min_size=1, max_size=8), st.floats(0.01, 0.99))
    def test_does_not_mind_a_spell_cut_in_two(self, drawn, share):
        whole = [
            spell(began_h=begin / HOUR_S, ended_h=(begin + length) / HOUR_S, lost=lost) for begin, length, lost in drawn
        ]
        cuts_s = [one.began_age_s + share * (one.ended_age_s - one.began_age_s) for one in whole]
        cut = [replace(one, ended_age_s=cut_s, lost=False) for one, cut_s in zip(whole, cuts_s, strict=True)]
        cut += [replace(one, began_age_s=cut_s) for one, cut_s in zip(whole, cuts_s, strict=True)]

        rates = learn(cut).rates_per_hour([SPOT])

        assert rates == pytest.approx(learn(whole).rates_per_hour([SPOT]))

    @given(st.integers(1, 50), st.floats(0.1, 100.0))
    def test_lands_between_the_prior_and_what_was_seen(self, losses, hours):
        each_h = hours / losses
        watched = [spell(began_h=100.0, ended_h=100.0 + each_h) for _ in range(losses)]

        rate = learn(watched).rate_per_hour(SPOT, 200 * HOUR_S)

        prior, seen = float(survival.rate_at(prior_rates([SPOT])[0], 200 * HOUR_S)), losses / hours
        assert min(prior, seen) * 0.999 <= rate <= max(prior, seen) * 1.001

    def test_knows_nothing_but_the_prior_without_spells(self):
        assert learn([]).rates_per_hour([SPOT]) == pytest.approx(prior_rates([SPOT]))

    def test_lets_observations_overrule_a_stated_rate(self):
        calm = replace(SPOT, interruptions_per_hour=0.01)
        stormy = [spell(ended_h=1.0) for _ in range(300)]

        learnt = learn(stormy, [calm])

        assert prior_rates([calm])[0][1] < 0.1
        assert learnt.rate_per_hour(calm, HOUR_S) > 30 * prior_rates([calm])[0][3]
        assert learnt.survival(calm, 0.5 * HOUR_S, HOUR_S) < 0.2

    def test_keeps_to_a_stated_rate_after_one_loss(self):
        calm = replace(SPOT, interruptions_per_hour=0.01)

        learnt = learn([spell(ended_h=0.1)], [calm])

        assert learnt.survival(calm, 0.0, HOUR_S) > 0.85

    def test_judges_a_new_zone_by_its_own_kind_first(self):
        other_chip = at("us-east-2c", accelerator="H100")
        seen = [spell(at("us-east-2b"), ended_h=40.0, lost=False) for _ in range(100)]
        seen += [spell(other_chip, ended_h=0.4) for _ in range(100)]

        like, other, unknown = learn(seen).rates_per_hour(
            [at("us-east-2d"), at("us-east-2d", accelerator="H100"), at("us-east-2d", accelerator="A100")]
        )

        assert like[1] < unknown[1] < other[1]  # All H100 were lost at that age, no V100.

    def test_tells_zones_of_one_kind_apart(self):
        good, bad = at("us-east-2b"), at("us-east-2c")
        seen = [spell(good, ended_h=3.0, lost=False) for _ in range(60)] + [spell(bad, ended_h=0.2) for _ in range(60)]

        rates = learn(seen).rates_per_hour([good, SPOT, bad])

        assert rates[0][0] < rates[1][0] < rates[2][0]

    def test_does_not_correct_what_is_stated_by_what_was_merely_assumed(self):
        stated = at("us-east-2b", interruptions_per_hour=0.01)

        learnt = learn([spell(ended_h=0.1) for _ in range(100)])

        assert learnt.rates_per_hour([stated]) == pytest.approx(prior_rates([stated]))

    def test_corrects_what_is_stated_by_how_others_that_stated_fared(self):
        lines = [at(zone, interruptions_per_hour=0.01) for zone in ("a", "b")]

        learnt = learn([spell(lines[0], ended_h=0.1) for _ in range(100)], lines)

        assert learnt.rate_per_hour(lines[1]) > 5 * prior_rates(lines)[1][0]

    def test_says_nothing_of_other_providers_or_markets(self):
        elsewhere = replace(SPOT, key=("gcp", *SPOT.key[1:]))
        bought = replace(SPOT, market="on_demand")

        learnt = learn([spell(ended_h=0.1) for _ in range(100)])

        assert learnt.rates_per_hour([elsewhere, bought]) == pytest.approx(prior_rates([elsewhere, bought]))


class TestTraces:
    def test_become_spells_of_a_gang(self):
        counts = np.array([[2, 2, 1, 0, 2, 2, 2], [0, 2, 0, 0, 0, 1, 1]])

        found = spells_of_counts(counts, nodes=2, tick_s=600, lines=[SPOT, at("us-east-2b")])

        assert [(one.key[2], one.began_age_s, one.ended_age_s, one.lost) for one in found] == [
            ("us-east-2a", 0, 900, True),
            ("us-east-2a", 0, 1200, False),
            ("us-east-2b", 0, 300, True),
        ]

    @given(GRIDS)
    def test_watched_tick_by_tick_teach_what_they_teach_at_once(self, is_up):
        lines = [at(str(zone), accelerator="AB"[zone % 2]) for zone in range(len(is_up))]
        watch = Watch(is_up[:, :0], tick_s=400, lines=lines)

        for tick in range(is_up.shape[1]):
            watch.observe(is_up[:, tick])

        whole = Watch(is_up, tick_s=400, lines=lines)
        assert watch.rates_per_hour() == pytest.approx(whole.rates_per_hour())
        assert watch.age_s.tolist() == whole.age_s.tolist()

    @given(GRIDS)
    def test_teach_a_watch_what_they_teach_as_spells(self, is_up):
        lines = [at(str(zone), accelerator="AB"[zone % 2]) for zone in range(len(is_up))]
        spells = spells_of_counts(is_up.astype(int), nodes=1, tick_s=400, lines=lines)

        rates = learn(spells).rates_per_hour(lines)

        assert rates == pytest.approx(Watch(is_up, tick_s=400, lines=lines).rates_per_hour())

    def test_that_are_still_up_keep_their_age(self):
        watch = Watch(np.array([[True, False, True, True], [True, True, True, False]]), tick_s=600, lines=[SPOT, SPOT])

        chances = watch.survival(HOUR_S)

        assert watch.age_s.tolist() == [600, 0]
        assert chances[0] == pytest.approx(survival.survival(watch.rates_per_hour()[0], 600, HOUR_S))


class TestCalibration:
    def test_scores_by_hand(self):
        found = calibration(np.array([0.9, 0.8, 0.25, 0.2]), np.array([1, 0, 0, 1]), base_rate=0.5, bins=2)

        assert found.brier == pytest.approx((0.01 + 0.64 + 0.0625 + 0.64) / 4)
        assert found.base_brier == pytest.approx(0.25)
        assert found.gain == pytest.approx(1 - found.brier / 0.25)
        assert [(one.count, one.predicted, one.observed) for one in found.bins] == [
            (2, pytest.approx(0.225), 0.5),
            (2, pytest.approx(0.85), 0.5),
        ]
        assert found.error == pytest.approx((0.275 + 0.35) / 2)

    def test_is_held_against_the_mean_of_what_came_where_no_rate_is_given(self):
        found = calibration(np.array([0.7, 0.7, 0.7, 1.0]), np.array([1, 1, 0, 1]))

        assert found.base_brier == pytest.approx(0.75 * 0.25)
        assert sum(one.count for one in found.bins) == 4
        assert found.bins[9].count == 1

    def test_finds_chances_that_are_right_to_be_right(self):
        random = np.random.default_rng(5)
        chances = random.uniform(size=50_000)

        found = calibration(chances, random.uniform(size=50_000) < chances)

        assert found.error < 0.01
        assert found.gain == pytest.approx(1 / 3, abs=0.02)


class TestForetelling:
    def test_does_not_look_ahead(self):
        random = np.random.default_rng(11)
        up = random.uniform(size=(3, 60)) < 0.8
        other = up.copy()
        other[:, 40:] = ~other[:, 40:]

        chances, others = (
            matching_hazard._foretell(matching_hazard.Trace("made up", grid, 600.0)) for grid in (up, other)
        )

        assert (chances[:, :40] == others[:, :40]).all()
        assert (chances[:, 41:] != others[:, 41:]).any()

    def test_takes_a_base_rate_from_hours_that_were_over(self):
        up = np.ones((1, 40), dtype=bool)
        up[:, 12:] = False
        trace = matching_hazard.Trace("up, then never again", up, 600.0)

        judged = matching_hazard._judged(trace, np.zeros(up.shape), 0.25, 1.0)

        assert judged.base_rate == 1.0
        assert judged.came.tolist() == [0.0, 0.0]

    @pytest.mark.skipif(not matching_hazard.TRACES.exists(), reason="the traces are not here")
    def test_beats_the_base_rate_by_a_fifth_on_held_back_halves(self):
        traces = list(matching_hazard._traces())

        gain = matching_hazard._gain(traces, [matching_hazard._foretell(trace) for trace in traces])

        assert gain > 0.2
