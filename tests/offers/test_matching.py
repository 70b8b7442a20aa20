from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offers.matching import choice, solve
from offers.matching.constraints import Scope
from offers.matching.estimate import UNKNOWN, Speed
from offers.matching.need import Need, parse
from offers.matching.solve import Answer
from tests.offers.some_offers import SAMPLES_OF_AN_HOUR, STATED, book, offer

FAST = Speed(source="measured", by_accelerator={"H100-SXM": 1000.0, "T4": 10.0})


def ids(answer: Answer) -> list[list[int]]:
    return [sorted(one.id for site in plan.sites for one, _ in site.lines) for plan in answer.plans]


def read(value):
    return tuple(value) if isinstance(value, list) else Decimal(value) if isinstance(value, str) else value


def relaxed(answer: Answer) -> dict[str, str]:
    return {one.field: f"{one.change}: {one.usd:.2f}" for one in answer.relaxations}


class TestPlans:
    def test_takes_the_cheapest_offers_at_distinct_sites(self):
        offers = [offer(1, usd=3), offer(2, usd=2), offer(3, region="there", usd=5), offer(4, region="far", usd=9)]

        best = solve.solve(Need(sites=2), book(*offers), speed=UNKNOWN).plans[0]

        assert [[one.id for one, _ in site.lines] for site in best.sites] == [[2], [3]]
        assert best.usd_per_hour == 7
        assert (best.cost_usd, best.finish_s, best.outcome) == (None, None, None)

    def test_ranks_by_cost_to_finish_not_by_price_of_an_hour(self):
        offers = book(offer(1, chip="T4", usd="0.5"), offer(2, chip="H100-SXM", region="there", usd=3))

        plans = solve.solve(Need(sites=1, samples=1_000_000), offers, speed=FAST).plans

        assert ids(solve.solve(Need(sites=1), offers, speed=FAST))[0] == [1]
        assert [plan.sites[0].lines[0][0].id for plan in plans] == [2]
        assert plans[0].finish_s == pytest.approx(1000, rel=0.01)
        assert float(plans[0].cost_usd) == pytest.approx(3 * 1000 / 3600, rel=0.01)

    def test_a_deadline_excludes_what_is_too_slow(self):
        offers = book(offer(1), offer(2, region="there"))

        answer = solve.solve(Need(samples=SAMPLES_OF_AN_HOUR, deadline_hours=0.7), offers, speed=STATED)

        assert {len(plan.sites) for plan in answer.plans} == {2}
        assert answer.plans[0].outcome.deadline_chance > 0.9
        assert answer.too_late == 2

    def test_what_is_shown_is_best_at_something_and_says_why_the_next_is_not(self):
        offers = book(
            offer(1, usd=1, market="spot", boot_s=300.0, gco2_per_kwh=400.0),
            offer(2, usd=2, region="there", gco2_per_kwh=20.0),
            offer(3, usd="1.99", region="far", gco2_per_kwh=400.0),
        )

        plans = solve.solve(Need(samples=20 * SAMPLES_OF_AN_HOUR, sites=1), offers, speed=STATED).plans

        assert [plan.sites[0].lines[0][0].id for plan in plans] == [1, 3, 2]
        assert plans[0].labels == ("cheapest",)
        assert "greenest" in plans[2].labels
        assert plans[0].why_not.startswith("next best: cloud/far, 1 x CPU on-demand: ")
        assert " USD more" in plans[0].why_not

    def test_no_plan_costs_many_times_the_cheapest(self):
        offers = book(offer(1, usd=1), offer(2, usd=4, region="there"), offer(3, usd=6, region="far"))

        answer = solve.solve(Need(samples=SAMPLES_OF_AN_HOUR, sites=1), offers, speed=STATED)

        costs = [float(plan.cost_usd) for plan in answer.plans]
        assert max(costs) <= choice.DEAREST * min(costs)
        assert 3 not in {pk for one in ids(answer) for pk in one}

    def test_tells_cost_against_deadline(self):
        offers = book(*(offer(pk, usd=pk, region=f"r{pk}") for pk in (1, 2, 3)))

        curve = solve.solve(Need(samples=12 * SAMPLES_OF_AN_HOUR), offers, speed=STATED).curve

        assert len(curve) == 3
        assert [point.hours for point in curve] == sorted(point.hours for point in curve)
        assert [point.usd for point in curve] == sorted((point.usd for point in curve), reverse=True)

    def test_reserved_capacity_comes_first_because_it_is_paid_for(self):
        mine = offer(7, usd=50, region="mine", available=2)

        answer = solve.solve(
            Need(samples=SAMPLES_OF_AN_HOUR, accelerators_per_site=2, sites=1),
            book(offer(1, usd=1), mine),
            speed=STATED,
            reserved=[mine],
        )

        assert answer.plans[0].usd_per_hour == 0
        assert [(one.id, one.reserved, count) for one, count in answer.plans[0].sites[0].lines] == [(7, True, 2)]

    def test_the_teams_own_hosts_come_first_and_overflow_to_others(self):
        offers = book(offer(1, usd=9, region="mine", available=2, provider="supplier"), offer(2, usd=1))
        need = Need(accelerators=4, prefer_own=True, samples=SAMPLES_OF_AN_HOUR)

        answer = solve.solve(need, offers, speed=STATED, scope=Scope(own=[1]))

        assert all({1, 2} == set(of_plan) for of_plan in ids(answer))
        assert answer.plans[0].usd_per_hour == 20
        assert ids(solve.solve(replace(need, prefer_own=None), offers, speed=STATED))[0] == [2]


class TestUnmet:
    def test_says_which_constraint_excludes_how_many(self):
        answer = solve.solve(Need(accelerator="H100"), book(offer(1), offer(2)), speed=UNKNOWN)

        assert answer.plans == ()
        assert dict(answer.excluded) == {"accelerator: H100": 2}
        assert answer.considered == 2

    def test_tells_that_there_are_too_few_sites(self):
        answer = solve.solve(Need(sites=3), book(offer(1), offer(2, region="there")), speed=UNKNOWN)

        assert dict(answer.excluded) == {"sites: 3 distinct sites wanted, 2 fit": 2}
        assert relaxed(answer) == {"sites": "with 2 sites instead of 3: 2.00"}

    def test_tells_that_no_site_is_large_enough(self):
        answer = solve.solve(Need(accelerators_per_site=4), book(offer(1, available=2)), speed=UNKNOWN)

        assert dict(answer.excluded) == {"accelerators_per_site: 4": 1}
        assert relaxed(answer) == {"accelerators_per_site": "with 2 accelerators a site instead of 4: 2.00"}

    def test_tells_what_breaks_every_plan(self):
        two = book(offer(1, usd=2), offer(2, usd=2, region="there"))

        answer = solve.solve(Need(sites=2, max_usd_per_hour=Decimal(3)), two, speed=UNKNOWN)

        assert dict(answer.excluded) == {"max_usd_per_hour: 3": 2}
        assert relaxed(answer)["max_usd_per_hour"] == "with up to 4.00 USD an hour: 4.00"

    def test_a_budget_below_the_cheapest_names_the_cheapest(self):
        need = Need(samples=SAMPLES_OF_AN_HOUR, budget_usd=Decimal("0.5"))

        answer = solve.solve(need, book(offer(1)), speed=STATED)

        assert not answer.plans
        assert answer.too_dear == 1
        assert float(answer.cheapest_usd) == pytest.approx(1, rel=0.02)
        assert relaxed(answer) == {"budget_usd": "with a budget of 1.01 USD: 1.01"}

    def test_a_deadline_that_is_too_near_names_one_that_is_not_and_what_more_machines_would_do(self):
        need = Need(samples=4 * SAMPLES_OF_AN_HOUR, deadline_hours=2.0, sites=1)

        answer = solve.solve(need, book(offer(1, usd=1)), speed=STATED)

        assert answer.too_late == 1
        told = relaxed(answer)
        assert told["deadline_hours"] == "with a deadline of 4.55 h: 4.02"
        assert told["accelerators_per_site"].startswith("with 4 accelerators a site instead of 1: 4.0")
        assert {one.field: one.value for one in answer.relaxations} == {
            "deadline_hours": 4.55,
            "accelerators_per_site": 4,
        }

    @pytest.mark.parametrize(
        ("need", "change"),
        [
            (Need(min_memory_gib=80), "with 40 GiB instead of 80: 2.00"),
            (Need(accelerator="H100"), "with A100-40GB instead of H100: 2.00"),
            (Need(offers=(99,)), "with others than the offers picked, A100-40GB at gcp: 2.00"),
            (Need(providers=("aws",)), "also at gcp: 2.00"),
            (Need(not_regions=("eu",)), "also in eu: 2.00"),
            (Need(countries=("FR",)), "also in DE: 2.00"),
            (Need(residency="GDPR", not_countries=("DE",)), "also in DE: 2.00"),
            (Need(markets=("on_demand",)), "also spot: 2.00"),
            (Need(tiers=("own",)), "also secure: 2.00"),
            (Need(max_spot_share=0), "with 100 % of the accelerators on the spot market: 2.00"),
            (Need(max_usd_per_hour=Decimal(1)), "with up to 2.00 USD an hour: 2.00"),
        ],
    )
    def test_tells_what_each_constraint_costs(self, need, change):
        one = offer(2, provider="gcp", region="eu", chip="A100-40GB", memory_gib=40.0, usd=2, market="spot")

        answer = solve.solve(need, book(one), speed=UNKNOWN)

        assert not answer.plans
        assert change in relaxed(answer).values()
        for told in answer.relaxations:
            asked = parse({**need.as_json(), told.field: told.value})
            assert solve.solve(asked, book(one), speed=UNKNOWN).plans, told

    def test_what_would_do_is_ranked_by_its_cost(self):
        offers = book(offer(1, usd=5, chip="H100-SXM"), offer(2, usd=2, region="there"))

        answer = solve.solve(Need(accelerator="H100", regions=("there",)), offers, speed=UNKNOWN)

        assert [(one.field, one.usd) for one in answer.relaxations] == [("accelerator", 2), ("regions", 5)]

    def test_where_two_constraints_stand_in_the_way_none_alone_would_do(self):
        answer = solve.solve(Need(accelerator="H100", regions=("there",)), book(offer(1)), speed=UNKNOWN)

        assert answer.relaxations == ()

    def test_no_offer_at_all_is_no_answer(self):
        answer = solve.solve(Need(samples=10), book(), speed=STATED)

        assert (answer.plans, answer.excluded, answer.considered, answer.relaxations) == ((), (), 0, ())


class TestRelaxations:
    @given(
        st.lists(st.tuples(st.sampled_from(["T4", "H100-SXM"]), st.sampled_from(["DE", "FR"]), st.integers(1, 9),
                           st.sampled_from(["spot", "on_demand"])), min_size=1, max_size=6),
        st.fixed_dictionaries({}, optional={"accelerator": st.just("H100"), "countries": st.just(("FR",)),
                                            "markets": st.just(("spot",)), "max_usd_per_hour": st.just(Decimal(4))}),
    )  # fmt: skip
    def test_a_change_that_is_told_makes_the_need_possible_at_that_price(self, rows, wishes):
        offers = book(*(offer(pk, chip=chip, country=country, usd=usd, market=market, region=f"r{pk}")
                        for pk, (chip, country, usd, market) in enumerate(rows)))  # fmt: skip
        need = Need(**wishes, sites=1)

        answer = solve.solve(need, offers, speed=UNKNOWN)

        possible = {}
        for field in wishes:
            plans = solve.solve(replace(need, **{field: None}), offers, speed=UNKNOWN).plans
            if plans and not answer.plans:
                possible[field] = plans[0].usd_per_hour
        assert {one.field: one.usd for one in answer.relaxations} == possible
        for one in answer.relaxations:
            assert solve.solve(replace(need, **{one.field: read(one.value)}), offers, speed=UNKNOWN).plans
