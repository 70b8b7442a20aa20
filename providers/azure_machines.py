"""
How a machine is written for Azure Resource Manager, and how its answer is read.

Sources: https://learn.microsoft.com/rest/api/compute/virtual-machines/create-or-update (the interface and the address
are made and deleted with the machine), https://learn.microsoft.com/azure/virtual-machines/states-billing (PowerState,
ProvisioningState), https://learn.microsoft.com/azure/virtual-machines/linux/using-cloud-init (customData) and
https://learn.microsoft.com/azure/virtual-machines/azure-hpc-vm-images (images with drivers).
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from providers import fields, http
from providers.azure_account import meaning
from providers.azure_prices import Size
from providers.base import BAD_ROW, LaunchOrder, Machine, MachineState, NoCapacity, ProviderError, Reason

PREFIX = "gpuyard-"
NIC_API = "2022-11-01"  # networkApiVersion: with it ARM makes the interface and the address itself.
IMAGE = {"publisher": "microsoft-dsvm", "offer": "ubuntu-hpc", "sku": "2204", "version": "latest"}
IMAGE_SKUS = {"MI300X": "2204-rocm", "GB200": "2404-gb", "GB300": "2404-gb"}  # AMD's drivers; Arm processors.
POWER = {"running": MachineState.RUNNING, "starting": MachineState.BOOTING, "": MachineState.BOOTING}
FAILED = "ProvisioningState/failed/"


def machine_body(
    order: LaunchOrder, *, name: str, size: Size, region: str, subnet_id: str, max_usd: Decimal | None
) -> dict[str, Any]:
    """Return the machine to PUT. max_usd: what a Spot machine may cost in an hour by itself; None: not Spot."""
    profile: dict[str, Any] = {
        "computerName": name,
        "adminUsername": "gpuyard",
        # Azure wants a password or a key; nobody is to sign in, so nobody keeps this one. The end meets its rules.
        "adminPassword": secrets.token_urlsafe(40) + "aA1!",
    }
    if order.startup_script:
        profile["customData"] = base64.b64encode(_script(order.startup_script).encode()).decode()
    properties: dict[str, Any] = {
        "hardwareProfile": {"vmSize": size.name},
        "storageProfile": {
            "imageReference": IMAGE | {"sku": IMAGE_SKUS.get(size.label, IMAGE["sku"])},
            "osDisk": {
                "name": name,
                "createOption": "FromImage",
                "diskSizeGB": order.disk_gib,
                "managedDisk": {"storageAccountType": "StandardSSD_LRS"},
                "deleteOption": "Delete",
            },
        },
        "osProfile": profile,
        "networkProfile": {"networkApiVersion": NIC_API, "networkInterfaceConfigurations": [_nic(name, subnet_id)]},
    }
    if max_usd is not None:
        properties |= {"priority": "Spot", "evictionPolicy": "Delete", "billingProfile": {"maxPrice": max_usd}}
    body = {"location": region, "tags": {"gpuyard": order.key}, "properties": properties}
    return body | ({"zones": [order.zone]} if order.zone else {})


def key_of(vm: Any) -> str:
    """Return our key of a machine, empty for a stranger's."""
    name = vm.get("name") if isinstance(vm, dict) else None
    return name.removeprefix(PREFIX) if isinstance(name, str) and name.startswith(PREFIX) else ""


def provisioning(resource: Any) -> str:
    """Return the `provisioningState` in lower case, empty when there is none."""
    try:
        return str(resource["properties"]["provisioningState"]).lower()
    except BAD_ROW:
        return ""


def statuses(vm: Any) -> dict[str, str]:
    """Return {code: message} of the instance view."""
    try:
        view = fields.records(vm["properties"]["instanceView"]["statuses"])
    except BAD_ROW:
        return {}
    return {str(one.get("code")): str(one.get("message") or "") for one in view if isinstance(one, dict)}


def state_of(vm: Any, told: Mapping[str, str]) -> MachineState | None:
    """Return the state, or None for a machine that is lost to us: never came up, evicted, or stopped by others."""
    power = next((code.removeprefix("PowerState/") for code in told if code.startswith("PowerState/")), "")
    match provisioning(vm):
        case "deleting":
            return MachineState.STOPPING
        case "creating":
            return MachineState.BOOTING
        case "failed" | "canceled":
            # A later change, such as an extension that a policy adds, may fail on a machine that runs on.
            return MachineState.RUNNING if power == "running" else None
        case _:
            return POWER.get(power) if vm else None


def machine_of(vm: Any, state: MachineState, addresses: Mapping[str, str]) -> Machine:
    """Return the machine; addresses: {interface's id in lower case: public address}."""
    key = key_of(vm)
    properties = vm.get("properties") if isinstance(vm.get("properties"), dict) else {}
    try:
        nics = [str(nic["id"]).lower() for nic in properties["networkProfile"]["networkInterfaces"]]
    except BAD_ROW:
        nics = []
    address = next((addresses[nic] for nic in nics if nic in addresses), None)
    machine_id = str(properties.get("vmId") or PREFIX + key)
    return Machine(
        key=key, machine_id=machine_id, state=state, address=address if state is MachineState.RUNNING else None
    )


def failure_of(told: Mapping[str, str]) -> ProviderError:
    """Return the error behind a machine that did not come up."""
    for code, message in told.items():
        if code.startswith(FAILED):
            said = http.redacted(message)
            return meaning(code.removeprefix(FAILED), said) or NoCapacity(f"azure: {code}: {said}")
    return NoCapacity("azure: the machine was taken away before it came up", reason=Reason.SOLD_OUT)


def _script(text: str) -> str:
    """cloud-init runs what begins with #! and takes anything else for something else."""
    return text if text.startswith("#!") else f"#!/bin/bash\n{text}"


def _nic(name: str, subnet_id: str) -> dict[str, Any]:
    address = {
        "name": name,
        "sku": {"name": "Standard"},
        "properties": {"deleteOption": "Delete", "publicIPAllocationMethod": "Static"},
    }
    settings = {"primary": True, "subnet": {"id": subnet_id}, "publicIPAddressConfiguration": address}
    return {
        "name": name,
        "properties": {
            "primary": True,
            "deleteOption": "Delete",
            "ipConfigurations": [{"name": name, "properties": settings}],
        },
    }
