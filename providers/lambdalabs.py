"""
Lambda's on-demand GPU instances, through the Cloud API.

Source: https://docs-api.lambda.ai/api/cloud, version 1.10.0: instance-types, instances, ssh-keys, instance-operations
(launch, terminate) and the error codes of each. Lambda sells no spot instances and has no idempotency key.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from providers import fields, http
from providers.base import (
    BAD_ROW,
    LaunchOrder,
    Listing,
    Machine,
    MachineState,
    Market,
    NoCapacity,
    Permission,
    PricePoint,
    ProviderError,
    Reason,
    Rejected,
    Unreachable,
    translated,
)

PREFIX = "gpuyard-"
EVERY_S, LAUNCH_EVERY_S = 1.0, 12.0  # "Generally limited to one request per second"; the same paragraph, of launches.
# The last word of a region's description, as in "California, USA".
COUNTRIES = {"USA": "US", "Japan": "JP", "Germany": "DE", "India": "IN", "Israel": "IL", "Australia": "AU", "UK": "GB"}
MEMORY = re.compile(r"(\d+(?:\.\d+)?) GB\b")  # In "H100 (80 GB SXM5)".
STATES = {
    "booting": MachineState.BOOTING,
    "active": MachineState.RUNNING,
    # It still costs, and may still work: whether it does is for the heartbeat of what runs on it to tell.
    "unhealthy": MachineState.RUNNING,
    "terminating": MachineState.STOPPING,
}
GONE = {"terminated", "preempted"}
CODES: dict[str, tuple[type[ProviderError], Reason]] = {
    "instance-operations/launch/insufficient-capacity": (NoCapacity, Reason.SOLD_OUT),
    "global/quota-exceeded": (NoCapacity, Reason.QUOTA),
    "global/account-inactive": (Rejected, Reason.MONEY),
    "global/invalid-address": (Rejected, Reason.MONEY),  # Of the bill.
}


class Lambda:
    """One Lambda Cloud account. ssh_key_name: one of the account's keys; by default the first that it lists."""

    name = "lambda"
    credentials = {"api_key": True, "ssh_key_name": False}
    look_every_s = 30
    keeps_price_history = False

    def __init__(self, *, api_key: str, ssh_key_name: str = "", base_url: str = "https://cloud.lambda.ai") -> None:
        self.ssh_key_name = ssh_key_name
        self.skipped: Counter[str] = Counter()
        self.client = http.Client(
            provider=self.name,
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}"},
            identity=hashlib.sha256(api_key.encode()).hexdigest()[:12],
            every_s=EVERY_S,
            explain=_explain,
        )

    def listings(self) -> Iterable[Listing]:
        """Return a line per instance type and region that has it now. Raises ProviderError."""
        self.skipped = Counter()
        return translated(_by_region(self._data("/api/v1/instance-types")), _translate, self.skipped)

    def launch(self, order: LaunchOrder) -> Machine:
        """Rent an instance. Raises NoCapacity, Rejected, Unreachable."""
        if bought := self._bought(order.key):
            return bought
        self._look_at_price(order)
        script = order.startup_script
        body = {
            "region_name": order.region,
            "instance_type_name": order.machine_type,
            "ssh_key_names": [self._ssh_key()],  # "Currently, exactly one".
            "name": PREFIX + order.key,
            # cloud-init runs what begins so, and takes anything else for its own configuration.
            "user_data": script if script.startswith("#!") else f"#!/bin/bash\n{script}",
        }
        http.pace(self.name, f"{self.client.identity} launch", LAUNCH_EVERY_S).wait()
        if bought := self._bought(order.key):  # By a launch whose answer was lost, and listed only now.
            return bought
        answer = self.client.call("POST", "/api/v1/instance-operations/launch", body=body)
        try:
            machine_id = fields.text(answer["data"]["instance_ids"][0])
        except BAD_ROW:
            raise Unreachable("lambda: a launch without an instance", reason=Reason.OUTAGE) from None
        return Machine(key=order.key, machine_id=machine_id, state=MachineState.BOOTING, address=None)

    def machines(self) -> Iterable[Machine]:
        """Return our instances. Raises ProviderError."""
        return [machine for instance in self._instances() for machine in _machine(instance)]

    def terminate(self, key: str) -> None:
        """Terminate every instance of that key. Raises ProviderError."""
        for instance in self._instances_of(key):
            if instance.get("status") in ("terminating", "terminated"):
                continue
            ids = {"instance_ids": [fields.needed(instance, "id", "lambda")]}
            try:
                self.client.call("POST", "/api/v1/instance-operations/terminate", body=ids, again=True)
            except Rejected as error:
                if error.status != 404:
                    raise

    def price_history(self, *, since: datetime, until: datetime) -> Iterable[PricePoint]:
        """Return nothing: Lambda publishes no past prices."""
        return ()

    def check(self) -> list[Permission]:
        """Ask for everything that costs nothing, and for a key to launch with. Raises Unreachable."""
        permissions = [
            _permission("GET /api/v1/instance-types", lambda: self._data("/api/v1/instance-types")),
            _permission("GET /api/v1/instances", self._instances),
            _permission("GET /api/v1/ssh-keys", self._ssh_key),
        ]
        operations = [f"POST /api/v1/instance-operations/{name}" for name in ("launch", "terminate")]
        return permissions + [Permission(name=name, granted=None, why="only doing it tells") for name in operations]

    def _bought(self, key: str) -> Machine | None:
        """Return what a key has bought already. Raises NoCapacity when that has ended: a key is used once."""
        found = self._instances_of(key)
        machines = (machine for instance in found for machine in _machine(instance))
        alive = next((machine for machine in machines if machine.state is not MachineState.STOPPING), None)
        if found and alive is None:
            raise NoCapacity(f"lambda: the instance of {key} has ended", reason=Reason.SOLD_OUT)
        return alive

    def _look_at_price(self, order: LaunchOrder) -> None:
        """Raise Rejected when the type costs more than agreed or is not sold, NoCapacity when the region has none."""
        items = self._data("/api/v1/instance-types")
        item = items.get(order.machine_type) if isinstance(items, dict) else None
        if item is None or order.market is not Market.ON_DEMAND:
            raise Rejected(f"lambda: no such line: {order.machine_type}", reason=Reason.BAD_REQUEST)
        try:
            asked = fields.price(item["instance_type"]["price_cents_per_hour"]) / 100
            regions = [region["name"] for region in item["regions_with_capacity_available"]]
        except BAD_ROW:
            raise Unreachable(f"lambda: no price of {order.machine_type}", reason=Reason.OUTAGE) from None
        if asked > order.max_usd_per_hour:
            raise Rejected(f"lambda: {order.machine_type} costs {asked} USD an hour", reason=Reason.PRICE)
        if order.region not in regions:
            # A launch would say the same, and would use up the only one in twelve seconds.
            raise NoCapacity(f"lambda: no {order.machine_type} in {order.region}", reason=Reason.SOLD_OUT)

    def _ssh_key(self) -> str:
        """Return the name of the key to launch with. Raises Rejected: an instance cannot be launched without one."""
        keys = fields.all_of(self.client.get("/api/v1/ssh-keys"), "data", "lambda: SSH keys")
        found = [str(key.get("name")) for key in keys if key.get("name")]
        for name in found:
            if self.ssh_key_name in ("", name):
                return name
        needed = f"the SSH key {self.ssh_key_name}" if self.ssh_key_name else "an SSH key, and a launch needs one"
        raise Rejected(f"lambda: the account lacks {needed}", reason=Reason.BAD_REQUEST)

    def _instances(self) -> list[dict[str, Any]]:
        return fields.all_of(self.client.get("/api/v1/instances"), "data", "lambda: instances")

    def _instances_of(self, key: str) -> list[dict[str, Any]]:
        return [instance for instance in self._instances() if instance.get("name") == PREFIX + key]

    def _data(self, path: str) -> Any:
        """Return an answer's data. Raises Unreachable: an answer without it does not mean that there is nothing."""
        answer = self.client.get(path)
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, list | dict):
            raise Unreachable(f"lambda: an answer without data: {path}", reason=Reason.OUTAGE)
        return data


def _by_region(items: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (instance type, region), so that one bad region does not hide the others; None where none has capacity."""
    for item in fields.records(items):
        regions = item.get("regions_with_capacity_available") if isinstance(item, dict) else None
        for region in (fields.records(regions) if isinstance(regions, list | dict) else []) or [None]:
            yield item, region


def _translate(row: tuple[Any, Any]) -> Iterator[Listing]:
    item, region = row
    kind = item["instance_type"]
    specs = kind["specs"]
    count = fields.accelerators(specs["gpus"])
    if region is None:
        # Lambda names no region of what is sold out, and a line without a region could not be told from another.
        raise ValueError("no region has it now")
    label = fields.text(kind["gpu_description"])
    memory = MEMORY.search(label)
    yield Listing(
        provider="lambda",
        region=fields.text(region["name"]),
        country=COUNTRIES.get(fields.text(region.get("description"), "").rpartition(",")[2].strip(), ""),
        machine_type=fields.text(kind["name"]),
        accelerator_label=label,
        accelerator_count=count,
        memory_gib=fields.positive(memory[1]) if memory else None,
        vcpus=fields.positive(specs.get("vcpus")),
        ram_gib=fields.positive(specs.get("memory_gib")),
        disk_gib=fields.positive(specs.get("storage_gib")),
        market=Market.ON_DEMAND,
        usd_per_hour=fields.price(kind["price_cents_per_hour"]) / 100,
        seen_at=datetime.now(UTC),
    )


def _machine(instance: dict[str, Any]) -> Iterator[Machine]:
    """Yield an instance of ours that is still rented, nothing for others."""
    name, status = str(instance.get("name")), str(instance.get("status"))
    if name.startswith(PREFIX) and status not in GONE:
        address = instance.get("ip")
        yield Machine(
            key=name.removeprefix(PREFIX),
            machine_id=str(instance.get("id") or ""),
            state=STATES.get(status, MachineState.BOOTING),
            address=address if isinstance(address, str) and address else None,
        )


def _permission(name: str, ask: Callable[[], object]) -> Permission:
    try:
        ask()
    except Rejected as error:
        return Permission(name=name, granted=False, why=str(error))
    return Permission(name=name, granted=True)


def _explain(status: int, body: Any) -> ProviderError | None:
    error = body.get("error") if isinstance(body, dict) else None
    code = str(error.get("code")) if isinstance(error, dict) else ""
    if code in CODES:
        kind, reason = CODES[code]
        return kind("", reason=reason)
    if code.startswith("provider/"):
        return Unreachable(reason=Reason.OUTAGE)  # Something behind Lambda did not answer, whatever the status says.
    return None
