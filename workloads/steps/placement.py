"""leasing -> joining -> training -> draining -> closed."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings

from offers import marketplace
from offers.queries import rental_of
from workloads import operations, rounds
from workloads.machine import Hop, Machine, Move, Nap
from workloads.models import Lease, Node, Placement
from workloads.nodes import USERS_FAULTS

State = Placement.State
placement_machine = Machine(Placement, final={State.CLOSED})
DRAIN_S = 45  # What a site gets to hand in its partial round; machines with a shorter notice are gone before.
WITNESS_S = 12  # Longer than a supplier's host may be silent (offers.marketplace.SILENCE) and a look at it.
DRAINED_EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: left on request, the work is not done.


@placement_machine.step(
    State.LEASING,
    exits={State.JOINING, State.DRAINING},
    deadline=timedelta(minutes=20),
    late=State.DRAINING,
)
def leasing(placement: Placement, now: datetime) -> Move:
    """Wait until every machine of the site is held."""
    leases = _leases(placement)
    if over := _over(placement, leases, now):
        return over
    if any(lease.state != Lease.State.HELD for lease in leases):
        return Nap(seconds=1)
    return Hop(to=State.JOINING)


@placement_machine.step(
    State.JOINING,
    exits={State.TRAINING, State.DRAINING},
    deadline=timedelta(minutes=30),
    late=State.DRAINING,
)
def joining(placement: Placement, now: datetime) -> Move:
    """The agents fetch the program, make its environment and start Ray; the head starts the script."""
    leases = _leases(placement)
    if over := _over(placement, leases, now) or _ended(placement, now):
        return over
    if any(node.phase != "running" for node in _nodes(placement)):
        return Nap(seconds=1)
    return Hop(to=State.TRAINING, set={"machines": len(leases)})


@placement_machine.step(
    State.TRAINING,
    exits={State.DRAINING},
    deadline=timedelta(days=30),
    late=State.DRAINING,
)
def training(placement: Placement, now: datetime) -> Move:
    """Until the script ends, the head is lost, or somebody asks the site to leave; other machines come and go."""
    leases = _leases(placement)
    return _over(placement, leases, now) or _ended(placement, now) or _machines(placement, leases, now)


@placement_machine.step(
    State.DRAINING,
    exits={State.CLOSED},
    deadline=timedelta(hours=2),
    late=None,
)
def draining(placement: Placement, now: datetime) -> Move:
    """Let a site that was asked to leave hand in its partial round, then give every machine back."""
    alive = placement.leases.exclude(state__in=Lease.DEAD)
    if not alive.exists():
        code = _exit_code(placement)
        return Hop(to=State.CLOSED, why=placement.why, set={"exit_code": code}, then=lambda: _close(placement, now))
    head_lives = _leases(placement)[0].state not in Lease.DEAD
    asked = placement.drain_requested_at is not None and not placement.blame
    if asked and head_lives and _running(placement) and now < placement.entered_at + timedelta(seconds=DRAIN_S):
        return Nap(seconds=1)
    return Nap(seconds=1, then=lambda: operations.release_all(placement_id=placement.pk, now=now))


def _close(placement: Placement, now: datetime) -> None:
    rounds.forget(placement_id=placement.pk, now=now)


def _over(placement: Placement, leases: list[Lease], now: datetime) -> Hop | None:
    """The head, or any machine before it trains, takes its site with it; a site that is asked to leave leaves."""
    needed = leases[:1] if placement.state == State.TRAINING else leases
    dead = [lease for lease in needed if lease.state in Lease.DEAD]
    if dead:
        why = f"lost a machine: {dead[0].why}" if dead[0].opened_at else f"a machine was refused: {dead[0].why}"
        return _leave(placement, why, now)
    if placement.drain_requested_at:
        # It stays a member until it has exited: its partial round still counts.
        return Hop(to=State.DRAINING, why=placement.why or "asked to leave")
    return None


def _ended(placement: Placement, now: datetime) -> Move | None:
    """Look at what the agents say of the script."""
    nodes = _nodes(placement)
    for node in nodes[:1] if placement.state == State.TRAINING else nodes:
        if node.phase == "failed":
            error = node.error or {}
            blame = "script_error" if error.get("code") in USERS_FAULTS else ""
            why = f"{error.get('code', 'failed')}: {error.get('message', '')}"
            return _leave(placement, why, now, blame=blame)
    head = nodes[0]
    if head.phase != "exited":
        return None
    if head.exit_code in (0, DRAINED_EXIT_CODE):
        return _leave(placement, "the script ended" if head.exit_code == 0 else "left as asked", now)
    error = head.error or {"code": "script_error"}
    message = error.get("message") or f"the script ended with exit code {head.exit_code}"
    if _may_be_a_lost_machine(placement, head, now):
        return Nap(seconds=1)
    if lost := _lost_with(placement, head):
        return _leave(placement, f"lost a machine: {lost.why}", now)
    return _leave(placement, message, now, blame="script_error" if error["code"] in USERS_FAULTS else "")


def _machines(placement: Placement, leases: list[Lease], now: datetime) -> Nap:
    """A site that trains goes on without machines that are lost or leave, and with those that come."""
    nodes = {node.lease_id: node for node in _nodes(placement)}
    held = [lease for lease in leases if lease.state == Lease.State.HELD and lease.release_requested_at is None]
    failed = [lease for lease in held if nodes[lease.pk].phase == "failed"]
    running = [lease for lease in held if nodes[lease.pk].phase == "running"]
    stay = sum(lease.accelerators for lease in running if lease.taken_at is None)
    does_without = placement.world is not None and placement.world <= stay  # Those that are being taken away.
    left = [lease for lease in running if lease.taken_at is not None and does_without]
    if going := {lease.pk for lease in failed + left}:
        return Nap(seconds=1, then=lambda: operations.release(going, now=now))
    count, before = len(running), placement.machines or 0
    if count == before:
        return Nap(seconds=2)
    told = f"lost {before - count if before - count > 1 else 'one'} of {before} machines, goes on with {count}"
    why = told if count < before else f"goes on with {count} machines instead of {before}"
    return Nap(seconds=2, why=why, set={"machines": count}, figures={"machines": count, "before": before})


def _may_be_a_lost_machine(placement: Placement, head: Node, now: datetime) -> bool:
    """When a machine of several dies, the scripts on the others fail first; wait until its silence would be noticed."""
    if head.phase_at is None or placement.leases.count() < 2:
        return False
    waited = now - head.phase_at
    if waited < timedelta(seconds=WITNESS_S):
        return True
    # A cloud may list a dead machine for long; its agent's silence says more.
    return waited < timedelta(seconds=settings.CLOUD_SILENCE_S + WITNESS_S) and _one_is_silent(placement, now)


def _lost_with(placement: Placement, head: Node) -> Lease | None:
    """The machine that was lost when the script failed, if any: then that is why."""
    if head.phase_at is None:
        return None
    about = placement.leases.filter(state=Lease.State.LOST, closed_at__gt=head.phase_at - timedelta(seconds=WITNESS_S))
    return about.first()


def _one_is_silent(placement: Placement, now: datetime) -> bool:
    rentals = [rental_of(lease.key) for lease in placement.leases.exclude(state__in=Lease.DEAD)]
    return any(rental is not None and marketplace.silent(rental.host, now) for rental in rentals)


def _leave(placement: Placement, why: str, now: datetime, blame: str = "") -> Hop:
    return Hop(
        to=State.DRAINING,
        why=why,
        set={"why": why[:400], "blame": blame, "exit_code": _exit_code(placement)},
        then=lambda: rounds.forget(placement_id=placement.pk, now=now),
    )


def _leases(placement: Placement) -> list[Lease]:
    """Its leases, the head's first."""
    return list(placement.leases.order_by("id"))


def _nodes(placement: Placement) -> list[Node]:
    """Its nodes, the head first."""
    return list(Node.objects.filter(lease__placement=placement).order_by("lease_id"))


def _running(placement: Placement) -> bool:
    nodes = _nodes(placement)
    return bool(nodes) and nodes[0].phase == "running"


def _exit_code(placement: Placement) -> int | None:
    nodes = _nodes(placement)
    return nodes[0].exit_code if nodes else None
