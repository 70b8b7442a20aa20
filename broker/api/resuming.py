"""What an order says of the run that it goes on from."""

from __future__ import annotations

from typing import Any

from broker.api.errors import Refused
from workloads import resuming, versions
from workloads.models import Workload


def resumed(owner_id: int, said: dict[str, Any] | None) -> tuple[Workload, int] | None:
    """Return the workload and version that an order resumes, None for none. Raises Refused."""
    if said is None:
        return None
    workload = Workload.objects.filter(pk=said["workload"], owner_id=owner_id).first()
    if workload is None:
        raise Refused(404, "not_found", f"there is no workload {said['workload']} of yours", "`yard ps` lists them")
    try:
        version = resuming.newest(workload) if said["version"] is None else said["version"]
        resuming.check(workload, version)
    except versions.VersionGone as error:
        hint = "take one that can be had" if error.kept else "it has not trained; order it anew"
        raise Refused(404, "version_gone", str(error), hint, kept=error.kept) from None
    return workload, version
