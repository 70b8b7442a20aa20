"""
Machines for the workloads that lack some: all of them at once, by rank, against what is free (offers.matching.tick).

What is found is written to `Workload.assigned`, and the workload's own step places it: only the machine moves. A quote
that was just ordered gets the machines that it names while they are free; else anything that fits the need will do.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, F, Q

from offers.matching import need as needs
from offers.matching import tick
from offers.models import QuoteLine
from workloads import bell, operations, queries
from workloads.models import Artifact, Placement, Workload
from workloads.stalls import GIVES_WAY, LEAVING, Gap, Stalls

State = Workload.State
SEEK_EVERY = timedelta(seconds=4)  # A workload that found nothing is looked at again after so long.
TIME_LIMIT_S = 1.0
LOCK = 0x5345454B  # "SEEK": one process seeks at a time.
SEEKING = (State.PLACING, State.STARTING, State.RUNNING, State.RECOVERING)
RECENT = timedelta(hours=24)  # What a team used in this time counts for its fair share.


def lacking(now: datetime) -> list[Workload]:
    """Return the workloads that want more sites, or machines in one, and were not looked at a moment ago."""
    rested = Q(sought_at=None) | Q(sought_at__lte=now - SEEK_EVERY) | Q(sought_at__gt=now)
    wanting = Workload.objects.filter(rested, state__in=SEEKING, stop_requested_at=None, assigned__isnull=True)
    # As queries.staying counts them.
    stays = Q(placements__replaces=None) | Q(placements__replaces__state__in=LEAVING)
    stays &= Q(placements__isnull=False) & ~Q(placements__state__in=LEAVING)
    few = Q(staying__lt=F("sites_wanted")) | Q(pk__in=queries.short_of_machines().values("workload"))
    short = wanting.annotate(staying=Count("placements", filter=stays)).filter(few)
    return [one for one in short.select_related("quote", "program").order_by("id") if not _done(one)]


def _done(workload: Any) -> bool:
    """Whether no site more is needed. A model that nobody saved yet needs one, though its data is used up."""
    trained = workload.staying > 0 and queries.all_merged(workload.pk)
    return trained or Artifact.objects.filter(workload=workload, kind="model").exists()


@transaction.atomic
def seek(now: datetime) -> int:
    """Look for machines for all that lack some; return for how many workloads any were found."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return 0
    workloads = lacking(now)
    if not workloads:
        return 0
    gaps = [gap for workload in workloads for gap in _gaps(workload)]
    stalls = Stalls(gaps, now)
    assignment = tick.assign(
        stalls.jobs(),
        stalls.offers(),
        stalls.running(),
        recent_gpu_s=_recent_gpu_s(now),
        now=now,
        clock=time.monotonic,
        time_limit_s=TIME_LIMIT_S,
    )
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for index, machines in assignment.placed.items():
        if stalls.take(machines):  # Else it waits until those who give way to it have left.
            found[gaps[index].workload.pk] += stalls.sites(index, machines)
    for pk, sites in found.items():
        Workload.objects.filter(pk=pk, assigned__isnull=True).update(assigned={"sites": sites}, sought_at=now)
        bell.wake("workload", pk, now)
    for index, why in assignment.unplaced.items():
        waiting = gaps[index].workload
        if waiting.pk not in found:
            Workload.objects.filter(pk=waiting.pk).update(sought_at=now, why=f"waits: {why}"[:400])
    for pk in assignment.drain:
        _drain(pk, gaps, assignment.placed, now)
    return len(found)


def _gaps(workload: Workload) -> list[Gap]:
    need = needs.parse(workload.quote.need)
    alive = tuple(queries.staying(workload.pk).prefetch_related("leases__offer"))
    gap = Gap(workload=workload, need=need, sites=workload.sites_wanted - len(alive), alive=alive)
    if workload.placements.exists() or workload.sought_at is not None:
        one_by_one = need.spread is not None or need.max_spot_share is not None
        short = queries.short_of_machines().filter(workload=workload).prefetch_related("leases__offer")
        lacks = [replace(gap, sites=1, within=one) for one in short]
        # One by one: a site that lost two machines is better off with one of them.
        within = [one for one in lacks for _ in range(-(-one.within.missing // one.accelerators))]
        sites = [replace(gap, sites=1) if one_by_one else gap] if gap.sites > 0 else []
        return sites + within
    by_site: dict[int, list[QuoteLine]] = defaultdict(list)
    for line in workload.quote.lines.select_related("offer").order_by("id"):
        by_site[line.site_index].append(line)
    return [replace(gap, sites=1, quoted=tuple(lines)) for lines in by_site.values()]


def _recent_gpu_s(now: datetime) -> dict[str, float]:
    """Return {team: accelerator-seconds} of the last RECENT."""
    used: dict[str, float] = defaultdict(float)
    leases = queries.leases_open_between(now - RECENT, now).select_related("placement__workload")
    for lease in leases:
        assert lease.opened_at is not None
        span = (lease.closed_at or now) - max(lease.opened_at, now - RECENT)
        used[str(lease.placement.workload.owner_id)] += lease.accelerators * max(span.total_seconds(), 0.0)
    return used


def _drain(pk: int, gaps: Sequence[Gap], placed: Iterable[int], now: datetime) -> None:
    above = Workload.objects.get(pk=pk).priority
    winner = max((gaps[index].workload for index in placed), key=lambda one: (one.priority > above, one.priority))
    why = f"{GIVES_WAY} {winner.pk}, of priority {winner.priority}"
    for placement in Placement.objects.filter(workload_id=pk).exclude(state=Placement.State.CLOSED):
        operations.request_drain(placement_id=placement.pk, why=why, now=now)
