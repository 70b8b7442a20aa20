"""%%yard in a real Jupyter kernel: one output brought up to date in place, and the stop button."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel

from . import objects_of_a_broker as given
from .contract_broker import KEY, Asked, ContractBroker, Reply
from .test_notebook import after

ROOT = Path(__file__).parents[2]


@pytest.fixture
def kernel(broker: ContractBroker, tmp_path: Path) -> Iterator[Any]:
    """A kernel, as JupyterLab and VS Code start one, logged in at a broker where a run goes on and on."""
    package = tmp_path / "package" / "gpuyard"
    package.mkdir(parents=True)
    for path in (ROOT / "frontend" / "client" / "gpuyard").iterdir():
        (package / path.name).symlink_to(path)
    (package / "node").symlink_to(ROOT / "workloads" / "node")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(package.parent), "GPUYARD_URL": broker.url}
    env |= {"GPUYARD_API_KEY": KEY, "GPUYARD_POLL_S": "0.1", "PYTHONDONTWRITEBYTECODE": "1"}
    broker.on("POST", "/v1/quotes", Reply(201, given.quotes()))
    broker.on("PUT", "/v1/programs/.*", Reply(201, {"sha256": "x", "size_bytes": 1}))
    broker.on("POST", "/v1/workloads", Reply(201, given.workload("placing")))
    broker.on("GET", "/v1/workloads/12", given.workload("running"))
    for what in ("events", "logs"):
        broker.on("GET", f"/v1/workloads/12/{what}", {"results": []})
    broker.on("GET", "/v1/workloads/12/metrics", after([given.metric(1), given.metric(2, values={"loss": 1.5})]))
    manager, client = start_new_kernel(kernel_name="python3", env=env, cwd=str(tmp_path))
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_the_stop_button_detaches_and_one_output_was_brought_up_to_date(kernel: Any, broker: ContractBroker) -> None:
    manager, client = kernel
    looks = []

    def looked(asked: Asked) -> Reply:
        looks.append(asked)
        if len(looks) == 5:
            manager.interrupt_kernel()
        return Reply(200, given.workload("running", version=len(looks)))

    broker.on("GET", "/v1/workloads/12", looked)
    shown: list[tuple[str, dict[str, Any]]] = []
    cell = "%load_ext gpuyard\nimport gpuyard.train as yard"
    assert client.execute_interactive(cell, timeout=60, allow_stdin=False)["content"]["status"] == "ok"

    reply = client.execute_interactive(
        "%%yard --yes\nyard",
        timeout=60,
        allow_stdin=False,
        output_hook=lambda message: shown.append((message["msg_type"], message["content"])),
    )

    assert reply["content"]["status"] == "ok"
    displays = [content for kind, content in shown if kind == "display_data"]
    updates = [content for kind, content in shown if kind == "update_display_data"]
    assert len(displays) == 2, "the quotes and the run"
    assert len({each["transient"]["display_id"] for each in updates}) == 2
    last = updates[-1]["data"]
    assert "Run 12 goes on" in last["text/html"]
    assert "%yard attach 12" in last["text/html"]
    assert "<polyline" in last["text/html"]
    assert broker.calls("POST", ".*/stop") == []


def test_a_notebook_nobody_sits_at_is_told_to_choose(kernel: Any) -> None:
    _, client = kernel
    shown: list[Any] = []
    client.execute_interactive("%load_ext gpuyard\nimport gpuyard.train as yard", timeout=60, allow_stdin=False)

    reply = client.execute_interactive(
        "%%yard\nyard", timeout=60, allow_stdin=False, output_hook=lambda message: shown.append(message["content"])
    )

    assert reply["content"]["status"] == "error"
    told = "\n".join(reply["content"]["traceback"])
    assert told.splitlines() == [
        "Error: a quote is to be chosen, and nobody can be asked here",
        "Next: add --yes for the best quote, or --pick RANK",
    ]
