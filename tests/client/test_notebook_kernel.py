"""%%yard in a real Jupyter kernel: one output brought up to date in place, and the stop button."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import start_new_async_kernel

from . import objects_of_a_broker as given
from .contract_broker import KEY, Asked, ContractBroker, Reply
from .test_notebook import after

ROOT = Path(__file__).parents[2]
LOAD = "%load_ext gpuyard\nimport gpuyard.train as yard"


@pytest.fixture
def environment(broker: ContractBroker, tmp_path: Path) -> dict[str, str]:
    """Of a kernel that is logged in at a broker where a run goes on and on."""
    package = tmp_path / "package" / "gpuyard"
    package.mkdir(parents=True)
    for path in (ROOT / "frontend" / "client" / "gpuyard").iterdir():
        (package / path.name).symlink_to(path)
    (package / "node").symlink_to(ROOT / "workloads" / "node")
    broker.on("POST", "/v1/quotes", Reply(201, given.quotes()))
    broker.on("PUT", "/v1/programs/.*", Reply(201, {"sha256": "x", "size_bytes": 1}))
    broker.on("POST", "/v1/workloads", Reply(201, given.workload("placing")))
    broker.on("GET", "/v1/workloads/12", given.workload("running"))
    for what in ("events", "logs"):
        broker.on("GET", f"/v1/workloads/12/{what}", {"results": []})
    broker.on("GET", "/v1/workloads/12/metrics", after([given.metric(1), given.metric(2, values={"loss": 1.5})]))
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(package.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "GPUYARD_URL": broker.url,
        "GPUYARD_API_KEY": KEY,
        "GPUYARD_POLL_S": "0.1",
    }


@asynccontextmanager
async def kernel(environment: dict[str, str]) -> AsyncIterator[Any]:
    """(manager, client) of a kernel as JupyterLab and VS Code start one, with the extension loaded."""
    manager, client = await start_new_async_kernel(kernel_name="python3", env=environment, cwd=environment["HOME"])
    try:
        assert (await run(client, LOAD))["status"] == "ok"
        yield manager, client
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


async def run(client: Any, cell: str, shown: list[tuple[str, Any]] | None = None) -> Any:
    """The reply to a cell; what it shows is added to `shown`."""
    reply = await client.execute_interactive(
        cell,
        timeout=60,
        allow_stdin=False,
        output_hook=lambda message: shown is not None and shown.append((message["msg_type"], message["content"])),
    )
    return reply["content"]


def test_the_stop_button_detaches_and_one_output_was_brought_up_to_date(
    environment: dict[str, str], broker: ContractBroker
) -> None:
    shown: list[tuple[str, Any]] = []

    async def story() -> Any:
        async with kernel(environment) as (manager, client):
            loop, looks = asyncio.get_running_loop(), []

            def looked(asked: Asked) -> Reply:
                looks.append(asked)
                if len(looks) == 5:
                    asyncio.run_coroutine_threadsafe(manager.interrupt_kernel(), loop)
                return Reply(200, given.workload("running", version=len(looks)))

            broker.on("GET", "/v1/workloads/12", looked)
            return await run(client, "%%yard --yes\nyard", shown)

    reply = asyncio.run(story())

    assert reply["status"] == "ok"
    displays = [content for kind, content in shown if kind == "display_data"]
    updates = [content for kind, content in shown if kind == "update_display_data"]
    assert len(displays) == 2, "the quotes and the run"
    assert len({each["transient"]["display_id"] for each in updates}) == 2
    last = updates[-1]["data"]
    assert "Run 12 goes on" in last["text/html"]
    assert "%yard attach 12" in last["text/html"]
    assert "<polyline" in last["text/html"]
    assert broker.calls("POST", ".*/stop") == []


def test_a_notebook_nobody_sits_at_is_told_to_choose(environment: dict[str, str], broker: ContractBroker) -> None:
    async def story() -> Any:
        async with kernel(environment) as (_, client):
            return await run(client, "%%yard\nyard")

    reply = asyncio.run(story())

    assert reply["status"] == "error"
    assert "\n".join(reply["traceback"]).splitlines() == [
        "Error: a quote is to be chosen, and nobody can be asked here",
        "Next: add --yes for the best quote, or --pick RANK",
    ]
    assert broker.calls("POST", "/v1/workloads") == []
