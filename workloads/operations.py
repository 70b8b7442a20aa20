"""The verbs others may use. Asking is all they do: the machines do the moving."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zlib import crc32

from django.conf import settings
from django.db import IntegrityError, transaction

from offers.models import Offer, Quote
from workloads import bell, storage
from workloads.lifecycle import born
from workloads.models import Artifact, Lease, Placement, Program, Workload

# Below Linux' ephemeral ports; one per placement, taken in turn. Each broker begins elsewhere: Ray's head listens at
# all addresses of a machine, and there may be hosts of another broker on it.
RAY_PORTS = range(21000, 30000)


class QuoteExpired(Exception):
    """The promised price is no longer promised."""


class QuoteTaken(Exception):
    """The quote was ordered already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to run, and at most for how much."""

    quote: Quote
    program: Program
    script: str
    args: tuple[str, ...]
    name: str
    budget_usd: Decimal
    priority: int
    resumes: tuple[Workload, int] | None  # The workload and the version of it that this one goes on from.
    idempotency_key: str | None
    body_sha256: str


@transaction.atomic
def submit(*, order: Order, now: datetime) -> Workload:
    """Start a workload at a quoted price. Raises QuoteExpired, QuoteTaken."""
    if not order.quote.is_open(now):
        raise QuoteExpired(order.quote.pk)
    try:
        with transaction.atomic():
            workload = Workload.objects.create(
                owner=order.quote.owner,
                quote=order.quote,
                program=order.program,
                script=order.script,
                args=list(order.args),
                name=order.name,
                budget_usd=order.budget_usd,
                priority=order.priority,
                resumes=order.resumes[0] if order.resumes else None,
                resumes_version=order.resumes[1] if order.resumes else None,
                sites_wanted=order.quote.lines.values("site_index").distinct().count(),
                idempotency_key=order.idempotency_key,
                body_sha256=order.body_sha256,
                created_at=now,
                state=Workload.State.PLACING,
                **born(now),
            )
    except IntegrityError:
        raise QuoteTaken(order.quote.pk) from None
    transaction.on_commit(lambda: bell.ring("workload", workload.pk))
    transaction.on_commit(bell.ring_for_seekers)
    return workload


def keep_program(
    *, owner_id: int, sha256: str, tar_sha256: str, size_bytes: int, now: datetime
) -> tuple[Program, bool]:
    """Record a program whose bytes are in the store; return it and whether it is new."""
    kept = {"size_bytes": size_bytes, "tar_sha256": tar_sha256}
    return Program.objects.update_or_create(
        owner_id=owner_id, sha256=sha256, defaults=kept, create_defaults=kept | {"created_at": now}
    )


def keep_profile(*, owner_id: int, sha256: str, profile: dict[str, Any]) -> bool:
    """Keep what a probe measured of a program; return whether there is such a program."""
    return bool(Program.objects.filter(owner_id=owner_id, sha256=sha256).update(profile=profile))


def request_stop(*, workload_id: int, reason: str, why: str, now: datetime) -> None:
    """Ask a workload to stop. Asking twice is asking once: the first reason counts."""
    running = Workload.objects.filter(pk=workload_id, stop_requested_at=None).exclude(state__in=Workload.FINAL)
    if running.update(stop_requested_at=now, end_reason=reason, why=why[:400]):
        bell.wake("workload", workload_id, now)


def request_drain(*, placement_id: int, why: str, now: datetime) -> None:
    """Ask a site to hand in what it has and leave. Asking twice is asking once."""
    leaving = (Placement.State.DRAINING, Placement.State.CLOSED)
    unasked = Placement.objects.filter(pk=placement_id, drain_requested_at=None).exclude(state__in=leaving)
    if unasked.update(drain_requested_at=now, why=why[:400]):
        bell.wake("placement", placement_id, now)


def release_all(*, placement_id: int, now: datetime) -> None:
    """Ask for every machine of a site to be given back."""
    release(Lease.objects.filter(placement_id=placement_id).values_list("pk", flat=True), now=now)


def release(leases: Iterable[int], *, now: datetime) -> None:
    """Ask for machines to be given back. Asking twice is asking once."""
    unasked = Lease.objects.filter(pk__in=leases, release_requested_at=None)
    for pk in list(unasked.exclude(state__in=Lease.DEAD).values_list("pk", flat=True)):
        Lease.objects.filter(pk=pk).update(release_requested_at=now)
        bell.wake("lease", pk, now)


def place_assigned(*, workload: Workload, now: datetime) -> None:
    """Open a placement and its leases for every site that was found for it (workloads.seeking), or leases in one."""
    assert workload.assigned is not None
    for site in workload.assigned["sites"]:
        offers = Offer.objects.in_bulk([pk for pk, *_ in site["lines"]])
        priced = [(offers[pk], machines, Decimal(cost), Decimal(sell)) for pk, machines, cost, sell in site["lines"]]
        if within := site.get("within"):
            trains = Placement.objects.filter(pk=within, state=Placement.State.TRAINING)
            for placement in trains.select_for_update():
                _lease(placement, priced, now)
        else:
            _place(workload, priced, now, replaces=site.get("replaces"))


def _place(
    workload: Workload, machines: list[tuple[Offer, int, Decimal, Decimal]], now: datetime, *, replaces: int | None
) -> None:
    first = machines[0][0]
    placement = Placement.objects.create(
        workload=workload,
        provider=first.provider,
        region=first.region,
        created_at=now,
        replaces_id=replaces,
        accelerators=sum(offer.accelerators * nodes for offer, nodes, _, _ in machines),
        ray_token=secrets.token_hex(32),
        ray_port=0,
        site_secret=secrets.token_urlsafe(32),
        state=Placement.State.LEASING,
        **born(now),
    )
    Placement.objects.filter(pk=placement.pk).update(
        ray_port=RAY_PORTS[(crc32(settings.SECRET_KEY.encode()) + placement.pk) % len(RAY_PORTS)]
    )
    _lease(placement, machines, now)


def _lease(placement: Placement, machines: list[tuple[Offer, int, Decimal, Decimal]], now: datetime) -> None:
    leases = Lease.objects.bulk_create(
        Lease(
            placement=placement,
            offer=offer,
            accelerators=offer.accelerators,
            cost_usd_per_hour=cost,
            sell_usd_per_hour=sell,
            state=Lease.State.REQUESTED,
            **born(now),
        )
        for offer, nodes, cost, sell in machines
        for _ in range(nodes)
    )
    for lease in leases:
        transaction.on_commit(lambda pk=lease.pk: bell.ring("lease", pk))  # type: ignore[misc]


@transaction.atomic
def keep_artifact(
    *, workload_id: int, kind: str, name: str, version: int, sha256: str, metrics: dict[str, Any], now: datetime
) -> Artifact:
    """Record bytes as a model, checkpoint or results once they are read back and verified.

    The first of a version stays; of results, those with the most `samples` in their metrics.
    Raises storage.ObjectMissing, storage.HashMismatch.
    """
    size_bytes = len(storage.get(sha256))
    given = {"name": name, "sha256": sha256, "size_bytes": size_bytes, "metrics": metrics, "created_at": now}
    artifact, is_new = Artifact.objects.select_for_update().get_or_create(
        workload_id=workload_id, kind=kind, version=version, defaults=given
    )
    if not is_new and kind == "results" and metrics["samples"] > artifact.metrics.get("samples", 0):
        Artifact.objects.filter(pk=artifact.pk).update(**given)
    transaction.on_commit(lambda: bell.wake("workload", workload_id, now))
    return artifact
