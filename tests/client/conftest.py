"""A broker that plays the contract, and the real command line against it."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .contract_broker import KEY, ContractBroker

# The package is not installed in the broker's environment: it is built from this folder.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "frontend" / "client"))


@pytest.fixture(autouse=True)
def _quiet_world() -> None:
    """The client knows no Django: what the other tests set up there is not needed here."""


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """This machine is in UTC; zone("CET-1") takes it an hour further east."""

    def move(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    move("UTC0")
    yield move
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def whole_package(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package with what the wheel adds to it: the node's part."""
    import gpuyard

    added = tmp_path_factory.mktemp("wheel")
    (added / "node").symlink_to(ROOT / "workloads" / "node")
    monkeypatch.setattr(gpuyard, "__path__", [*gpuyard.__path__, str(added)])


@pytest.fixture
def broker() -> Iterator[ContractBroker]:
    """A broker that knows nothing yet."""
    playing = ContractBroker()
    yield playing
    playing.close()


@pytest.fixture
def client(broker: ContractBroker) -> Any:
    """The SDK, logged in, quick to try again."""
    from gpuyard import Client

    return Client(url=broker.url, api_key=KEY, backoff_s=(0.01, 0.01))


@dataclass(frozen=True)
class Said:
    """What a command line said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document."""
        return json.loads(self.out)

    @property
    def rows(self) -> list[Any]:
        """The JSON objects of a stream."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def logged_in(broker: ContractBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ContractBroker:
    """The broker, with this process's environment pointing at it and an empty folder as the current one."""
    monkeypatch.setenv("GPUYARD_URL", broker.url)
    monkeypatch.setenv("GPUYARD_API_KEY", KEY)
    monkeypatch.setenv("GPUYARD_CONFIG", str(tmp_path / "config" / "config.json"))
    monkeypatch.setenv("GPUYARD_POLL_S", "0.01")
    monkeypatch.chdir(tmp_path)
    return broker


@pytest.fixture
def yard(logged_in: ContractBroker, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs one command line in this process: yard("ps", "--json")."""
    from gpuyard.cli import run

    def command(*arguments: str) -> Said:
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return command
