"""requested -> booting -> held -> releasing -> released; or refused, or lost."""

from __future__ import annotations

from datetime import datetime, timedelta

from offers.queries import find_machine, provider
from providers.base import LaunchOrder, MachineState, Market, NoCapacity, Rejected
from providers.base import Machine as RentedMachine
from workloads import operations
from workloads.machine import Hop, Machine, Move, Nap
from workloads.models import Lease, Node

State = Lease.State
lease_machine = Machine(Lease, final=Lease.DEAD)


@lease_machine.step(
    State.REQUESTED,
    exits={State.BOOTING, State.REFUSED, State.RELEASING},
    deadline=timedelta(minutes=5),
    late=State.RELEASING,  # The launch may have worked without our hearing of it.
)
def requested(lease: Lease, now: datetime) -> Move:
    """Rent the machine. Providers bill from launch, so we do too."""
    if lease.release_requested_at:
        return Hop(to=State.RELEASING, why="asked before it was launched")
    offer = lease.offer
    order = LaunchOrder(
        key=lease.key,
        region=offer.region,
        machine_type=offer.machine_type,
        market=Market(offer.market),
        max_usd_per_hour=lease.cost_usd_per_hour,
    )
    try:
        provider(offer.provider).launch(order)
    except (NoCapacity, Rejected) as refusal:
        return Hop(to=State.REFUSED, why=str(refusal), set={"why": str(refusal)[:400]})
    return Hop(to=State.BOOTING, set={"opened_at": now})


@lease_machine.step(
    State.BOOTING,
    exits={State.HELD, State.LOST, State.RELEASING},
    deadline=timedelta(minutes=15),
    late=State.RELEASING,
)
def booting(lease: Lease, now: datetime) -> Move:
    """Wait until the provider says that the machine runs and where."""
    if lease.release_requested_at:
        return Hop(to=State.RELEASING, why="asked")
    machine = find_machine(lease.offer.provider, lease.key)
    if machine is None:
        return _lost(now, "vanished while it booted")
    if machine.state is not MachineState.RUNNING or machine.address is None:
        return Nap(seconds=provider(lease.offer.provider).look_every_s)
    node = {"address": machine.address, "seen_at": now}
    return Hop(to=State.HELD, then=lambda: Node.objects.create(lease=lease, **node))


@lease_machine.step(
    State.HELD,
    exits={State.RELEASING, State.LOST},
    deadline=timedelta(days=30),
    late=State.RELEASING,
)
def held(lease: Lease, now: datetime) -> Move:
    """Keep an eye on the machine until it is given back, leaves or is gone."""
    if lease.release_requested_at:
        return Hop(to=State.RELEASING, why="no longer needed")
    machine = find_machine(lease.offer.provider, lease.key)
    if machine is None:
        return _lost(now, "the machine is gone: not heard of, or taken back by its owner")
    return Nap(seconds=provider(lease.offer.provider).look_every_s, then=lambda: _pass_notice_on(lease, machine, now))


def _lost(now: datetime, why: str) -> Hop:
    return Hop(to=State.LOST, why=why, set={"closed_at": now, "why": why})


def _pass_notice_on(lease: Lease, machine: RentedMachine, now: datetime) -> None:
    if machine.leaving_at is not None:
        why = f"its owner takes it back at {machine.leaving_at:%H:%M:%S} UTC"
        operations.request_drain(placement_id=lease.placement_id, why=why, now=now)


@lease_machine.step(
    State.RELEASING,
    exits={State.RELEASED},
    deadline=timedelta(hours=1),
    late=None,  # A machine that will not die still costs money.
)
def releasing(lease: Lease, now: datetime) -> Move:
    """End the machine and see it gone."""
    provider(lease.offer.provider).terminate(lease.key)
    if find_machine(lease.offer.provider, lease.key):
        return Nap(seconds=provider(lease.offer.provider).look_every_s)
    return Hop(to=State.RELEASED, set={"closed_at": now if lease.opened_at else None})
