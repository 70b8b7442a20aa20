from __future__ import annotations

from decimal import Decimal
from math import exp
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offers.matching import facts, outcome
from offers.matching.estimate import MULTI_SITE_EFFICIENCY, STATED_SIGMA
from offers.matching.need import Need
from offers.matching.outcome import Outcome, outcomes
from offers.matching.question import Question
from tests.offers.some_offers import SAMPLES_OF_AN_HOUR, STATED, book, offer

P90 = exp(NormalDist().inv_cdf(0.9) * STATED_SIGMA)


def told(need: Need, *offers) -> Outcome:
    """Return what may become of the one plan that there is."""
    found = Question(need, book(*offers), speed=STATED).candidates(need)
    assert found is not None
    (one,) = outcomes(need, found, np.array([0]))
    return one


def hours(count: float, **more) -> Need:
    return Need(**({"samples": round(count * SAMPLES_OF_AN_HOUR), "sites": 1} | more))


class TestOutcomes:
    def test_where_nothing_can_happen_only_the_speed_is_unsure(self):
        found = told(hours(2), offer(1, usd=3))

        assert found.finish_s.p50 == pytest.approx(7200, rel=0.01)
        assert found.finish_s.p90 == pytest.approx(7200 * P90, rel=0.01)
        assert found.finish_s.p10 == pytest.approx(7200 / P90, rel=0.01)
        assert found.cost_usd.p90 == pytest.approx(6 * P90, rel=0.01)
        assert float(found.expected_usd) == pytest.approx(6 * exp(STATED_SIGMA**2 / 2), rel=0.01)
        assert found.losses < 0.01

    def test_the_same_need_is_told_the_same(self):
        spot = offer(1, market="spot", boot_s=300.0)

        assert told(hours(20), spot) == told(hours(20), spot)

    def test_a_boot_is_paid_and_waited_for(self):
        found = told(hours(1), offer(1, usd=2, boot_s=3600.0))

        assert found.finish_s.p50 == pytest.approx(7200, rel=0.05)
        assert found.cost_usd.p50 == pytest.approx(4, rel=0.05)

    def test_counts_the_machines_that_are_lost(self):
        found = told(hours(50), offer(1, market="spot", interruptions_per_hour=0.1))

        again = 1 - 1 / (1 + found.losses)
        assert found.losses > 3
        assert found.loss_chance > again
        assert found.finish_s.p50 > 50 * 3600 * 1.02

    @given(st.sampled_from([0.02, 0.1, 0.3]), st.sampled_from([0.0, 300.0, 1200.0]), st.sampled_from([1, 5, 30]))
    def test_more_losses_and_longer_boots_are_no_gain(self, chance, boot_s, work):
        here = told(hours(work), offer(1, market="spot", boot_s=boot_s, interruptions_per_hour=chance))
        worse = told(hours(work), offer(1, market="spot", boot_s=boot_s + 600, interruptions_per_hour=chance + 0.3))

        assert worse.finish_s.p50 > here.finish_s.p50
        assert worse.losses > here.losses
        assert here.finish_s.p10 <= here.finish_s.p50 <= here.finish_s.p90
        assert here.cost_usd.p10 <= here.cost_usd.p50 <= here.cost_usd.p90

    def test_agrees_with_what_the_closed_form_expects(self):
        need = hours(40)
        found = Question(
            need, book(offer(1, market="spot", boot_s=300.0, interruptions_per_hour=0.05)), speed=STATED
        ).candidates(need)

        (drawn,) = outcomes(need, found, np.array([0]))

        assert float(drawn.expected_usd) == pytest.approx(float(found.usd[0]), rel=0.05)
        assert float(found.losses[0]) == pytest.approx(drawn.losses, rel=0.35)

    def test_sites_work_together_and_each_is_paid(self):
        found = told(hours(4, sites=2), offer(1, usd=1), offer(2, usd=2, region="there"))

        assert found.finish_s.p50 == pytest.approx(2 * 3600 / MULTI_SITE_EFFICIENCY, rel=0.01)
        assert found.cost_usd.p50 == pytest.approx(6 / MULTI_SITE_EFFICIENCY, rel=0.01)

    def test_a_slow_link_delays_sites_as_the_closed_form_has_it(self):
        need = hours(4, sites=2, checkpoint_gib=4.0)
        offers = [offer(1, internet_mbit_per_s=2.0), offer(2, region="there", internet_mbit_per_s=1000.0)]
        found = Question(need, book(*offers), speed=STATED).candidates(need)

        (drawn,) = outcomes(need, found, np.array([0]))

        assert found.efficiency[0] < 0.9
        assert drawn.finish_s.p50 == pytest.approx(2 * 3600 / found.efficiency[0], rel=0.01)

    @pytest.mark.parametrize("chance", [0.001, 0.2, 0.9])
    def test_a_site_that_is_down_when_the_other_is_done_need_not_come_back(self, chance):
        slow = offer(1, market="spot", boot_s=72_000.0, interruptions_per_hour=chance)

        both = told(hours(2, sites=2), slow, offer(2, region="there"))

        assert both.finish_s.p90 < 1.1 * 2 * 3600 * P90 / MULTI_SITE_EFFICIENCY

    def test_plans_of_calm_and_of_wild_machines_are_told_in_the_order_asked(self):
        need = hours(30)
        found = Question(
            need,
            book(offer(1), offer(2, market="spot", region="there", interruptions_per_hour=0.5), offer(3, region="far")),
            speed=STATED,
        ).candidates(need)

        forth, back = (outcomes(need, found, np.array(order)) for order in ([0, 1, 2], [2, 1, 0]))

        assert forth == back[::-1]
        assert forth[0] != forth[1]

    def test_chances_are_of_the_deadline_and_the_budget(self):
        sure = told(hours(1, deadline_hours=2.0, budget_usd=Decimal(2)), offer(1))
        even = told(hours(1, deadline_hours=1.0, budget_usd=Decimal(1)), offer(1))
        without = told(hours(1), offer(1))

        assert (sure.deadline_chance, sure.budget_chance) == (1.0, 1.0)
        assert even.deadline_chance == pytest.approx(0.5, abs=0.02)
        assert even.budget_chance == pytest.approx(0.5, abs=0.02)
        assert (without.deadline_chance, without.budget_chance) == (None, None)

    def test_it_is_late_only_as_often_as_is_bearable(self):
        found = told(hours(1, deadline_hours=5.0, chance=0.75), offer(1))

        assert found.late_s == pytest.approx(3600 * exp(NormalDist().inv_cdf(0.75) * STATED_SIGMA), rel=0.01)

    def test_tells_what_data_energy_and_carbon_come_to(self):
        need = hours(2, data_gib=10.0, checkpoint_gib=1.0)

        found = told(need, offer(1, egress_usd_per_gib=0.1, gco2_per_kwh=50.0, provider="gcp"))

        kwh = 2 * facts.watts("CPU") / 1000 * facts.pue("gcp")
        out = 0.1 * (1 + 2 * 3600 / facts.ROUND_S) + 10 * facts.STORE_EGRESS_USD_PER_GIB
        assert found.energy_kwh == pytest.approx(kwh, rel=0.02)
        assert found.carbon_kg == pytest.approx(kwh * 0.05, rel=0.02)
        assert float(found.egress_usd) == pytest.approx(out, rel=0.02)
        assert float(found.storage_usd) == pytest.approx(2 * 11 * 0.08 / 730, rel=0.02)

    def test_does_not_guess_at_the_carbon_of_an_unknown_grid(self):
        assert told(hours(1), offer(1)).carbon_kg is None
        assert told(hours(1), offer(1)).energy_kwh > 0

    def test_shows_money_as_text(self):
        shown = told(hours(1), offer(1)).as_json()

        assert isinstance(shown["expected_usd"], str)
        assert set(shown["cost_usd"]) == {"p10", "p50", "p90"}
        assert Decimal(shown["cost_usd"]["p50"]) > 0


class TestLives:
    def test_last_until_their_hazard_is_used_up(self):
        by_age = np.array([[2.0, 2.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5]])

        lives = outcome._lives_h(by_age, np.array([[[1.0, 1.5]], [[2.5, 3.0]]]))

        assert lives[:, 0].tolist() == [pytest.approx([0.5, 1.0]), pytest.approx([2.0, 3.0])]
