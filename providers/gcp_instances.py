"""
An instance of Google Compute Engine: what is asked for, what is read back, and what its errors mean.

Source: https://docs.cloud.google.com/compute/docs/reference/rest/v1/instances and, for the codes,
https://docs.cloud.google.com/compute/docs/troubleshooting/troubleshooting-vm-creation.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from providers import fields
from providers.base import (
    BAD_ROW,
    LaunchOrder,
    Machine,
    MachineState,
    Market,
    NoCapacity,
    ProviderError,
    Reason,
    Rejected,
    Unreachable,
)
from providers.gcp_prices import Shape

PREFIX = "gpuyard-"  # Of the name, before the key.
LABEL = "gpuyard"  # Its value is the key.
IMAGES = "projects/ubuntu-os-accelerator-images/global/images/family/"  # Ubuntu with the driver in it.
IMAGE = IMAGES + "ubuntu-accelerator-2404-amd64-with-nvidia-580"
TPU_IMAGES = {
    "ct6e": IMAGES + "ubuntu-accel-2204-amd64-tpu-v5e-v5p-v6e",
    "tpu7x": IMAGES + "ubuntu-accel-2404-amd64-tpu-tpu7x",
}
NOTICE_S = 120  # Of preemption; Google grants this or none.
STATES = {
    **dict.fromkeys(("PROVISIONING", "STAGING", "PENDING", "REPAIRING"), MachineState.BOOTING),
    "RUNNING": MachineState.RUNNING,
    **dict.fromkeys(("PENDING_STOP", "STOPPING", "SUSPENDING", "DEPROVISIONING"), MachineState.STOPPING),
}
LOST = {"STOPPED", "SUSPENDED", "TERMINATED"}  # It costs its disk only and never comes back by itself.
# Codes in lower case without "_", the more telling first: a quota that is exceeded is also "forbidden".
MEANINGS: dict[str, tuple[type[ProviderError], Reason]] = {
    **dict.fromkeys(
        ("zoneresourcepoolexhausted", "zoneresourcepoolexhaustedwithdetails", "regionresourcepoolexhausted",
         "resourcepoolexhausted", "stockout", "gpustockout", "insufficientcapacity"),
        (NoCapacity, Reason.SOLD_OUT),
    ),
    **dict.fromkeys(("ratelimitexceeded", "userratelimitexceeded"), (Unreachable, Reason.RATE_LIMIT)),
    **dict.fromkeys(("quotaexceeded", "limitexceeded"), (NoCapacity, Reason.QUOTA)),
    **dict.fromkeys(("billingdisabled", "billingnotenabled"), (Rejected, Reason.MONEY)),
    **dict.fromkeys(("internalerror", "backenderror", "resourcenotready"), (Unreachable, Reason.OUTAGE)),
}  # fmt: skip


def name_of(key: str) -> str:
    """Return the instance's name."""
    return PREFIX + key


def key_of(row: Any) -> str:
    """Return the key that an instance bears in its name and its label, or an empty string when it is not ours."""
    try:
        key = str(row["labels"][LABEL])
        return key if key and row["name"] == name_of(key) else ""
    except BAD_ROW:
        return ""


def wanted(order: LaunchOrder, shape: Shape, image: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the query and the body of instances.insert. The instance gets no service account: it may do nothing."""
    zone = f"zones/{shape.zone}"
    scheduling: dict[str, Any] = {
        "provisioningModel": "STANDARD",
        "onHostMaintenance": "TERMINATE",  # A machine with accelerators cannot move.
        "automaticRestart": False,  # A startup script runs at every start, and ours must run once.
    }
    if order.market is Market.SPOT:
        scheduling |= {
            "provisioningModel": "SPOT",
            "instanceTerminationAction": "DELETE",
            "preemptionNoticeDuration": {"seconds": str(NOTICE_S)},
        }
    body: dict[str, Any] = {
        "name": name_of(order.key),
        "machineType": f"{zone}/machineTypes/{shape.host}",
        "labels": {LABEL: order.key},
        "metadata": {"items": [{"key": "startup-script", "value": order.startup_script}]},
        "scheduling": scheduling,
        "disks": [
            {
                "boot": True,
                "autoDelete": True,
                "initializeParams": {
                    "sourceImage": image or TPU_IMAGES.get(shape.kind, IMAGE),
                    "diskSizeGb": str(order.disk_gib),
                    "diskType": f"{zone}/diskTypes/{shape.disk_type}",
                },
            }
        ],
        "networkInterfaces": [
            {
                "network": "global/networks/default",
                "accessConfigs": [{"type": "ONE_TO_ONE_NAT", "name": "External NAT"}],
            }
        ],
    }
    if shape.is_attached:
        body["guestAccelerators"] = [
            {"acceleratorType": f"{zone}/acceleratorTypes/{shape.kind}", "acceleratorCount": shape.count}
        ]
    # Whoever repeats an id gets the first answer, also of a failure: so each place and market has its own.
    told = f"{order.key} {shape.zone} {shape.machine_type} {order.market}"
    return {"requestId": str(uuid.uuid5(uuid.NAMESPACE_URL, told))}, body


def machine_of(zone: str, row: Any) -> Machine | None:
    """Translate an instance of ours; None when it was taken away. An unknown state counts as one that will run."""
    status = str(row.get("status"))
    if status in LOST:
        return None
    return launched(key_of(row), zone, STATES.get(status, MachineState.BOOTING), _address(row))


def launched(key: str, zone: str, state: MachineState = MachineState.BOOTING, address: str | None = None) -> Machine:
    """Return the machine of that key in that zone."""
    return Machine(key=key, machine_id=f"{zone}/{name_of(key)}", state=state, address=address)


def _address(row: Any) -> str | None:
    try:
        for interface in fields.records(row.get("networkInterfaces")):
            for access in fields.records(interface.get("accessConfigs")):
                if found := fields.text(access.get("natIP"), ""):
                    return found
    except BAD_ROW:
        pass
    return None


def explain(status: int, body: Any) -> ProviderError | None:
    """Read {"error": {"errors": [{"reason"}], "details": [{"reason"}]}}, or None for the status's usual meaning."""
    try:
        error = fields.record(body["error"])
        told = [*fields.records(error.get("errors")), *fields.records(error.get("details"))]
        return _meaning(str(one.get("reason")) for one in told)
    except BAD_ROW:
        return None


def failure(operation: Any) -> ProviderError | None:
    """Return what an operation failed with, or None when it did not, or cannot be read: `machines` will tell."""
    try:
        errors = fields.records(fields.record(operation.get("error") or {}).get("errors"))
        if not errors:
            return None
        codes = [str(one.get("code")) for one in errors]
        said = " ".join([*codes, str(errors[0].get("message") or "")])[:300]
        error = _meaning(codes) or Rejected("", reason=Reason.BAD_REQUEST)
        return type(error)(f"gcp: {said}", reason=error.reason)
    except BAD_ROW:
        return None


def _meaning(codes: Iterable[str]) -> ProviderError | None:
    told = {code.replace("_", "").lower() for code in codes}
    for code, (kind, reason) in MEANINGS.items():
        if code in told:
            return kind("", reason=reason)
    return None
