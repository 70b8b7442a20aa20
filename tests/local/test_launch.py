"""Where the broker stands, its secrets, and its hosts' registration."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from gpuyard import Client

from broker.local import hosts, launch
from broker.local.processes import Supervisor

PROJECT = Path(__file__).resolve().parents[2]


class HostBook(ThreadingHTTPServer):
    """The two calls of the supplier's API, from docs/protocol.md."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.rows: list[dict[str, object]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answers(BaseHTTPRequestHandler):
    server: HostBook

    def do_GET(self) -> None:
        self._answer(200, {"results": self.server.rows, "next": None})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        row = {"id": len(self.server.rows) + 1, "state": "new", **body}
        self.server.rows.append(row)
        self._answer(201, {**row, "enrol_token": f"token-{row['id']}"})

    def _answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def book() -> Iterator[HostBook]:
    with HostBook() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_registers_each_host_once(book: HostBook, state: Path, said: list[str]) -> None:
    client = Client(url=book.url, api_key="yk_a_b")

    first = hosts.register(client, hosts.local_hosts(), state=state, say=said.append)
    second = hosts.register(client, hosts.local_hosts(), state=state, say=said.append)

    assert first == second == {"berlin-1": "token-1", "berlin-2": "token-2", "paris-1": "token-3"}
    assert [(row["name"], row["region"], row["usd_per_hour"]) for row in book.rows] == [
        ("berlin-1", "home/berlin", "0.060000"),
        ("berlin-2", "home/berlin", "0.070000"),
        ("paris-1", "home/paris", "0.080000"),
    ]
    record = state / "hosts" / "berlin-1" / "registered.json"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600


def test_a_key_that_the_database_does_not_know_is_thrown_away(book: HostBook, state: Path, said: list[str]) -> None:
    client = Client(url=book.url, api_key="yk_a_b")
    hosts.register(client, hosts.local_hosts(), state=state, say=said.append)
    old_key = state / "hosts" / "paris-1" / "key.json"
    old_key.write_text("{}")
    book.rows.clear()

    tokens = hosts.register(client, hosts.local_hosts(), state=state, say=said.append)

    assert not old_key.exists()
    assert set(tokens) == {"berlin-1", "berlin-2", "paris-1"}


def test_each_agent_is_marked_and_can_be_held_down(state: Path) -> None:
    host = hosts.local_hosts()[2]

    child = hosts.agent(host, url="http://127.0.0.1:1", token="t", state=state)

    directory = str(state / "hosts" / "paris-1")
    assert child.environment == {"GPUYARD_STATE": directory}
    assert child.stay_down == Path(directory) / "stay-down"
    assert list(child.command)[-6:] == ["--state", directory, "--address", "127.0.0.13", "--accelerators", "CPU:1"]


@pytest.mark.parametrize("prices", ["1 2", "1 2 x", "1 2 -3", "1 2 nan"])
def test_prices_that_are_none_are_refused(prices: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(hosts.PRICES_VARIABLE, prices)

    with pytest.raises(hosts.InvalidPrices, match="give three prices"):
        hosts.local_hosts()


@pytest.mark.parametrize("port", ["0", "65536", "eight", "-1", "8000.5"])
def test_a_port_that_is_none_is_refused(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUYARD_PORT", port)

    with pytest.raises(launch.InvalidPort, match="from 1 to 65535"):
        launch.Place.from_environment()


def test_a_relative_home_becomes_absolute(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(state)
    monkeypatch.setenv("GPUYARD_HOME", "here")
    monkeypatch.setenv("GPUYARD_PORT", "8123")

    place = launch.Place.from_environment()

    assert place == launch.Place(state.resolve() / "here", 8123)
    assert place.url == "http://127.0.0.1:8123"


def test_a_taken_port_is_named_with_its_variable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(launch.PortTaken, match=rf"Port {port} .*GPUYARD_PORT"):
            launch.refuse_taken_port(port)

    launch.refuse_taken_port(port)


def test_the_key_is_kept_private_and_outlives_a_change_of_port(supervisor: Supervisor, state: Path) -> None:
    first = launch.Launch(supervisor, launch.Place(state, 8000), say=print)
    second = launch.Launch(supervisor, launch.Place(state, 8001), say=print)

    first._keep_key({"username": "you", "api_key": "yk_a_b"})
    second._keep_key({"username": "you"})

    file = state / "client.json"
    assert json.loads(file.read_text()) == {"url": "http://127.0.0.1:8001", "api_key": "yk_a_b"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.unlink()
    with pytest.raises(launch.KeyLost, match="shown only once"):
        second._keep_key({"username": "you"})


def test_the_first_password_is_kept_private_until_another_is_made(supervisor: Supervisor, state: Path) -> None:
    start = launch.Launch(supervisor, launch.Place(state, 8000), say=print)

    start._keep_password({"username": "you", "password": "p"})
    start._keep_password({"username": "you"})

    file = state / "sign-in.json"
    assert json.loads(file.read_text()) == {"url": "http://127.0.0.1:8000", "username": "you", "password": "p"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_secret_is_made_once(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    file = state / "secret"

    made = launch._secret(file)

    assert len(made) >= 50
    assert launch._secret(file) == made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_runs_a_command_beside_services_and_leaves_nothing(state: Path) -> None:
    program = (
        "import os, psycopg, sys\n"
        "psycopg.connect(os.environ['DATABASE_URL']).close()\n"
        "print(os.environ['REDIS_URL'], os.environ['GPUYARD_OBJECTS'])\n"
        "sys.exit(7)"
    )
    command = [sys.executable, "-m", "broker.local.testing", "--", sys.executable, "-c", program]
    environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}

    done = subprocess.run(
        command, cwd=PROJECT, env={**environment, "TMPDIR": str(state)}, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 7, done.stderr
    assert done.stdout.startswith("redis+socket://")
    assert list(state.iterdir()) == []
