"""placing -> starting -> running -> succeeded; recovering goes round; stopping ends it."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings

from offers.matching import need as needs
from offers.matching.solve import SitePlan
from offers.operations import replacement
from workloads import operations, queries
from workloads.machine import Hop, Machine, Move, Nap
from workloads.models import Artifact, Contribution, Lease, Placement, Workload

State = Workload.State
workload_machine = Machine(Workload, final=Workload.FINAL)
AVOID_FOR = timedelta(minutes=10)  # An offer that failed this workload comes last for so long,
AVOID_AT_ALL_FOR = timedelta(seconds=30)  # and for so long not at all.
FAILURES_MAX = 4  # Sites lost in a row without one merged contribution between them.
STRAGGLERS_S = 60  # After the model is saved, so long for the other sites to save theirs.


@workload_machine.step(
    State.PLACING,
    exits={State.STARTING, State.RECOVERING, State.STOPPING, State.SUCCEEDED},
    deadline=timedelta(minutes=15),
    late=State.STOPPING,
)
def placing(workload: Workload, now: datetime) -> Move:
    """Open placements: those of the quote at first, one for a lost site later."""
    if over := _over(workload, now):
        return over
    if not workload.placements.exists():
        return Hop(to=State.STARTING, then=lambda: operations.place_quote(workload=workload, now=now))
    site = _site_for_the_missing(workload, now)
    if site is None:
        return Hop(to=State.RECOVERING, why="the machines that were free a moment ago are gone")
    return Hop(
        to=State.STARTING,
        why=f"on {site.region}, {site.accelerators} x {site.accelerator}",
        then=lambda: operations.place_site(workload=workload, site=site, now=now),
    )


@workload_machine.step(
    State.STARTING,
    exits={State.RUNNING, State.RECOVERING, State.STOPPING, State.SUCCEEDED},
    deadline=timedelta(hours=1),
    late=State.STOPPING,
)
def starting(workload: Workload, now: datetime) -> Move:
    """Wait until every site trains."""
    if over := _over(workload, now):
        return over
    alive = _alive(workload)
    if len(alive) < _wanted(workload):
        return Hop(to=State.RECOVERING, why=_last_words(workload))
    if all(placement.state == Placement.State.TRAINING for placement in alive):
        return Hop(to=State.RUNNING, set={"started_at": workload.started_at or now})
    return Nap(seconds=2)


@workload_machine.step(
    State.RUNNING,
    exits={State.RECOVERING, State.STOPPING, State.SUCCEEDED},
    deadline=timedelta(days=30),
    late=State.STOPPING,
)
def running(workload: Workload, now: datetime) -> Move:
    """Until the work is done, or a site is missing that can be replaced."""
    if over := _over(workload, now):
        return over
    alive = _alive(workload)
    work_left = not queries.all_merged(workload.pk)
    if work_left and len(alive) < _wanted(workload) and (not alive or _site_for_the_missing(workload, now)):
        return Hop(to=State.RECOVERING, why=_last_words(workload))
    if not alive and not work_left:
        return Hop(to=State.RECOVERING, why="every site was lost before the model was saved")
    return Nap(seconds=2)


@workload_machine.step(
    State.RECOVERING,
    exits={State.PLACING, State.RUNNING, State.STOPPING, State.SUCCEEDED},
    deadline=timedelta(hours=6),
    late=State.STOPPING,
)
def recovering(workload: Workload, now: datetime) -> Move:
    """Find machines in place of those that were lost; the other sites go on meanwhile."""
    if over := _over(workload, now):
        return over
    if _site_for_the_missing(workload, now):
        return Hop(to=State.PLACING, why="a replacement is open")
    if any(placement.state == Placement.State.TRAINING for placement in _alive(workload)):
        return Hop(to=State.RUNNING, why="no replacement is open: goes on with the sites that are left")
    return Nap(seconds=5)


@workload_machine.step(
    State.STOPPING,
    exits={State.CANCELLED, State.FAILED},
    deadline=timedelta(hours=3),
    late=State.FAILED,
)
def stopping(workload: Workload, now: datetime) -> Move:
    """Ask every site to hand in what it has and leave; end when all are closed and the last round is merged."""
    unclosed = list(workload.placements.exclude(state=Placement.State.CLOSED))
    if unclosed:
        why = f"the workload stops: {workload.why or workload.end_reason}"
        return Nap(seconds=1, then=lambda: _drain(unclosed, why, now))
    if Contribution.objects.filter(round__workload=workload, status="accepted").exists():
        return Nap(seconds=1)
    reason = workload.end_reason or "deadline"
    to = State.CANCELLED if reason in ("asked", "budget") else State.FAILED
    return Hop(to=to, why=workload.why, set={"ended_at": now, "end_reason": reason})


def _over(workload: Workload, now: datetime) -> Move | None:
    """Whatever ends a workload, in any state before stopping."""
    if workload.stop_requested_at:
        return Hop(to=State.STOPPING, why=workload.why or "asked")
    guilty = workload.placements.exclude(blame="").order_by("id").first()
    if guilty is not None:
        return _stop(guilty.blame, f"{guilty.site}: {guilty.why}")
    return _refused_too_often(workload) or _finished(workload, now) or _given_up(workload, now)


def _stop(reason: str, why: str) -> Hop:
    return Hop(to=State.STOPPING, why=why, set={"end_reason": reason, "why": why[:400]})


def _refused_too_often(workload: Workload) -> Hop | None:
    handed_in = Contribution.objects.filter(round__workload=workload).exclude(status="late").order_by("-id")
    last = list(handed_in[: settings.REFUSALS_MAX])
    if len(last) == settings.REFUSALS_MAX and all(one.status == "refused" for one in last):
        return _stop("refused_contributions", f"{len(last)} contributions in a row were refused: {last[0].why}")
    return None


def _finished(workload: Workload, now: datetime) -> Move | None:
    """A site's script has ended by itself, or the model is here."""
    model = Artifact.objects.filter(workload=workload, kind="model").order_by("-id").first()
    if not model and not workload.placements.filter(exit_code=0).exists():
        return None
    alive = _alive(workload)
    if alive:
        late = model is not None and now > model.created_at + timedelta(seconds=STRAGGLERS_S)
        return Nap(seconds=1, then=lambda: _drain(alive, "the model is saved", now)) if late else None
    if workload.placements.exclude(state=Placement.State.CLOSED).exists():
        return Nap(seconds=1)
    if model or Artifact.objects.filter(workload=workload).exists():
        why = "" if model else "the script saved no model; its last checkpoint is kept"
        return Hop(to=State.SUCCEEDED, why=why, set={"ended_at": now, "end_reason": "finished", "why": why})
    return _stop("no_session", "the script ended without training: it never entered gpuyard.train.session()")


def _drain(placements: list[Placement], why: str, now: datetime) -> None:
    for placement in placements:
        operations.request_drain(placement_id=placement.pk, why=why, now=now)


def _given_up(workload: Workload, now: datetime) -> Hop | None:
    heard = workload.reported_at or workload.started_at
    if heard and workload.state == State.RUNNING and now - heard > timedelta(seconds=settings.SILENT_AFTER_S):
        return _stop("silent", f"no report of training for {settings.SILENT_AFTER_S} s")
    closed = workload.placements.filter(state=Placement.State.CLOSED).order_by("-id")[:FAILURES_MAX]
    useful = Contribution.objects.filter(placement__in=list(closed), status="merged").exists()
    if len(closed) == FAILURES_MAX and not useful and not any(p.drain_requested_at for p in closed):
        return _stop("no_capacity", f"{FAILURES_MAX} sites failed in a row; the last: {closed[0].why}")
    if workload.state == State.RECOVERING and not _alive(workload):
        waited = (now - workload.entered_at).total_seconds()
        if waited > settings.NO_CAPACITY_AFTER_S:
            return _stop(
                "no_capacity", f"no suitable machine was free for {waited:.0f} s. Before: {_last_words(workload)}"
            )
    return None


def _alive(workload: Workload) -> list[Placement]:
    leaving = (Placement.State.DRAINING, Placement.State.CLOSED)
    return list(workload.placements.exclude(state__in=leaving).order_by("id"))


def _wanted(workload: Workload) -> int:
    return workload.quote.lines.values("site_index").distinct().count()


def _site_for_the_missing(workload: Workload, now: datetime) -> SitePlan | None:
    alive = _alive(workload)
    if len(alive) >= _wanted(workload):
        return None
    for avoid_for in (AVOID_FOR, AVOID_AT_ALL_FOR):
        site = replacement(
            owner_id=workload.owner_id,
            need=needs.parse(workload.quote.need),
            busy_sites={(placement.provider, placement.region) for placement in alive},
            avoid=_failed_offers(workload, since=now - avoid_for),
            now=now,
        )
        if site is not None:
            return site
    return None


def _failed_offers(workload: Workload, *, since: datetime) -> set[int]:
    leases = Lease.objects.filter(placement__workload=workload, entered_at__gt=since)
    lost = leases.filter(state__in=(Lease.State.LOST, Lease.State.REFUSED))
    ailing = leases.filter(node__error__isnull=False)
    return {*lost.values_list("offer_id", flat=True), *ailing.values_list("offer_id", flat=True)}


def _last_words(workload: Workload) -> str:
    leaving = (Placement.State.DRAINING, Placement.State.CLOSED)
    last = workload.placements.filter(state__in=leaving).order_by("-entered_at", "-id").first()
    return f"{last.site}: {last.why}" if last else "a site is missing"
