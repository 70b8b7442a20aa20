"""
Microsoft Azure: virtual machines with GPUs, on demand and Spot, through Azure Resource Manager (ARM).

Sources: https://learn.microsoft.com/rest/api/compute/virtual-machines (create or update, list, statusOnly, delete),
https://learn.microsoft.com/azure/virtual-machines/spot-vms and https://learn.microsoft.com/rest/api/virtualnetwork.
What a team sets up first: docs/providers/azure.md.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from providers import azure_signals
from providers.azure_account import Account, permissions
from providers.azure_machines import (
    PREFIX,
    failure_of,
    key_of,
    machine_body,
    machine_of,
    provisioning,
    state_of,
    statuses,
)
from providers.azure_prices import PRICES_URL, Retail, region_name, size_of
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
)

COMPUTE, NETWORK, DISKS = "2024-07-01", "2024-05-01", "2024-03-02"  # api-version
MACHINES, NICS = "Microsoft.Compute/virtualMachines", "Microsoft.Network/networkInterfaces"
ADDRESSES, NETWORKS = "Microsoft.Network/publicIPAddresses", "Microsoft.Network/virtualNetworks"
LEFTOVERS = ((NICS, NETWORK), (ADDRESSES, NETWORK), ("Microsoft.Compute/disks", DISKS))
LOOK_S = 2.0
MAX_PRICE_STEP = Decimal("0.00001")  # "up to five decimal places": spot-vms#pricing
ADDRESS_SPACE = "10.71.0.0/16"


class Azure:
    """One subscription; the machines live in one resource group of it."""

    name = "azure"
    credentials = {
        "tenant_id": True, "client_id": True, "client_secret": True, "subscription_id": True,
        "resource_group": False, "regions": False, "subnet_id": False,
    }  # fmt: skip
    look_every_s = 15
    keeps_price_history = True

    def __init__(
        self,
        *,
        tenant_id: str,
        client_id: str,
        client_secret: str,
        subscription_id: str,
        resource_group: str = "",
        regions: str = "",
        subnet_id: str = "",
        base_url: str = "https://management.azure.com",
        login_url: str = "https://login.microsoftonline.com",
        prices_url: str = PRICES_URL,
        settle_s: float = 6.0,
    ) -> None:
        """regions: "eastus, westeurope", empty for all. settle_s: how long a launch waits for an early refusal."""
        self.arm = Account(
            tenant_id=tenant_id, client_id=client_id, client_secret=client_secret, base_url=base_url,
            login_url=login_url, provider=self.name,
        ).arm  # fmt: skip
        self.retail = Retail(provider=self.name, base_url=prices_url)
        self.subscription = f"/subscriptions/{subscription_id}"
        self.group = f"{self.subscription}/resourceGroups/{resource_group or 'gpuyard'}"
        self.regions = [region_name(one) for one in regions.split(",") if one.strip()]
        self.subnet_id = subnet_id
        self.looks = int(settle_s / LOOK_S)
        self.skipped: Counter[str] = Counter()

    def listings(self) -> Iterable[Listing]:
        """Return a line per size, region, market and term. A part that needs rights we lack is left out, not raised."""
        self.skipped = Counter()
        lines = self.retail.listings(self.regions, self.skipped)
        signals = azure_signals.read(self.arm, self.subscription, self.regions, lines)
        self.skipped += signals.untold
        return [signals.added(line) for line in lines]

    def price_history(self, *, since: datetime, until: datetime) -> Iterable[PricePoint]:
        """Return the Spot prices of at most 90 days. Raises ProviderError."""
        points = azure_signals.price_points(self.arm, self.regions, self.retail.extras())
        return sorted((point for point in points if since <= point.at < until), key=lambda point: point.at)

    def launch(self, order: LaunchOrder) -> Machine:
        """Rent a machine. One that does not come up at all is deleted again; later, terminate() finds it."""
        name = PREFIX + order.key
        vm = self._vm(name) or self._create(name, order)
        for _ in range(self.looks):
            if provisioning(vm) != "creating":
                break
            time.sleep(LOOK_S)
            vm = self._vm(name) or {}
        state = state_of(vm, statuses(vm))
        if state is MachineState.STOPPING:
            raise Unreachable(f"azure: {name} is still being deleted", reason=Reason.OUTAGE)
        if state is None:
            with contextlib.suppress(ProviderError):
                self.terminate(order.key)
            raise failure_of(statuses(vm))
        return machine_of(vm, state, self._addresses() if state is MachineState.RUNNING else {})

    def machines(self) -> Iterable[Machine]:
        """Return the machines of the group that bear our name. A list tells no power state: a second one does."""
        vms = [vm for vm in self._pages(self.group, MACHINES, COMPUTE) if key_of(vm)]
        if not vms:
            return []
        views = self._pages(self.subscription, MACHINES, COMPUTE, statusOnly="true")
        told = {str(vm.get("id")).lower(): statuses(vm) for vm in views if isinstance(vm, dict)}
        addresses = self._addresses()
        states = [(vm, state_of(vm, told.get(str(vm.get("id")).lower(), {}))) for vm in vms]
        return [machine_of(vm, state, addresses) for vm, state in states if state is not None]

    def terminate(self, key: str) -> None:
        """Delete the machine; its disk, interface and address go with it. Where it is gone, delete what it left."""
        name = PREFIX + key
        if self._delete(f"{self.group}/providers/{MACHINES}/{name}", COMPUTE):
            return
        for kind, version in LEFTOVERS:
            try:
                for _ in range(self.looks + 1):
                    if not self._delete(f"{self.group}/providers/{kind}/{name}", version):
                        break
                    time.sleep(LOOK_S)  # An address can be deleted only once its interface is gone.
            except Rejected as error:
                if error.reason is Reason.AUTH:
                    raise  # Any other means "in use": Azure is about to delete it with the machine.

    def check(self) -> list[Permission]:
        """Compare the actions that the service principal is granted with those that the verbs need."""
        return permissions(self.arm, self.subscription, self.group, self.subnet_id)

    def _create(self, name: str, order: LaunchOrder) -> dict[str, Any]:
        try:
            size, region = size_of(order.machine_type), region_name(order.region)
        except ValueError as error:
            raise Rejected(f"azure: {error}", reason=Reason.BAD_REQUEST) from None
        max_usd = self._max_usd(order, size.name, region)
        body = machine_body(order, name=name, size=size, region=region, subnet_id=self._subnet(region), max_usd=max_usd)
        try:
            # If-None-Match: what another call with this key has made meanwhile must not be changed.
            return self._put(f"{self.group}/providers/{MACHINES}/{name}", COMPUTE, body, {"If-None-Match": "*"})
        except (NoCapacity, Rejected) as error:
            if error.status == 412 and (vm := self._vm(name)):
                return vm
            with contextlib.suppress(ProviderError):
                self.terminate(order.key)  # A refusal may leave the machine behind.
            raise

    def _max_usd(self, order: LaunchOrder, machine_type: str, region: str) -> Decimal | None:
        """Return what a Spot machine may cost without disk and address; None on demand. Raises Rejected: too dear."""
        if order.market is Market.SPOT:
            extras = self.retail.extras(region)
            alone = order.max_usd_per_hour - extras.get(region, extras[""])
            if alone >= MAX_PRICE_STEP:
                return alone.quantize(MAX_PRICE_STEP, ROUND_DOWN)
            raise Rejected("azure: the disk and the address alone cost more", reason=Reason.PRICE)
        if order.market is Market.RESERVED:
            raise Rejected("azure: a reservation is bought at Azure, not launched", reason=Reason.BAD_REQUEST)
        usd = self.retail.usd_per_hour(machine_type=machine_type, region=region, market=order.market)
        if usd > order.max_usd_per_hour:
            raise Rejected(f"azure: {machine_type} costs {usd} USD an hour in {region}", reason=Reason.PRICE)
        return None

    def _subnet(self, region: str) -> str:
        """Return the id of the team's subnet, or of ours in that region; ours is made when it is not there."""
        if self.subnet_id:
            return self.subnet_id
        path = f"{self.group}/providers/{NETWORKS}/{PREFIX}{region}"
        network = self._get(path, NETWORK)
        if network is None:
            subnet = {"name": "gpuyard", "properties": {"addressPrefix": ADDRESS_SPACE}}
            space = {"addressSpace": {"addressPrefixes": [ADDRESS_SPACE]}, "subnets": [subnet]}
            network = self._put(path, NETWORK, {"location": region, "properties": space})
        for _ in range(self.looks):
            if provisioning(network) == "succeeded":
                break
            time.sleep(LOOK_S)
            network = self._get(path, NETWORK)
        return f"{path}/subnets/gpuyard"

    def _addresses(self) -> dict[str, str]:
        """Return {interface's id in lower case: its public address} of the group."""
        found = {}
        for row in self._pages(self.group, ADDRESSES, NETWORK):
            with contextlib.suppress(KeyError, TypeError, AttributeError):
                nic = row["properties"]["ipConfiguration"]["id"].lower().partition("/ipconfigurations/")[0]
                found[nic] = str(row["properties"]["ipAddress"])
        return found

    def _vm(self, name: str) -> dict[str, Any] | None:
        return self._get(f"{self.group}/providers/{MACHINES}/{name}", COMPUTE, **{"$expand": "instanceView"})

    def _pages(self, scope: str, kind: str, version: str, **params: str) -> Iterable[Any]:
        return azure_signals.pages(self.arm, f"{scope}/providers/{kind}", api_version=version, **params)

    def _get(self, path: str, version: str, **params: str) -> dict[str, Any] | None:
        try:
            found = self.arm.call("GET", path, params={"api-version": version, **params})
        except Rejected as error:
            if error.status == 404 and not re.search("(ResourceGroup|Subscription)NotFound", str(error.body)):
                return None
            raise
        return _object(found)

    def _put(
        self, path: str, version: str, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        return _object(self.arm.call("PUT", path, params={"api-version": version}, body=body, headers=headers))

    def _delete(self, path: str, version: str) -> bool:
        """Ask for a deletion and return whether there was something to delete: ARM says 204 or 404 when not."""
        try:
            return self.arm.ask("DELETE", path, params={"api-version": version}).status != 204
        except Rejected as error:
            if error.status == 404 and "SubscriptionNotFound" not in str(error.body):
                return False
            raise


def _object(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise Unreachable("azure: an answer that is no object", reason=Reason.OUTAGE)
    return answer
