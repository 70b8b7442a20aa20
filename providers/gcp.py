"""
Google Compute Engine: GPU machines on demand and spot, and the price of committed use.

Sources: https://docs.cloud.google.com/compute/docs/reference/rest/v1 (instances, zoneOperations.wait) and
https://cloud.google.com/resource-manager/reference/rest/v1/projects/testIamPermissions. The rest is in gcp_*.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from providers import fields, gcp_account, http
from providers.base import (
    BAD_ROW,
    LaunchOrder,
    Listing,
    Machine,
    Market,
    NoCapacity,
    Permission,
    PricePoint,
    ProviderError,
    Reason,
    Rejected,
    translated,
)
from providers.gcp_advice import Advice
from providers.gcp_catalog import COMPUTE_SKUS, Signals, aggregated, current_rates, current_shapes, lines
from providers.gcp_instances import LABEL, explain, failure, key_of, launched, machine_of, name_of, wanted
from providers.gcp_prices import Shape

WAIT_S = 45.0  # A zone that is sold out mostly says so within seconds; `wait` itself would hold for two minutes.
ADVICE = ("compute.advice.capacity", "compute.advice.capacityHistory")
NEEDED = (
    "compute.machineTypes.list", "compute.acceleratorTypes.list", "compute.instances.list", "compute.instances.create",
    "compute.instances.setMetadata", "compute.instances.setLabels", "compute.disks.create", "compute.subnetworks.use",
    "compute.subnetworks.useExternalIp", "compute.zoneOperations.get", "compute.instances.delete", *ADVICE,
)  # fmt: skip


class Gcp:
    """One project. A machine is named after its key; its price is the sum of its parts."""

    name = "gcp"
    credentials = {"service_account": True, "project": False, "regions": False, "image": False}
    look_every_s = 15
    keeps_price_history = True

    def __init__(
        self,
        *,
        service_account: str,
        project: str = "",
        regions: str = "",
        image: str = "",
        advice_max: int = 40,
        compute_url: str = "https://compute.googleapis.com",
        billing_url: str = "https://cloudbilling.googleapis.com",
        projects_url: str = "https://cloudresourcemanager.googleapis.com",
        token_url: str = gcp_account.BASE_URL,
    ) -> None:
        """
        Raise Rejected when service_account is not the JSON of a key, or no project is named.

        regions: separated by commas; all when empty. image: of the boot disk, a path. advice_max: for how many pairs
        of region and machine type a poll asks for spot signals at most, the largest machines first.
        """
        account = gcp_account.ServiceAccount(service_account, base_url=token_url)
        self.project = project or account.project
        if not re.fullmatch(r"[a-z0-9.:-]+", self.project):
            raise Rejected("gcp: neither you nor the key names a project", reason=Reason.BAD_REQUEST)
        self.path = f"/compute/v1/projects/{self.project}"
        self.regions = {name.strip() for name in regions.split(",") if name.strip()}
        self.image, self.advice_max = image, advice_max
        self.skipped: Counter[str] = Counter()
        same: dict[str, Any] = {"provider": self.name, "identity": f"{account.email} {self.project}",
                                "authorize": account.headers, "explain": explain}  # fmt: skip
        self.compute = http.Client(base_url=compute_url, every_s=0.05, **same)  # 1,500 a minute are allowed.
        self.waiting = http.Client(base_url=compute_url, timeout_s=(5.0, WAIT_S), **same)
        self.billing = http.Client(base_url=billing_url, every_s=0.2, **same)  # 300 a minute.
        self.projects = http.Client(base_url=projects_url, **same)

    def listings(self) -> Iterable[Listing]:
        """Return a line per machine type, zone and market, and per region and term of a commitment."""
        self.skipped = Counter()
        rates, found = current_rates(self.billing, self.skipped, keep_s=0), self._shapes()
        signals, offered = self._signals(found), set[tuple[str, ...]]()
        now = datetime.now(UTC)
        return translated(found, lambda shape: lines(shape, rates, signals, offered, now), self.skipped)

    def launch(self, order: LaunchOrder) -> Machine:
        """Insert the instance in the order's zone, or else in one zone of the region after the other."""
        if found := self._ours(order.key):
            return self._again(order.key, found[0])
        places = [shape for shape in self._shapes(order.machine_type)
                  if shape.region == order.region and order.zone in ("", shape.zone)]  # fmt: skip
        what = f"{order.market} {order.machine_type} in {order.zone or order.region}"
        rates = current_rates(self.billing, self.skipped)
        usd_per_hour = rates.price(places[0], (order.market, "")) if places else None
        if usd_per_hour is None:
            raise Rejected(f"gcp: {what} is not for rent", reason=Reason.BAD_REQUEST)
        if usd_per_hour > order.max_usd_per_hour:
            raise Rejected(f"gcp: {what} costs {usd_per_hour} USD an hour", reason=Reason.PRICE)
        for shape in places:
            try:
                return self._insert(order, shape)
            except NoCapacity as error:
                if error.reason is not Reason.SOLD_OUT or shape is places[-1]:
                    raise
        raise AssertionError("unreachable")

    def machines(self) -> Iterable[Machine]:
        """Return our instances of every zone that run, will run, or are on their way out."""
        rows = self._instances(f"labels.{LABEL}:*")
        return [machine for zone, row in rows if (machine := machine_of(zone, row)) is not None]

    def terminate(self, key: str) -> None:
        """Delete the instance wherever and in whatever state it is; its disk goes with it."""
        for zone, _ in self._ours(key):
            self._delete(zone, key)

    def price_history(self, *, since: datetime, until: datetime) -> Iterable[PricePoint]:
        """Return spot prices. Google tells them per region, for a year; the line of each zone gets the same."""
        found = self._shapes()
        advice = Advice(self.compute, self.project, self.skipped)
        for region, machine_type in self._pairs(found):
            past = [point for point in advice.prices(region, machine_type) if since <= point[0] < until]
            for zone in [one.zone for one in found if (one.region, one.machine_type) == (region, machine_type)]:
                for at, usd_per_hour in past:
                    yield PricePoint(provider=self.name, region=region, zone=zone, machine_type=machine_type,
                                     market=Market.SPOT, usd_per_hour=usd_per_hour, at=at)  # fmt: skip

    def check(self) -> list[Permission]:
        """Ask which permissions the account holds on the project, and whether the price list can be read."""
        held, granted, why = self._held()
        found = [Permission(name=name, granted=True) if name in held else
                 Permission(name=name, granted=granted, why=why) for name in NEEDED]  # fmt: skip
        try:
            self.billing.get(COMPUTE_SKUS, pageSize=1)
        except Rejected as error:
            return [*found, Permission(name="cloudbilling.services.skus.list", granted=False, why=str(error))]
        return [*found, Permission(name="cloudbilling.services.skus.list", granted=True)]

    def _held(self) -> tuple[set[str], bool | None, str]:
        """Return the permissions that are held, and what that says of the others and why."""
        path = f"/v1/projects/{self.project}:testIamPermissions"
        try:
            answer = self.projects.call("POST", path, body={"permissions": NEEDED}, again=True)
            held = fields.records(fields.record(answer or {}).get("permissions"))
        except Rejected as error:
            # A 403 is the API that is switched off: whether the permissions are held, nobody knows.
            return set(), None if error.status == 403 else False, str(error)
        except ValueError as error:
            return set(), None, str(error)
        return {str(name) for name in held}, False, "no role of the account holds it"

    def _shapes(self, machine_type: str = "") -> list[Shape]:
        found = current_shapes(self.compute, self.path, self.skipped, machine_type=machine_type)
        return [shape for shape in found if not self.regions or shape.region in self.regions]

    def _pairs(self, found: list[Shape]) -> list[tuple[str, str]]:
        """Return the (region, machine type) that are worth a question, the largest machines first."""
        sizes = {(shape.region, shape.machine_type): -shape.count * shape.chip.memory_gib for shape in found
                 if not shape.is_attached and not shape.chip.label.startswith("TPU")}  # fmt: skip
        return sorted(sizes, key=lambda pair: (sizes[pair], pair))[: self.advice_max]

    def _signals(self, found: list[Shape]) -> Signals:
        advice = Advice(self.compute, self.project, self.skipped)
        return {pair: (advice.interruptions_per_hour(*pair), advice.placement_score(*pair))
                for pair in self._pairs(found)}  # fmt: skip

    def _insert(self, order: LaunchOrder, shape: Shape) -> Machine:
        query, body = wanted(order, shape, self.image)
        path = f"{self.path}/zones/{shape.zone}"
        try:
            operation = self.compute.call("POST", f"{path}/instances", params=query, body=body, again=True)
        except Rejected as error:
            if error.status != 409:
                raise
            found = self._ours(order.key)  # Somebody was faster with the same key.
            if not found:
                raise
            return self._again(order.key, found[0])
        try:
            if fields.record(operation).get("status") != "DONE":
                operation = self.waiting.call("POST", f"{path}/operations/{fields.text(operation['name'])}/wait")
        except (ProviderError, *BAD_ROW):
            return launched(order.key, shape.zone)  # It is on its way; if it fails, `machines` will not list it.
        if failed := failure(operation):
            self._delete(shape.zone, order.key)  # Mostly nothing is left.
            raise failed
        return launched(order.key, shape.zone)

    def _again(self, key: str, found: tuple[str, Any]) -> Machine:
        """Return what a key has bought already. What was taken away is ended for good: a key is used once."""
        machine = machine_of(*found)
        if machine is None:
            self._delete(found[0], key)
            raise NoCapacity(f"gcp: {name_of(key)} was taken away", reason=Reason.SOLD_OUT)
        return machine

    def _delete(self, zone: str, key: str) -> None:
        try:
            self.compute.call("DELETE", f"{self.path}/zones/{zone}/instances/{name_of(key)}")
        except Rejected as error:
            if error.status != 404:
                raise

    def _ours(self, key: str) -> list[tuple[str, Any]]:
        return [found for found in self._instances(f'name = "{name_of(key)}"') if key_of(found[1]) == key]

    def _instances(self, chosen: str) -> list[tuple[str, Any]]:
        rows = aggregated(self.compute, self.path, "instances", chosen, self.skipped, whole=True)
        return [(zone, row) for zone, row in rows if key_of(row)]
