from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from itertools import combinations, product
from math import exp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offers.matching import facts, plans, sites
from offers.matching.book import OWN, Book, OpenOffer
from offers.matching.estimate import Speed
from offers.matching.need import Need
from offers.matching.plans import Plans
from offers.matching.question import Question
from tests.offers.some_offers import GIGA, SAMPLES_OF_AN_HOUR, STATED, book, offer

MEAN = exp(0.1**2 / 2)  # Mean time over the time at the median speed, for a stated speed.
GIGA_SPEED = Speed(source="measured", by_accelerator={"CPU": 8.0}, profile=GIGA)
SPEED = Speed(source="measured", by_accelerator={"H100-SXM": 30.0, "T4": 4.0, "CPU": 10.0})


def found_by(need: Need, *offers: OpenOffer, speed: Speed = STATED) -> Plans | None:
    return Question(need, book(*offers), speed=speed).candidates(need)


def best(found: Plans | None) -> tuple[float, list[list[tuple[int, int]]]]:
    """Return the cheapest plan: its cost, and (offer, machines) of each of its sites."""
    assert found is not None
    rows = np.flatnonzero(found.allowed())
    plan = rows[np.argmin(found.ranked_usd[rows])]
    fills = found.paces.fills
    lines = [
        sorted((int(fills.book.id[row]), count) for row, count in fills.lines(fill))
        for fill in found.members[plan]
        if fill >= 0
    ]
    return float(found.usd[plan]), sorted(lines)


class TestClosedForm:
    def test_costs_price_times_work_over_speed_where_nothing_can_happen(self):
        usd, lines = best(found_by(Need(samples=SAMPLES_OF_AN_HOUR * 2, sites=1), offer(1, usd=3)))

        assert usd == pytest.approx(6.0 * MEAN, rel=1e-4)
        assert lines == [[(1, 1)]]

    def test_a_boot_is_paid_for(self):
        found = found_by(Need(samples=SAMPLES_OF_AN_HOUR, sites=1), offer(1, usd=2, boot_s=1800.0))

        assert best(found)[0] == pytest.approx(2 * MEAN + 1, rel=1e-3)
        assert found.hours[0] == pytest.approx(MEAN + 0.5, rel=1e-3)

    def test_two_sites_share_the_work_less_what_rounds_cost(self):
        need = Need(samples=SAMPLES_OF_AN_HOUR, sites=2)

        found = found_by(need, offer(1, usd=1), offer(2, usd=3, region="there"))

        assert found.hours[0] == pytest.approx(MEAN * 0.5 / plans.MULTI_SITE_EFFICIENCY, rel=1e-4)
        assert found.usd[0] == pytest.approx(MEAN * 4 * 0.5 / plans.MULTI_SITE_EFFICIENCY, rel=1e-4)

    def test_losses_make_a_machine_slower_and_dearer(self):
        need = Need(samples=10 * SAMPLES_OF_AN_HOUR, sites=1)
        calm, wild = (
            found_by(need, offer(1, market="spot", boot_s=600.0, interruptions_per_hour=chance))
            for chance in (0.01, 0.3)
        )

        assert wild.hours[0] > 1.1 * calm.hours[0]
        assert wild.usd[0] > 1.1 * calm.usd[0]
        assert wild.losses[0] > 10 * calm.losses[0]

    def test_carries_data_and_state_out_and_keeps_them(self):
        need = Need(samples=SAMPLES_OF_AN_HOUR, sites=1, data_gib=10.0, checkpoint_gib=2.0)

        found = found_by(need, offer(1, usd=1, egress_usd_per_gib=0.5))

        handed_in = 1 + MEAN * 3600 / facts.ROUND_S
        stored = 12 * facts.STORAGE_USD_PER_GIB_MONTH / facts.HOURS_PER_MONTH
        egress = 2 * 0.5 * handed_in + 10 * facts.STORE_EGRESS_USD_PER_GIB
        assert found.usd[0] == pytest.approx(MEAN + egress + MEAN * stored, rel=1e-3)

    def test_counts_carbon_by_chip_house_and_grid(self):
        found = found_by(Need(samples=SAMPLES_OF_AN_HOUR, sites=1), offer(1, gco2_per_kwh=100.0, provider="gcp"))

        assert found.kg[0] == pytest.approx(facts.watts("CPU") / 1000 * facts.pue("gcp") * 0.1 * MEAN, rel=1e-3)

    def test_without_a_speed_an_hour_is_what_is_compared(self):
        found = found_by(Need(accelerators_per_site=2), offer(1, usd=3), speed=Speed(source="x", by_accelerator={}))

        assert found.hours is None
        assert best(found)[0] == 6


class TestLinks:
    """Steps take a second on one accelerator; a round's 4 GB are 64 s on the way at 1000 Mbit/s."""

    NEED = Need(samples=80 * 3600, max_sites=2)

    def test_nothing_changes_where_nobody_says_what_a_step_is_made_of(self):
        linked = [replace(one, interconnect="infiniband", internet_mbit_per_s=10.0) for one in self.offers(1000.0)]
        need = replace(self.NEED, accelerators_per_site=16)

        told = [found_by(need, *offers, speed=replace(GIGA_SPEED, profile=None))
                for offers in (linked, self.offers(1000.0))]  # fmt: skip

        assert told[0].hours.tolist() == told[1].hours.tolist()
        assert told[0].efficiency.tolist() == [1, 1, plans.MULTI_SITE_EFFICIENCY]

    def test_rounds_of_a_large_model_over_slow_links_are_slower_than_one_site(self):
        fast, slow = (self.by_sites(self.offers(mbit)) for mbit in (10_000.0, 10.0))

        assert fast[2] < 0.6 * fast[1]
        assert slow[2] > 1.5 * slow[1]
        assert slow[1] == fast[1]

    def test_a_small_model_over_fast_links_loses_nothing(self):
        small = replace(GIGA, parameters=10**6, trainable=10**6, parameter_bytes=4e6)

        both = found_by(self.NEED, *self.offers(10_000.0), speed=replace(GIGA_SPEED, profile=small))

        assert both.efficiency[-1] == 1

    def test_a_slow_link_holds_no_other_site_up(self):
        here, there = self.offers(10_000.0)

        mixed = self.by_sites([here, replace(there, internet_mbit_per_s=10.0)])

        fast, slow = (self.by_sites(self.offers(mbit))[2] for mbit in (10_000.0, 10.0))
        assert mixed[2] == pytest.approx(2 / (1 / fast + 1 / slow), rel=0.02)

    def test_a_slow_chip_holds_no_other_up(self):
        need = replace(self.NEED, accelerators_per_site=1)
        speed = replace(GIGA_SPEED, by_accelerator={"CPU": 8.0, "T4": 1.0})

        found = found_by(need, offer(1), offer(2, chip="T4", region="there"), speed=speed)

        assert found.efficiency[2] == pytest.approx(1, abs=0.01)
        assert found.hours[2] < found.hours[0]

    @pytest.mark.parametrize("many", [plans.PAIRED_MAX + 10, plans.COMPARED_MAX + 10])
    def test_the_few_with_fast_links_are_found_among_many_that_cost_less(self, many):
        slow = [offer(pk, region=f"r{pk}", internet_mbit_per_s=10.0) for pk in range(many)]
        fast = [offer(pk, region=f"r{pk}", internet_mbit_per_s=10_000.0, usd=2) for pk in (many, many + 1)]

        found = found_by(replace(self.NEED, sites=2, max_sites=None), *slow, *fast, speed=GIGA_SPEED)

        assert best(found)[1] == [[(many, 1)], [(many + 1, 1)]]

    def test_what_a_site_hands_in_says_as_much_where_there_is_no_profile(self):
        need = replace(self.NEED, checkpoint_gib=4.0)

        fast, slow = (found_by(need, *self.offers(mbit)).efficiency[-1] for mbit in (10_000.0, 10.0))

        assert fast == 1
        assert slow == pytest.approx(facts.ROUND_S / (16 * 4 * 2**30 * 8.125 / 32 / 1e7), rel=0.15)

    def test_machines_of_a_site_are_slower_together_without_infiniband(self):
        need = replace(self.NEED, accelerators_per_site=4, max_sites=1)
        alone, joined, apart = (
            found_by(need, offer(1, count=count, interconnect=words), speed=GIGA_SPEED).hours[0]
            for count, words in ((4, ""), (1, "infiniband"), (1, ""))
        )

        assert alone == pytest.approx(joined, rel=0.01), "hidden behind the backward pass"
        assert 1.1 * joined < apart

    def offers(self, mbit_per_s: float) -> list[OpenOffer]:
        return [offer(pk, region=f"r{pk}", internet_mbit_per_s=mbit_per_s) for pk in (1, 2)]

    def by_sites(self, offers: list[OpenOffer]) -> dict[int, float]:
        """Return the least hours to finish, by the number of sites."""
        found = found_by(self.NEED, *offers, speed=GIGA_SPEED)
        sizes = (found.members >= 0).sum(axis=1)
        return {size: found.hours[sizes == size].min() for size in (1, 2)}


class TestFills:
    def test_buys_whole_machines(self):
        assert best(found_by(Need(accelerators_per_site=5), offer(1, count=4, usd=4)))[1] == [[(1, 2)]]

    def test_fills_a_site_from_several_small_hosts(self):
        hosts = [offer(pk, usd=pk, available=1) for pk in (1, 2, 3)]

        assert best(found_by(Need(accelerators_per_site=2), *hosts))[1] == [[(1, 1), (2, 1)]]

    def test_mixes_sizes_where_that_is_cheapest(self):
        found = found_by(Need(accelerators_per_site=12), offer(1, count=8, usd=8), offer(2, count=4, usd=5),
                         offer(3, count=1, usd=2))  # fmt: skip

        assert best(found)[1] == [[(1, 1), (2, 1)]]

    def test_does_not_mix_chips(self):
        assert found_by(Need(accelerators_per_site=2), offer(1, available=1), offer(2, chip="T4", available=1)) is None

    def test_takes_no_more_machines_than_are_free(self):
        assert found_by(Need(accelerators_per_site=3), offer(1, available=2)) is None

    def test_of_many_alike_it_looks_at_as_many_as_can_be_needed(self):
        many = book(*(offer(pk, usd=pk, available=1) for pk in range(1, 50)))

        rows = sites.cheapest_of_each(many, np.arange(len(many)), most=3)

        assert many.id[rows].tolist() == [1, 2, 3]


class TestConstraints:
    def test_sites_are_distinct(self):
        assert best(found_by(Need(sites=2), offer(1), offer(2, usd=5), offer(3, usd=9, region="there")))[1] == [
            [(1, 1)],
            [(3, 1)],
        ]

    @pytest.mark.parametrize(("spread", "second"), [(None, 2), ("region", 3), ("provider", 4), ("country", 5)])
    def test_no_two_sites_share_what_is_to_be_spread(self, spread, second):
        offers = [
            offer(1, usd=1),
            offer(2, usd=2, provider="other"),
            offer(3, usd=3, region="there"),
            offer(4, usd=4, provider="third", region="far"),
            offer(5, usd=5, region="farther", provider="fourth", country="FR"),
        ]
        if spread == "provider":
            offers[1] = replace(offers[1], provider="cloud", region="x")

        assert best(found_by(Need(sites=2, spread=spread), *offers))[1] == [[(1, 1)], [(second, 1)]]

    def test_no_more_than_a_share_is_on_the_spot_market(self):
        offers = [offer(pk, usd=pk, region=f"r{pk}", market="spot" if pk < 4 else "on_demand") for pk in range(1, 7)]

        assert best(found_by(Need(sites=3, max_spot_share=0.4), *offers))[1] == [[(1, 1)], [(4, 1)], [(5, 1)]]

    def test_no_more_is_paid_an_hour_or_carried_out(self):
        offers = [offer(1, usd=1, egress_usd_per_gib=1.0), offer(2, usd=2, egress_usd_per_gib=0.0, region="there")]
        need = Need(samples=SAMPLES_OF_AN_HOUR, checkpoint_gib=0.01, sites=1)

        assert best(found_by(need, *offers))[1] == [[(1, 1)]]
        assert best(found_by(replace(need, max_egress_usd=Decimal("0.04")), *offers))[1] == [[(2, 1)]]
        assert found_by(replace(need, sites=2, max_usd_per_hour=Decimal("2.9")), *offers).allowed().sum() == 0

    def test_takes_the_teams_own_first_and_then_others(self):
        offers = [offer(1, usd=9, available=2), offer(2, usd=1, region="there")]
        need = Need(accelerators=3, prefer_own=True, samples=1000)
        asked = Question(need, book(*offers), speed=STATED)
        asked.scope = replace(asked.scope, own=frozenset({1}))

        assert best(asked.candidates(need))[1] == [[(1, 2)], [(2, 1)]]

    def test_what_is_reserved_costs_nothing_more(self):
        held = offer(1, usd=9, available=2)

        found = Question(
            Need(accelerators_per_site=3), book(held, offer(2, usd=4)), speed=STATED, reserved=[held]
        ).candidates(Need(accelerators_per_site=3))

        assert best(found) == (4.0, [[(1, 2), (2, 1)]])

    def test_a_total_is_met_by_as_few_as_whole_machines_allow(self):
        found = found_by(Need(accelerators=6), offer(1, count=4, usd=4), offer(2, count=2, usd=1.9, region="there"))

        total = found.paces.fills.accelerators[np.maximum(found.members, 0)] * (found.members >= 0)

        assert set(total.sum(axis=1)[found.allowed()]) <= {6, 7, 8}

    def test_more_sites_than_are_enumerated_are_found_too(self):
        offers = [offer(pk, usd=pk, region=f"r{pk}") for pk in range(1, 9)]

        assert best(found_by(Need(sites=5, samples=1000), *offers))[1] == [[(pk, 1)] for pk in range(1, 6)]


def brute_force(need: Need, a_book: Book, speed: Speed) -> Plans:
    """Return every plan there is: each set of machines at each place from which none can be spared."""
    at: dict[tuple[int, int], list[int]] = {}
    for row in range(len(a_book)):
        at.setdefault((int(a_book.site[row]), int(a_book.accelerator[row])), []).append(row)
    lines = [cover for rows in at.values() for cover in covers(need, a_book, rows)]
    question = Question(need, a_book, speed=speed)
    of = np.repeat(np.arange(len(lines)), [len(cover) for cover in lines])
    row, count = np.array([kind for cover in lines for kind in cover], np.int64).reshape(-1, 2).T
    fills = sites.summed(a_book, of, row, count, np.full(len(a_book), OWN + 1))
    paces = plans.paces(need, fills, samples_per_s=question.samples_per_s, sigma=question.sigma,
                        watts=question.watts, pue=question.pue, profile=speed.profile)  # fmt: skip
    groups = plans._groups(need, fills)
    parts = []
    for size in need.sizes:
        chosen = [one for one in combinations(range(len(lines)), size) if len(set(groups[list(one)])) == size]
        parts.append(plans._evaluated(need, paces, np.array(chosen, np.int64).reshape(-1, size)))
    return plans._joined(parts)


def covers(need: Need, a_book: Book, rows: list[int]) -> Iterable[tuple[tuple[int, int], ...]]:
    most = need.accelerators or need.site_size
    for counts in product(*(range(min(int(a_book.available[row]), most) + 1) for row in rows)):
        sizes = [int(a_book.accelerators[row]) for row, count in zip(rows, counts, strict=True) if count]
        total = sum(int(a_book.accelerators[row]) * count for row, count in zip(rows, counts, strict=True))
        least = need.site_size
        if need.accelerators is None and total >= least and sizes and total - min(sizes) < least:
            yield tuple((row, count) for row, count in zip(rows, counts, strict=True) if count)
        if need.accelerators is not None and sizes and least <= total < most + min(sizes):
            yield tuple((row, count) for row, count in zip(rows, counts, strict=True) if count)


SAME = 1e-5  # Hazards are told apart in steps: machines of two chips are not lost exactly twice as often as of one.
ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(10, 99), st.sampled_from([1, 2, 4]), st.sampled_from(["T4", "H100-SXM"]),
              st.sampled_from([None, None, 1, 2]), st.sampled_from([0.0, 300.0, 900.0]), st.sampled_from([None, 0.3])),
    min_size=1, max_size=5,
)  # fmt: skip
NEEDS = st.fixed_dictionaries(
    {},
    optional={
        "accelerators_per_site": st.integers(1, 5),
        "sites": st.integers(1, 3),
        "deadline_hours": st.sampled_from([0.3, 1.0, 3.0]),
        "spread": st.sampled_from(["provider", "region"]),
        "max_usd_per_hour": st.sampled_from([Decimal(40), Decimal(120)]),
        "checkpoint_gib": st.just(1.0),
        "samples": st.sampled_from([20_000, 200_000]),
    },
)


def offers_of(rows: list[tuple]) -> list[OpenOffer]:
    return [
        offer(pk, region=f"r{at}", provider=f"p{at % 2}", usd=usd * count / 10, count=count, chip=chip, available=free,
              boot_s=boot, egress_usd_per_gib=egress)
        for pk, (at, usd, count, chip, free, boot, egress) in enumerate(rows)
    ]  # fmt: skip


class TestSearch:
    @given(ROWS, NEEDS)
    def test_no_plan_of_all_is_cheaper_and_none_of_one_kind_a_site_is_sooner_or_greener(self, rows, wishes):
        need, a_book = Need(**wishes), book(*offers_of(rows))

        every = brute_force(need, a_book, SPEED)
        found = Question(need, a_book, speed=SPEED).candidates(need)

        assert bool(every.allowed().any()) == (found is not None and bool(found.allowed().any()))
        if found is not None and found.allowed().any():
            fills = every.paces.fills
            pure = np.array([*(np.diff([*fills.starts, len(fills.row)]) == 1), True])[every.members].all(axis=1)
            for key, among in (("usd", every.allowed()), ("late_hours", every.allowed() & pure),
                               ("kg", every.allowed() & pure)):  # fmt: skip
                theirs = getattr(every, key)[among].min(initial=np.inf)
                assert getattr(found, key)[found.allowed()].min() <= theirs * (1 + SAME), key

    @given(ROWS, st.integers(2, 6), st.sampled_from([None, 2, 3]), st.sampled_from([None, 1.0]))
    def test_a_total_is_split_as_cheaply_as_can_be(self, rows, total, count, deadline):
        need = Need(accelerators=max(total, count or 1), sites=count, samples=50_000, deadline_hours=deadline)
        a_book = book(*offers_of(rows))

        every = brute_force(need, a_book, SPEED)
        found = Question(need, a_book, speed=SPEED).candidates(need)

        assert bool(every.allowed().any()) == (found is not None and bool(found.allowed().any()))
        if found is not None and found.allowed().any():
            assert found.usd[found.allowed()].min() <= every.usd[every.allowed()].min() * (1 + SAME)

    @settings(max_examples=20)
    @given(st.integers(0, 10**6), st.sampled_from([1, 8]), st.sampled_from([None, 3.0, 8.0]))
    def test_among_hundreds_of_fills_the_cheapest_is_found(self, seed, size, deadline):
        random = np.random.default_rng(seed)
        offers = [
            offer(pk, region=f"r{random.integers(40)}", provider=f"p{random.integers(4)}",
                  usd=round(float(random.uniform(0.5, 3)) * count * fast, 3), count=count,
                  chip="H100-SXM" if fast > 1 else "T4", market="spot" if random.random() < 0.5 else "on_demand",
                  boot_s=float(random.choice([60, 300])), egress_usd_per_gib=float(random.choice([0, 0.1])))
            for pk, (count, fast) in enumerate((int(random.choice([1, 2, 4, 8])), int(random.choice([1, 6])))
                                               for _ in range(150))
        ]  # fmt: skip
        need = Need(accelerators_per_site=size, samples=2_000_000, sites=2, deadline_hours=deadline, checkpoint_gib=1.0)

        question = Question(need, book(*offers), speed=SPEED)
        found = question.candidates(need)
        paces = found.paces
        pairs = np.array(list(combinations(range(len(paces.fills)), 2)))
        groups = plans._groups(need, paces.fills)
        every = plans._evaluated(need, paces, pairs[groups[pairs[:, 0]] != groups[pairs[:, 1]]])

        if every.allowed().any():
            assert found.usd[found.allowed()].min() == pytest.approx(every.usd[every.allowed()].min(), rel=SAME)
