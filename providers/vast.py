"""
Vast.ai: a marketplace of other people's machines, rented as containers, at a fixed price or for a bid.

Source: https://docs.vast.ai/api-reference (Search Offers, Create Instance, Show Instances, Destroy Instance, Rate
Limits and Errors). The slash at the end belongs to each path. An offer, an "ask", is one machine, rented to one.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from providers import fields, http, vast_offers
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
    Unreachable,
    translated,
)  # fmt: skip

PREFIX = "gpuyard-"  # Of the labels that are ours.
IMAGE = "nvidia/cuda:12.8.1-base-ubuntu24.04"
RENT_EVERY_S = 4.5
MACHINES_PAGE = 25
MACHINE_PAGES_MAX = 400
ONSTART_MAX = 4096  # Characters.
BID_MAX_USD = Decimal(128)
BID_MIN_USD = Decimal("0.001")


class Vast:
    """Verified hosts; `hosts="any"` takes the others too. image: a container image with bash, base64 and gunzip."""

    name = "vast"
    credentials = {"api_key": True, "image": False, "hosts": False}
    look_every_s = 20
    keeps_price_history = False

    def __init__(
        self, *, api_key: str, image: str = IMAGE, hosts: str = "verified", base_url: str = "https://console.vast.ai"
    ) -> None:
        self.image, self.hosts = image or IMAGE, hosts or "verified"
        self.skipped: Counter[str] = Counter()
        self.identity = hashlib.sha256(api_key.encode()).hexdigest()[:12]
        self.client = http.Client(
            provider=self.name, base_url=base_url, headers={"Authorization": f"Bearer {api_key}"},
            identity=self.identity, every_s=0.5, explain=_explain,
        )  # fmt: skip

    def listings(self) -> Iterable[Listing]:
        """Return a line per ask and market, with a disk of 100 GiB in the price. Raises ProviderError."""
        self.skipped = Counter()
        now = datetime.now(UTC)
        rows = list(vast_offers.every(self.client, hosts=self.hosts, skipped=self.skipped))
        return translated(rows, lambda row: vast_offers.lines(row, hosts=self.hosts, now=now), self.skipped)

    def launch(self, order: LaunchOrder) -> Machine:
        """Rent the ask that `machine_type` names, once per label. Raises ProviderError."""
        ask, body = _ask(order.machine_type), self._body(order)
        found = self._ours(order.key)
        for row in found:
            if not _lost(row):
                return _machine(row)
        if found:  # Rented, outbid, and nobody heard of it.
            self.terminate(order.key)
            raise NoCapacity(f"ask {ask} was taken away at once", reason=Reason.SOLD_OUT)
        body |= self._bid(order, ask)
        http.pace(self.name, f"{self.identity} asks", RENT_EVERY_S).wait()
        try:
            # Sent twice it would rent twice.
            answer = self.client.call("PUT", f"/api/v0/asks/{ask}/", body=body, again=False)
        except ProviderError as error:
            raise self._without_contract(error.body, error) from None
        contract = _contract(answer)
        if contract is None or answer.get("success") is not True:
            unclear = Unreachable(f"ask {ask}: the answer names no contract", reason=Reason.OUTAGE)
            raise self._without_contract(answer, (_explain(200, answer) if answer else None) or unclear)
        return Machine(key=order.key, machine_id=contract, state=MachineState.BOOTING, address=None)

    def machines(self) -> Iterable[Machine]:
        """Return the instances with a label of ours; one that was outbid is stopped, and lost to us."""
        return [_machine(row) for row in self._ours() if not _lost(row)]

    def terminate(self, key: str) -> None:
        """Destroy every instance with this key's label and its disk, also one that is stopped."""
        for row in self._ours(key):
            self._destroy(fields.needed(row, "id", "vast"))

    def price_history(self, *, since: datetime, until: datetime) -> Iterable[PricePoint]:
        """Return nothing: no prices of the past are published."""
        return ()

    def check(self) -> list[Permission]:
        """Try a call of each category of permission; the rental names no offer, so that nothing is rented."""
        return [
            self._may("misc", "POST", "/api/v0/bundles/", body={"limit": 1}, again=True),
            self._may("instance_read", "GET", "/api/v1/instances/", params={"limit": 1}),
            self._may("instance_write", "PUT", "/api/v0/asks/0/", body={}, again=False),
        ]

    def _may(self, name: str, method: str, path: str, **options: Any) -> Permission:
        try:
            self.client.call(method, path, **options)
        except Unreachable:
            raise
        except ProviderError as error:
            if error.reason is Reason.AUTH:
                return Permission(name=name, granted=False, why=str(error))
        return Permission(name=name, granted=True)

    def _body(self, order: LaunchOrder) -> dict[str, Any]:
        body = {"image": self.image, "disk": order.disk_gib, "label": PREFIX + order.key, "runtype": "ssh_direct",
                "target_state": "running", "cancel_unavail": True}  # fmt: skip
        return body | ({"onstart": _onstart(order.startup_script)} if order.startup_script else {})

    def _bid(self, order: LaunchOrder, ask: str) -> dict[str, Any]:
        """Return the bid that keeps bid and disk within the order. Raises NoCapacity (gone), Rejected (dearer)."""
        wanted = {"ask_contract_id": {"eq": int(ask)}, "allocated_storage": order.disk_gib}
        rows, _ = vast_offers.search(self.client, hosts=self.hosts, query=wanted)
        row: Mapping[str, Any] = next((row for row in rows if vast_offers.ask_of(row) == ask), {})
        try:
            price = vast_offers.prices(row, order.disk_gib).get(order.market) if row else None
        except (KeyError, TypeError, ValueError, ArithmeticError):
            raise Unreachable(f"ask {ask} has no price that can be read", reason=Reason.OUTAGE) from None
        if price is None:
            raise NoCapacity(f"ask {ask} is not on offer any more", reason=Reason.SOLD_OUT)
        if price > order.max_usd_per_hour:
            raise Rejected(f"ask {ask} costs {price} USD an hour", reason=Reason.PRICE)
        if order.market is not Market.SPOT:
            return {}
        bid = order.max_usd_per_hour - vast_offers.disk_usd(row, order.disk_gib)
        return {"price": max(BID_MIN_USD, min(bid, BID_MAX_USD))}

    def _ours(self, key: str = "") -> list[Mapping[str, Any]]:
        """Return the instances with a label of ours, or of one key. Raises Unreachable when the answer is no list."""
        token, ours = None, list[Mapping[str, Any]]()
        for _ in range(MACHINE_PAGES_MAX):
            page = self.client.get("/api/v1/instances/", limit=MACHINES_PAGE, after_token=token)
            rows = fields.all_of(page, "instances", "vast")
            ours += [row for row in rows if (_key(row) == key if key else _key(row))]
            token = page.get("next_token")
            if not token:
                return ours
        raise Unreachable("vast: the list of instances does not end", reason=Reason.OUTAGE)

    def _destroy(self, contract: str) -> None:
        try:
            answer = self.client.call("DELETE", f"/api/v0/instances/{contract}/")
            if isinstance(answer, dict) and answer.get("success") is False:
                raise Unreachable(f"vast: {contract} was not destroyed", reason=Reason.OUTAGE)
        except (Rejected, NoCapacity) as error:
            if error.status not in (404, 410):
                raise

    def _without_contract(self, body: Any, error: ProviderError) -> ProviderError:
        """End the machine that a failed rental left behind, and return what it means."""
        contract = _contract(body)
        if contract is None:
            return error
        self._destroy(contract)
        return NoCapacity(str(error), reason=Reason.SOLD_OUT, status=error.status)


def _ask(machine_type: str) -> str:
    if not re.fullmatch(r"ask-[1-9][0-9]*", machine_type):
        raise Rejected(f"{machine_type!r} names no ask", reason=Reason.BAD_REQUEST)
    return machine_type.removeprefix("ask-")


def _contract(body: Any) -> str | None:
    found = body.get("new_contract") if isinstance(body, dict) else None
    return str(found) if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None


def _key(row: Mapping[str, Any]) -> str:
    label = row.get("label")
    return label.removeprefix(PREFIX) if isinstance(label, str) and label.startswith(PREFIX) else ""


def _onstart(script: str) -> str:
    """Pack a script into the little that `onstart` may hold. It runs at each start of the container."""
    packed = base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode()
    text = f"echo {packed} | base64 -d | gunzip | bash"
    if len(text) > ONSTART_MAX:
        raise Rejected(f"the script is too long: {len(text)} of {ONSTART_MAX} characters", reason=Reason.BAD_REQUEST)
    return text


def _lost(row: Mapping[str, Any]) -> bool:
    """Say whether it stands still without our asking: outbid, its host has stopped it, or its container has ended."""
    states = [row.get("intended_status"), row.get("cur_state"), row.get("next_state")]
    return all(state == "stopped" for state in states) or row.get("actual_status") == "exited"


def _machine(row: Mapping[str, Any]) -> Machine:
    runs = row.get("actual_status") == "running"
    address = row.get("public_ipaddr") or row.get("ssh_host")
    return Machine(
        key=_key(row),
        machine_id=str(row.get("id") or ""),
        state=MachineState.RUNNING if runs else MachineState.BOOTING,
        address=address.strip() if runs and isinstance(address, str) else None,
    )


def _explain(status: int, body: Any) -> ProviderError | None:
    """Read the codes in error answers: {"error", "msg"}, or plain text."""
    told = f"{body.get('error')} {body.get('msg')} {body.get('message')}" if isinstance(body, dict) else str(body)
    told = told.lower()
    if status == 410 or "no_such_ask" in told or "outbid" in told:
        return NoCapacity(reason=Reason.SOLD_OUT)
    if "insufficient_credit" in told or "insufficient credit" in told:
        return Rejected(reason=Reason.MONEY)
    if "invalid_price" in told:
        return Rejected(reason=Reason.PRICE)
    if "invalid user key" in told:
        return Rejected(reason=Reason.AUTH)
    return None
