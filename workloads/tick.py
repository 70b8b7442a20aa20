"""Postgres remembers, Redis only rings the bell: what is due is found here, whatever was lost elsewhere."""

from __future__ import annotations

from datetime import datetime

from workloads import bell, seeking
from workloads.machine import Machine
from workloads.steps.lease import lease_machine
from workloads.steps.placement import placement_machine
from workloads.steps.round import round_machine
from workloads.steps.workload import workload_machine

MACHINES: dict[str, Machine] = {
    "workload": workload_machine,
    "placement": placement_machine,
    "lease": lease_machine,
    "round": round_machine,
}


def ring(now: datetime, *, limit: int = 500) -> int:
    """Ring for every due row, and for the workloads that lack machines; return how many rows are due."""
    rung = 0
    if seeking.lacking(now):
        bell.ring_for_seekers()
    for kind, machine in MACHINES.items():
        if kind != "round":  # The hub looks for itself.
            for pk in machine.due(now).values_list("pk", flat=True)[:limit]:
                bell.ring(kind, pk)
                rung += 1
    return rung


def tick(now: datetime, *, limit: int = 500) -> int:
    """Run every due step once, here and now; return how many moved. For tests."""
    moved = seeking.seek(now)
    for machine in MACHINES.values():
        for pk in list(machine.due(now).values_list("pk", flat=True)[:limit]):
            moved += machine.advance(pk, now) is not None
    return moved
