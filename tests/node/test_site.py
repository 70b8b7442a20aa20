"""Whole leases with real Ray: a site of one node, and one of two."""

import os

import pytest

from workloads.node import site
from workloads.node.hardware import usage
from workloads.node.processes import marked

from .conftest import order, wait_for

TRAINS = """
import os, sys
import mini_module
import torch
import gpuyard.train as yard

print("arguments", sys.argv[1:], "in", os.path.basename(os.getcwd()), mini_module.WORD)
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with yard.session(model, optimizer, sync_every_steps=3) as run:
    for batch in run.batches([torch.ones(2)] * 30, batch_size=2, samples=30):
        loss = model(batch).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        run.report(loss=loss)
print(f"rank {run.rank} of {run.world} done", file=sys.stderr)
run.save(model)
"""
RAISES = """
def deep():
    raise ValueError("no such thing")

print("before")
deep()
"""


def over(broker, lease=1, host=7):
    def look():
        node = broker.node(host, lease)
        return node if node and node["phase"] in ("exited", "failed") else None

    return wait_for(look, within_s=90)


@pytest.mark.journey
def test_a_site_of_one_node_trains_and_leaves_nothing_behind(broker, start_agent):
    files = {"train.py": TRAINS, "mini_module.py": "WORD = 'beside'", "ray.py": "raise SystemExit('shadowed')"}
    broker.orders[7] = [order(broker, files, address="127.0.0.21", args=["--a", "1"])]
    agent = start_agent(address="127.0.0.21")

    node = over(broker)

    lines = broker.lines(1)
    assert (node["phase"], node["exit_code"], node["error"]) == ("exited", 0, None), lines
    assert "arguments ['--a', '1'] in program beside" in lines
    assert "rank 0 of 1 done" in lines
    assert sorted(broker.hub.merged)[-1][1] == 30
    assert marked(state=agent.state) == []
    ray_directory = (agent.state / "leases" / "1" / "ray_directory").read_text()
    broker.orders[7] = []
    wait_for(lambda: broker.node(7, 1) is None)
    assert list((agent.state / "leases").iterdir()) == []
    assert not os.path.exists(ray_directory)


@pytest.mark.journey
def test_a_site_told_to_drain_hands_in_and_exits_with_75(broker, start_agent):
    slow = TRAINS.replace("import mini_module", "import time; import mini_module").replace(
        "samples=30", "samples=10**6"
    )
    slow = slow.replace("sync_every_steps=3", "sync_every_steps=10**4").replace(
        "run.report(", "time.sleep(.01); run.report("
    )
    broker.orders[7] = [order(broker, {"train.py": slow, "mini_module.py": "WORD = 1"}, address="127.0.0.23")]
    start_agent(address="127.0.0.23")
    wait_for(lambda: len(broker.hub.rows) > 3, within_s=60)

    broker.orders[7] = [{**broker.orders[7][0], "drain": True}]

    node = over(broker)
    assert (node["phase"], node["exit_code"], node["error"]) == ("exited", 75, None), broker.lines(1)
    (row,) = broker.hub.history
    assert row["partial"]
    assert row["samples"] == 2 * row["steps"] > 0


@pytest.mark.journey
def test_a_site_of_two_nodes_trains_as_one_and_a_script_that_raises_says_where(broker, start_agent):
    ray = {"nodes": 2}
    head = order(broker, {"train.py": TRAINS, "mini_module.py": "WORD = 1"}, address="127.0.0.21", ray=ray)
    broker.orders[7] = [head]
    broker.orders[8] = [{**head, "lease": 2, "role": "worker"}]
    for host, address in ((7, "127.0.0.21"), (8, "127.0.0.22")):
        start_agent(host, address=address)

    node = over(broker)

    assert (node["exit_code"], node["error"]) == (0, None), broker.lines(1) + broker.lines(2)
    assert broker.node(8, 2)["phase"] == "running"
    wait_for(lambda: "[rank1] rank 1 of 2 done" in broker.lines(2))
    assert broker.hub.sites[1]["world"] == 2

    broker.orders[8] = []
    broker.orders[7] = [order(broker, {"src/train.py": RAISES}, lease=3, script="src/train.py", address="127.0.0.21")]
    node = over(broker, lease=3)

    assert node["exit_code"] == 1
    assert node["error"] == {"code": "script_error", "message": "src/train.py:3: ValueError: no such thing"}
    lines = broker.lines(3)
    assert "before" in lines
    assert "ValueError: no such thing" in lines
    assert not any("worker.py" in line for line in lines)  # The traceback is the researcher's, without our frames.


def test_a_machine_without_the_accelerators_that_it_offered_says_so():
    with pytest.raises(site.AcceleratorsMissing, match="4096 x CPU were offered"):
        site._count_accelerators({"kind": "CPU", "count": 4096})
    with pytest.raises(site.AcceleratorsMissing, match="1 x NVIDIA L4 were offered, this machine has 0"):
        site._count_accelerators({"kind": "NVIDIA L4", "count": 1})

    site._count_accelerators({"kind": "CPU", "count": 1})


def test_how_busy_a_host_is_can_be_told():
    said = usage()

    assert 0 < said["ram_used_gib"] < 10_000
    assert 0 <= said["cpu_percent"] <= 100
