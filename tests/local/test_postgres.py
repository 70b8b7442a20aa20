"""The embedded Postgres keeps what it was given, however it is ended."""

import os
import shutil
import signal
import stat
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest

from broker.local import leftovers, places, postgres, services, unprivileged
from broker.local.processes import Child, Supervisor


def write(url: str, number: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
        connection.execute("INSERT INTO kept VALUES (%s)", (number,))


def read(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM kept ORDER BY number")]


def answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def database(supervisor: Supervisor, said: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return services.start_postgres(supervisor, say=said.append)


def servers(state: Path) -> set[int]:
    return leftovers.workers_in(directory=state.resolve() / "postgres" / "data", program="postgres")


def test_is_durable_closed_to_others_and_has_checksums(database: str, state: Path) -> None:
    with psycopg.connect(database) as connection:
        settings = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())

    wanted = {"fsync": "on", "synchronous_commit": "on", "data_checksums": "on", "listen_addresses": ""}
    wanted |= {"server_encoding": "UTF8", "max_connections": "100", "shared_buffers": "8192"}
    assert {name: settings[name] for name in wanted} == wanted
    for closed in ("data", "run"):
        assert stat.S_IMODE((state / "postgres" / closed).stat().st_mode) == 0o700
    users = [user for pid in servers(state) if (user := _effective_user(pid)) is not None]
    assert users
    assert 0 not in users or os.geteuid() != 0


def _effective_user(pid: int) -> int | None:
    """The user id that the process sees of itself: in a user namespace, the one that root is mapped to.

    None: it is gone, as the process of a connection that was just closed may be.
    """
    try:
        inside, outside, _ = (int(word) for word in Path(f"/proc/{pid}/uid_map").read_text().splitlines()[0].split())
        seen_from_here = os.stat(f"/proc/{pid}").st_uid
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return None
    return inside if seen_from_here == outside and inside != 0 else seen_from_here


def test_comes_back_with_its_data_when_the_postmaster_is_killed(
    database: str, supervisor: Supervisor, state: Path
) -> None:
    write(database, 1)
    postmaster = int((state / "postgres" / "data" / "postmaster.pid").read_text().split()[0])

    os.kill(postmaster, signal.SIGKILL)
    supervisor.wait_until(lambda: not answers(database), timeout_s=5, what="the end of the server")
    supervisor.wait_until(lambda: answers(database), timeout_s=20, what="the new server")
    write(database, 2)

    assert read(database) == [1, 2]
    assert postmaster not in servers(state)


def test_takes_a_zombie_for_dead(supervisor: Supervisor, state: Path, said: list[str]) -> None:
    server = postgres.Postgres(state / "postgres", say=said.append)
    server.prepare()
    zombie = subprocess.Popen(server.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server.wait_ready(timeout_s=20)
    write(server.url, 1)
    zombie.kill()
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)  # Dead, not reaped: the process id still exists.

    supervisor.start(Child("postgres", server.command(), before=server.prepare, stop_signal=postgres.STOP_SIGNAL))
    server.wait_ready(timeout_s=20, meanwhile=supervisor.look)

    assert read(server.url) == [1]
    zombie.wait()


def test_a_server_of_a_former_life_is_ended_though_it_has_guests(state: Path, said: list[str]) -> None:
    server = postgres.Postgres(state / "postgres", say=said.append)
    server.prepare()
    former = subprocess.Popen(server.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server.wait_ready(timeout_s=20)
    guest = psycopg.connect(server.url)

    server.prepare()

    assert former.wait(timeout=5) == 0  # A fast and orderly shutdown: nothing to recover.
    assert servers(state) == set()
    with pytest.raises(psycopg.OperationalError):
        guest.execute("SELECT 1")
    guest.close()


def test_a_lock_file_with_a_strangers_process_id_does_not_keep_it_down(
    supervisor: Supervisor, state: Path, said: list[str]
) -> None:
    server = postgres.Postgres(state / "postgres", say=said.append)
    server.prepare()
    stranger = os.getppid()
    for lock in (server.data / "postmaster.pid", server.sockets / ".s.PGSQL.5432.lock"):
        lock.write_text(f"{stranger}\n{server.data}\n1\n5432\n{server.sockets}\n\n0 0\nready\n")

    supervisor.start(Child("postgres", server.command(), before=server.prepare, stop_signal=postgres.STOP_SIGNAL))
    server.wait_ready(timeout_s=20, meanwhile=supervisor.look)

    assert answers(server.url)
    assert supervisor.crashes("postgres") == 0


def test_a_second_start_has_the_data_of_the_first(
    state: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with Supervisor(state, say=said.append, cwd=state) as first:
        write(services.start_postgres(first, say=said.append), 1)
    assert servers(state) == set()

    with Supervisor(state, say=said.append, cwd=state) as second:
        found = read(services.start_postgres(second, say=said.append))

    assert found == [1]
    assert "was not properly shut down" not in (state / "log" / "postgres.log").read_text()


def test_a_long_state_path_gets_a_short_socket(supervisor: Supervisor, state: Path, said: list[str]) -> None:
    server = postgres.Postgres(state / ("long" * 30), say=said.append)

    supervisor.start(Child("postgres", server.command(), before=server.prepare, stop_signal=postgres.STOP_SIGNAL))
    server.wait_ready(timeout_s=20, meanwhile=supervisor.look)

    assert answers(server.url)
    assert not server.sockets.is_relative_to(state)
    assert stat.S_IMODE(server.sockets.stat().st_mode) == 0o700
    assert server.sockets == places.socket_directory(wanted=server.data.parent / "run", longest_name="x" * 40)
    supervisor.stop()
    shutil.rmtree(server.sockets)


def test_a_socket_directory_that_others_can_enter_is_refused(state: Path) -> None:
    wanted = state / ("long" * 30)
    short = places.socket_directory(wanted=wanted, longest_name="socket")
    short.chmod(0o777)

    with pytest.raises(places.SocketDirectoryUnsafe, match="not a private directory"):
        places.socket_directory(wanted=wanted, longest_name="socket")

    short.rmdir()


def test_a_path_with_a_space_is_kept_out_of_urls(state: Path) -> None:
    short = places.socket_directory(wanted=state / "my yard", longest_name="redis.sock")

    assert " " not in str(short)
    short.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
def test_runs_as_an_account_where_namespaces_are_refused(supervisor: Supervisor, state: Path, said: list[str]) -> None:
    way = unprivileged.choose(namespaces=False)
    server = postgres.Postgres(state / "postgres", say=said.append, way=way)

    supervisor.start(Child("postgres", server.command(), before=server.prepare, stop_signal=postgres.STOP_SIGNAL))
    server.wait_ready(timeout_s=30, meanwhile=supervisor.look)

    # The state directory is closed to that account, so the data moved and it was said.
    assert answers(server.url)
    assert not server.data.is_relative_to(state)
    assert any("its data is in" in line for line in said)
    assert server.data.parent == postgres.Postgres(state / "postgres", say=said.append, way=way).data.parent
    supervisor.stop()
    shutil.rmtree(server.data.parent)


def test_a_given_database_is_used_and_none_is_started(
    supervisor: Supervisor, state: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/db")

    url = services.start_postgres(supervisor, say=said.append)

    assert url == "postgresql://elsewhere/db"
    assert not (state / "postgres").exists()


def test_says_what_to_do_when_there_is_nobody_to_run_as(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv(unprivileged.ACCOUNT_VARIABLE, "no-such-account")

    with pytest.raises(unprivileged.NobodyToRunAs, match="no-such-account.*DATABASE_URL"):
        unprivileged.choose(namespaces=False)


def test_temporary_places_are_used_when_there_is_no_runtime_directory(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(state / "gone"))

    short = places.socket_directory(wanted=state / ("long" * 30), longest_name="socket")

    assert short.parent in (Path("/tmp"), Path(tempfile.gettempdir()))
    short.rmdir()
