"""
Shadeform: one API in front of many GPU clouds; what is rented here is billed by Shadeform ("Shade Cloud").

Source: https://docs.shadeform.ai/api-reference/instances, /guides/startupscript and /guides/spotinstances.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from providers import fields, http
from providers.base import (
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
    Stock,
    Unreachable,
    translated,
)

OURS = "gpuyard-"
EVERY_S = 0.5  # No limit is published; a politeness of ours.
SPEND_HOURS = 24 * 30  # A machine that we lost sight of ends itself after a month at the price that was agreed.
STATES = {"active": MachineState.RUNNING, "deleting": MachineState.STOPPING}  # The others boot, see `_machine`.
MARKETS = {"on_demand": Market.ON_DEMAND, "spot": Market.SPOT}
# Errors have no codes; these are words in their texts. The first that fits counts.
ERRORS = (
    (r"balance|funds|payment|billing|credit", Rejected, Reason.MONEY),
    (r"quota|limit (reached|exceeded)|too many instances", NoCapacity, Reason.QUOTA),
    (r"capacity|out of stock|sold out|(not|no longer|un)\s*available", NoCapacity, Reason.SOLD_OUT),
)


class Shadeform:
    """Machines of some twenty clouds, on demand and spot, each named by its cloud and Shadeform's type."""

    name = "shadeform"
    credentials = {"api_key": True}
    look_every_s = 30
    keeps_price_history = False

    def __init__(self, *, api_key: str, base_url: str = "https://api.shadeform.ai/v1") -> None:
        self.client = http.Client(
            provider=self.name,
            base_url=base_url,
            headers={"X-API-KEY": api_key},
            identity=hashlib.sha256(api_key.encode()).hexdigest()[:12],
            every_s=EVERY_S,
            explain=http.by_words(ERRORS),
        )
        self.skipped: Counter[str] = Counter()

    def listings(self) -> Iterable[Listing]:
        """Return a line per type, region and market, sold out ones too. Raises ProviderError."""
        self.skipped = Counter()
        return self._lines(self.skipped)

    def launch(self, order: LaunchOrder) -> Machine:
        """Rent a machine, or return the one that bears the key. Raises ProviderError."""
        try:
            for instance in self._instances(order.key):
                return _alive(order.key, instance)
            self._agree(order)
            made = self.client.call("POST", "/instances/create", body=_request(order))
        except (NoCapacity, Rejected):
            # A create that failed can leave an instance in state "error". What cannot be ended now is ended later.
            with contextlib.suppress(ProviderError):
                self.terminate(order.key)
            raise
        if not isinstance(made, dict) or not isinstance(made.get("id"), str):
            raise Unreachable("shadeform: the new instance has no id", reason=Reason.OUTAGE)
        return Machine(key=order.key, machine_id=made["id"], state=MachineState.BOOTING, address=None)

    def machines(self) -> Iterable[Machine]:
        """Return our machines. One in state "error", or deleted, is lost to us and not among them."""
        return [machine for instance in self._instances() if (machine := _machine(instance)) is not None]

    def terminate(self, key: str) -> None:
        """Delete every instance with the key. Raises Unreachable while a cloud cannot delete what still boots."""
        for instance in self._instances(key):
            if instance.get("status") != "deleting":
                self._delete(instance)

    def price_history(self, *, since: datetime, until: datetime) -> Iterable[PricePoint]:
        """Return nothing: Shadeform publishes no past prices."""
        return ()

    def check(self) -> list[Permission]:
        """Say what the key may do. Shadeform's keys have no scopes: a key that may list may rent."""
        told = [Permission(name="POST /instances/create", granted=None, why="only renting would tell")]
        for path in ("/instances/types", "/instances"):
            try:
                self.client.get(path)
                told.append(Permission(name=f"GET {path}", granted=True))
            except Rejected as error:
                told.append(Permission(name=f"GET {path}", granted=False, why=str(error)))
        return told

    def _lines(self, skipped: Counter[str], **query: str) -> Iterator[Listing]:
        now = datetime.now(UTC)
        types = fields.listed("shadeform", self.client.get("/instances/types", **query), "instance_types")
        return translated(types, lambda kind: _regions(kind, now=now, skipped=skipped), skipped)

    def _agree(self, order: LaunchOrder) -> None:
        """Raise NoCapacity when the line is sold out, Rejected when it is dearer than agreed: no price can be sent."""
        cloud, _, kind = order.machine_type.partition("/")
        lines = self._lines(Counter(), cloud=cloud, region=order.region, shade_instance_type=kind)
        wanted = (order.machine_type, order.region, order.market)
        found = [line for line in lines if (line.machine_type, line.region, line.market) == wanted]
        free = [line.usd_per_hour for line in found if line.stock is not Stock.NONE]
        if not free:
            raise NoCapacity(f"shadeform: {order.machine_type} in {order.region}", reason=Reason.SOLD_OUT)
        if min(free) > order.max_usd_per_hour:
            raise Rejected(f"shadeform: {order.machine_type} costs {min(free)} USD an hour", reason=Reason.PRICE)

    def _instances(self, key: str | None = None) -> list[dict[str, Any]]:
        """Return what the account has that bears a key of ours, or that key."""
        rows = fields.all_of(self.client.get("/instances"), "instances", "shadeform")
        found = [row for row in rows if row.get("status") != "deleted"]
        return [row for row in found if (own := _key(row)) and key in (None, own)]

    def _delete(self, instance: dict[str, Any]) -> None:
        try:
            self.client.call("POST", f"/instances/{fields.needed(instance, 'id', 'shadeform')}/delete", again=True)
        except Rejected as error:
            if error.status == 404:
                return
            if error.reason is Reason.BAD_REQUEST and instance.get("status") not in ("active", "error"):
                # Behind some clouds only an active machine can be deleted, so this one must be asked for again.
                raise Unreachable(f"{error}: it still boots", reason=Reason.OUTAGE) from None
            raise


def _request(order: LaunchOrder) -> dict[str, Any]:
    cloud, _, kind = order.machine_type.partition("/")
    request: dict[str, Any] = {
        "cloud": cloud, "region": order.region, "shade_instance_type": kind, "shade_cloud": True,
        "name": OURS + order.key, "tags": [OURS + order.key],
        "auto_delete": {"spend_threshold": f"{order.max_usd_per_hour * SPEND_HOURS:.2f}"},
    }  # fmt: skip
    if order.market is Market.SPOT:
        request["rental_type"] = "spot"
    if order.startup_script:
        script = base64.b64encode(order.startup_script.encode()).decode()
        request["launch_configuration"] = {"type": "script", "script_configuration": {"base64_script": script}}
    return request


def _regions(kind: dict[str, Any], *, now: datetime, skipped: Counter[str]) -> Iterator[Listing]:
    if kind.get("deployment_type") == "container":
        raise ValueError("a container runs no startup script")
    entries = fields.records(kind["availability"])
    return translated(entries, lambda entry: _translate(kind, entry, now=now), skipped)


def _translate(kind: dict[str, Any], entry: dict[str, Any], *, now: datetime) -> Iterator[Listing]:
    made_of = {**kind, **fields.record(kind.get("configuration") or {})}  # Some answers have it all on one level.
    market = MARKETS[fields.text(entry.get("rental_type"), "on_demand")]
    spot_usd = fields.price(entry["hourly_price"]) if market is Market.SPOT else None
    gpu_type = fields.text(made_of["gpu_type"]).replace("_", "-")  # A100-80G for A100_80G.
    joined = fields.text(made_of.get("interconnect"), "").lower()
    nvlink = made_of.get("nvlink") is True or "sxm" in joined
    shown = fields.text(entry.get("display_name"), "").split(",")[0]
    boot = fields.record(kind.get("boot_time") or {})
    boots = [found for end in ("min", "max") if (found := fields.positive(boot.get(f"{end}_boot_in_sec")))]
    yield Listing(
        provider="shadeform",
        region=fields.text(entry["region"]),
        country=shown if re.fullmatch("[A-Z]{2}", shown) else "",
        machine_type=f"{fields.text(kind['cloud'])}/{fields.text(kind['shade_instance_type'])}",
        accelerator_label="H100 PCIe" if gpu_type == "H100" and "pcie" in joined else gpu_type,
        accelerator_count=fields.accelerators(made_of["num_gpus"]),
        memory_gib=fields.positive(made_of.get("vram_per_gpu_in_gb")),
        vcpus=fields.positive(made_of.get("vcpus")),
        ram_gib=fields.positive(made_of.get("memory_in_gb")),
        disk_gib=fields.positive(made_of.get("storage_in_gb")),
        market=market,
        usd_per_hour=spot_usd or fields.price(kind["hourly_price"]) / 100,  # Cents.
        stock=Stock.UNKNOWN if entry["available"] is True else Stock.NONE,
        interconnect="nvlink" if nvlink else "pcie" if "pcie" in joined else "",
        boot_s=sum(boots) / len(boots) if boots else None,
        seen_at=now,
    )


def _key(instance: dict[str, Any]) -> str | None:
    """Return our key from the name, or from a tag where somebody has renamed the machine."""
    tags = instance.get("tags")
    texts = (instance.get("name"), *(tags if isinstance(tags, list) else ()))
    return next((text.removeprefix(OURS) for text in texts if isinstance(text, str) and text.startswith(OURS)), None)


def _machine(instance: dict[str, Any]) -> Machine | None:
    """Translate an instance of ours; None when it is lost to us. A state that is new to us is not an end."""
    status, key = instance.get("status"), _key(instance)
    if status in ("error", "deleted") or not key:
        return None
    address, terms = instance.get("ip"), instance.get("rental_terms")
    return Machine(
        key=key,
        machine_id=str(instance.get("id") or ""),
        state=STATES.get(str(status), MachineState.BOOTING),
        address=address if isinstance(address, str) and address else None,
        leaving_at=_instant(terms.get("ending_at")) if isinstance(terms, dict) else None,
    )


def _alive(key: str, instance: dict[str, Any]) -> Machine:
    machine = _machine(instance)
    if machine is None:
        raise NoCapacity(f"shadeform: {key} ended in state {instance.get('status')}", reason=Reason.SOLD_OUT)
    return machine


def _instant(text: Any) -> datetime | None:
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        return datetime.fromisoformat(text).astimezone(UTC)  # RFC 3339: it has an offset.
    return None
