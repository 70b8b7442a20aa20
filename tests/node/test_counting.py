"""Counting a training step: FLOPs by hand, bytes by hand, and nothing changed by looking."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from offers.matching import memory, profile
from tests.benchmarks.speed_models import Gpt
from workloads.node.training import session, yardstick
from workloads.node.training.counting import Counting

SCRIPT = """
import sys, time, torch
from workloads.node.training import session
model = torch.nn.Linear(16, 1)
optimizer = torch.optim.Adam(model.parameters())
with session(model, optimizer) as run:
    for batch in run.batches([torch.ones(16)] * int(sys.argv[1]), batch_size=4):
        model(batch).square().mean().backward(); optimizer.step(); optimizer.zero_grad()
        run.report(loss=0.5)
        time.sleep(float(sys.argv[2]))
run.save(model)
open("went_on", "w")
"""


@pytest.fixture(autouse=True)
def _one_thread():
    """Small steps on a busy machine: threads would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def counted(step, **wanted):
    with Counting() as counting:
        step()
    return counting.profile(**wanted)


def trained(model, *inputs, optimizer=torch.optim.SGD):
    optimizer = optimizer(model.parameters(), lr=0.1)

    def step():
        out = model(*inputs)
        (out[0] if isinstance(out, tuple) else out).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return counted(step, model=model, optimizer=optimizer, batch_size=len(inputs[0]))


def flops(seen):
    return sum(each * calls for each, _, calls in seen["work"])


def moved(seen):
    return sum(size * calls for _, size, calls in seen["work"])


class TestFlops:
    def test_of_a_linear_layer_are_two_a_weight_and_sample_and_pass(self):
        model = nn.Sequential(nn.Linear(8, 16, bias=False), nn.Linear(16, 4, bias=False))

        seen = trained(model, torch.randn(32, 8))

        # The first layer has no gradient to hand on to its input.
        assert flops(seen) == 2 * 32 * (2 * 8 * 16 + 3 * 16 * 4)
        assert (seen["parameters"], seen["trainable"], seen["precision"]) == (192, 192, "fp32")

    def test_of_a_convolution(self):
        model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1))

        seen = trained(model, torch.randn(2, 3, 10, 10))

        assert flops(seen) == 2 * 2 * 100 * 9 * (2 * 3 * 8 + 3 * 8 * 8)

    def test_of_an_lstm_are_those_of_its_weights_at_every_step(self):
        model = nn.LSTM(16, 32, batch_first=True)

        seen = trained(model, torch.randn(4, 10, 16))

        # Forward once, backward twice.
        assert flops(seen) == 3 * 2 * 4 * 10 * (4 * 32 * 16 + 4 * 32 * 32)

    def test_of_attention_count_the_scores_again_in_the_backward_pass(self):
        query = torch.randn(2, 4, 64, 16, requires_grad=True)

        def step():
            functional.scaled_dot_product_attention(query, query, query, is_causal=True).sum().backward()

        seen = counted(step, model=nn.Linear(1, 1), optimizer=torch.optim.SGD([query], lr=1), batch_size=2)

        assert flops(seen) == 7 * 2 * (2 * 4) * 64 * 64 * 16

    def test_of_a_decoder_are_what_the_shape_says(self):
        model = Gpt(vocabulary=100, width=64, layers=3, heads=4, context=32)
        words = torch.randint(100, (4, 32))
        shape = memory.Shape(layers=3, width=64, heads=4, vocabulary=100, tokens_per_sample=32)

        seen = profile.parse(trained(model, words))

        # Of its parameters, those of the embeddings are looked up, not multiplied.
        multiplied = sum(each.numel() for each in model.parameters() if each.dim() == 2) - 100 * 64 - 32 * 64
        by_shape = profile.transformer(shape, parameters=multiplied, batch_size=4)
        assert seen.flops_per_sample == pytest.approx(by_shape.flops_per_sample, rel=1e-9)


class TestBytes:
    def test_of_an_addition_are_its_operands_and_its_sum(self):
        left, right = torch.randn(1000), torch.randn(1000)

        seen = counted(
            lambda: left + right, model=nn.Linear(1, 1), optimizer=torch.optim.SGD([left], lr=1), batch_size=1
        )

        assert seen["work"] == [[0, 12_000, 1]]

    def test_of_a_view_are_none(self):
        numbers = torch.randn(2, 3, 4)

        seen = counted(
            lambda: numbers.flatten(1).t()[1:],
            model=nn.Linear(1, 1),
            optimizer=torch.optim.SGD([numbers]),
            batch_size=1,
        )

        assert seen["work"] == []

    def test_of_a_look_up_are_the_rows_that_are_looked_up(self):
        table = nn.Embedding(100_000, 8, sparse=True)

        seen = trained(table, torch.tensor([1, 2, 3, 4]))

        assert moved(seen) < 100 * 4 * 8 * 4 < 100_000 * 8

    def test_of_a_batch_norm_are_two_passes_over_its_input(self):
        norm, images = nn.BatchNorm2d(4), torch.randn(8, 4, 16, 16)

        seen = counted(lambda: norm(images), model=norm, optimizer=torch.optim.SGD(norm.parameters()), batch_size=8)

        # Read twice, written once; beside it weights and statistics of 4 channels.
        assert max(size for _, size, _ in seen["work"]) == pytest.approx(3 * 4 * images.numel(), rel=0.01)

    def test_of_something_expanded_are_those_of_what_there_is(self):
        one = torch.randn(1).expand(1000)

        seen = counted(lambda: one * 2, model=nn.Linear(1, 1), optimizer=torch.optim.SGD([one], lr=1), batch_size=1)

        assert seen["work"] == [[0, 4004, 1]]

    def test_of_a_decoder_in_mixed_precision_are_what_the_formula_has(self):
        layers = [_pointwise(layers=count, batch_size=4) for count in (4, 2)]
        more = [_pointwise(layers=count, batch_size=8) for count in (4, 2)]

        # What grows with the layers and the tokens, and what with the layers alone, which are the weights.
        tokens, width = 4 * 64, 64
        per_token = ((more[0] - more[1]) - (layers[0] - layers[1])) / 2 / tokens / width
        per_weight = ((layers[0] - layers[1]) / 2 - per_token * tokens * width) / (12 * width**2)
        assert per_token == pytest.approx(profile.POINTWISE_BYTES[2], rel=0.02)
        assert per_weight == pytest.approx(profile.CAST_BYTES[2], rel=0.02)


class TestMemory:
    def test_activations_are_what_forward_saves_and_the_model_does_not_own(self):
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))

        seen = trained(model, torch.randn(32, 8), optimizer=torch.optim.Adam)

        # The input of each linear layer; ReLU's result is the second of them.
        assert seen["activation_bytes"] == 4 * 32 * (8 + 16)
        assert seen["parameter_bytes"] == 4 * seen["parameters"] == 4 * (8 * 16 + 16 + 16 * 4 + 4)
        assert seen["optimizer_bytes"] == pytest.approx(2 * seen["parameter_bytes"], abs=16)  # And step counters.

    def test_frozen_parameters_have_no_gradients(self):
        model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 4))
        model[0].requires_grad_(False)

        seen = trained(model, torch.randn(32, 8))

        assert (seen["parameters"], seen["trainable"]) == (212, 68)
        assert profile.parse(seen).memory.gradients == pytest.approx(4 * 68 / 2**30)


def test_looking_changes_nothing():
    results = []
    for look in (False, True):
        torch.manual_seed(0)
        model = Gpt(vocabulary=50, width=32, layers=2, heads=2, context=16)
        words = torch.randint(50, (2, 16))
        if look:
            trained(model, words)
        else:
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            model(words).sum().backward()
            optimizer.step()
        results.append([each.detach().clone() for each in model.parameters()])

    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_the_yardstick_measures_rates_that_grow_with_size():
    measured = yardstick.measure()

    assert measured["precision"] == "fp32"
    assert measured["launch_s"] > 0
    for curve in (measured["compute"], measured["memory"]):
        assert len(curve) >= 5
        assert curve[0][1] < max(rate for _, rate in curve)


class TestProbe:
    def test_counts_times_and_ends_the_script(self, tmp_path):
        done, seen = probe(tmp_path, "100000", "0.1", seconds="1.5")

        assert done.returncode == 75
        assert seen["batch_size"] == 4
        assert seen["accelerator"] == "CPU"
        assert 10 < seen["samples_per_s"] <= 40  # Four samples a batch, which takes a tenth of a second and a little.
        assert flops(seen) == 2 * 2 * 4 * 16
        assert seen["optimizer_bytes"] > 0
        assert profile.parse(seen).flops_per_sample == 64
        assert not (tmp_path / "went_on").exists()
        assert not (tmp_path / "model.safetensors").exists()

    def test_of_a_short_script_leaves_out_its_last_and_smaller_batch(self, tmp_path, monkeypatch):
        seen = probed_here(tmp_path, monkeypatch, samples=22, last_s=2.0)

        assert seen["samples_per_s"] > 8

    def test_of_a_single_batch_has_no_speed(self, tmp_path, monkeypatch):
        seen = probed_here(tmp_path, monkeypatch, samples=4)

        assert "samples_per_s" not in seen
        assert flops(seen) > 0

    def test_is_not_there_when_nobody_asks(self, monkeypatch):
        monkeypatch.delenv("GPUYARD_PROBE", raising=False)
        monkeypatch.delitem(sys.modules, "workloads.node.training.probing", raising=False)
        model = nn.Linear(2, 1)

        with session(model, torch.optim.SGD(model.parameters(), lr=0.1)) as run:
            assert len(list(run.batches([torch.zeros(2)] * 8, batch_size=4))) == 2
        assert "workloads.node.training.probing" not in sys.modules


def _pointwise(*, layers, batch_size):
    model = Gpt(vocabulary=100, width=64, layers=layers, heads=4, context=64)
    words = torch.zeros(batch_size, 64, dtype=torch.int64)
    with Counting() as counting:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = functional.cross_entropy(model(words).flatten(0, 1), words.flatten())
        loss.backward()
    return sum(size * calls for (arithmetic, size), calls in counting.work.items() if not arithmetic)


def probe(folder, *args, seconds):
    """Run SCRIPT as `yard probe` does; returns the process and what it wrote."""
    (folder / "train.py").write_text(SCRIPT)
    path = folder / "profile.json"
    environment = os.environ | {
        "GPUYARD_PROBE": str(path),
        "GPUYARD_PROBE_S": seconds,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run([sys.executable, "-W", "error", "train.py", *args], cwd=folder, env=environment, check=False)
    return done, json.loads(path.read_text())


def probed_here(folder, monkeypatch, *, samples, last_s=0.0):
    """Probe in this process, in batches of 4, a smaller one taking `last_s` longer; returns what was written."""
    monkeypatch.setenv("GPUYARD_PROBE", str(folder / "profile.json"))
    model = nn.Linear(16, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train():
        with session(model, optimizer) as run:
            for batch in run.batches([torch.ones(16)] * samples, batch_size=4):
                model(batch).sum().backward()
                optimizer.step()
                time.sleep(last_s if len(batch) < 4 else 0)

    with pytest.raises(SystemExit) as ended:
        train()
    assert ended.value.code == 75
    return json.loads((folder / "profile.json").read_text())
