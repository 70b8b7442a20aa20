"""Beyond four sites the mean is clipped: one delta, whatever it is, moves it no farther than an honest one could."""

import numpy as np
import pytest

from workloads import outer_step, robust
from workloads.node.training import outer, quantise
from workloads.outer_step import Delta

SITES, FEATURES = 5, 4096
CODECS = ["int8", "fp32", "int4"]


def trained(theta, seed, steps=20, noise=0.5):
    """theta - theta_site of a site that does real SGD on samples of its own of one linear regression."""
    truth = np.random.default_rng(99).standard_normal(FEATURES, np.float32)
    data, mine = np.random.default_rng(seed), theta.copy()
    for _ in range(steps):
        inputs = data.standard_normal((256, FEATURES), np.float32)
        wrong = inputs @ (mine - truth) + noise * data.standard_normal(256, np.float32)
        mine -= np.float32(0.004 / len(inputs)) * (inputs.T @ wrong)
    return theta - mine


@pytest.fixture(scope="module")
def honest():
    theta = np.zeros(FEATURES, np.float32)
    return [trained(theta, seed) for seed in range(SITES)]


def packed(vectors, codec="int8", weights=None):
    shares = outer.shares(weights or [1.0] * len(vectors))
    parts = [quantise.encode(one, codec) for one in vectors]
    return [Delta(parts=each, codec=codec, share=share) for each, share in zip(parts, shares, strict=True)]


def stepped(deltas, shares=None, codec="int8"):
    """How far theta goes by the plain average of these deltas, merged as the hub does it."""
    shares = shares or [delta.share for delta in deltas]
    theta, momentum, remainder = (np.zeros(FEATURES, np.float32) for _ in range(3))
    update = {
        name: np.zeros(n, quantise.CODECS[codec].parts[name][0]) for name, n in quantise.sizes(codec, FEATURES).items()
    }
    shared = [Delta(parts=one.parts, codec=one.codec, share=share) for one, share in zip(deltas, shares, strict=True)]
    outer_step.merge(theta, momentum, remainder, shared, lr=1.0, momentum_factor=0.0, codec=codec, update=update)
    return theta


def off(step, wanted):
    return float(np.linalg.norm(step - wanted) / np.linalg.norm(wanted))


def clipped(deltas):
    return robust.shares(deltas, FEATURES)


@pytest.mark.parametrize("codec", CODECS)
def test_among_honest_sites_it_is_the_mean_to_the_bit(honest, codec):
    deltas = packed(honest, codec)

    assert clipped(deltas) == [delta.share for delta in deltas]


NOISE = np.random.default_rng(7).standard_normal(FEATURES, np.float32)
STRANGE = {
    "20 times as long": lambda one: 20 * one,
    "the other way": lambda one: -one,
    "the other way, 20 times as long": lambda one: -20 * one,
    "noise of 20 times the length": lambda one: 20 * np.linalg.norm(one) / 64 * NOISE,
    "out of this world": lambda one: np.full(FEATURES, 1e12, np.float32),
}  # fmt: skip


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("codec", CODECS)
def test_one_of_five_that_is_anything_cannot_move_the_step_far(honest, strange, codec):
    wanted = stepped(packed(honest[:4]))
    deltas = packed([*honest[:4], STRANGE[strange](honest[4])], codec)

    assert off(stepped(deltas), wanted) > 0.35
    assert off(stepped(deltas, clipped(deltas)), wanted) < 0.3


def test_two_of_seven_that_agree_cannot_either(honest):
    theta = np.zeros(FEATURES, np.float32)
    more = [*honest, trained(theta, 5), trained(theta, 6)]
    wanted = stepped(packed(more[:5]))
    deltas = packed([*more[:5], *(-20 * one for one in more[5:])])

    assert off(stepped(deltas), wanted) > 4
    assert off(stepped(deltas, clipped(deltas)), wanted) < 0.45


def test_nor_can_one_that_weighs_twice_as_much(honest):
    deltas = packed([*honest[:4], -20 * honest[4]], weights=[1.0, 1.0, 1.0, 1.0, 2.0])

    assert off(stepped(deltas, clipped(deltas)), stepped(packed(honest[:4]))) < 0.6


@pytest.mark.parametrize("steps", [(20, 20, 20, 20, 40), (10, 20, 30, 40, 50), (20, 20, 40, 40, 80)])
def test_sites_of_different_speed_count_for_what_they_did(steps):
    theta = np.zeros(FEATURES, np.float32)
    deltas = packed([trained(theta, seed, steps=each) for seed, each in enumerate(steps)], weights=steps)

    assert off(stepped(deltas, clipped(deltas)), stepped(deltas)) < 0.01


def test_weights_are_kept(honest):
    deltas = packed([*honest[:4], 20 * honest[4]], weights=[1.0, 2.0, 3.0, 4.0, 2.0])
    shares = clipped(deltas)

    assert sum(shares) == pytest.approx(1)
    assert [one / shares[0] for one in shares[:4]] == pytest.approx([1, 2, 3, 4], rel=1e-6)
    assert shares[4] < 0.02


@pytest.mark.parametrize("vector", [np.zeros(FEATURES, np.float32), np.ones(FEATURES, np.float32)])
def test_deltas_that_are_all_the_same_are_merged_as_they_are(honest, vector):
    deltas = packed([vector] * 4 + [honest[0]])

    assert np.abs(stepped(deltas, clipped(deltas)) + vector).max() < 1e-4
    assert clipped(packed([vector] * 5)) == [0.2] * 5


def test_two_are_merged_by_their_weights(honest):
    deltas = packed([honest[0], 20 * honest[1]], weights=[1.0, 3.0])

    assert clipped(deltas) == [0.25, 0.75]


@pytest.mark.parametrize("size", [256, outer.SLICE + 256])
def test_the_products_are_those_of_the_numbers_that_were_packed(size):
    generator = np.random.default_rng(1)
    vectors = [generator.standard_normal(size, np.float32) * np.float32(10.0**power) for power in (-6, 0, 3)]
    deltas = packed(vectors)
    unpacked = np.stack([quantise.decode(delta.parts, "int8", size=size) for delta in deltas]).astype(np.float64)

    np.testing.assert_allclose(robust.products(deltas, size), unpacked @ unpacked.T, rtol=1e-5, atol=0)
