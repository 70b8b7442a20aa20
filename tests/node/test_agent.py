"""The agent as a real process: what the orders name exists, what they do not name is gone."""

import signal
import zipfile
from io import BytesIO

import pytest

from workloads.node.processes import marked

from .conftest import order, pack, wait_for

# A worker whose head never comes waits for it: a real process of a lease that needs no Ray.
NO_HEAD = {"role": "worker", "ray": {"head_port": 9}}


def phase(broker, lease=1, host=7):
    node = broker.node(host, lease)
    return node and node["phase"]


def started(broker, agent):
    wait_for(lambda: phase(broker) == "starting" and marked(state=agent.state, lease="1"))


def test_a_lease_starts_when_ordered_and_is_gone_when_not(broker, start_agent):
    broker.orders[7] = [order(broker, {"train.py": ""}, **NO_HEAD)]
    agent = start_agent()
    started(broker, agent)

    broker.orders[7] = []

    wait_for(lambda: broker.node(7, 1) is None)
    assert marked(state=agent.state) == []
    assert list((agent.state / "leases").iterdir()) == []


def test_a_wish_to_drain_reaches_the_lease(broker, start_agent):
    broker.orders[7] = [order(broker, {"train.py": ""}, **NO_HEAD)]
    agent = start_agent()
    started(broker, agent)

    broker.orders[7] = [{**broker.orders[7][0], "drain": True}]

    wait_for((agent.state / "leases" / "1" / "drain").exists)


def test_an_agent_killed_and_started_again_ends_the_leftovers_and_says_so(broker, start_agent):
    broker.orders[7] = [order(broker, {"train.py": ""}, **NO_HEAD)]
    agent = start_agent()
    started(broker, agent)
    agent.kill()
    agent.wait()
    assert marked(state=agent.state, lease="1")
    broker.beats.clear()

    start_agent()

    wait_for(lambda: phase(broker) == "failed")
    assert broker.node(7, 1)["error"]["code"] == "agent_restarted"
    assert marked(state=agent.state) == []
    broker.orders[7] = []
    wait_for(lambda: broker.node(7, 1) is None)


def test_sigterm_ends_the_leases_first_and_the_next_life_remembers(broker, start_agent):
    broker.orders[7] = [order(broker, {"train.py": ""}, **NO_HEAD)]
    agent = start_agent()
    started(broker, agent)

    agent.send_signal(signal.SIGTERM)

    assert agent.wait(timeout=20) == 0
    assert marked(state=agent.state) == []
    broker.beats.clear()
    start_agent()
    wait_for(lambda: phase(broker) == "failed")
    assert broker.node(7, 1)["error"]["code"] == "agent_restarted"


def test_beats_go_on_while_a_lease_is_slow_and_the_broker_may_be_away(broker, start_agent):
    start_agent()
    wait_for(lambda: broker.beats.get(7))
    broker.down = True
    broker.orders[7] = [order(broker, {"train.py": ""}, **NO_HEAD)]
    broker.down = False

    wait_for(lambda: phase(broker) == "starting")
    beats = len(broker.beats[7])

    wait_for(lambda: len(broker.beats[7]) > beats + 2)
    assert {"hostname", "accelerators", "vcpus", "ram_gib", "disk_free_gib"} <= broker.beats[7][-1]["hardware"].keys()


def test_a_barred_host_is_told_and_its_agent_stays(broker, start_agent):
    agent = start_agent()
    wait_for(lambda: broker.beats.get(7))

    broker.hosts[7] = "another"

    wait_for(lambda: "agent.barred" in agent.said.read_text())
    assert agent.poll() is None


@pytest.mark.parametrize(
    ("files", "code", "names"),
    [
        ({"train.py": "", "requirements.txt": "--no-index\nno-such-package==9\n"}, "requirements_failed", "no-such-"),
        ({"other.py": ""}, "program_unavailable", "no train.py in the program"),
    ],
)
def test_a_lease_that_can_not_be_prepared_says_what_is_wrong(broker, start_agent, files, code, names):
    broker.orders[7] = [order(broker, files)]
    start_agent()

    wait_for(lambda: phase(broker) == "failed")

    assert broker.node(7, 1)["error"]["code"] == code
    assert names in broker.node(7, 1)["error"]["message"]
    if code == "requirements_failed":
        assert any("no-such-package" in line for line in broker.lines(1))


def test_requirements_are_installed_once_per_content(broker, start_agent):
    wheel = BytesIO()
    with zipfile.ZipFile(wheel, "w") as file:
        about = "mini-1.0.dist-info"
        file.writestr("mini.py", "WORD = 'here'\n")
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: mini\nVersion: 1.0\n")
        file.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{about}/RECORD", "")
    name = "mini-1.0-py3-none-any.whl"
    files = {"train.py": "", "requirements.txt": f"--no-index\n./{name}\n"}
    made = order(broker, files, **NO_HEAD)
    made["program"] = broker.keep_program(pack(files, binary={name: wheel.getvalue()}))
    broker.orders[7] = [made]
    agent = start_agent()

    started(broker, agent)

    (environment,) = (agent.state / "environments").iterdir()
    assert list(environment.glob("lib/*/site-packages/mini.py"))
    broker.orders[7] = [{**made, "lease": 2}]
    wait_for(lambda: phase(broker, lease=2) == "starting")
    assert not any("Installing" in line for line in broker.lines(2))
