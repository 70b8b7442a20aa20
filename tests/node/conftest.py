"""What the node's tests share: the stand-in broker, programs, agents as real processes."""

import contextlib
import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from .stand_in import StandIn

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _quiet_world():
    """In the place of the fixture of this name that prepares Django for all other tests: the node runs without it."""


@pytest.fixture
def broker():
    stand_in = StandIn()
    yield stand_in
    stand_in.close()


@pytest.fixture
def wheel(tmp_path):
    """A directory in which the node is the package `gpuyard`, as the broker's wheel has it."""
    package = tmp_path / "wheel" / "gpuyard"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "train.py").write_text("from gpuyard.node.training import session as session\n")
    (package / "node").symlink_to(ROOT / "workloads" / "node")
    return package.parent


def pack(files, *, binary=None):
    """A program: {name: text} and {name: bytes} as the bytes of a .tar.gz."""
    raw = io.BytesIO()
    contents = {name: text.encode() for name, text in files.items()} | (binary or {})
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return raw.getvalue()


def order(broker, files, *, lease=1, script="train.py", address="127.0.0.1", **changes):
    """An Order for a lease that is the head of a one-node CPU site."""
    program = broker.keep_program(pack(files))
    broker.keys.setdefault(changes.get("placement", lease), "site-secret")
    ray = {
        "token": hashlib.sha256(b"ray").hexdigest(),
        "head_address": address,
        "head_port": 24000 + os.getpid() % 1000 * 8 + lease % 8,
        "nodes": 1,
        "accelerators": {"kind": "CPU", "count": 1},
    }
    return {
        "lease": lease,
        "workload": 1,
        "placement": lease,
        "role": "head",
        "ray": {**ray, **changes.pop("ray", {})},
        "program": program,
        "script": script,
        "args": [],
        "env": {},
        "site": {"name": "home/test", "secret": "site-secret"},
        "drain": False,
        **changes,
    }


def wait_for(what, *, within_s=30.0):
    """What `what` returns once it is true. It looks often; it fails when `within_s` have passed."""
    late_s = time.monotonic() + within_s
    while not (found := what()):
        assert time.monotonic() < late_s, f"did not happen in {within_s} s"
        time.sleep(0.02)
    return found


@pytest.fixture
def start_agent(broker, tmp_path, wheel):
    """Start an agent process: start_agent(host, address=...) -> Popen with .state. All are ended after the test."""
    agents = []

    def start(host=7, *, address="127.0.0.1", accelerators="CPU:1"):
        broker.tokens[f"token-{host}"] = host
        state = tmp_path / f"state-{host}"
        with (tmp_path / f"agent-{host}.txt").open("ab") as said:
            agent = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "gpuyard.node", "--broker", broker.url]
                + ["--token", f"token-{host}", "--state", str(state), "--address", address]
                + ["--accelerators", accelerators],
                env={**os.environ, "PYTHONPATH": str(wheel)},
                stdout=said,
                stderr=said,
            )
        agent.state, agent.said = state, tmp_path / f"agent-{host}.txt"
        agents.append(agent)
        return agent

    yield start
    for agent in agents:
        with contextlib.suppress(ProcessLookupError):
            agent.send_signal(signal.SIGCONT)
            agent.terminate()
    for agent in agents:
        agent.wait(timeout=30)
