"""The outer step: torch's Nesterov SGD on the weighted mean, in few bits, and the same bits everywhere."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from workloads import outer_step
from workloads.node.training import outer, quantise
from workloads.outer_step import Delta

SIZE = 2 * outer.SLICE + 768


def vector(seed, size=SIZE):
    return np.random.default_rng(seed).standard_normal(size, np.float32)


def deltas(*vectors, codec="fp32", weights=(2.0, 6.0)):
    shares = outer.shares(weights[: len(vectors)])
    packed = [quantise.encode(one, codec) for one in vectors]
    return [Delta(parts=parts, codec=codec, share=share) for parts, share in zip(packed, shares, strict=True)]


def arrays(codec, size=SIZE):
    items = quantise.sizes(codec, size)
    return {name: np.empty(items[name], dtype) for name, (dtype, _) in quantise.CODECS[codec].parts.items()}


class Hub:
    """theta, momentum and remainder, and each update that was broadcast."""

    def __init__(self, codec="fp32", size=SIZE):
        self.vectors = [vector(0, size), np.zeros(size, np.float32), np.zeros(size, np.float32)]
        self.codec, self.size = codec, size

    def step(self, given, lr=0.9, factor=0.8):
        update = arrays(self.codec, self.size)
        merged = outer_step.merge(*self.vectors, given, lr=lr, momentum_factor=factor, codec=self.codec, update=update)
        return merged, update


@pytest.mark.parametrize(("lr", "factor"), [(1.0, 0.5), (0.9, 0.8), (0.7, 0.9), (1.0, 0.0)])
def test_it_is_the_nesterov_sgd_of_torch(lr, factor):
    hub = Hub()
    mirror = torch.nn.Parameter(torch.tensor(hub.vectors[0]))
    sgd = torch.optim.SGD([mirror], lr=lr, momentum=factor, nesterov=factor > 0)

    for step in range(1, 6):
        one, other = vector(step), vector(100 + step)
        hub.step(deltas(one, other), lr, factor)
        mirror.grad = torch.tensor((2 * one + 6 * other) / 8)
        sgd.step()

    np.testing.assert_allclose(hub.vectors[0], mirror.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert hub.vectors[0].dtype == np.float32


@pytest.mark.parametrize("codec", quantise.CODECS)
def test_sites_that_follow_the_updates_have_the_bits_of_the_hub(codec):
    hub, site = Hub(codec), vector(0)

    for step in range(3):
        merged, update = hub.step(deltas(vector(step + 1), vector(step + 9), codec=codec))
        fingerprint = outer.apply(site, update, codec)

    assert fingerprint == merged.fingerprint == outer.fingerprint(site)
    assert (site == hub.vectors[0]).all()


def test_another_bit_is_another_fingerprint():
    theta = vector(0)
    before = outer.fingerprint(theta)
    theta.view(np.int32)[-1] ^= 1

    assert outer.fingerprint(theta) != before


@pytest.mark.parametrize("codec", ["int8", "int4", "top2"])
def test_what_the_bits_could_not_say_is_said_later(codec):
    exact, short = Hub("fp32", 8192), Hub(codec, 8192)
    once = vector(5, 8192)
    apart = []
    for round_ in range(150):
        given = deltas(once if round_ == 0 else np.zeros_like(once), weights=(1.0,))
        exact.step(given, 1.0, 0.0)
        short.step(given, 1.0, 0.0)
        apart.append(float(np.abs(exact.vectors[0] - short.vectors[0]).max()))

    assert apart[0] > 1e-3
    assert apart[-1] < apart[0] / 50


@pytest.mark.parametrize("codec", ["fp32", "int8"])
def test_the_momentum_fades_in_rounds_of_one_site(codec):
    hub = Hub(codec)
    hub.step(deltas(vector(1), vector(2), codec=codec))
    before = hub.vectors[1].copy()
    assert before.any()

    for _ in range(20):
        hub.step(deltas(vector(3), weights=(1.0,), codec=codec), 1.0, 0.0)

    assert np.abs(hub.vectors[1]).max() < 2e-6 * np.abs(before).max()


def test_a_second_site_that_comes_back_finds_the_model_where_it_was():
    hub, none = Hub(), np.zeros(SIZE, np.float32)
    for _ in range(5):
        hub.step(deltas(vector(1), vector(1)))
    for _ in range(20):  # The one that is left has nothing more to learn.
        hub.step(deltas(none, weights=(1.0,)), 1.0, 0.0)
    before = hub.vectors[0].copy()

    hub.step(deltas(none, none))

    assert np.abs(hub.vectors[0] - before).max() < 1e-4


def test_one_site_alone_keeps_what_it_trained():
    hub, trained = Hub(), vector(1)
    hub.step(deltas(hub.vectors[0] - trained, weights=(5.0,)), 1.0, 0.0)

    np.testing.assert_allclose(hub.vectors[0], trained, rtol=1e-5, atol=1e-6)


def test_it_tells_how_long_each_delta_was_and_how_much_it_agreed():
    one = vector(1)
    merged, _ = Hub().step(deltas(one, 2 * one, weights=(1.0, 1.0)))
    opposed, _ = Hub().step(deltas(one, -3 * one, weights=(1.0, 1.0)))

    norm = float(np.linalg.norm(one))
    assert merged.norms == pytest.approx([norm, 2 * norm], rel=1e-4)
    assert merged.cosines == pytest.approx([1, 1], rel=1e-4)
    assert opposed.cosines == pytest.approx([-1, -1], rel=1e-4)


def test_more_samples_in_as_many_steps_weigh_by_their_square():
    assert outer.weight(samples=200, steps=10) == 4 * outer.weight(samples=100, steps=10)
    assert outer.weight(samples=100, steps=5) == 2 * outer.weight(samples=100, steps=10)
    assert outer.shares([1.0, 3.0]) == [0.25, 0.75]


@pytest.mark.parametrize(
    ("rounds", "left", "expected"),
    [(12, 12, (1.0, 0.3)), (12, 2.1, (1.0, 0.3)), (48, 48, (0.8, 0.7)), (48, 3.1, (0.8, 0.7)), (500, 400, (0.8, 0.7))],
)
def test_settings_follow_the_number_of_rounds(rounds, left, expected):
    assert outer.settings(rounds, left) == expected


@pytest.mark.parametrize(("rounds", "left"), [(12, 2), (12, 0.3), (48, 3), (48, 1), (2, 2)])
def test_the_last_rounds_are_plain_averages(rounds, left):
    assert outer.settings(rounds, left) == (1.0, 0.0)


@pytest.mark.parametrize("weights", [[], [0.0]])
def test_nothing_to_merge_is_an_error(weights):
    with pytest.raises(ValueError, match="nothing to merge"):
        outer.shares(weights)


@pytest.mark.parametrize("sites", [1, 2, 4, 5, 9])
@pytest.mark.parametrize("factor", [0.0, 0.8])
def test_the_compiled_pass_gives_the_bits_of_numpy(sites, factor, monkeypatch):
    size = outer.SLICE + 256
    compiled, plain = Hub("int8", size), Hub("int8", size)
    for step in range(3):
        # Of every magnitude, some blocks of zeros.
        vectors = [
            vector(10 * step + site, size) * np.float32(10.0) ** np.float32(site - 8 * step) for site in range(sites)
        ]
        for one in vectors:
            one[512:2048] = 0
        given = deltas(*vectors, codec="int8", weights=[1.0 + site for site in range(sites)])
        one, update = compiled.step(given, 0.9, factor)
        with monkeypatch.context() as patch:
            patch.setattr(outer_step, "_in_int8", outer_step._in_any)
            other, same = plain.step(given, 0.9, factor)

        assert one.fingerprint == other.fingerprint
        assert all((update[name] == same[name]).all() for name in update)
        assert all((a == b).all() for a, b in zip(compiled.vectors, plain.vectors, strict=True))
        assert one.norms == pytest.approx(other.norms, rel=1e-4)
        assert one.cosines == pytest.approx(other.cosines, rel=1e-3, abs=1e-4)


def test_the_hub_gets_by_without_torch():
    code = (
        "import sys; import workloads.outer_step, workloads.node.training.wire;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'ray', 'requests')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
