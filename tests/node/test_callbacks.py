"""Scripts of Hugging Face's Trainer and of Lightning's, alone and as sites of a run."""

import json
import multiprocessing
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch.utils.data import DataLoader

from workloads.node.training import codec, data
from workloads.node.training.passes import Passes
from workloads.node.training.run import SessionMisused

from .conftest import wait_for
from .test_rounds import ends, merged_once

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.node.callback_program"])
BOTH = pytest.mark.parametrize("script", ["huggingface", "lightning"])


def in_a_process(*words):
    """Run the script; here, so that only its processes import the frameworks."""
    from .callback_program import run

    run(*words)


@pytest.fixture
def start(broker, tmp_path):
    """start(script, placement or None, name=value...) -> Process with .outcome() and .drain(); ended after the test."""
    sites = []

    def start(script, placement=None, *, rank=0, world=1, env=None, **options):
        outcome, said = tmp_path / f"outcome-{len(sites)}", tmp_path / f"said-{len(sites)}"
        drain = tmp_path / f"drain-{placement}"
        env = dict(env or {})
        if placement:
            broker.keys[placement] = "secret"
            env |= {
                "GPUYARD_SITE_URL": broker.url,
                "GPUYARD_SITE_KEY": f"{placement}.secret",
                "GPUYARD_DRAIN_FILE": str(drain),
                "GPUYARD_RANK": str(rank),
                "GPUYARD_WORLD": str(world),
                "RANK": str(rank),
                "WORLD_SIZE": str(world),
            }
        site = processes.Process(target=in_a_process, args=(env, str(said), str(outcome), script, options))
        site.start()
        site.said, site.drain = said, drain.touch
        site.outcome = lambda: json.loads(outcome.read_text())
        sites.append(site)
        return site

    yield start
    for site in sites:
        site.kill()
        site.join()
        site.close()


def numbers(ranges, *, size=60):
    """The samples at these positions."""
    order = data.Order(samples=size, seed=1)
    return [order.sample(position) for position in data.positions(ranges)]


def start_two(broker, start, script, **options):
    """The first is the one that evaluates."""
    first = start(script, 1, **options)
    wait_for(lambda: 1 in broker.hub.sites)
    return first, start(script, 2, **options)


@BOTH
@pytest.mark.parametrize("options", [{"epochs": 2}, {"epochs": 2, "accumulate": 3, "workers": 1}])
def test_alone_it_trains_as_the_plain_loop_does(start, script, options):
    sites = [start("plain", **options), start(script, **options)]

    for site in sites:
        ends(site)

    plain, trained = [site.outcome() for site in sites]
    assert trained["trained"] == plain["trained"]
    assert trained["parameters"] == plain["parameters"]


@BOTH
@pytest.mark.parametrize("accumulate", [1, 3])
def test_every_sample_is_trained_on_once_by_two_sites(broker, start, script, accumulate):
    options = {"size": 402, "accumulate": accumulate, "workers": accumulate // 3, "pause_s": 0.01}
    sites = [start(script, site, **options) for site in (1, 2)]

    for site in sites:
        ends(site)

    assert merged_once(broker.hub, 402)
    assert sites[0].outcome()["parameters"] == sites[1].outcome()["parameters"]
    assert sorted(sites[0].outcome()["trained"] + sites[1].outcome()["trained"]) == list(range(402))


@BOTH
@pytest.mark.parametrize("accumulate", [1, 4])
def test_placed_it_trains_as_alone_and_reports_and_saves(broker, start, script, accumulate):
    # One site, fp32, the plain average: whatever the rounds, it is training without them.
    # 15 batches an epoch, so the last step of one is made of three.
    options = {"epochs": 2, "accumulate": accumulate, "schedule": 1}
    sites = [start(script, **options), start(script, 1, **options)]

    for site in sites:
        ends(site)

    alone, placed = [site.outcome() for site in sites]
    assert placed["trained"] == alone["trained"]
    assert placed["steps"] == alone["steps"] == 2 * -(-15 // accumulate)
    assert broker.hub.version > 1
    for name, value in alone["parameters"].items():
        np.testing.assert_allclose(placed["parameters"][name], value, rtol=1e-4, atol=1e-6)
    (saved,) = broker.hub.artifacts
    assert len(safetensors.numpy.load(saved["raw"])) == 4
    assert any("loss" in row["values"] for row in broker.hub.rows.values())
    assert all(row["loss"] > 0 for row in broker.hub.history)


@BOTH
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_site_that_drains_hands_in_what_it_has_trained(broker, start, script, accumulate):
    site = start(script, 1, epochs=100, every=500, accumulate=accumulate, pause_s=0.02)
    wait_for(lambda: len(broker.hub.rows) > 3)

    site.drain()

    ends(site, 75)
    (row,) = broker.hub.history
    assert row["partial"]
    assert row["samples"] == row["steps"] * accumulate * 4
    trained = site.outcome()["trained"]
    assert numbers(row["ranges"]) == trained[: row["samples"]]
    assert row["samples"] > len(trained) - accumulate * 4
    assert sum(end - start for start, end in broker.hub.free) == 6000 - row["samples"]


@BOTH
def test_one_site_evaluates_the_shared_model(broker, start, script):
    options = {"epochs": 10, "pause_s": 0.05, "evaluate": 7}
    sites = start_two(broker, start, script, **options)

    for site in sites:
        ends(site)

    one, other = [site.outcome() for site in sites]
    assert not other["evaluated"][1 if script == "lightning" else 0 :]  # Lightning checks before training.
    assert len(one["evaluated"]) > 3
    shared = [
        [state[name].sum() for name in broker.hub.theta]
        for state in map(codec.decode, broker.hub.objects.values())
        if state.keys() == broker.hub.theta.keys()
    ]
    for sums in one["evaluated"]:
        found = [sums[name.removeprefix("model.")] for name in broker.hub.theta]
        assert any(np.allclose(found, each, rtol=1e-4, atol=1e-5) for each in shared)
    assert merged_once(broker.hub, 600)
    assert one["parameters"] == other["parameters"]
    assert {site for (site, _), row in broker.hub.rows.items() if any("val" in k for k in row["values"])} == {1}


def test_the_saved_model_has_the_metrics_of_its_own_evaluation(broker, start):
    sites = start_two(broker, start, "huggingface", epochs=8, pause_s=0.05, evaluate=-1)

    for site in sites:
        ends(site)

    last = sites[0].outcome()["evaluated"][-1]
    assert last == pytest.approx(
        {name: float(each.sum()) for name, each in broker.hub.theta.items()}, rel=1e-4, abs=1e-5
    )
    metrics = {artifact["site"]: artifact["metrics"] for artifact in broker.hub.artifacts}
    assert metrics[1]["eval_loss"] > 0
    assert metrics[2] == {}


@BOTH
def test_samples_of_a_site_that_dies_are_trained_on_by_one_that_had_no_more(broker, start, script):
    doomed = start(script, 1, pause_s=5)  # It still holds its first samples when the other has imported its framework.
    wait_for(lambda: broker.hub.leased.get(1), within_s=60)
    other = start(script, 2, pause_s=0.01)
    wait_for(lambda: broker.hub.leased.get(2) and not broker.hub.free, within_s=60)

    doomed.kill()
    doomed.join()
    with broker.lock:
        lost = data.count(broker.hub.leased.get(1, []))
        broker.hub.drop(1)

    ends(other)
    assert lost
    assert merged_once(broker.hub, 60)


@BOTH
@pytest.mark.parametrize(("size", "accumulate"), [(61, 1), (60, 4)])  # With 61 a step leaves one without a sample.
def test_two_workers_with_half_the_batch_are_one_with_the_whole(broker, start, script, size, accumulate, tmp_path):
    options = {"size": size, "accumulate": accumulate, "epochs": 2, "pause_s": 0.01}
    ends(alone := start(script, 1, batch=8, **options))
    hub, broker.hub = broker.hub, type(broker.hub)()
    both = [start(script, 2, rank=rank, world=2, meeting=str(tmp_path / "meeting"), **options) for rank in (0, 1)]

    for rank in both:
        ends(rank)

    assert merged_once(broker.hub, 2 * size)
    assert sum(row["steps"] for row in broker.hub.history) == sum(row["steps"] for row in hub.history)
    one, other = [rank.outcome()["parameters"] for rank in both]
    assert one == other
    for name, value in alone.outcome()["parameters"].items():
        np.testing.assert_allclose(one[name], value, rtol=1e-4, atol=1e-6)


def test_a_trainer_that_shares_out_itself_is_told_what_to_do(broker, start, tmp_path):
    env = {"MASTER_ADDR": "127.0.0.1"}  # Without it accelerate complains first.
    options = {"meeting": str(tmp_path / "meeting"), "use_cpu": 1, "env": env}
    both = [start("huggingface", 1, rank=rank, world=2, **options) for rank in (0, 1)]

    for rank in both:
        ends(rank, 1)
        assert "os.environ.pop() with WORLD_SIZE and LOCAL_RANK" in rank.said.read_text()


@BOTH
def test_a_probe_measures_it(start, script, tmp_path):
    env = {"GPUYARD_PROBE": str(tmp_path / "seen"), "GPUYARD_PROBE_S": "1"}

    ends(start(script, env=env, epochs=1000, pause_s=0.01), 75)

    seen = json.loads((tmp_path / "seen").read_text())
    assert 0 < seen["samples_per_s"] < 400


@BOTH
def test_a_callback_without_its_trainer_says_so(broker, start, script):
    ends(site := start(script, 1, forget=1), 1)

    assert "add the callback to the trainer" in site.said.read_text()


class Stream(torch.utils.data.IterableDataset):
    """No length, no items by number."""

    def __iter__(self):
        return iter(())


WEIGHTED = torch.utils.data.WeightedRandomSampler([1.0, 2.0], 2)


@pytest.mark.parametrize(
    "loader", [DataLoader(Stream()), DataLoader([1, 2], sampler=WEIGHTED), DataLoader([1, 2], batch_size=None)]
)
def test_a_loader_whose_samples_can_not_be_dealt_out_is_refused(loader):
    with pytest.raises(SessionMisused, match="a dataset with a length and items by number"):
        Passes(loader, {})


@pytest.mark.parametrize(
    ("name", "library"), [("HuggingFaceCallback", "transformers"), ("LightningCallback", "lightning")]
)
def test_without_the_library_it_says_what_to_install(name, library):
    code = f"import sys; sys.modules[{library!r}] = None; from workloads.node.training import {name}"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert f"{name} needs a whole {library}, pip install {library}" in done.stderr


@BOTH
def test_what_is_trained_in_vain_is_not_in_the_model(broker, start, script):
    site = start(script, 1, epochs=10, every=500, pause_s=0.05)
    wait_for(lambda: len(broker.hub.rows) > 3)

    with broker.lock:  # The broker took it for dead, and others have done everything.
        broker.hub.merged, broker.hub.free, broker.hub.leased = [(0, 600)], [], {}
        broker.hub.contributed["other"] = broker.hub.contribution_of_nothing()
        broker.hub.close_if_complete()

    ends(site)
    assert site.outcome()["trained"]
    (saved,) = broker.hub.artifacts
    for name, value in safetensors.numpy.load(saved["raw"]).items():
        np.testing.assert_array_equal(value, broker.hub.theta[name])


@BOTH
def test_a_trainer_that_stops_early_ends_the_run_at_all_sites(broker, start, script):
    options = {"epochs": 1000, "every": 10, "pause_s": 0.01}
    sites = [start(script, 1, stop_at=27, **options), start(script, 2, **options)]

    for site in sites:
        ends(site)

    assert broker.hub.why_stopped == "the trainer was told to stop"
    merged = data.positions(broker.hub.merged)
    assert len(merged) == len(set(merged)) < 30_000
    assert sites[0].outcome()["parameters"] == sites[1].outcome()["parameters"]
    saved = safetensors.numpy.load(broker.hub.artifacts[-1]["raw"])
    for name, value in saved.items():
        np.testing.assert_array_equal(value, broker.hub.theta[name])


@BOTH
def test_what_was_refused_is_trained_on_again_beyond_the_trainers_own_limit(broker, start, script):
    broker.hub.refuse_next = "the norm is out of bounds"

    ends(site := start(script, 1, max_steps=15, every=10))

    assert site.outcome()["steps"] > 15
    assert merged_once(broker.hub, 60)
