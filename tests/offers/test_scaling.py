"""Scaling: closed forms against hand-made figures, and directions that must hold."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offers.matching import scaling
from offers.matching.scaling import Link, Site, Wide

NVLINK = Link(450.0, 2e-6)
NODE = Site(nodes=1, accelerators_per_node=8, inside=NVLINK, between=scaling.INFINIBAND_NDR)
HOME = Wide(up_mbit_per_s=100, down_mbit_per_s=400, round_trip_s=0.05)
counts = st.integers(2, 1000)
wides = st.builds(
    Wide, up_mbit_per_s=st.floats(1, 1e5), down_mbit_per_s=st.floats(1, 1e5), round_trip_s=st.floats(0, 1)
)


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
        # 100 MB: 8 s up at 100 Mbit/s, 2 s down at 400, and four times there and back.
        assert scaling.round_s(1e8, wide=HOME) == pytest.approx(8 + 2 + 0.2)

    def test_of_equal_sites_leave_the_rest_for_training(self):
        efficiency = scaling.round_efficiency(1e8, steps=100, steps_s=[1.0, 1.0], wides=[HOME, HOME])

        assert efficiency == pytest.approx(100 / 110.2)

    def test_wait_for_the_slowest(self):
        efficiency = scaling.round_efficiency(
            0, steps=10, steps_s=[1.0, 3.0], wides=[replace(HOME, round_trip_s=0)] * 2
        )

        assert efficiency == pytest.approx((10 + 30) / 2 / 30)

    def test_alone_a_site_waits_for_nobody(self):
        assert scaling.round_efficiency(1e12, steps=1, steps_s=[1.0], wides=[HOME]) == 1

    def test_are_as_seldom_as_the_share_wants(self):
        steps = scaling.steps_for(1e8, share=0.05, step_s=1.0, wide=HOME)

        assert scaling.round_efficiency(1e8, steps=steps, steps_s=[1.0] * 2, wides=[HOME] * 2) >= 0.95
        assert scaling.round_efficiency(1e8, steps=steps - 1, steps_s=[1.0] * 2, wides=[HOME] * 2) < 0.95

    @given(st.lists(st.tuples(st.floats(0.01, 10), wides), min_size=2, max_size=6), st.integers(1, 1000))
    def test_with_more_steps_between_them_never_cost_more(self, sites, steps):
        steps_s, links = zip(*sites, strict=True)

        often, seldom = (
            scaling.round_efficiency(1e8, steps=count, steps_s=steps_s, wides=links) for count in (steps, 2 * steps)
        )

        assert 0 < often <= seldom * (1 + 1e-9)
        assert seldom <= 1
