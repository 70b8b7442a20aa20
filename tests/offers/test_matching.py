from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offers.matching import estimate
from offers.matching.estimate import UNKNOWN, Speed
from offers.matching.need import Need, NeedInvalid, parse
from offers.matching.solve import OpenOffer, solve

STATED = Speed(source="stated", by_accelerator={}, anywhere=10.0)


def offer(pk, *, region="here", chip="CPU", count=1, usd="1", provider="cloud", **more):
    wanted = {"country": "DE", "market": "spot", "memory_gib": 8.0, "leasable": True, "available": None} | more
    return OpenOffer(id=pk, provider=provider, region=region, accelerator=chip, accelerators=count,
                     usd_per_hour=Decimal(usd), **wanted)  # fmt: skip


class TestParse:
    def test_reads_what_as_json_wrote(self):
        need = parse({"accelerator": "H100", "sites": 2, "budget_usd": "5", "samples": 10, "regions": ["a"]})

        assert parse(need.as_json()) == need

    @pytest.mark.parametrize(
        ("body", "what"),
        [
            ([], "JSON object"),
            ({"gpu": "H100"}, "unknown field 'gpu'"),
            ({"sites": 0}, "sites must be"),
            ({"sites": 99}, "sites must be at most"),
            ({"sites": True}, "sites must be"),
            ({"samples": 1.5}, "samples must be a whole number"),
            ({"samples_per_s": -1}, "samples_per_s must be a positive"),
            ({"samples_per_s": float("nan")}, "samples_per_s must be a positive"),
            ({"budget_usd": "much"}, "budget_usd must be an amount"),
            ({"budget_usd": "NaN"}, "budget_usd must be a positive"),
            ({"regions": []}, "regions must be a list"),
            ({"regions": "here"}, "regions must be a list"),
            ({"accelerator": ""}, "accelerator must be a short text"),
        ],
    )
    def test_says_which_field_is_wrong(self, body, what):
        with pytest.raises(NeedInvalid, match=what):
            parse(body)


class TestSolve:
    def test_takes_the_cheapest_offers_at_distinct_sites(self):
        offers = [
            offer(1, usd="3"),
            offer(2, usd="2"),
            offer(3, region="there", usd="5"),
            offer(4, region="far", usd="9"),
        ]

        best = solve(Need(sites=2), offers, speed=UNKNOWN).plans[0]

        assert [[o.id for o, _ in site.lines] for site in best.sites] == [[2], [3]]
        assert best.usd_per_hour == 7

    def test_buys_whole_machines(self):
        best = solve(Need(accelerators_per_site=5, sites=1), [offer(1, count=4, usd="4")], speed=UNKNOWN).plans[0]

        assert [(o.id, n) for o, n in best.sites[0].lines] == [(1, 2)]
        assert best.usd_per_hour == 8

    def test_fills_a_site_from_several_small_hosts(self):
        hosts = [offer(1, usd="1", available=1), offer(2, usd="2", available=1), offer(3, usd="3", available=1)]

        best = solve(Need(accelerators_per_site=2, sites=1), hosts, speed=UNKNOWN).plans[0]

        assert [(o.id, n) for o, n in best.sites[0].lines] == [(1, 1), (2, 1)]

    def test_never_takes_more_machines_than_are_free(self):
        answer = solve(Need(accelerators_per_site=3, sites=1), [offer(1, available=2)], speed=UNKNOWN)

        assert not answer.plans
        assert dict(answer.excluded) == {"accelerators_per_site: 3": 1}

    def test_ranks_by_cost_to_finish_not_by_price_of_an_hour(self):
        fast = Speed(source="measured", by_accelerator={"H100-SXM": 1000.0, "T4": 10.0})
        offers = [offer(1, chip="T4", usd="0.5"), offer(2, chip="H100-SXM", region="there", usd="3")]

        plans = solve(Need(sites=1, samples=100_000), offers, speed=fast).plans

        assert [plan.sites[0].lines[0][0].id for plan in plans] == [2, 1]
        assert plans[0].finish_s == pytest.approx(130)
        assert plans[0].cost_usd == estimate.cost_usd(usd_per_hour=Decimal(3), seconds=130)

    def test_scales_a_measured_speed_to_another_chip_by_peak(self):
        speed = Speed(source="measured", by_accelerator={"A100-80GB": 100.0})

        assert speed.of("H100-SXM") == pytest.approx(100 * 989 / 312)

    @pytest.mark.parametrize(
        ("need", "constraint"),
        [
            (Need(accelerator="H100"), "accelerator: H100-SXM"),
            (Need(min_memory_gib=80), "min_memory_gib: 80"),
            (Need(regions=("mars",)), "regions: mars"),
            (Need(countries=("FR",)), "countries: FR"),
            (Need(providers=("aws",)), "providers: aws"),
            (Need(markets=("reserved",)), "markets: reserved"),
        ],
    )
    def test_says_which_constraint_excludes_how_many(self, need, constraint):
        answer = solve(need, [offer(1), offer(2)], speed=UNKNOWN)

        assert answer.plans == ()
        assert dict(answer.excluded) == {constraint: 2}
        assert answer.considered == 2

    def test_tells_what_is_not_for_rent_and_what_is_sold_out(self):
        answer = solve(Need(), [offer(1, leasable=False), offer(2, available=0)], speed=UNKNOWN)

        assert dict(answer.excluded) == {"for rent here (price list only)": 1, "free now": 1}

    def test_tells_that_there_are_too_few_sites(self):
        answer = solve(Need(sites=3), [offer(1), offer(2, region="there")], speed=UNKNOWN)

        assert dict(answer.excluded) == {"sites: 3 distinct sites wanted, 2 fit": 2}

    def test_a_budget_below_the_cheapest_leaves_no_plan_and_names_the_cheapest(self):
        need = Need(samples=36_000, budget_usd=Decimal("0.5"))

        answer = solve(need, [offer(1, usd="1")], speed=STATED)

        assert not answer.plans
        assert answer.too_dear == 1
        assert answer.cheapest_usd == estimate.cost_usd(usd_per_hour=Decimal(1), seconds=3630)

    def test_a_deadline_excludes_what_is_too_slow(self):
        offers = [offer(1), offer(2, region="there")]

        plans = solve(Need(samples=36_000, deadline_hours=0.6), offers, speed=STATED).plans

        assert {len(plan.sites) for plan in plans} == {2}

    @given(
        st.lists(st.tuples(st.integers(0, 4), st.integers(1, 50), st.integers(1, 4)), min_size=1, max_size=8),
        st.integers(1, 3),
        st.integers(1, 4),
        st.sampled_from([None, 36_000]),
    )
    def test_no_choice_of_one_kind_of_machine_a_site_is_cheaper(self, rows, sites, wanted, samples):
        offers = [offer(i, region=f"r{r}", usd=str(usd), count=n) for i, (r, usd, n) in enumerate(rows)]
        need = Need(sites=sites, accelerators_per_site=wanted, samples=samples)

        plans = solve(need, offers, speed=STATED).plans

        regions = {one.region for one in offers}
        assert bool(plans) == (len(regions) >= sites)
        for plan in plans:
            assert len({site.region for site in plan.sites}) == sites
            assert all(site.accelerators >= wanted for site in plan.sites)
        if plans and sites == 1:
            whole = [(one, -(-wanted // one.accelerators)) for one in offers]
            if samples is None:
                assert plans[0].usd_per_hour <= min(one.usd_per_hour * count for one, count in whole)
            else:
                costs = [cost_of(one.usd_per_hour * count, one.accelerators * count, samples) for one, count in whole]
                assert plans[0].cost_usd <= min(costs)


def cost_of(usd_per_hour, chips, samples):
    seconds = estimate.START_S + samples / (10.0 * chips)
    return estimate.cost_usd(usd_per_hour=usd_per_hour, seconds=seconds)
