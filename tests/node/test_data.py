"""Positions, batches and shares: every sample once, the same everywhere."""

import numpy as np
import pytest

from workloads.node.training import data


def test_a_permutation_is_one_and_stays_the_same_for_ever():
    order = data.permutation(samples=1000, seed=3, epoch=2)

    assert sorted(order) == list(range(1000))
    # Not to be changed: sites with another version of this code would train on other samples.
    assert data.permutation(samples=8, seed=0, epoch=0).tolist() == FIRST
    assert data.permutation(samples=8, seed=0, epoch=1).tolist() != FIRST
    assert data.permutation(samples=8, seed=1, epoch=0).tolist() != FIRST


FIRST = [6, 7, 1, 2, 0, 5, 3, 4]


def test_a_permutation_mixes():
    order = data.permutation(samples=10_000, seed=0, epoch=0)

    assert abs(np.corrcoef(order, np.arange(10_000))[0, 1]) < 0.03


def test_a_position_of_a_later_epoch_is_in_that_epochs_order():
    order = data.Order(samples=10, seed=5)

    assert [order.sample(position) for position in range(10, 20)] == data.permutation(
        samples=10, seed=5, epoch=1
    ).tolist()


@pytest.mark.parametrize("world", [1, 2, 3])
def test_the_shares_of_all_ranks_are_each_position_once(world):
    ranges, counted = [(0, 7), (20, 31)], []

    for step in data.steps(ranges, per_step=4 * world):
        for rank in range(world):
            mine, own = data.share(step, rank=rank, batch_size=4)
            assert mine
            counted += mine[:own]

    assert sorted(counted) == [*range(7), *range(20, 31)]


def test_ranges_are_cut_after_so_many_positions():
    assert data.cut([(0, 4), (10, 20)], 7) == ([(0, 4), (10, 13)], [(13, 20)])
    assert data.cut([(0, 4), (10, 20)], 4) == ([(0, 4)], [(10, 20)])
    assert data.cut([(0, 4)], 0) == ([], [(0, 4)])
    assert data.cut([(0, 4)], 9) == ([(0, 4)], [])


def test_ranges_that_follow_each_other_are_joined_in_their_order():
    assert data.joined([(8, 9), (0, 2), (2, 5), (6, 7), (7, 8)]) == [(8, 9), (0, 5), (6, 8)]
