"""Without a deadline a site moves where finishing elsewhere costs clearly less, and only there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offers.matching.policy.open_end import GAIN, Option, decide
from offers.matching.survival import AGES_S

AGES = len(AGES_S)
HOUR_OF_WORK = 3600.0  # Samples, at one a second.


def option(name="here", usd=1.0, **more):
    given = {"pace": 1.0, "losses_per_hour": np.full(AGES, 1e-6), "age_s": 0.0, "changeover_s": 360.0}
    return Option(name=name, usd_per_hour=usd, **(given | more))


def test_a_sure_place_costs_its_hours_and_a_start_its_changeover():
    assert option(usd=2.0).usd(HOUR_OF_WORK, starts=False) == pytest.approx(2.0, rel=1e-3)
    assert option(usd=2.0).usd(HOUR_OF_WORK, starts=True) == pytest.approx(2.2, rel=1e-3)


def test_a_place_that_loses_machines_costs_more_to_finish_and_less_so_when_it_has_lasted():
    risky = option(losses_per_hour=np.full(AGES, 2.0))
    ages = np.where(np.arange(AGES) < 3, 8.0, 0.01)
    young, old = option(losses_per_hour=ages), option(losses_per_hour=ages, age_s=24 * 3600.0)

    assert risky.usd(HOUR_OF_WORK, starts=False) > 1.4 * option().usd(HOUR_OF_WORK, starts=False)
    assert young.usd(HOUR_OF_WORK, starts=False) > 1.05 * old.usd(HOUR_OF_WORK, starts=False)


def test_moves_to_what_finishes_cheaper():
    decision = decide([option()], [option("dear", 0.99), option("cheap", 0.3)], samples=10 * HOUR_OF_WORK, move_usd=0.1)

    assert (decision.action, decision.held, decision.to) == ("move", 0, 1)
    assert decision.figures["usd_to_finish"]["move to cheap"] == pytest.approx(0.3 * 10.1 + 0.1, rel=1e-3)


@pytest.mark.parametrize(
    ("other", "samples", "move_usd"),
    [
        (option("cheap", 0.97), 10 * HOUR_OF_WORK, 0.0),  # Not enough to be sure of.
        (option("cheap", 0.5), 0.05 * HOUR_OF_WORK, 0.0),  # Nothing left to gain with.
        (option("cheap", 0.5), 10 * HOUR_OF_WORK, 6.0),  # The data cost more than it saves.
        (option("cheap", 0.6, pace=0.5), 10 * HOUR_OF_WORK, 0.0),  # Half as fast.
        (option("cheap", 0.5, losses_per_hour=np.full(AGES, 9.0)), 10 * HOUR_OF_WORK, 0.0),  # Lost all the time.
    ],
)
def test_stays_where_a_move_does_not_pay(other, samples, move_usd):
    assert decide([option()], [other], samples=samples, move_usd=move_usd).action == "stay"


def test_the_site_that_costs_most_moves_first():
    held = [option("a", 1.0), option("b", 3.0), option("c", 2.0)]

    assert decide(held, [option("cheap", 0.5)], samples=10 * HOUR_OF_WORK, move_usd=0.0).held == 1


def test_with_nowhere_to_go_it_stays_and_says_what_that_costs():
    decision = decide([option()], [], samples=HOUR_OF_WORK, move_usd=0.0)

    assert decision.action == "stay"
    assert list(decision.figures["usd_to_finish"]) == ["stay at here"]


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=4), st.lists(st.floats(0.1, 10), max_size=4), st.floats(0, 50))
def test_no_two_places_are_swapped_back_and_forth(prices, others, hours):
    """What was left for a saving is not gone back to at once: the way back would have to save as much again."""
    held, options = [option(str(usd), usd) for usd in prices], [option(str(usd), usd) for usd in others]
    decision = decide(held, options, samples=hours * HOUR_OF_WORK, move_usd=0.0)
    if decision.action == "stay":
        return
    left, taken = held[decision.held], options[decision.to]

    assert taken.usd(hours * HOUR_OF_WORK, starts=True) < (1 - GAIN) * left.usd(hours * HOUR_OF_WORK, starts=False)
    assert decide([taken], [left], samples=hours * HOUR_OF_WORK, move_usd=0.0).action == "stay"
