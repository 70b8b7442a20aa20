"""The outer step: torch's Nesterov SGD on the weighted mean, to the same bits each time."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from workloads.node.training import outer


def random_tensors(seed):
    generator = np.random.default_rng(seed)
    return {"a": generator.normal(size=(5, 3)).astype("f4"), "b": generator.normal(size=7).astype("f4")}


@pytest.mark.parametrize(("lr", "factor"), [(1.0, 0.5), (0.9, 0.8), (0.7, 0.9), (1.0, 0.0)])
def test_it_is_the_nesterov_sgd_of_torch(lr, factor):
    theta, momentum = random_tensors(0), None
    mirror = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in theta.items()}
    sgd = torch.optim.SGD(mirror.values(), lr=lr, momentum=factor, nesterov=factor > 0)

    for step in range(1, 6):
        deltas = [(2.0, random_tensors(step)), (6.0, random_tensors(100 + step))]
        theta, momentum = outer.merge(theta, momentum, deltas, lr, factor)
        for name, parameter in mirror.items():
            parameter.grad = torch.tensor((2 * deltas[0][1][name] + 6 * deltas[1][1][name]) / 8)
        sgd.step()

    for name, parameter in mirror.items():
        np.testing.assert_allclose(theta[name], parameter.detach().numpy(), rtol=1e-5, atol=1e-6)
        assert theta[name].dtype == np.float32


def test_the_same_input_gives_the_same_bits_and_leaves_it_unchanged():
    theta, deltas = random_tensors(0), [(1.0, random_tensors(1)), (3.0, random_tensors(2))]

    first, again = (outer.merge(theta, random_tensors(3), deltas, 0.9, 0.8) for _ in range(2))

    assert all((first[part][name] == again[part][name]).all() for part in (0, 1) for name in theta)
    assert all((theta[name] == random_tensors(0)[name]).all() for name in theta)


def test_one_site_alone_keeps_what_it_trained():
    theta, trained = random_tensors(0), random_tensors(1)
    delta = {name: theta[name] - trained[name] for name in theta}

    merged, _ = outer.merge(theta, None, [(5.0, delta)], 1.0, 0.0)

    for name, value in trained.items():
        np.testing.assert_allclose(merged[name], value, rtol=1e-5, atol=1e-6)


def test_more_samples_in_as_many_steps_weigh_by_their_square():
    assert outer.weight(samples=200, steps=10) == 4 * outer.weight(samples=100, steps=10)
    assert outer.weight(samples=100, steps=5) == 2 * outer.weight(samples=100, steps=10)


@pytest.mark.parametrize(
    ("rounds", "expected"), [(1, (1.0, 0.5)), (19, (1.0, 0.5)), (50, (0.9, 0.8)), (200, (0.9, 0.8)), (201, (0.7, 0.9))]
)
def test_settings_follow_the_number_of_rounds(rounds, expected):
    assert outer.settings(rounds) == expected


@pytest.mark.parametrize("deltas", [[], [(0.0, {"a": np.zeros(1, np.float32)})]])
def test_nothing_to_merge_is_an_error(deltas):
    with pytest.raises(ValueError, match="nothing to merge"):
        outer.mean(deltas)


def test_the_hub_gets_by_without_torch():
    code = (
        "import sys; import workloads.node.training.outer, workloads.node.training.codec;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'ray', 'requests')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
