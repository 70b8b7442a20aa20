"""Scripts of Hugging Face's Trainer and of Lightning's, alone and as sites of a run."""

import json
import multiprocessing

import numpy as np
import pytest
import safetensors.numpy

from workloads.node.training import data

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

    def start(script, placement=None, *, rank=0, world=1, **options):
        outcome, said = tmp_path / f"outcome-{len(sites)}", tmp_path / f"said-{len(sites)}"
        drain = tmp_path / f"drain-{placement}"
        env = {}
        if placement:
            broker.keys[placement] = "secret"
            env = {
                "GPUYARD_SITE_URL": broker.url,
                "GPUYARD_SITE_KEY": f"{placement}.secret",
                "GPUYARD_DRAIN_FILE": str(drain),
                "GPUYARD_RANK": str(rank),
                "GPUYARD_WORLD": str(world),
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
    options = {"size": 402, "accumulate": accumulate, "pause_s": 0.01}
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
def test_one_site_evaluates_the_shared_model_and_no_round_waits_for_it(broker, start, script):
    options = {"epochs": 10, "pause_s": 0.02, "evaluate": 7}
    sites = [start(script, site, **options) for site in (1, 2)]

    for site in sites:
        ends(site)

    one, other = [site.outcome() for site in sites]
    assert not other["evaluated"][1 if script == "lightning" else 0 :]  # Lightning checks before training.
    assert len(one["evaluated"]) > 3
    assert merged_once(broker.hub, 600)
    assert one["parameters"] == other["parameters"]
    assert {site for (site, _), row in broker.hub.rows.items() if any("val" in k for k in row["values"])} == {1}


@BOTH
def test_samples_of_a_site_that_dies_are_trained_on_by_one_that_had_no_more(broker, start, script):
    doomed, other = start(script, 1, pause_s=0.1), start(script, 2, pause_s=0.01)
    wait_for(lambda: broker.hub.leased.get(2) and not broker.hub.free)
    wait_for(lambda: broker.hub.leased.get(1))

    doomed.kill()
    doomed.join()
    with broker.lock:
        lost = data.count(broker.hub.leased.get(1, []))
        broker.hub.drop(1)

    ends(other)
    assert lost
    assert merged_once(broker.hub, 60)
