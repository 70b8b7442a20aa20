"""The two services the broker stands on, embedded unless the environment names real ones."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from broker.local import postgres, redis
from broker.local.processes import Child, Supervisor

READY_TIMEOUT_S = 60.0  # A Postgres that recovers a full write-ahead log on a slow disk takes its time.


def start_postgres(supervisor: Supervisor, *, say: Callable[[str], None]) -> str:
    """Return the DATABASE_URL of the environment, or start the embedded Postgres and return its own."""
    if given := os.environ.get("DATABASE_URL"):
        return given
    server = postgres.Postgres(supervisor.state / "postgres", say=say)
    child = Child("postgres", server.command(), before=server.prepare, stop_signal=postgres.STOP_SIGNAL, grace_s=15.0)
    supervisor.start(child)
    server.wait_ready(timeout_s=READY_TIMEOUT_S, meanwhile=supervisor.look)
    return server.url


def start_redis(supervisor: Supervisor, *, say: Callable[[str], None]) -> str:
    """Return the REDIS_URL of the environment, or start the embedded Redis and return its own."""
    if given := os.environ.get("REDIS_URL"):
        return given
    server = redis.Redis(supervisor.state / "redis", say=say)
    supervisor.start(Child("redis", server.command(), before=server.prepare, stop_signal=redis.STOP_SIGNAL))
    server.wait_ready(timeout_s=READY_TIMEOUT_S, meanwhile=supervisor.look)
    return server.url


def environment(*, state: Path, database_url: str, redis_url: str, secret_key: str) -> Mapping[str, str]:
    """What a process of the broker needs to know about this place."""
    objects, mail = state / "objects", state / "mail"  # Mails hold links that let people in.
    for private in (objects, mail):
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": secret_key,
        "GPUYARD_OBJECTS": os.environ.get("GPUYARD_OBJECTS") or str(objects),
        "GPUYARD_MAIL_DIR": os.environ.get("GPUYARD_MAIL_DIR") or str(mail),
    }
