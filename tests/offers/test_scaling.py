"""Scaling: closed forms against hand-made figures, and directions that must hold."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offers.matching import facts, scaling, sites
from offers.matching.book import OpenOffer
from offers.matching.need import Need
from offers.matching.profile import Profile
from offers.matching.scaling import Link, Site
from offers.matching.sites import Fills
from tests.offers.some_offers import GIGA, book, offer
from workloads import pace

NVLINK = Link(450.0, 2e-6)
NODE = Site(nodes=1, accelerators_per_node=8, inside=NVLINK, between=scaling.INFINIBAND_NDR)
counts = st.integers(2, 1000)


def left(*, away_s, steps, step_s, weights=None) -> float:
    """Return the efficiency of one plan."""
    columns = [np.array(one, np.float64)[:, None] for one in (away_s, step_s, weights or [1.0] * len(step_s))]
    return float(scaling.round_efficiency(columns[0], steps=steps, step_s=columns[1], weights=columns[2])[0])


def fills_of(*offers: OpenOffer, need: Need) -> Fills:
    a_book = book(*offers)
    return sites.fills(need, a_book, a_book.tier)


def efficiencies(profile: Profile | None, *offers: OpenOffer, need: Need) -> np.ndarray:
    """Return the efficiency of every way to fill a site, with steps of a tenth of a second on one accelerator."""
    fills = fills_of(*offers, need=need)
    return scaling.of_fills(fills, profile=profile, samples_per_s=np.full(len(fills), 10.0 * GIGA.batch_size))


class TestAllReduce:
    def test_sends_twice_all_but_its_own_part(self):
        link = Link(1 / scaling.LINK_SHARE, 0.0)

        assert scaling.all_reduce_s(8e9, accelerators=4, link=link) == pytest.approx(2 * 3 / 4 * 8)

    def test_pays_latency_at_every_turn(self):
        assert scaling.all_reduce_s(0, accelerators=5, link=Link(1.0, 0.25)) == pytest.approx(8 * 0.25)

    def test_alone_there_is_nobody_to_talk_to(self):
        assert scaling.all_reduce_s(1e12, accelerators=1, link=NVLINK) == 0

    @given(st.floats(1e3, 1e12), counts)
    def test_over_more_accelerators_it_never_takes_less(self, size, count):
        few, more = (scaling.all_reduce_s(size, accelerators=n, link=NVLINK) for n in (count, count + 1))

        assert more > few


class TestSite:
    def test_one_accelerator_loses_nothing(self):
        assert scaling.site_efficiency(replace(NODE, accelerators_per_node=1), step_s=1, gradient_bytes=1e12) == 1

    def test_a_node_loses_its_exchange(self):
        # 4e9 bytes of gradients: 7 GB through a link of 360 GB/s is 19.4 ms, beside a step of 200.
        efficiency = scaling.site_efficiency(NODE, step_s=0.2, gradient_bytes=4e9)

        assert efficiency == pytest.approx(0.2 / (0.2 + 7 / 360 + 14 * 2e-6))

    def test_nodes_exchange_what_each_accelerator_holds(self):
        site = replace(NODE, nodes=2, accelerators_per_node=1, between=Link(1 / scaling.LINK_SHARE, 0.0))

        assert scaling.site_efficiency(site, step_s=1, gradient_bytes=1e9) == pytest.approx(1 / 2)

    def test_a_site_pays_inside_its_nodes_and_between_them(self):
        link = Link(1 / scaling.LINK_SHARE, 0.0)
        site = Site(nodes=2, accelerators_per_node=4, inside=link, between=link)

        # 2 x 3/4 x 4 GB inside, then 2 x 1/2 of the quarter that each holds.
        assert scaling.site_efficiency(site, step_s=1, gradient_bytes=4e9) == pytest.approx(1 / (1 + 6 + 1))

    def test_what_runs_beside_the_backward_pass_is_free(self):
        plain = scaling.site_efficiency(NODE, step_s=0.02, gradient_bytes=4e9)
        hidden = scaling.site_efficiency(NODE, step_s=0.02, gradient_bytes=4e9, hidden=2 / 3)

        assert hidden == pytest.approx(0.02 / (0.02 + 7 / 360 + 14 * 2e-6 - 0.02 * 2 / 3))
        assert plain < hidden < 1
        assert scaling.site_efficiency(NODE, step_s=1, gradient_bytes=4e9, hidden=2 / 3) == 1

    def test_sharded_it_moves_half_as_much_again(self):
        lost = [1 / scaling.site_efficiency(NODE, step_s=1, gradient_bytes=4e9, sharded=each) - 1 for each in (0, 1)]

        assert lost[1] == pytest.approx(1.5 * lost[0])

    @given(st.integers(1, 64), st.integers(1, 16), st.floats(1e-3, 10), st.floats(1e3, 1e12))
    def test_a_slower_link_never_helps(self, nodes, accelerators, step_s, size):
        site = Site(nodes=nodes, accelerators_per_node=accelerators, inside=NVLINK, between=scaling.INFINIBAND_NDR)

        fast = scaling.site_efficiency(site, step_s=step_s, gradient_bytes=size)
        slow = scaling.site_efficiency(
            replace(site, between=scaling.ETHERNET_10_GBIT), step_s=step_s, gradient_bytes=size
        )

        assert 0 < slow <= fast <= 1


class TestRounds:
    def test_go_up_and_down(self):
        # 100 MB: 8 s up at 100 Mbit/s, 8 s down, and four times there and back.
        assert scaling.round_s(1e8, mbit_per_s=100.0) == pytest.approx(16 + 4 * facts.ROUND_TRIP_S)

    def test_cost_nothing_while_the_exchange_is_shorter_than_the_round(self):
        assert left(away_s=[99.0, 10.0], steps=100, step_s=[1.0, 1.0]) == 1

    def test_that_take_longer_than_a_round_leave_a_site_standing(self):
        assert left(away_s=[200.0, 10.0], steps=100, step_s=[1.0, 1.0]) == pytest.approx((0.5 + 1) / 2)

    def test_wait_for_nobody(self):
        assert left(away_s=[5.0, 5.0], steps=10, step_s=[1.0, 30.0]) == 1

    def test_time_of_a_fast_site_counts_for_more(self):
        efficiency = left(away_s=[20.0, 0.0], steps=10, step_s=[1.0, 3.0], weights=[3.0, 1.0])

        assert efficiency == pytest.approx((3 * 0.5 + 1) / 4)

    def test_are_as_seldom_as_the_share_wants(self):
        assert scaling.steps_for(np.array([16.2]), step_s=np.array([2.0])).tolist() == [81]

    def test_are_neither_too_frequent_nor_too_seldom(self):
        assert scaling.steps_for(np.array([0.0, 1e6]), step_s=np.ones(2)).tolist() == [50, 500]

    def test_are_as_the_training_has_them(self):
        ours = (scaling.STEPS_MIN, scaling.STEPS_MAX, scaling.LATE_SHARE)

        assert ours == (pace.STEPS_MIN, pace.STEPS_MAX, pace.LATE_SHARE)

    @given(
        st.lists(st.tuples(st.floats(0.01, 10), st.floats(0, 1e4), st.floats(1, 10)), min_size=2, max_size=6),
        st.integers(1, 1000),
    )
    def test_with_more_steps_between_them_never_cost_more(self, sites, steps):
        step_s, away_s, weights = zip(*sites, strict=True)

        often, seldom = (
            left(away_s=away_s, steps=count, step_s=step_s, weights=weights) for count in (steps, 2 * steps)
        )

        assert 0 < often <= seldom * (1 + 1e-9)
        assert seldom <= 1 + 1e-9


class TestFills:
    def test_without_a_profile_lose_nothing(self):
        assert efficiencies(None, offer(1, count=8), need=Need(accelerators_per_site=16)).tolist() == [1]

    def test_know_the_links_by_the_chip_and_the_words_of_the_offer(self):
        # Two nodes of eight: 1.75 x 4 GB inside and 0.5 GB between, beside a step of a tenth of a second.
        need = Need(accelerators_per_site=16)
        links = [("nvlink infiniband", 450, 25), ("nvlink efa", 450, 6.25), ("NVLink", 450, 1.5625),
                 ("PCIe infiniband", 32, 25)]  # fmt: skip

        for words, inside, between in links:
            (found,) = efficiencies(GIGA, offer(1, chip="H100-SXM", count=8, interconnect=words), need=need)

            exchange_s = (1.75 * 4 / inside + 0.5 / between) / scaling.LINK_SHARE
            assert found == pytest.approx(0.1 / (0.1 + max(0.0, exchange_s - 0.2 / 3)), rel=1e-2), words

    def test_at_strangers_homes_have_a_slower_ethernet(self):
        need = Need(accelerators_per_site=4)

        cloud, home = (
            efficiencies(GIGA, offer(1, chip="RTX4090", provider=name), need=need)[0] for name in ("cloud", "vast")
        )

        # What is not hidden behind two thirds of a step of a tenth of a second.
        assert 1 / home - 1 + 2 / 3 == pytest.approx(10 * (1 / cloud - 1 + 2 / 3), rel=0.01)

    def test_of_several_kinds_of_machines_are_as_slow_as_the_slowest_link(self):
        fast, slow = (
            offer(pk, count=8, chip="H100-SXM", available=1, interconnect=words, internet_mbit_per_s=mbit)
            for pk, words, mbit in ((1, "infiniband", 1000.0), (2, "", 100.0))
        )
        need = Need(accelerators_per_site=16, checkpoint_gib=1.0)
        alone = replace(slow, available=2)

        assert efficiencies(GIGA, fast, slow, need=need) == pytest.approx(efficiencies(GIGA, alone, need=need))
        assert fills_of(fast, slow, need=need).internet_mbit_per_s == pytest.approx([100], rel=0.12)

    def test_take_a_usual_way_to_the_internet_where_nobody_says(self):
        for provider, mbit in (("cloud", facts.CLOUD_MBIT_PER_S), ("supplier", facts.HOST_MBIT_PER_S)):
            assert fills_of(offer(1, provider=provider), need=Need()).internet_mbit_per_s.tolist() == [mbit]


class TestRoundsOfFills:
    def test_carry_what_is_trained_or_what_a_site_hands_in(self):
        fills = fills_of(offer(1), need=Need())
        rate = np.array([GIGA.batch_size * 1.0])

        by_profile = scaling.rounds(Need(checkpoint_gib=9.0), fills, profile=GIGA, samples_per_s=rate)
        by_need = scaling.rounds(Need(checkpoint_gib=1.0), fills, profile=None, samples_per_s=rate)

        assert by_profile.away_s == pytest.approx([2 * 8.125 * 1e9 / 1e9 + 0.2])
        assert by_profile.step_s == pytest.approx([1.0])
        assert by_need.away_s == pytest.approx([2 * 8.125 / 4 * 2**30 / 1e9 + 0.2])
        assert scaling.rounds(Need(), fills, profile=None, samples_per_s=rate) is None

    def test_of_a_plan_are_as_seldom_as_its_middle_site_wants(self):
        three = scaling.Rounds(step_s=np.ones(3), away_s=np.array([1.0, 10.0, 200.0]))

        efficiency = three.efficiency(np.array([[0], [1], [2]]), weights=np.ones(3))

        assert efficiency == pytest.approx([(1 + 1 + 100 / 200) / 3])
