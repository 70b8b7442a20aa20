"""
Suppliers' own machines as a provider: the same four verbs, answered from our own tables instead of somebody's API.

A host is heard through its agent's heartbeat. One that was not heard for SILENCE is gone, unless we were the deaf ones.
Machines that we rented at a cloud are hosts without a supplier (offers.boot): they are not for sale here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from offers.models import Host, Listening, Offer, Rental, this_transaction
from offers.poll import record
from providers.base import (
    LaunchOrder,
    Listing,
    Machine,
    MachineState,
    Market,
    NoCapacity,
    Permission,
    PricePoint,
    Reason,
    Rejected,
)

NAME = "supplier"
FRESH_FOR = timedelta(minutes=15)  # The clock looks at every host every few seconds; without a clock nothing is quoted.
SILENCE = timedelta(seconds=8)  # Agents beat every second or two; a loaded host may miss a few.
DEAF_AFTER = timedelta(seconds=4)  # The web process notes every second that it listens; after such a pause it did not.


class Marketplace:
    """The hosts of all suppliers. One machine type per host; there is one of each."""

    name = NAME
    look_every_s = 1
    credentials: dict[str, bool] = {}
    keeps_price_history = False

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()

    def listings(self) -> Iterable[Listing]:
        """Return a line per host that may be offered, free or not."""
        now = timezone.now()
        return [listing(host) for host in supplied().exclude(key_sha256="") if state_of(host, now) in OFFERED]

    def launch(self, order: LaunchOrder) -> Machine:
        """Rent the host. Raises NoCapacity (rented, silent, reclaimed), Rejected (no such host, dearer than agreed)."""
        now = timezone.now()
        host = supplied().filter(pk=host_id(order.machine_type) or 0).first()
        if host is None:
            raise Rejected(f"no host {order.machine_type}")
        if host.usd_per_hour > order.max_usd_per_hour:
            raise Rejected(
                f"{host.name} now asks {host.usd_per_hour} USD an hour, more than was agreed", reason=Reason.PRICE
            )
        if not Rental.objects.filter(key=order.key).exists():
            if state_of(host, now) != "offered":
                raise NoCapacity(f"{host.name} is {state_of(host, now)}")
            try:
                with transaction.atomic():
                    Rental.objects.create(host=host, key=order.key, began_at=now)
                    refresh(host, now)
            except IntegrityError:
                raise NoCapacity(f"{host.name} was rented a moment ago") from None
        rental = Rental.objects.select_related("host").get(key=order.key)
        if rental.ended_at is not None:
            raise NoCapacity(f"{host.name}: that rental is over")
        return _machine(rental)

    def machines(self) -> Iterable[Machine]:
        """Return the rentals whose host we hear and whose owner has not taken it back."""
        now = timezone.now()
        live = Rental.objects.filter(ended_at=None).exclude(host__supplier=None).select_related("host")
        return [_machine(rental) for rental in live if state_of(rental.host, now) in ("rented", "reclaiming")]

    def price_history(self, *, since: datetime, until: datetime) -> Iterable[PricePoint]:
        """The book itself keeps it."""
        return []

    def check(self) -> list[Permission]:
        """Our own hosts need no permission."""
        return []

    def terminate(self, key: str) -> None:
        """End the rental; the host's agent learns it at its next heartbeat."""
        now = timezone.now()
        live = Rental.objects.filter(key=key, ended_at=None).exclude(host__supplier=None)
        for rental in live.select_related("host"):
            with transaction.atomic():
                Rental.objects.filter(pk=rental.pk).update(ended_at=now)
                refresh(rental.host, now)


OFFERED = ("rented", "offered")
STATES = ("new", "barred", "reclaimed", "silent", "reclaiming", *OFFERED)  # Of a host: the first that is true.


def _machine(rental: Rental) -> Machine:
    return Machine(
        key=rental.key,
        machine_id=f"host-{rental.host_id}",
        state=MachineState.RUNNING,
        address=rental.host.address or None,
        leaving_at=rental.host.reclaim_at,
    )


def supplied() -> QuerySet[Host]:
    """Return the hosts that suppliers registered."""
    return Host.objects.exclude(supplier=None)


def host_id(machine_type: str) -> int | None:
    """Return the id in a machine type "host-7", or None when it is not one of ours."""
    number = machine_type.removeprefix("host-")
    return int(number) if number.isdigit() else None


def rented(host: Host) -> bool:
    """Whether a key of ours is on it."""
    return host.rentals.filter(ended_at=None).exists()


def state_of(host: Host, now: datetime) -> str:
    """Return the first of STATES that is true."""
    if not host.key_sha256:
        return "new"
    if host.barred_why:
        return "barred"
    if host.reclaim_at is not None and host.reclaim_at <= now:
        return "reclaimed"
    if silent(host, now):
        return "silent"
    if host.reclaim_at is not None:
        return "reclaiming"
    return "rented" if rented(host) else "offered"


def silent(host: Host, now: datetime, *, after: timedelta = SILENCE) -> bool:
    """Whether we have listened for so long and heard nothing of it. While nobody listens, nobody is silent."""
    heard_at = host.seen_at or host.created_at
    listening = Listening.objects.first()
    if listening is not None:
        if now - listening.ticked_at > DEAF_AFTER:
            return False
        heard_at = max(heard_at, listening.since)
    return now - heard_at > after


def listen(now: datetime, *, woke: bool = False) -> None:
    """Note that heartbeats can reach us now. After a pause, or when we have just started, listening begins anew."""
    row, _ = Listening.objects.get_or_create(pk=1, defaults={"since": now, "ticked_at": now})
    news = {"ticked_at": now}
    if woke or now - row.ticked_at > DEAF_AFTER:
        news["since"] = now
    Listening.objects.filter(pk=1).update(**news)


def listing(host: Host) -> Listing:
    """Return the host as a line of a price list."""
    kind, count, memory_gib = counted(host.hardware)
    return Listing(
        provider=NAME,
        region=host.region,
        country=host.country,
        machine_type=f"host-{host.pk}",
        accelerator_label=kind,
        accelerator_count=count,
        memory_gib=memory_gib,
        vcpus=host.hardware.get("vcpus"),
        ram_gib=host.hardware.get("ram_gib"),
        market=Market.SPOT,  # The owner's own work comes first.
        usd_per_hour=Decimal(host.usd_per_hour),
        seen_at=host.seen_at or host.created_at,
    )


def counted(hardware: dict[str, Any]) -> tuple[str, int, float | None]:
    """Return (kind, count, GiB of the smallest) of its accelerators."""
    chips = hardware["accelerators"]
    return chips[0]["kind"], len(chips), min(chip.get("memory_gib") or 0 for chip in chips) or None


def refresh(host: Host, now: datetime) -> None:
    """Bring the host's offer up to date with what is true of it now."""
    refresh_all([host], now)


def refresh_all(hosts: Iterable[Host], now: datetime) -> None:
    """Bring the hosts' offers up to date; those of machines at clouds are not for sale here."""
    states = {host: state_of(host, now) for host in hosts if host.key_sha256 and host.supplier_id is not None}
    offered = [listing(host) for host, state in states.items() if state in OFFERED]
    if offered:
        record(offered, provider=NAME, now=now, leasable=True, fresh_for=FRESH_FOR)
    names = {f"host-{host.pk}": host.pk for host in states}
    mine = Offer.objects.filter(provider=NAME, machine_type__in=names).values_list("machine_type", "available")
    noted = {names[name]: available for name, available in mine}
    for host, state in states.items():
        if host.pk in noted and noted[host.pk] != int(state == "offered"):
            _note_whether_free(host.pk, now)


@transaction.atomic
def _note_whether_free(pk: int, now: datetime) -> None:
    """Under the host's lock: it may be rented, given back or heard again since it was looked at."""
    host = Host.objects.select_for_update(no_key=True).filter(pk=pk).first()
    if host is None:
        return
    free = int(state_of(host, now) == "offered")
    stale = Offer.objects.filter(provider=NAME, machine_type=f"host-{pk}").exclude(available=free)
    stale.update(available=free, changed_at=now, version=this_transaction())
