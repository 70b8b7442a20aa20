"""A site of several machines that goes on without one and with a new one: whole leases with real Ray and kill -9."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from workloads.node.processes import marked

from .conftest import order, wait_for

TRAINS = """
import os, signal, sys, time
import torch
import gpuyard.train as yard

model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with yard.session(model, optimizer, sync_every_steps=1000) as run:
    for number, batch in enumerate(run.batches([torch.ones(2)] * 30, batch_size=2, samples=10**6)):
        loss = model(batch).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        run.report(loss=loss)
        time.sleep(0.02)
        if "--die" in sys.argv and run.rank == 1 and number == 20:
            os.kill(os.getpid(), signal.SIGKILL)
"""
HEAD, WORKER, LATE = "127.0.0.21", "127.0.0.22", "127.0.0.23"


@pytest.fixture
def site(broker, start_agent):
    """Two machines that train; (order of the head, agent of the other)."""

    def begin(*args):
        head = order(broker, {"train.py": TRAINS}, address=HEAD, ray={"nodes": 2}, args=list(args))
        broker.orders[7] = [head]
        broker.orders[8] = [{**head, "lease": 2, "role": "worker"}]
        start_agent(7, address=HEAD)
        worker = start_agent(8, address=WORKER)
        trains_as(broker, 2)
        return head, worker

    return begin


def trains_as(broker, world):
    """Wait until the newest copy of the site has the world, and a row of it is there."""
    wait_for(lambda: broker.hub.worlds and broker.hub.worlds[-1] == (1, world), within_s=90)
    rows = len(broker.hub.rows)
    wait_for(lambda: len(broker.hub.rows) > rows)


def kill(agent, *, only="", but_agent=False):
    """kill -9 what runs on a machine; only: programs of that name."""
    if not but_agent:
        agent.kill()
    for pid in marked(state=agent.state):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            if Path(f"/proc/{pid}/comm").read_text().strip().startswith(only):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.journey
def test_a_site_goes_on_without_a_machine_that_dies_and_with_one_that_joins(broker, start_agent, site):
    head, worker = site()

    kill(worker)
    trains_as(broker, 1)
    assert broker.hub.history == [], "what it had not handed in is trained again"

    broker.orders[9] = [{**head, "lease": 3, "role": "worker"}]
    late = start_agent(9, address=LATE)
    trains_as(broker, 2)
    (left,) = broker.hub.history
    assert left["partial"], "it handed in before it grew"
    assert left["samples"] == 2 * left["steps"] > 0
    assert broker.node(7, 1)["phase"] == "running"

    broker.orders[7] = [{**head, "ray": {**head["ray"], "without": [LATE]}}]
    trains_as(broker, 1)
    assert [row["partial"] for row in broker.hub.history] == [True, True], "it handed in before it shrank"
    kill(late, only="raylet", but_agent=True)
    node = wait_for(lambda: broker.node(9, 3)["phase"] == "failed" and broker.node(9, 3))
    assert node["error"]["code"] == "ray_failed"

    broker.orders[7] = [{**broker.orders[7][0], "drain": True}]
    wait_for(lambda: broker.node(7, 1)["phase"] == "exited")
    assert broker.node(7, 1)["exit_code"] == 75
    steps = [row["step"] for row in broker.hub.rows.values()]
    assert steps.count(1) == 4, "no copy's rows are taken for another's"


@pytest.mark.journey
def test_a_script_that_dies_on_a_machine_that_lives_ends_the_site(broker, site):
    site("--die")

    node = wait_for(lambda: broker.node(7, 1)["phase"] == "exited" and broker.node(7, 1), within_s=60)

    assert (node["exit_code"], node["error"]["code"]) == (1, "ray_failed")
    assert "worker 1 died" in node["error"]["message"]
    assert broker.hub.worlds == [(1, 2)], "it was not tried again"
