"""
What Verda's answers mean: states, names, identifiers, errors.

Source: https://api.verda.com/v1/docs (Instances, Errors) and the states in
https://github.com/verda-cloud/verdacloud-sdk-go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from providers import fields
from providers.base import Machine, MachineState, NoCapacity, ProviderError, Reason, Rejected, Unreachable

PREFIX = "gpuyard-"  # Of the hostnames and scripts that are ours.
IMAGE = "ubuntu-24.04-cuda-12.8-open-docker"
STATES = {"running": MachineState.RUNNING, "deleting": MachineState.STOPPING}
FAILED = {"error", "no_capacity", "installation_failed"}  # Nothing was delivered, and it stays in the account.
LOST = FAILED | {"discontinued", "offline", "notfound", "deleted", "hibernating"}  # Spot ends as "discontinued".
SOLD_OUT = re.compile(r"(no|not|out of|insufficient|lack of)\b.*\b(capacity|available|availability|resources|stock)")
QUOTA = re.compile(r"\b(quota|limit)\b")


def rows_of(answer: Any) -> list[Any]:
    """Return an answer's rows. An empty answer says nothing, not that there is nothing. Raises Unreachable."""
    if not isinstance(answer, list | dict):
        raise Unreachable("verda: an answer that is no list", reason=Reason.OUTAGE)
    return fields.records(answer)


def all_of(answer: Any) -> list[dict[str, Any]]:
    """Return the rows of a list in which what is missing counts as gone. Raises Unreachable."""
    return fields.all_of({"rows": answer if isinstance(answer, list) else None}, "rows", "verda")


def identifier_of(told: Any) -> str:
    """Read the bare identifier that making something answers, also in quotes. Raises Unreachable."""
    found = str(told).strip().strip('"')
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", found):
        raise Unreachable("verda: the answer names nothing that was made", reason=Reason.OUTAGE)
    return found


def key_of(row: Mapping[str, Any]) -> str:
    """Return our key from the hostname, or nothing: the instance is somebody else's."""
    name = row.get("hostname")
    return name.removeprefix(PREFIX) if isinstance(name, str) and name.startswith(PREFIX) else ""


def is_lost(row: Mapping[str, Any]) -> bool:
    """Say whether an instance that is still listed is none for us: never delivered, taken away, or switched off."""
    return str(row.get("status")) in LOST


def disks_of(row: Mapping[str, Any]) -> list[str]:
    """Return the identifiers of an instance's disks; they go on costing when they are not deleted with it."""
    others = row.get("volume_ids")
    disks = [row.get("os_volume_id"), *(others if isinstance(others, list) else [])]
    return sorted({disk for disk in disks if isinstance(disk, str) and disk})


def machine_of(row: Mapping[str, Any]) -> Machine:
    """Return an instance of ours as a machine; what neither runs nor ends is booting."""
    address = row.get("ip")
    return Machine(
        key=key_of(row),
        machine_id=str(row.get("id") or ""),
        state=STATES.get(str(row.get("status")), MachineState.BOOTING),
        address=address if isinstance(address, str) and address else None,
    )


def image_of(supported: Any) -> str:
    """Choose an image with CUDA and Docker that the type can run: the usual one where nothing is said against it."""
    names = [name for name in supported if isinstance(name, str)] if isinstance(supported, list) else []
    if not names or IMAGE in names:
        return IMAGE
    return next((name for name in names if "cuda" in name and "docker" in name), IMAGE)


def explain(status: int, body: Any) -> ProviderError | None:
    """Read the code and the message of an error answer; capacity has no code of its own."""
    code, message = (body.get("code"), body.get("message")) if isinstance(body, dict) else (None, body)
    told = str(message).lower()
    if code == "insufficient_funds":
        return Rejected(reason=Reason.MONEY)
    if "capacity" in told or (status < 500 and SOLD_OUT.search(told)):
        return NoCapacity(reason=Reason.SOLD_OUT)
    if status in (400, 403, 409, 422) and QUOTA.search(told):
        return NoCapacity(reason=Reason.QUOTA)
    return None
