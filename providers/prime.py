"""
Prime Intellect: one API in front of many GPU clouds, on demand and spot.

Source: https://docs.primeintellect.ai/api-reference (availability/gpus and pods). A price is that of the whole
configuration per hour, provisioningTime is in minutes. A pod takes environment variables and a custom template but no
startup script: the template's image must run what it finds, in base64, in GPUYARD_STARTUP_SCRIPT.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from providers import fields, http
from providers.base import (
    LaunchOrder,
    Listing,
    Machine,
    MachineState,
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
from providers.prime_prices import TEMPLATE, Terms, named, rank, sizes

OURS, SCRIPT = "gpuyard-", "GPUYARD_STARTUP_SCRIPT"
PAGE, PAGES_MAX = 100, 100  # 100 is the most that both lists give at once.
IMAGE = "ubuntu_22_cuda_12"  # The API's own default; not every configuration has it.
EVERY_S = 0.5  # No limit is published; a politeness of ours.
LOST = ("ERROR", "STOPPED", "TERMINATED")  # We never stop a pod; who else does has taken it from us.
STATES = {"ACTIVE": MachineState.RUNNING, "DELETING": MachineState.STOPPING}  # The others boot, see `_machine`.
CHECKS = {"Availability: Read": "/availability/gpus?page=1&page_size=1", "Instances: Read": "/pods/?offset=0&limit=1"}
# Errors have no codes; these are words in their texts. The first that fits counts.
ERRORS = (
    (r"balance|funds|wallet|payment|billing|credit", Rejected, Reason.MONEY),
    (r"quota|limit (reached|exceeded)|too many pods", NoCapacity, Reason.QUOTA),
    (r"max.?price|price (has )?(changed|increased)", Rejected, Reason.PRICE),
    (r"capacity|out of stock|sold out|(not|no longer|un)\s*available", NoCapacity, Reason.SOLD_OUT),
)


class Prime:
    """Machines of some twenty clouds; a line is a configuration at one of them and carries its names in its own."""

    name = "prime"
    credentials = {"api_key": True, "template_id": False, "usd_per_eur": False}
    look_every_s = 30
    keeps_price_history = False

    def __init__(
        self,
        *,
        api_key: str,
        template_id: str = "",
        usd_per_eur: str | Decimal | None = None,
        base_url: str = "https://api.primeintellect.ai/api/v1",
    ) -> None:
        """template_id: runs the startup script. usd_per_eur: None leaves out what is priced in EUR."""
        self.template_id = template_id
        self.terms = Terms(template=bool(template_id), usd_per_eur=fields.price(usd_per_eur) if usd_per_eur else None)
        self.client = http.Client(
            provider=self.name,
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}"},
            identity=hashlib.sha256(api_key.encode()).hexdigest()[:12],
            every_s=EVERY_S,
            explain=http.by_words(ERRORS),
        )
        self.skipped: Counter[str] = Counter()

    def listings(self) -> Iterable[Listing]:
        """Return a line per configuration, sold out ones too; of two with one name the better. Raises ProviderError."""
        self.skipped = Counter()
        best: dict[tuple[str, ...], Listing] = {}
        for line in translated(self._items(), self.terms.listing, self.skipped):
            best[named(line)] = min(best.get(named(line), line), line, key=rank)
        return list(best.values())

    def launch(self, order: LaunchOrder) -> Machine:
        """Rent a pod, or return the one that bears the key. Raises ProviderError."""
        try:
            for pod in self._pods(order.key):
                return _alive(order.key, pod)
            return _alive(order.key, self.client.call("POST", "/pods/", body=self._request(order)))
        except (NoCapacity, Rejected):
            # A create that failed can leave a pod in ERROR behind. What cannot be ended now is ended later.
            with contextlib.suppress(ProviderError):
                self.terminate(order.key)
            raise

    def machines(self) -> Iterable[Machine]:
        """Return our pods. One that is stopped or in ERROR is lost to us and not among them."""
        return [machine for pod in self._pods() if (machine := _machine(pod)) is not None]

    def terminate(self, key: str) -> None:
        """Delete every pod with the key."""
        for pod in self._pods(key):
            if pod.get("status") != "DELETING":
                try:
                    self.client.call("DELETE", f"/pods/{fields.needed(pod, 'id', 'prime')}")
                except Rejected as error:
                    if error.status != 404:
                        raise

    def price_history(self, *, since: datetime, until: datetime) -> Iterable[PricePoint]:
        """Return nothing: Prime publishes no past prices."""
        return ()

    def check(self) -> list[Permission]:
        """Say what the key may do, in the words of the page where keys are made."""
        told = [Permission(name="Instances: Read and write", granted=None, why="only renting would tell")]
        if not self.template_id:
            told.append(Permission(name="template_id", granted=False, why="nothing else runs the startup script"))
        for name, path in CHECKS.items():
            try:
                self.client.get(path)
                told.append(Permission(name=name, granted=True))
            except Rejected as error:
                told.append(Permission(name=name, granted=False, why=str(error)))
        return told

    def _items(self, **query: Any) -> Iterator[Any]:
        seen = 0
        for page in range(1, PAGES_MAX + 1):
            answer = self.client.get("/availability/gpus", page=page, page_size=PAGE, **query)
            found = fields.listed("prime", answer, "items")
            yield from found
            seen += len(found)
            promised = fields.positive(answer.get("totalCount"))
            if not found or (seen >= promised if promised else len(found) < PAGE):
                return

    def _pods(self, key: str | None = None) -> list[dict[str, Any]]:
        """Return the pods that bear a key of ours, or that key. Raises Unreachable when some may be missing."""
        found, totals = list[dict[str, Any]](), set[float]()
        for _ in range(PAGES_MAX):
            answer = self.client.get("/pods/", offset=len(found), limit=PAGE)
            page = fields.all_of(answer, "data", "prime")
            found += page
            totals.add(fields.positive(answer.get("total_count")) or 0)
            if not page or len(totals) > 1 or len(found) >= max(totals):
                break
        if len(totals) > 1 or len(found) < max(totals) or (not max(totals) and len(page) >= PAGE):
            raise Unreachable("prime: pods came or went between two pages", reason=Reason.OUTAGE)
        alive = (pod for pod in found if pod.get("status") != "TERMINATED")
        return [pod for pod in alive if (own := _key(pod)) and key in (None, own)]

    def _request(self, order: LaunchOrder) -> dict[str, Any]:
        """Return the body that rents the line as it is offered now. Raises NoCapacity, Rejected."""
        if order.startup_script and not self.template_id:
            raise Rejected("prime: a startup script needs a template_id", reason=Reason.BAD_REQUEST)
        line, item = self._offered(order)
        if line.stock is Stock.NONE:
            raise NoCapacity(f"prime: {order.machine_type}", reason=Reason.SOLD_OUT)
        if line.usd_per_hour > order.max_usd_per_hour:
            raise Rejected(f"prime: {line.machine_type} costs {line.usd_per_hour} USD an hour", reason=Reason.PRICE)
        images = fields.records(item.get("images"))
        pod = {
            "name": OURS + order.key,
            **{name: item[name] for name in ("cloudId", "gpuType", "socket", "gpuCount")},
            **sizes(item, order.disk_gib).chosen,
            "maxPrice": order.max_usd_per_hour / self.terms.usd_per(item["prices"]),
            "image": TEMPLATE if self.template_id else IMAGE if IMAGE in images or not images else images[0],
            "customTemplateId": self.template_id or None,
            "dataCenterId": item.get("dataCenter"),
            "country": item.get("country"),
            "security": item.get("security"),
        }
        if order.startup_script:
            pod["envVars"] = [{"key": SCRIPT, "value": base64.b64encode(order.startup_script.encode()).decode()}]
        return {"pod": {k: v for k, v in pod.items() if v is not None}, "provider": {"type": item["provider"]}}

    def _offered(self, order: LaunchOrder) -> tuple[Listing, dict[str, Any]]:
        try:
            *_, gpu_type, _, count, _ = order.machine_type.split("/")
        except ValueError:
            raise Rejected(f"prime: no configuration {order.machine_type!r}", reason=Reason.BAD_REQUEST) from None
        wanted = (order.region, order.zone, order.machine_type, order.market)
        found = [
            (line, item)
            for item in self._items(gpu_type=gpu_type, gpu_count=count)
            for line in translated([item], partial(self.terms.listing, disk_gib=order.disk_gib), Counter())
            if named(line) == wanted
        ]
        if not found:
            raise NoCapacity(f"prime: {order.machine_type}", reason=Reason.SOLD_OUT)
        return min(found, key=lambda pair: rank(pair[0]))


def _key(pod: dict[str, Any]) -> str | None:
    name = pod.get("name")
    return name.removeprefix(OURS) if isinstance(name, str) and name.startswith(OURS) else None


def _alive(key: str, pod: Any) -> Machine:
    if not isinstance(pod, dict) or not isinstance(pod.get("id"), str):
        raise Unreachable("prime: the new pod has no id", reason=Reason.OUTAGE)
    machine = _machine(pod | {"name": OURS + key})
    if machine is None:
        raise NoCapacity(f"prime: {key} ended in state {pod.get('status')}", reason=Reason.SOLD_OUT)
    return machine


def _machine(pod: dict[str, Any]) -> Machine | None:
    """Translate a pod of ours; None when it is lost to us. A state that is new to us is not an end."""
    key, status = _key(pod), str(pod.get("status"))
    if not key or status in LOST:
        return None
    state = STATES.get(status, MachineState.BOOTING)
    return Machine(key=key, machine_id=str(pod.get("id") or ""), state=state, address=_address(pod))


def _address(pod: dict[str, Any]) -> str | None:
    """Read the host of "root@1.2.3.4 -p 22", of the first in a list of such, or the plain address."""
    for told in (pod.get("sshConnection"), pod.get("ip")):
        for text in told if isinstance(told, list) else [told]:
            if isinstance(text, str) and (found := re.search(r"@([^\s@:]+)", text) or re.fullmatch(r"(\S+)", text)):
                return found[1]
    return None
