"""The embedded Redis keeps what it was given, however it is ended."""

import signal
import subprocess
from pathlib import Path

import pytest
import redis as redis_client
from kombu import Connection

from broker.local import leftovers, redis, services
from broker.local.processes import Supervisor


@pytest.fixture(autouse=True)
def no_given_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)


def client(url: str) -> redis_client.Redis:
    return redis_client.Redis.from_url(url.replace("redis+socket://", "unix://"))


def servers(state: Path) -> set[int]:
    return leftovers.workers_in(directory=state.resolve() / "redis" / "data", program="redis-server")


def answers(url: str) -> bool:
    try:
        with client(url) as connection:
            return bool(connection.ping())
    except redis_client.exceptions.RedisError:
        return False


def test_comes_back_with_its_data_when_it_is_killed(supervisor: Supervisor, state: Path, said: list[str]) -> None:
    url = services.start_redis(supervisor, say=said.append)
    with client(url) as connection:
        connection.set("bell", "rings")
        assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert connection.config_get("appendfsync") == {"appendfsync": "everysec"}
    (former,) = servers(state)

    leftovers.send([former], signal.SIGKILL)
    supervisor.wait_until(lambda: servers(state) not in ({former}, set()), timeout_s=10, what="the new server")
    supervisor.wait_until(lambda: answers(url), timeout_s=10, what="its answer")

    with client(url) as connection:
        assert connection.get("bell") == b"rings"


def test_can_be_found_by_its_environment(supervisor: Supervisor, state: Path, said: list[str]) -> None:
    services.start_redis(supervisor, say=said.append)

    assert servers(state) <= leftovers.carriers(variable="GPUYARD_RUN", value=str(supervisor.state))


def test_a_server_of_a_former_life_is_ended(state: Path, said: list[str]) -> None:
    server = redis.Redis(state / "redis", say=said.append)
    former = subprocess.Popen(server.command(), stdout=subprocess.DEVNULL)
    server.wait_ready(timeout_s=10)

    server.prepare()

    assert former.wait(timeout=5) is not None
    assert any("former life" in line for line in said)
    assert not answers(server.url)


def test_a_long_state_path_gets_a_short_socket(supervisor: Supervisor, state: Path, said: list[str]) -> None:
    long = Supervisor(state / ("long" * 25), say=said.append, cwd=state)
    with long:
        url = services.start_redis(long, say=said.append)
        assert answers(url)

    socket = Path(url.removeprefix("redis+socket://"))
    assert not socket.is_relative_to(state)
    socket.unlink(missing_ok=True)
    socket.parent.rmdir()


def test_celery_takes_the_url(supervisor: Supervisor, said: list[str]) -> None:
    url = services.start_redis(supervisor, say=said.append)

    with Connection(url) as connection:
        connection.ensure_connection(max_retries=1)
        queue = connection.SimpleQueue("bells")
        queue.put({"look": 7})
        assert queue.get(timeout=2).payload == {"look": 7}
        queue.close()
