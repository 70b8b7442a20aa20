"""The hosts of this machine: registered through the same public API as anybody's, each with an agent of its own."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from gpuyard import Client

from broker.local.leftovers import HOST_VARIABLE
from broker.local.processes import Child

STAY_DOWN = "stay-down"
PRICES_VARIABLE = "GPUYARD_HOST_USD_PER_HOUR"
_RANK = 2  # Before the broker, so that agents can still report while they stop.


class InvalidPrices(Exception):
    """`GPUYARD_HOST_USD_PER_HOUR` does not hold a price for each host."""


@dataclass(frozen=True)
class LocalHost:
    """A host to be offered: what its supplier says about it."""

    name: str
    region: str
    country: str
    usd_per_hour: Decimal
    address: str  # A loopback address of its own: to Ray the three hosts are three machines.


def local_hosts() -> list[LocalHost]:
    """Return the three hosts; `GPUYARD_HOST_USD_PER_HOUR="0.06 0.07 0.08"` sets their prices."""
    words = os.environ.get(PRICES_VARIABLE, "0.06 0.07 0.08").split()
    try:
        prices = [Decimal(word) for word in words]
    except InvalidOperation:
        prices = []
    if len(prices) != 3 or any(not price.is_finite() or price < 0 for price in prices):
        raise InvalidPrices(f"{PRICES_VARIABLE} is {' '.join(words)!r}: give three prices, as in '0.06 0.07 0.08'.")
    return [
        LocalHost("berlin-1", "home/berlin", "DE", prices[0], "127.0.0.11"),
        LocalHost("berlin-2", "home/berlin", "DE", prices[1], "127.0.0.12"),
        LocalHost("paris-1", "home/paris", "FR", prices[2], "127.0.0.13"),
    ]


def state_of(state: Path, name: str) -> Path:
    """Return the state directory of a host's agent; a file `stay-down` in it keeps the agent from being restarted."""
    return state / "hosts" / name


def register(client: Client, hosts: list[LocalHost], *, state: Path, say: Callable[[str], None]) -> dict[str, str]:
    """Register the hosts that are not registered yet, and return each one's enrolment token by its name.

    An agent that has enrolled no longer needs its token; one that died before does.
    """
    known = {host["name"]: host["id"] for host in every(lambda cursor: client.hosts(cursor=cursor))}
    tokens = {}
    for host in hosts:
        directory = state_of(state, host.name)
        record = directory / "registered.json"
        kept = json.loads(record.read_text()) if record.exists() else {}
        if kept and kept["id"] == known.get(host.name):
            tokens[host.name] = kept["enrol_token"]
            continue
        # A key of an agent that this broker's database does not know would be refused for ever.
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700, parents=True)
        made = client.create_host(
            name=host.name, region=host.region, country=host.country, usd_per_hour=host.usd_per_hour
        )
        write_private(record, json.dumps({"id": made["id"], "enrol_token": made["enrol_token"]}))
        tokens[host.name] = made["enrol_token"]
        say(f"  {host.name} in {host.region} at {host.usd_per_hour} USD an hour")
    return tokens


def agent(host: LocalHost, *, url: str, token: str, state: Path) -> Child:
    """Return the agent of a host as a child to supervise."""
    directory = state_of(state, host.name)
    command = [sys.executable, "-m", "gpuyard.node", "--broker", url, "--token", token, "--state", str(directory)]
    return Child(
        name=f"host-{host.name}",
        command=[*command, "--address", host.address, "--accelerators", "CPU:1"],
        environment={HOST_VARIABLE: str(directory)},
        grace_s=15.0,
        rank=_RANK,
        stay_down=directory / STAY_DOWN,
    )


def every(page: Callable[[str | None], Mapping[str, Any]]) -> Iterator[Any]:
    """Yield the rows of all pages of a list; `page` asks for the one at a cursor, None for the first."""
    cursor: str | None = None
    while True:
        answer = page(cursor)
        yield from answer["results"]
        cursor = answer["next"]
        if not cursor:
            return


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
