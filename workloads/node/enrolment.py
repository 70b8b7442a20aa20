"""How a host becomes known to a broker: once with a token, ever after by a key that only the host has."""

import fcntl
import hashlib
import json
import logging
import os
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .link import Link, Refused, insist, pause_until

log = logging.getLogger(__name__)


class StateTaken(Exception):
    """Another agent runs with this state directory."""


class NotEnrolled(Exception):
    """There is no key in the state directory, and the token given does not get one."""


class Stopped(Exception):
    """The agent was asked to end while it waited for the broker."""


@dataclass(frozen=True)
class Identity:
    """A host of one broker. `authorization` is the value of the header by which the broker knows it."""

    broker: str
    host: int
    authorization: str


def take(state: Path) -> IO[str]:
    """Make the state directory this process's own until the returned file is closed. Raises StateTaken."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = (state / "agent.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise StateTaken(f"another agent (process {holder}) runs with --state {state}; give each its own") from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def identify(
    *, broker: str, token: str | None, state: Path, hardware: dict[str, Any], address: str, stop: threading.Event
) -> Identity:
    """Who this host is: from the state directory, or by enrolling with `token`, waiting as long as the broker is away.

    The secret is on the disk before it is first used, so an answer that was lost is asked for again with the same key.
    Raises NotEnrolled, Stopped.
    """
    path = state / "key.json"
    known: dict[str, Any] = {"host": None, "secret": secrets.token_urlsafe(32)}
    if path.exists():
        known = json.loads(path.read_text())
    if known["host"] is None:
        if not token:
            raise NotEnrolled(f"no key in {state}: enrol once with --token (from: yard host add)")
        _write(path, known)
        known["host"] = _enrol(
            broker=broker, token=token, secret=known["secret"], hardware=hardware, address=address, stop=stop
        )
        _write(path, known)
    return Identity(broker=broker, host=known["host"], authorization=f"Agent {known['host']}.{known['secret']}")


def _enrol(
    *, broker: str, token: str, secret: str, hardware: dict[str, Any], address: str, stop: threading.Event
) -> int:
    digest = hashlib.sha256(secret.encode()).hexdigest()
    body = {"token": token, "key_sha256": digest, "hardware": hardware, "address": address}
    link = Link(broker=broker, timeout_s=10.0)
    try:
        answer = insist(
            lambda: link.call("POST", "/v1/agent/enrol", body),
            pause=pause_until(stop, Stopped),
            trouble=lambda unreachable: log.warning("agent.unreachable why=%s", unreachable),
        )
    except Refused as refused:
        raise NotEnrolled(f"the broker at {broker} refused the token: {refused}") from refused
    finally:
        link.close()
    log.info("agent.enrolled host=%s name=%s region=%s", answer["host"], answer.get("name"), answer.get("region"))
    return int(answer["host"])


def _write(path: Path, known: dict[str, Any]) -> None:
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(known, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
