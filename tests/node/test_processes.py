"""Cleaning up: whatever a lease started is found and ended, and nothing else is."""

import os
import subprocess
import sys

import pytest

from workloads.node.processes import LeaseEnded, Processes, end_marked, marked, markers

from .conftest import wait_for

DOUBLE_FORK = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
os.wait()
"""
FORKS_WHEN_TOLD_TO_END = """
import os, signal, sys, time
def again(number, frame):
    if os.fork() > 0:
        os._exit(0)
signal.signal(signal.SIGTERM, again)
open(sys.argv[1], "w").write(str(os.getpid()))
while True:
    time.sleep(0.01)
"""
# What setproctitle does to a process: its environment is written over, here from within by its own hand.
FORGETS_ITS_ENVIRONMENT = (
    """
import os, sys, time
if os.fork() > 0:
    time.sleep(600)
os.execve(sys.executable, [sys.executable, "-c", """
    + repr("import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)")
    + """, sys.argv[1]], {})
"""
)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:  # A zombie is dead; whose child it is decides when it goes.
        return stat.read().rsplit(")", 1)[1].split()[0] != "Z"


def start(processes, code, tmp_path):
    said = tmp_path / "pid"
    with (tmp_path / "out").open("wb") as out:
        processes.start([sys.executable, "-c", code, str(said)], env=os.environ, cwd=tmp_path, stdout=out, stderr=out)
    wait_for(lambda: said.exists() and said.read_text())
    return int(said.read_text())


@pytest.mark.parametrize(
    "code",
    [DOUBLE_FORK, FORKS_WHEN_TOLD_TO_END, FORGETS_ITS_ENVIRONMENT],
    ids=["double_fork", "forks_on_sigterm", "environment_overwritten"],
)
def test_a_process_that_slips_away_is_ended(tmp_path, code):
    processes = Processes(lease="1", state=tmp_path)
    pid = start(processes, code, tmp_path)
    assert marked(state=tmp_path, lease="1")

    processes.end()

    assert not alive(pid)
    assert marked(state=tmp_path, lease="1") == []


@pytest.mark.parametrize("missing", ["GPUYARD_LEASE", "GPUYARD_STATE"])
def test_a_process_without_both_markers_is_left_alone(tmp_path, missing):
    env = {**os.environ, **markers(lease="1", state=tmp_path)}
    del env[missing]
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=env)

    end_marked(state=tmp_path, lease="1", grace_s=0.1)
    end_marked(state=tmp_path, grace_s=0.1)

    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_another_lease_is_left_alone(tmp_path):
    one, two = Processes(lease="1", state=tmp_path), Processes(lease="11", state=tmp_path)
    (tmp_path / "two").mkdir()
    start(one, DOUBLE_FORK, tmp_path)
    pid = start(two, DOUBLE_FORK, tmp_path / "two")

    one.end()

    assert alive(pid)
    two.end()
    assert not alive(pid)


def test_nothing_starts_once_the_lease_has_ended(tmp_path):
    processes = Processes(lease="1", state=tmp_path)
    processes.end()

    with pytest.raises(LeaseEnded):
        start(processes, DOUBLE_FORK, tmp_path)
