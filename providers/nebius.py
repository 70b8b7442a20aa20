"""
Nebius AI Cloud, through its own SDK because it speaks gRPC only: machines by the hour, also preemptible ones.

Source: https://docs.nebius.com/compute and the API's definitions (https://github.com/nebius/api: compute/v1, vpc/v1,
billing/v1) as nebius 0.6.29 ships them. A machine type is "platform/preset".
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from nebius.api.nebius.billing import v1 as billing
from nebius.api.nebius.common.v1 import ResourceMetadata
from nebius.api.nebius.compute import v1 as compute
from nebius.api.nebius.vpc import v1 as vpc

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
)
from providers.nebius_calls import PREFIX, Account, Calls
from providers.nebius_prices import DISK_GIB, Prices, disk

State = compute.InstanceStatus.InstanceState
LOST = (State.STOPPED, State.ERROR)  # A preempted machine is stopped, and its disk goes on costing.
LEAVING = (State.STOPPING, State.DELETING)
RUNNING = (State.RUNNING, State.UPDATING)
NAMED: dict[type[Any], type[Any]] = {  # What may bear a key of ours, in the order in which it can be deleted.
    compute.InstanceServiceClient: compute.DeleteInstanceRequest,
    compute.DiskServiceClient: compute.DeleteDiskRequest,
    billing.PricingPolicyServiceClient: billing.DeletePricingPolicyRequest,
}


class Nebius:
    """One project of one tenant; a project lies in one region."""

    name = "nebius"
    credentials = {"parent_id": True, "token": False, "service_account_id": False, "public_key_id": False,
                   "private_key": False, "subnet_id": False, "region": False}  # fmt: skip
    look_every_s = 60
    keeps_price_history = True

    def __init__(
        self,
        *,
        parent_id: str,
        token: str = "",
        service_account_id: str = "",
        public_key_id: str = "",
        private_key: str = "",
        subnet_id: str = "",
        region: str = "",
        base_url: str = "https://api.nebius.cloud:443",
    ) -> None:
        """
        Take a token, or the three parts of a service account's key; `private_key` is PEM.

        subnet_id: the project's first one when empty. region: needed only if the project itself may not be read.
        """
        self.parent_id, self.subnet_id = parent_id, subnet_id
        self.calls = Calls(Account(base_url, parent_id, token, service_account_id, public_key_id, private_key))
        self.prices = Prices(self.calls, region)
        self.skipped: Counter[str] = self.prices.skipped

    def listings(self) -> Iterable[Listing]:
        """Return a line per preset with GPUs and market. Raises ProviderError."""
        return self.prices.listings()

    def launch(self, order: LaunchOrder) -> Machine:
        """Rent a machine whose boot disk lives and dies with it. Raises ProviderError."""
        if (found := self.calls.named(compute.InstanceServiceClient, order.key)) is not None:
            if found.status.state in LOST + LEAVING:
                self.terminate(order.key)
                raise NoCapacity(f"{order.key}: the machine was lost", reason=Reason.SOLD_OUT)
            return self._machine(found)
        try:
            spec = self._spec(order)
            request = compute.CreateInstanceRequest(metadata=self._metadata(order.key), spec=spec)
            operation = self.calls.do(compute.InstanceServiceClient, "create", request, key=order.key)
            self.calls.finish(operation)
        except (NoCapacity, Rejected) as error:
            found = self.calls.named(compute.InstanceServiceClient, order.key) if error.status == 409 else None
            if found is not None:
                return self._machine(found)  # Somebody was faster with the same key.
            with contextlib.suppress(ProviderError):
                self.terminate(order.key)
            raise
        return Machine(key=order.key, machine_id=operation.resource_id, state=MachineState.BOOTING, address=None)

    def machines(self) -> Iterator[Machine]:
        """Return our machines that run, boot or stop; one that stands still is lost to us. Raises ProviderError."""
        for instance in self.calls.pages(
            compute.InstanceServiceClient, compute.ListInstancesRequest, parent_id=self.parent_id
        ):
            if instance.metadata.name.startswith(PREFIX) and instance.status.state not in LOST:
                yield self._machine(instance)

    def terminate(self, key: str) -> None:
        """Delete the machine and whatever of its disk or price limit is left. Raises ProviderError."""
        had_machine = False
        for client, request in NAMED.items():
            if (found := self.calls.named(client, key)) is None:
                continue
            try:
                if client is not compute.InstanceServiceClient:
                    self.calls.do(client, "delete", request(id=found.metadata.id))
                elif had_machine := (found.status.state is not State.DELETING):
                    self.calls.finish(self.calls.do(client, "delete", request(id=found.metadata.id)))
            except Rejected as error:
                if error.status != 404 and not (had_machine and client is not compute.InstanceServiceClient):
                    raise  # A disk or limit that its machine still holds goes with it.

    def price_history(self, *, since: datetime, until: datetime) -> Iterable[PricePoint]:
        """Return the hourly preemptible prices of at most the last 30 days. Raises ProviderError."""
        return self.prices.history(since=since, until=until)

    def check(self) -> list[Permission]:
        """Ask every reading method once. Raises Unreachable."""
        reads: list[tuple[str, Any]] = [
            ("iam.v2.ProjectService/Get", self.prices.project),
            ("compute.v1.PlatformService/List", lambda: next(self.prices.sold(), None)),
            ("billing.v1alpha1.CalculatorService/Estimate", lambda: self.prices.disk_usd(DISK_GIB)),
            ("vpc.v1.SubnetService/List", self._subnet),
            ("compute.v1.InstanceService/List", lambda: list(self.machines())),
        ]
        told = []
        for name, ask in reads:
            try:
                ask()
                told.append(Permission(name=name, granted=True))
            except (NoCapacity, Rejected, ValueError) as error:
                told.append(Permission(name=name, granted=False, why=str(error)))
        for name in ("compute.v1.InstanceService/Create", "compute.v1.InstanceService/Delete"):
            told.append(Permission(name=name, granted=None, why="only renting would tell"))
        return told

    def _spec(self, order: LaunchOrder) -> compute.InstanceSpec:
        platform, _, preset = order.machine_type.partition("/")
        disk_usd, script = self.prices.disk_usd(order.disk_gib), order.startup_script
        spec = compute.InstanceSpec(
            resources=compute.ResourcesSpec(platform=platform, preset=preset),
            boot_disk=compute.AttachedDiskSpec(
                attach_mode=compute.AttachedDiskSpec.AttachMode.READ_WRITE,
                managed_disk=compute.ManagedDisk(name=PREFIX + order.key, spec=disk(order.disk_gib)),
            ),
            network_interfaces=[
                compute.NetworkInterfaceSpec(
                    name="eth0",
                    subnet_id=self.subnet_id or self._subnet(),
                    ip_address=compute.IPAddress(),
                    public_ip_address=compute.PublicIPAddress(),
                )
            ],
            cloud_init_user_data=script if not script or script.startswith("#!") else f"#!/bin/bash\n{script}",
            recovery_policy=compute.InstanceRecoveryPolicy.FAIL,
        )
        if order.market is Market.SPOT:
            stop = compute.PreemptibleSpec.PreemptionPolicy.STOP
            spec.preemptible = compute.PreemptibleSpec(on_preemption=stop)
            spec.spot_pricing_policy = compute.SpotPricingPolicySpec(id=self._limit(order, platform, preset, disk_usd))
        elif (usd := self.prices.usd(order.machine_type, order.market) + disk_usd) > order.max_usd_per_hour:
            raise Rejected(f"{order.machine_type} costs {usd} USD per hour now", reason=Reason.PRICE)
        return spec

    def _limit(self, order: LaunchOrder, platform: str, preset: str, disk_usd: Decimal) -> str:
        """Make the highest price known to the cloud, per GPU with three digits (MaxPriceV1). Return its id."""
        wanted = (platform, preset, order.market)
        gpus = next(
            (s.resources.gpu_count for p, s, m in self.prices.sold() if (p.metadata.name, s.name, m) == wanted), 0
        )
        if not gpus:
            raise Rejected(f"{order.machine_type} is not sold as preemptible", reason=Reason.BAD_REQUEST)
        usd = ((order.max_usd_per_hour - disk_usd) / gpus).quantize(Decimal("0.001"), ROUND_DOWN)
        if usd <= 0:
            raise Rejected(f"{order.machine_type}: the disk alone costs more than agreed", reason=Reason.PRICE)
        price = billing.MaxPriceV1(max_price=str(usd))
        spec = billing.PricingPolicySpec(
            compute_instance_spec=billing.ComputeInstanceSpec(v1=billing.ComputeInstanceSpecV1(platform=platform)),
            pricing=billing.PricingMethod(max_price_v1=price),
        )
        client, request = billing.PricingPolicyServiceClient, billing.CreatePricingPolicyRequest
        if (found := self.calls.named(client, order.key)) is None:
            self.calls.finish(
                self.calls.do(client, "create", request(metadata=self._metadata(order.key), spec=spec), key=order.key)
            )
            found = self.calls.named(client, order.key)
        status = found.status if found is not None else billing.PricingPolicyStatus()
        if status.scheduling_state is status.SchedulingState.SCHEDULING_STATE_BLOCKED:
            raise Rejected(f"{order.machine_type} costs more than {usd} USD per GPU-hour", reason=Reason.PRICE)
        if found is None or status.state is not status.State.STATE_ACTIVE:
            raise Unreachable(f"{order.key}: the price limit is not ready yet", reason=Reason.OUTAGE)
        return str(found.metadata.id)

    def _machine(self, instance: Any) -> Machine:
        return Machine(
            key=instance.metadata.name.removeprefix(PREFIX),
            machine_id=instance.metadata.id,
            state=_state(instance.status.state),
            address=_address(instance.status.network_interfaces),
            leaving_at=self._leaving_at(instance) if instance.status.maintenance_event_id else None,
        )

    def _leaving_at(self, instance: Any) -> datetime | None:
        """Return when a machine on a host that must be mended is stopped at the latest."""
        request = compute.GetMaintenanceEventByInstanceRequest(instance_id=instance.metadata.id)
        with contextlib.suppress(NoCapacity, Rejected, *BAD_ROW):
            event = self.calls.do(compute.MaintenanceServiceClient, "get_by_instance", request).status
            return None if event.finished_at else event.sla_deadline_ts
        return None

    def _metadata(self, key: str) -> ResourceMetadata:
        return ResourceMetadata(parent_id=self.parent_id, name=PREFIX + key)

    def _subnet(self) -> str:
        for subnet in self.calls.pages(vpc.SubnetServiceClient, vpc.ListSubnetsRequest, parent_id=self.parent_id):
            return str(subnet.metadata.id)
        raise Rejected("nebius: the project has no subnet", reason=Reason.BAD_REQUEST)


def _state(state: State) -> MachineState:
    if state in LEAVING:
        return MachineState.STOPPING
    return MachineState.RUNNING if state in RUNNING else MachineState.BOOTING


def _address(interfaces: Any) -> str | None:
    for interface in interfaces:
        for address in (interface.public_ip_address.address, interface.ip_address.address):
            if address:
                return str(address).partition("/")[0]
    return None
