"""What goes wrong, with nothing replaced: the broker's own end, a stranger, scripts that fail, a full disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.journeys.checks import check_bill, check_samples, moves
from tests.journeys.yard import PROGRAMS

pytestmark = pytest.mark.journey


@pytest.fixture(autouse=True)
def _quiet_world():
    """These journeys need no Django in this process."""


def test_broker_killed_with_9_and_restarted_in_mid_run(yard):
    run = yard.order("--samples", "10000")
    yard.wait_rounds(run, 3)

    yard.kill_broker()
    ended = yard.wait_end(run, limit_s=180)

    assert ended["state"] == "succeeded"
    check_samples(yard, run, 10000)
    check_bill(yard, run)
    assert "lost" not in moves(yard, run, "lease"), "the hosts were not silent, the broker was deaf"


def test_redis_flushed_in_mid_run(yard):
    run = yard.order("--samples", "6000")
    yard.wait_rounds(run, 2)

    yard.flush_redis()
    yard.wait_rounds(run, 4)
    yard.flush_redis()
    ended = yard.wait_end(run)

    assert ended["state"] == "succeeded"
    check_samples(yard, run, 6000)
    check_bill(yard, run)


def test_a_stranger_cannot_enter_a_sites_ray_cluster(yard):
    run = yard.order("--samples", "100000", sites=1, flags=("--region", "home/paris"))
    yard.wait_rounds(run, 1, sites=1)
    address = yard.ray_address(run)
    enter = f"import ray; ray.init(address={address!r}, logging_level='ERROR'); print('entered')"
    stranger = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}

    tries = {
        "no token": stranger,
        "another token": stranger | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = {what: subprocess.Popen([sys.executable, "-c", enter], env=env, **pipes) for what, env in tries.items()}
    for what, process in started.items():
        told, complained = process.communicate(timeout=120)
        assert "entered" not in told, what
        assert process.returncode != 0, what
        assert "uthentic" in complained, (what, complained[-500:])

    yard.yard("stop", str(run), "--wait")


def test_a_script_that_raises_is_told_to_its_owner_and_billed_for_what_it_used(yard):
    run = yard.order("--raise-at", "3")
    ended = yard.wait_end(run)

    assert (ended["state"], ended["end_reason"]) == ("failed", "script_error")
    assert "ValueError: the data is not what I thought" in ended["why"]
    assert any("Traceback" in line["text"] for line in yard.client.logs(run))
    check_bill(yard, run)


def test_a_missing_requirement_is_named(yard, tmp_path):
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("gpuyard-no-such-package==9.9\n")
    run = yard.order(sites=1, flags=("--requirements", str(wanted)))
    ended = yard.wait_end(run)

    assert (ended["state"], ended["end_reason"]) == ("failed", "script_error")
    assert "gpuyard-no-such-package" in ended["why"]


def test_a_loss_that_is_not_a_number_ends_the_run_and_leaves_the_last_good_state(yard):
    run = yard.order("--nan-at", "60")
    ended = yard.wait_end(run)

    assert (ended["state"], ended["end_reason"]) == ("failed", "refused_contributions")
    assert "not finite" in ended["why"]
    assert ended["version"] >= 1


def test_a_script_that_never_trains_is_told_so(yard):
    run = yard.order("--silent", sites=1)
    ended = yard.wait_end(run)

    assert (ended["state"], ended["end_reason"]) == ("failed", "no_session")


def test_wrong_input_gets_the_documented_exit_code(yard, tmp_path):
    script = tmp_path / "train.py"
    script.write_text("pass\n")

    yard.yard("run", str(script), "--gpu", "H100", "--budget", "1", "--yes", ok=4)
    yard.yard("quote", "--gpu", "CPU", "--samples", "100000000", "--speed", "10", "--budget", "0.01", ok=5)
    yard.yard("run", str(tmp_path / "absent.py"), "--yes", ok=2)
    yard.yard("show", "999999", ok=1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_disk_that_is_full_is_told_and_the_host_comes_last(yard, small_host, tmp_path):
    folder = tmp_path / "job"
    folder.mkdir()
    script = shutil.copy(PROGRAMS / "steady.py", folder)
    (folder / "data.bin").write_bytes(os.urandom(300_000))
    run = yard.order(program=script, sites=1, flags=("--region", "home/attic", "--workdir", str(folder)))

    yard.until(lambda: "disk_full" in json.dumps(yard.client.events(run)), "the full disk is told")
    yard.until(lambda: yard.show(run)["state"] == "recovering", "another host is looked for")

    assert "No space left on device" in json.dumps(yard.client.events(run))
    yard.yard("stop", str(run), "--wait")
    assert yard.wait_end(run)["end_reason"] == "asked"
    check_bill(yard, run)


@pytest.fixture
def small_host(broker, tmp_path):
    """A fourth host whose disk is nearly full."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)], check=True)
    with broker.fourth_host("attic-1", region="home/attic", usd_per_hour="0.01", state=disk):
        yield
    subprocess.run(["umount", str(disk)], check=True)
