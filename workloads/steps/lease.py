"""requested -> booting -> held -> releasing -> released; or refused, or lost."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings

from offers import accounts, boot, lessons, marketplace, refusals, sightings
from offers.models import Host
from offers.queries import provider, rental_of
from providers.base import (
    LaunchOrder,
    MachineState,
    Market,
    NoCapacity,
    Provider,
    ProviderError,
    Reason,
    Rejected,
    Unreachable,
)
from providers.base import Machine as RentedMachine
from workloads import operations, queries
from workloads.machine import Hop, Machine, Move, Nap
from workloads.models import Lease, Node
from workloads.nodes import USERS_FAULTS

logger = logging.getLogger(__name__)
State = Lease.State
lease_machine = Machine(Lease, final=Lease.DEAD)
LISTED_WITHIN = timedelta(minutes=1)  # Clouds' lists are eventually consistent: a machine may appear later than said.
LISTEN_EVERY_S = 5  # How often an agent's silence is looked for: it tells of a loss sooner than the clouds' lists.
UNHEARD_S = 15
BOOT_PATIENCE = timedelta(minutes=8)  # A bare-metal machine may take so long; virtual ones come up in one to four.
CLEAR_TRIES = 3  # What is left of a lost machine may cost, but its replacement does not wait for long.


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
    if _at_a_cloud(lease):
        _expect_its_agent(lease, now)
    try:
        cloud = _renting(lease)
    except Rejected as refusal:  # Its account is gone, or cannot be opened.
        return _refused(lease, now, refusal)
    try:
        cloud.launch(_order(lease))
    except (NoCapacity, Rejected) as refusal:
        _clear(lease, insist=False)  # What it left behind when it failed, if it could not sweep that up itself.
        return _refused(lease, now, refusal)
    except Unreachable as silence:
        # It may have worked. Not every cloud knows a key again, so its list gets the time to show the machine.
        logger.warning("lease.launch-unheard id=%s error=%s", lease.pk, silence)
        return Nap(seconds=UNHEARD_S * 2 ** min(lease.attempts, 3), failed=True)
    finally:
        sightings.forget(cloud, owner_id=_holder(lease))
    return Hop(to=State.BOOTING, set={"opened_at": now})


def _renting(lease: Lease) -> Provider:
    """The cloud, unless that would rent on the broker's account what is paid for on the team's own. Raises Rejected."""
    if not lease.sell_usd_per_hour and _holder(lease) is None:
        name = lease.offer.provider
        raise Rejected(f"the team's own account at {name}, in which it was reserved, is gone", reason=Reason.AUTH)
    return _provider(lease)


def _list_price(lease: Lease) -> Decimal:
    """What it costs its cloud's other customers an hour, where it costs nothing here because it is reserved."""
    return lease.cost_usd_per_hour or lease.offer.usd_per_hour


def _order(lease: Lease) -> LaunchOrder:
    offer = lease.offer
    return LaunchOrder(
        key=lease.key,
        region=offer.region,
        zone=offer.zone,
        machine_type=offer.machine_type,
        market=Market(offer.market),
        max_usd_per_hour=_list_price(lease),
        startup_script=boot.startup_script(key=lease.key) if _at_a_cloud(lease) else "",
    )


def _expect_its_agent(lease: Lease, now: datetime) -> None:
    offer = lease.offer
    boot.prepare_machine(
        key=lease.key,
        provider=offer.provider,
        region=offer.region,
        country=offer.country,
        usd_per_hour=_list_price(lease),
        now=now,
    )


@lease_machine.step(
    State.BOOTING,
    exits={State.HELD, State.LOST, State.RELEASING},
    deadline=timedelta(hours=1),  # Whoever has no patience leaves before.
    late=State.RELEASING,
)
def booting(lease: Lease, now: datetime) -> Move:
    """Wait until the provider says that the machine runs, and until its agent has called."""
    if lease.release_requested_at:
        return Hop(to=State.RELEASING, why="asked")
    machine = _machine(lease, now)
    if machine is None:
        if _at_a_cloud(lease) and now < lease.entered_at + LISTED_WITHIN:
            return Nap(seconds=_provider(lease).look_every_s)
        return _lost(lease, now, "vanished while it booted")
    address = _address(lease, machine, now)
    if machine.state is MachineState.BOOTING and address is not None:
        machine = _look_again(lease, now) or machine
    if machine.state is not MachineState.RUNNING or address is None:
        if now > lease.entered_at + _patience(lease):
            return _slow(lease, now)
        return Nap(seconds=_provider(lease).look_every_s)
    return Hop(to=State.HELD, then=lambda: _begin(lease, address, now))


def _begin(lease: Lease, address: str, now: datetime) -> None:
    Node.objects.create(lease=lease, address=address, seen_at=now)
    refusals.forget(offer=lease.offer)


def _patience(lease: Lease) -> timedelta:
    """How long it may boot: another machine is up sooner than one that takes thrice its time."""
    return max(BOOT_PATIENCE, timedelta(seconds=3 * (lease.offer.boot_s or 0)))


def _slow(lease: Lease, now: datetime) -> Hop:
    why = f"slow to boot: {(now - lease.entered_at).total_seconds():.0f} s"
    return Hop(
        to=State.RELEASING,
        why=why,
        set={"why": why},
        then=lambda: _remember(lease, refusals.SLOW_BOOT, why, now),
    )


def _address(lease: Lease, machine: RentedMachine, now: datetime) -> str | None:
    """Where the other machines of its site reach it; None while it cannot be worked with."""
    if not _at_a_cloud(lease):
        return machine.address
    host = _host(lease)
    # The agent names the address of the network that the machines share, the cloud often the one seen from outside.
    return host.address if host.key_sha256 and not marketplace.silent(host, now) and _equipped(lease, host) else None


def _equipped(lease: Lease, host: Host) -> bool:
    """Whether its agent sees the accelerators that we pay for: their driver may come up later than the agent."""
    chips = host.hardware.get("accelerators") or []
    on_cpu = lease.offer.accelerator == "CPU"
    return len(chips) >= lease.accelerators and all((chip["kind"] == "CPU") == on_cpu for chip in chips)


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
    machine = _machine(lease, now)
    if machine is not None and _at_a_cloud(lease) and marketplace.silent(_host(lease), now):
        machine = _look_again(lease, now)
    if machine is None:
        return _lost(lease, now, "the machine is gone: not heard of, or taken back by its owner")
    if _at_a_cloud(lease) and marketplace.silent(_host(lease), now, after=timedelta(seconds=settings.CLOUD_SILENCE_S)):
        return _lost(lease, now, f"its agent was not heard for {settings.CLOUD_SILENCE_S:g} s")
    leaving_at = _leaving_at(lease, machine, now)
    seconds = min(_provider(lease).look_every_s, LISTEN_EVERY_S)
    told = {"taken_at": leaving_at} if leaving_at is not None and lease.taken_at is None else {}
    return Nap(seconds=seconds, set=told, then=lambda: _pass_notice_on(lease, leaving_at, now))


def _leaving_at(lease: Lease, machine: RentedMachine, now: datetime) -> datetime | None:
    """When its owner or its cloud takes it back, as far as the provider or the machine itself knows."""
    if machine.state is MachineState.STOPPING:
        return now
    return machine.leaving_at or (_host(lease).reclaim_at if _at_a_cloud(lease) else None)


def _pass_notice_on(lease: Lease, leaving_at: datetime | None, now: datetime) -> None:
    if leaving_at is not None and queries.ends_with(lease):
        who = f"{lease.offer.provider} takes" if _at_a_cloud(lease) else "its owner takes"
        why = f"{who} it back at {leaving_at:%H:%M:%S} UTC"
        operations.request_drain(placement_id=lease.placement_id, why=why, now=now)


@lease_machine.step(
    State.RELEASING,
    exits={State.RELEASED},
    deadline=timedelta(hours=1),
    late=None,  # A machine that will not die still costs money.
)
def releasing(lease: Lease, now: datetime) -> Move:
    """End the machine and see it gone."""
    cloud = _provider(lease)
    cloud.terminate(lease.key)
    sightings.forget(cloud, owner_id=_holder(lease))
    if _machine(lease, now):
        return Nap(seconds=cloud.look_every_s)
    closed = {"closed_at": now if lease.opened_at else None}
    return _end(lease, State.RELEASED, now, set=closed, failed=_ailment(lease))


def _ailment(lease: Lease) -> tuple[str, str] | None:
    """What was wrong with the machine itself, as its agent said; None when nothing was, or when it was the script."""
    node = Node.objects.filter(lease=lease).first()
    error = (node.error if node else None) or {}
    if not error or error.get("code") in USERS_FAULTS:
        return None
    return refusals.FAILED, f"{error.get('code')}: {error.get('message', '')}"


def _refused(lease: Lease, now: datetime, refusal: ProviderError) -> Hop:
    why = str(refusal)
    return _end(lease, State.REFUSED, now, why=why, set={"why": why[:400]}, failed=(refusals.reason_of(refusal), why))


def _lost(lease: Lease, now: datetime, why: str) -> Hop:
    _clear(lease)
    closed = {"closed_at": now, "why": why}
    return _end(lease, State.LOST, now, why=why, set=closed, failed=(refusals.FAILED, why))


def _clear(lease: Lease, *, insist: bool = True) -> None:
    """End what is left of a lost machine: it may lie there stopped, its disk costing, or run without our agent."""
    if not _at_a_cloud(lease):
        return
    cloud = _provider(lease)
    try:
        cloud.terminate(lease.key)
    except ProviderError as error:
        if insist and isinstance(error, Unreachable) and lease.attempts < CLEAR_TRIES:
            raise
        logger.warning("lease.not-cleared id=%s error=%s", lease.pk, error)
    finally:
        sightings.forget(cloud, owner_id=_holder(lease))


def _end(
    lease: Lease, to: str, now: datetime, *, why: str = "", set: dict[str, Any], failed: tuple[str, str] | None = None
) -> Hop:
    """With the lease ends what its agent may do, and what failed is remembered, in one transaction."""

    def then() -> None:
        boot.end_machine(key=lease.key, now=now)
        if lease.opened_at is not None:
            lost = to == State.LOST or lease.taken_at is not None
            lessons.note_lease(offer=lease.offer, opened_at=lease.opened_at, closed_at=now, lost=lost)
        if failed is not None:
            _remember(lease, *failed, now)

    return Hop(to=to, why=why, set=set, then=then)


def _remember(lease: Lease, reason: str, why: str, now: datetime) -> None:
    owner_id = lease.placement.workload.owner_id
    line = refusals.line_of(lease.offer)
    held = queries.machines_held(line, owner_id=owner_id) if reason == refusals.QUOTA else None
    refusals.remember(offer=lease.offer, reason=reason, why=why, now=now, owner_id=_holder(lease), machines=held)


def _provider(lease: Lease) -> Provider:
    """The cloud, connected with the account of the workload's owner, or the broker's where it has none."""
    return provider(lease.offer.provider, owner_id=lease.placement.workload.owner_id)


def _holder(lease: Lease) -> int | None:
    """Whose account that is; None is the broker's."""
    return accounts.holder(lease.offer.provider, lease.placement.workload.owner_id)


def _machine(lease: Lease, now: datetime) -> RentedMachine | None:
    return sightings.find_machine(_provider(lease), lease.key, now=now, owner_id=_holder(lease))


def _look_again(lease: Lease, now: datetime) -> RentedMachine | None:
    """Ask the cloud itself: the agent does not behave as the last look says. Seconds count, the machine costs."""
    sightings.forget(_provider(lease), owner_id=_holder(lease))
    return _machine(lease, now)


def _at_a_cloud(lease: Lease) -> bool:
    return lease.offer.provider != marketplace.NAME


def _host(lease: Lease) -> Host:
    """The machine as its agent made it known."""
    rental = rental_of(lease.key)
    assert rental is not None, f"{lease.key} was launched without expecting its agent"
    return rental.host
