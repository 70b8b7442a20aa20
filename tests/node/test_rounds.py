"""Sites as processes of their own, training one model through the stand-in hub."""

import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import safetensors.torch
import torch

from workloads.node.training import quantise, wire
from workloads.node.training.rounds import Leader
from workloads.node.training.sharding import Whole

from . import site_program
from .conftest import wait_for

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([site_program.__name__])


@pytest.fixture
def start_site(broker, tmp_path):
    """start_site(placement, name=value...) -> Process with .outcome() and .drain(); all are ended after the test."""
    sites = []

    def start(placement, *, rank=0, world=1, **options):
        broker.keys[placement] = "secret"
        outcome, drain = tmp_path / f"outcome-{placement}-{rank}", tmp_path / f"drain-{placement}"
        said = tmp_path / f"said-{placement}-{rank}"
        env = {
            "GPUYARD_SITE_URL": broker.url,
            "GPUYARD_SITE_KEY": f"{placement}.secret",
            "GPUYARD_DRAIN_FILE": str(drain),
            "GPUYARD_RANK": str(rank),
            "GPUYARD_WORLD": str(world),
        }
        words = [str(outcome), *(f"{name}={value}" for name, value in options.items())]
        site = processes.Process(target=site_program.run, args=(env, str(said), words))
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


def ends(site, code=0):
    site.join(timeout=60)
    assert site.exitcode == code, site.said.read_text()


def merged_once(hub, total):
    """Every position is in exactly one merged range."""
    positions = [position for start, end in hub.merged for position in range(start, end)]
    return sorted(positions) == list(range(total))


@pytest.mark.parametrize("codec", ["fp32", "int8", "top2"])
def test_two_sites_end_with_the_same_bits_and_count_every_sample_once(broker, start_site, codec):
    broker.hub.settings, broker.hub.codec = (0.9, 0.8), codec
    options = {"samples": 400, "mixed": 1, "pause_s": 0.01}
    sites = [start_site(1, seed=1, **options), start_site(2, seed=2, **options)]

    for site in sites:
        ends(site)

    assert sites[0].outcome() == sites[1].outcome()
    assert merged_once(broker.hub, 400)
    assert {row["site"] for row in broker.hub.history} == {1, 2}
    theta = broker.hub.theta
    assert sorted(theta) == ["again.bias", "first.bias", "first.weight", "last.bias", "last.weight", "scale"]
    assert (theta["scale"] == 1).all()
    saved = safetensors.torch.load(broker.hub.artifacts[0]["raw"])
    np.testing.assert_array_equal(saved["first.bias"].numpy(), theta["first.bias"])
    assert {row["codec"] for row in broker.hub.history} == {codec}
    assert saved["last.bias"].dtype == torch.bfloat16
    assert saved["seen"] > 0
    assert broker.hub.artifacts[0]["metrics"].keys() == {"val_loss"}
    rows = [broker.hub.rows[key] for key in sorted(broker.hub.rows) if key[0] == 1]
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["seq"] - rows[0]["seq"] for row in rows] == list(range(len(rows)))


def test_a_site_killed_in_a_round_loses_no_sample_and_counts_none_twice(broker, start_site):
    options = {"samples": 400, "pause_s": 0.02}
    doomed, other = start_site(1, **options), start_site(2, **options)
    wait_for(lambda: broker.hub.version >= 2 and 1 in broker.hub.leased)

    os.kill(doomed.pid, signal.SIGKILL)
    doomed.join()
    with broker.lock:
        lost = list(broker.hub.leased.get(1, []))
        broker.hub.drop(1)

    ends(other)
    assert lost
    assert merged_once(broker.hub, 400)


def test_the_broker_may_be_away_and_lose_answers(broker, start_site):
    site = start_site(1, samples=400, pause_s=0.01)
    wait_for(lambda: broker.hub.version >= 1)
    with broker.lock:
        broker.lose_answers = 6
    wait_for(lambda: broker.lose_answers == 0)
    with broker.lock:
        broker.down = True
    wait_for(lambda: "can not be reached" in site.said.read_text())
    with broker.lock:
        broker.down = False

    ends(site)

    assert merged_once(broker.hub, 400)
    assert "answers again" in site.said.read_text()
    seqs = sorted(seq for _, seq in broker.hub.rows)
    assert [seq - seqs[0] for seq in seqs] == list(range(100))


def test_a_refused_contribution_is_explained_and_its_samples_are_trained_on_again(broker, start_site):
    broker.hub.refuse_next = "the norm is out of bounds"

    site = start_site(1)

    ends(site)
    assert "refused: the norm is out of bounds" in site.said.read_text()
    assert broker.hub.refused[0]["ranges"] == [[0, 20]]
    assert {row["base"] - row["version"] for row in broker.hub.history} == {0}
    assert merged_once(broker.hub, 200)


def test_the_loop_trains_on_while_a_round_is_under_way_but_not_for_ever(broker, start_site):
    broker.hub.is_held = True
    site = start_site(1, samples=400, every=20)
    wait_for(lambda: broker.hub.contributed)

    rows = wait_for(lambda: len(broker.hub.rows) >= 40 and len(broker.hub.rows))
    with broker.lock:
        assert rows == 40, "a round's steps ahead, and no more"
        broker.hub.is_held = False
        broker.hub.close_if_complete()

    ends(site)
    assert merged_once(broker.hub, 400)
    first, second = broker.hub.history[:2]
    assert (first["steps"], second["steps"], second["base"], second["version"]) == (20, 20, 1, 1)
    assert second["stall_s"] > 0


def test_steps_taken_while_a_round_was_under_way_are_in_the_next(broker, start_site):
    # One site, fp32, the plain average: whatever the rounds, it is training without them.
    ends(start_site(1, samples=400, every=1000))
    theta = broker.hub.theta
    broker.hub = type(broker.hub)()
    broker.hub.is_held = True
    site = start_site(2, samples=400, every=15)
    for _ in range(4):
        wait_for(lambda: broker.hub.contributed)
        with broker.lock:
            broker.hub.is_held = False
            broker.hub.close_if_complete()
            broker.hub.is_held = True
    broker.hub.is_held = False
    ends(site)

    assert merged_once(broker.hub, 400)
    for name, value in theta.items():
        np.testing.assert_allclose(broker.hub.theta[name], value, rtol=1e-4, atol=1e-5)


def test_a_slow_site_is_called_and_hands_in_what_it_has(broker, start_site):
    options = {"samples": 1200, "every": 20}
    sites = [start_site(1, pause_s=0.01, **options), start_site(2, pause_s=0.04, **options)]

    for site in sites:
        ends(site)

    assert merged_once(broker.hub, 1200)
    assert sites[0].outcome() == sites[1].outcome()
    steps = {site: [row["steps"] for row in broker.hub.history if row["site"] == site] for site in (1, 2)}
    middle = slice(1, -2)
    assert np.median(steps[1][middle]) == 20
    assert 2 <= np.median(steps[2][middle]) <= 10, "about a quarter, not a whole round"


def test_what_was_too_late_for_its_round_is_in_the_next(broker, start_site):
    site = start_site(1, samples=400, every=20, pause_s=0.02)
    wait_for(lambda: broker.hub.leased.get(1))
    with broker.lock:  # The round closes without this site.
        broker.hub.contributed["other"] = broker.hub.contribution_of_nothing()
        leased, broker.hub.leased = broker.hub.leased, {}
        broker.hub.close_if_complete()
        broker.hub.leased = leased
    ends(site)

    first = broker.hub.history[0]
    assert (first["version"], first["base"]) == (1, 0)
    assert first["ranges"][0][0] == 0
    assert merged_once(broker.hub, 400)


def test_work_on_parameters_that_are_too_old_is_done_again(broker, start_site):
    site = start_site(1, samples=400, every=50, pause_s=0.02)
    wait_for(lambda: len(broker.hub.rows) > 2)
    with broker.lock:
        for _ in range(3):
            broker.hub.contributed["other"] = broker.hub.contribution_of_nothing()
            leased, broker.hub.leased = broker.hub.leased, {}
            broker.hub.close_if_complete()
            broker.hub.leased = leased
    ends(site)

    assert merged_once(broker.hub, 400)
    assert len(broker.hub.rows) > 100, "some steps were taken twice"
    assert broker.hub.history[0]["base"] == broker.hub.history[0]["version"] == 3


def test_a_loop_that_breaks_off_hands_in_what_it_has_done(broker, start_site):
    ends(start_site(1, samples=400, every=30, stop_at=12))

    (row,) = broker.hub.history
    assert row["partial"]
    assert (row["steps"], row["samples"]) == (12, 48)


def test_a_script_that_takes_no_step_is_told_so(broker, start_site):
    ends(site := start_site(1, samples=40, accumulate=1000), 1)

    assert "40 samples went by without optimizer.step()" in site.said.read_text()


def test_a_late_site_whose_gradients_wait_in_vain_holds_nobody_up(broker, start_site):
    first = start_site(1, samples=400, every=10, pause_s=0.02)
    wait_for(lambda: broker.hub.version >= 2)
    late = start_site(2, samples=400, every=10, accumulate=1000, pause_s=0.02)

    ends(first)
    ends(late)
    assert merged_once(broker.hub, 400)
    assert first.outcome() == late.outcome()


def test_a_script_that_stops_early_ends_the_run_at_all_sites_with_the_same_bits(broker, start_site):
    options = {"samples": 100_000, "every": 10, "pause_s": 0.01}
    sites = [start_site(1, end_at=40, **options), start_site(2, **options)]

    for site in sites:
        ends(site)

    share = float(broker.hub.why_stopped.rpartition(" ")[2])
    merged = [position for start, end in broker.hub.merged for position in range(start, end)]
    assert len(merged) == len(set(merged)) < 10_000
    assert share * 100_000 <= len(merged) + 1000
    assert not any(broker.hub.leased.values()), "what sites had got was trained on"
    assert sites[0].outcome() == sites[1].outcome()


def test_without_overlap_a_site_waits_for_each_update(broker, start_site):
    broker.hub.is_held = True
    site = start_site(1, samples=400, every=20, overlap=0)
    wait_for(lambda: broker.hub.contributed)
    wait_for(lambda: len(broker.hub.rows) >= 20)
    time.sleep(0.5)
    with broker.lock:
        assert len(broker.hub.rows) == 20
        broker.hub.is_held = False
        broker.hub.close_if_complete()

    ends(site)
    assert [(row["base"], row["steps"]) for row in broker.hub.history] == [(version, 20) for version in range(5)]


def test_one_site_evaluates_and_no_round_waits_for_it(broker, start_site):
    options = {"samples": 1200, "every": 10, "pause_s": 0.01, "evaluate_at": 25}
    sites = [start_site(1, **options), start_site(2, **options)]

    for site in sites:
        ends(site)

    assert "evaluated" in sites[0].said.read_text()
    assert "evaluated" not in sites[1].said.read_text()
    assert max(row["stall_s"] for row in broker.hub.history if row["site"] == 2) < 2.5
    assert broker.hub.away, "the rounds meanwhile went on without it"
    assert merged_once(broker.hub, 1200)
    assert sites[0].outcome() == sites[1].outcome()


def test_no_round_waits_for_a_first_step(broker, start_site):
    options = {"samples": 1200, "every": 10, "pause_s": 0.01}
    sites = [start_site(1, **options), start_site(2, first_s=4, **options)]

    for site in sites:
        ends(site)

    assert max(row["stall_s"] for row in broker.hub.history if row["site"] == 1) < 3
    assert {site for site, _ in broker.hub.away} == {2}
    assert merged_once(broker.hub, 1200)


@pytest.mark.parametrize("samples", [200, 206])
def test_gradients_of_several_batches_make_a_step(broker, start_site, samples):
    ends(start_site(1, samples=samples, every=6, accumulate=4))

    assert merged_once(broker.hub, samples)
    assert broker.hub.history[0]["steps"] == 6
    assert broker.hub.history[0]["samples"] == 96


def test_two_optimizers_train_one_model(broker, start_site, tmp_path):
    options = {"samples": 200, "optimizers": 2, "meeting": tmp_path / "meeting"}
    both = [start_site(1, rank=rank, world=2, **options) for rank in (0, 1)]

    for rank in both:
        ends(rank)

    assert both[0].outcome() == both[1].outcome()
    assert merged_once(broker.hub, 200)


def test_a_site_that_drains_hands_in_what_it_has_done(broker, start_site):
    site = start_site(1, samples=4000, every=500, pause_s=0.01)
    wait_for(lambda: len(broker.hub.rows) > 3)

    site.drain()

    ends(site, 75)
    (row,) = broker.hub.history
    assert row["partial"]
    assert row["ranges"] == [[0, row["samples"]]]
    assert row["samples"] == row["steps"] * 4 == len(broker.hub.rows) * 4
    assert sum(end - start for start, end in broker.hub.free) == 4000 - row["samples"]


def test_a_site_told_to_drain_by_the_broker_leaves(broker, start_site):
    broker.hub.draining.add(1)

    ends(start_site(1), 75)


def test_sites_with_different_datasets_are_told_apart(broker, start_site):
    ends(start_site(1, size=60))

    stranger = start_site(2, size=61)

    ends(stranger, 1)
    assert "dataset_samples is not that of the other sites" in stranger.said.read_text()


def test_a_site_whose_placement_was_closed_stops(broker, start_site):
    site = start_site(1, samples=4000, pause_s=0.01)
    wait_for(lambda: broker.hub.version >= 1)

    broker.keys.clear()

    ends(site, 1)
    assert "closed this placement" in site.said.read_text()


@pytest.mark.parametrize("sharded", [0, 1])
@pytest.mark.parametrize("clip", ["", "0.05"])
def test_two_ranks_with_half_the_batch_are_one_rank_with_the_whole(broker, start_site, tmp_path, clip, sharded):
    # The last of 206 samples are a short step, and one that leaves the second rank without a sample.
    options = {"samples": 206, "size": 60, "clip": clip, "shard": sharded}
    ends(alone := start_site(1, batch=8, **{**options, "shard": 0}))
    theta, hub = broker.hub.theta, broker.hub
    broker.hub = type(hub)()
    both = [start_site(2, rank=rank, world=2, batch=4, meeting=tmp_path / "meeting", **options) for rank in (0, 1)]

    for rank in both:
        ends(rank)

    for name, value in theta.items():
        np.testing.assert_allclose(broker.hub.theta[name], value, rtol=1e-5, atol=1e-6)
    assert both[0].outcome() == both[1].outcome()
    assert both[0].outcome().keys() == alone.outcome().keys()
    assert merged_once(broker.hub, 206)
    assert sum(row["steps"] for row in broker.hub.history) == sum(row["steps"] for row in hub.history) == 26


def test_a_site_whose_workers_share_the_model_trains_evaluates_and_saves_beside_one_that_has_it_whole(
    broker, start_site, tmp_path
):
    options = {"samples": 1200, "every": 10, "pause_s": 0.01, "evaluate_at": 25}
    parts = {"world": 2, "meeting": tmp_path / "meeting", "shard": 1}
    both = [start_site(1, rank=rank, **parts, **options) for rank in (0, 1)]
    whole = start_site(2, **options)

    for site in (*both, whole):
        ends(site)

    assert merged_once(broker.hub, 1200)
    assert both[0].outcome() == both[1].outcome() == whole.outcome()
    assert [site.said.read_text().count("evaluated") for site in (*both, whole)] == [1, 1, 0]
    saved = {row["site"]: row["raw"] for row in broker.hub.artifacts}
    first, second = (safetensors.torch.load(saved[site]) for site in (1, 2))
    assert first.keys() == second.keys() >= {"seen"}
    assert all(torch.equal(first[name], second[name]) for name in first.keys() - {"seen"})


@pytest.mark.parametrize("sharded", [0, 1])
def test_two_ranks_drain_at_the_same_step(broker, start_site, tmp_path, sharded):
    options = {"samples": 4000, "every": 200, "pause_s": 0.01, "meeting": tmp_path / "meeting", "shard": sharded}
    both = [start_site(1, rank=rank, world=2, **options) for rank in (0, 1)]
    wait_for(lambda: len(broker.hub.rows) > 3)

    both[0].drain()

    for rank in both:
        ends(rank, 75)
    (row,) = broker.hub.history
    assert row["samples"] == row["steps"] * 8 == len(broker.hub.rows) * 8


def test_two_ranks_with_different_data_are_told_apart(broker, start_site, tmp_path):
    options = {"world": 2, "meeting": tmp_path / "meeting"}
    first, second = start_site(1, rank=0, size=60, **options), start_site(1, rank=1, size=61, **options)

    ends(second, 1)
    assert "dataset_samples: worker 1 has not what the site's first worker has" in second.said.read_text()
    first.kill()


class Silent:
    """A link that nothing is asked of."""

    def __init__(self, headers):
        assert headers["Gpuyard-Incarnation"].isdigit()

    def close(self):
        pass


@pytest.mark.parametrize(("codec", "rounds"), [("int4", 1), ("top2", 80)])
def test_what_a_contribution_could_not_say_is_in_later_ones(codec, rounds, tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Linear(64, 64, bias=False)
    leader = Leader(parameters=Whole(model), connect=Silent, drain_file=None)
    leader._codec = codec
    size = 64 * 64
    moved, said = np.linspace(-1, 1, size, dtype=np.float32), np.zeros(size, np.float32)

    for round_ in range(rounds + 1):
        path = tmp_path / "contribution"
        leader._unsaid = leader._pack(moved if round_ == 0 else np.zeros(size, np.float32), path)
        name, parts = wire.read(path, size=size)
        said += quantise.decode(parts, name, size=size)
        if round_ == 0:
            first = np.abs(said - moved).max()

    assert first > 0.01
    assert np.abs(said - moved).max() < first / 5
