from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offers.matching import choice
from offers.matching.need import Need
from offers.matching.outcome import Outcome, Range

PLAIN = Outcome(
    finish_s=Range(3000.0, 3600.0, 4000.0), cost_usd=Range(8.0, 10.0, 12.0), expected_usd=Decimal(10),
    egress_usd=Decimal(0), storage_usd=Decimal(0), deadline_chance=None, budget_chance=None, losses=0.5,
    loss_chance=0.3, energy_kwh=5.0, carbon_kg=2.0, late_s=4000.0,
)  # fmt: skip
MEASURES = st.tuples(*(st.sampled_from([1.0, 2.0, 3.0, 4.0]) for _ in range(4)))


def finishing(hours: float, usd: float) -> Outcome:
    return replace(PLAIN, late_s=hours * 3600, expected_usd=Decimal(str(usd)))


class TestChosen:
    def test_shows_the_cheapest_and_whatever_is_better_at_something(self):
        cheap, fast, safe, green, useless = (
            (1.0, 9.0, 0.9, 9.0), (2.0, 1.0, 0.9, 9.0), (3.0, 9.0, 0.1, 9.0), (4.0, 9.0, 0.9, 1.0), (5.0, 9.0, 0.9, 9.0)
        )  # fmt: skip

        assert choice.chosen([useless, green, safe, fast, cheap]) == [
            (4, ("cheapest",)),
            (3, ("fastest",)),
            (2, ("safest",)),
            (1, ("greenest",)),
        ]

    def test_one_plan_may_bear_all_words(self):
        assert choice.chosen([(2.0, 2.0, 0.2, 2.0), (1.0, 1.0, 0.1, 1.0)]) == [(1, choice.LABELS)]

    def test_of_what_is_alike_the_cheapest_is_shown(self):
        alike = [(1.0, 5.0, 0.50, 5.0), (1.1, 4.99, 0.49, 4.99), (1.2, 5.01, 0.51, 5.0)]

        assert [at for at, _ in choice.chosen(alike)] == [0]

    def test_shows_no_more_than_people_compare(self):
        many = [(float(i), 100.0 - i * 5, 0.5, 1.0) for i in range(1, 15)]

        shown = choice.chosen(many)

        assert len(shown) == choice.SHOWN_MAX
        assert shown[0] == (0, ("cheapest", "safest", "greenest"))
        assert (13, ("fastest",)) in shown

    def test_nothing_is_shown_of_nothing(self):
        assert choice.chosen([]) == []

    @given(st.lists(MEASURES, min_size=1, max_size=12))
    def test_what_is_shown_is_beaten_by_nothing(self, measures):
        shown = [at for at, _ in choice.chosen(measures)]

        for at in shown:
            for other in measures:
                no_worse = all(a <= b for a, b in zip(other, measures[at], strict=True))
                assert not (no_worse and other != measures[at])
        words = [word for _, labels in choice.chosen(measures) for word in labels]
        assert sorted(words) == sorted(choice.LABELS)
        for word, at in zip(choice.LABELS, range(4), strict=True):
            (best,) = (i for i, labels in choice.chosen(measures) if word in labels)
            assert measures[best][at] == min(one[at] for one in measures)


class TestCurve:
    def test_falls_with_every_hour_more(self):
        outcomes = [finishing(3, 5), finishing(1, 20), finishing(2, 20), finishing(4, 6), finishing(5, 4)]

        curve = choice.curve(outcomes)

        assert [(point.hours, point.usd) for point in curve] == [(1, 20), (3, 5), (5, 4)]

    def test_leaves_out_what_saves_next_to_nothing(self):
        assert len(choice.curve([finishing(1, 10), finishing(2, 9.99)])) == 1

    @given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12))
    def test_each_point_is_the_cheapest_that_is_done_by_then(self, plans):
        for point in choice.curve([finishing(hours, usd) for hours, usd in plans]):
            assert point.usd == min(usd for hours, usd in plans if hours <= point.hours)


class TestFits:
    def test_in_time_is_as_likely_as_is_wanted(self):
        late = replace(PLAIN, deadline_chance=0.85)

        assert not choice.in_time_and_budget(Need(deadline_hours=1.0), late)
        assert choice.in_time_and_budget(Need(deadline_hours=1.0, chance=0.8), late)
        assert choice.in_time_and_budget(Need(), PLAIN)

    def test_a_budget_is_for_what_is_expected(self):
        assert choice.in_time_and_budget(Need(budget_usd=Decimal(10)), PLAIN)
        assert not choice.in_time_and_budget(Need(budget_usd=Decimal("9.99")), PLAIN)

    def test_what_is_feared_is_to_be_late_where_there_is_a_deadline(self):
        assert choice.risk(replace(PLAIN, deadline_chance=0.75)) == 0.25
        assert choice.risk(PLAIN) == 0.3


class TestCompared:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"expected_usd": Decimal("10.42")}, "0.42 USD more"),
            ({"expected_usd": Decimal("9.58")}, "0.42 USD less"),
            ({}, "the same cost"),
            ({"finish_s": Range(0.0, 3996.0, 0.0)}, "the same cost and 11 % slower"),
            ({"finish_s": Range(0.0, 1800.0, 0.0), "loss_chance": 0.5},
             "the same cost, 50 % faster and a chance of 0.50 to lose a machine instead of 0.30"),
            ({"finish_s": Range(0.0, 9000.0, 0.0)}, "the same cost and 2.5 times the time"),
            ({"carbon_kg": 1.0}, "the same cost and 50 % less CO2"),
            ({"carbon_kg": None}, "the same cost"),
        ],
    )  # fmt: skip
    def test_says_in_figures_what_the_other_would_be_like(self, changes, words):
        assert choice.compared(PLAIN, replace(PLAIN, **changes)) == words

    def test_speaks_of_being_late_where_there_is_a_deadline(self):
        one, other = replace(PLAIN, deadline_chance=0.95), replace(PLAIN, deadline_chance=0.9)

        assert choice.compared(one, other) == "the same cost and a chance of 0.10 to be late instead of 0.05"
