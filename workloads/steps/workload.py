"""placing -> starting -> running -> succeeded; recovering goes round; stopping ends it."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings

from offers.models import Offer
from workloads import operations, policing, queries
from workloads.machine import Hop, Machine, Move, Nap
from workloads.models import Artifact, Contribution, Placement, Round, Workload

State = Workload.State
workload_machine = Machine(Workload, final=Workload.FINAL)
UNSAVED = "every site was lost before the model was saved"
FAILURES_MAX = 4  # Sites lost in a row without one merged contribution between them.
STRAGGLERS_S = 60  # After the model is saved, so long for the other sites to save theirs.


@workload_machine.step(
    State.PLACING,
    exits={State.STARTING, State.RUNNING, State.STOPPING, State.SUCCEEDED},
    deadline=timedelta(days=30),
    late=State.STOPPING,
)
def placing(workload: Workload, now: datetime) -> Move:
    """Open placements on the machines that were found for it; wait while there are none."""
    if over := _over(workload, now):
        return over
    if workload.assigned is not None:
        return _place(workload, now)
    return Nap(seconds=2)


@workload_machine.step(
    State.STARTING,
    exits={State.RUNNING, State.PLACING, State.RECOVERING, State.STOPPING, State.SUCCEEDED},
    deadline=timedelta(hours=1),
    late=State.STOPPING,
)
def starting(workload: Workload, now: datetime) -> Move:
    """Wait until every site that it has trains."""
    if over := _over(workload, now):
        return over
    alive = _alive(workload)
    if not alive:
        return Hop(to=State.RECOVERING, why=_last_words(workload))
    if workload.assigned is not None:
        return Hop(to=State.PLACING, why=_reason(workload))
    if all(placement.state == Placement.State.TRAINING for placement in alive):
        return Hop(to=State.RUNNING, set={"started_at": workload.started_at or now})
    return Nap(seconds=2)


@workload_machine.step(
    State.RUNNING,
    exits={State.RECOVERING, State.PLACING, State.STOPPING, State.SUCCEEDED},
    deadline=timedelta(days=30),
    late=State.STOPPING,
)
def running(workload: Workload, now: datetime) -> Move:
    """Until the work is done; machines that were found for a missing site are placed, the others go on meanwhile."""
    if over := _over(workload, now):
        return over
    alive = _alive(workload)
    if not alive:
        lost = _last_words(workload) if not queries.all_merged(workload.pk) else UNSAVED
        return Hop(to=State.RECOVERING, why=lost)
    if workload.assigned is not None:
        return Hop(to=State.PLACING, why=_reason(workload))
    replaced = _replaced(alive)
    if replaced:
        return Nap(seconds=2, then=lambda: _drain(replaced, "another site has taken its place", now))
    return policing.judge(workload, now) if policing.is_due(workload, now) else Nap(seconds=2)


@workload_machine.step(
    State.RECOVERING,
    exits={State.PLACING, State.STOPPING, State.SUCCEEDED},
    deadline=timedelta(days=30),
    late=State.STOPPING,
)
def recovering(workload: Workload, now: datetime) -> Move:
    """Every site is lost: wait for machines."""
    if over := _over(workload, now):
        return over
    if workload.assigned is not None:
        return Hop(to=State.PLACING, why="machines are free again")
    waits = workload.sites_wanted == 0 and policing.is_due(workload, now)  # It was the policy that sent all sites home.
    return policing.judge(workload, now) if waits else Nap(seconds=2)


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


def _place(workload: Workload, now: datetime) -> Hop:
    """Open what was found."""
    offers = Offer.objects.in_bulk([pk for site in workload.assigned["sites"] for pk, *_ in site["lines"]])
    told = []
    for site in workload.assigned["sites"]:
        first = offers[site["lines"][0][0]]
        chips = sum(offers[pk].accelerators * machines for pk, machines, *_ in site["lines"])
        more = " more" if site.get("within") else ""
        told.append(f"{chips} x {first.accelerator}{more} at {first.site}")
    return Hop(
        to=State.STARTING,
        why=f"on {', '.join(told)}"[:400],
        set={"assigned": None, "why": ""},
        then=lambda: operations.place_assigned(workload=workload, now=now),
    )


def _over(workload: Workload, now: datetime) -> Move | None:
    """Whatever ends a workload, in any state before stopping."""
    if workload.stop_requested_at:
        return Hop(to=State.STOPPING, why=workload.why or "asked")
    guilty = workload.placements.exclude(blame="").order_by("id").first()
    if guilty is not None:
        return _stop(guilty.blame, f"{guilty.site}: {guilty.why}")
    return _refused_too_often(workload) or _diverged(workload) or _finished(workload, now) or _given_up(workload, now)


def _stop(reason: str, why: str) -> Hop:
    return Hop(to=State.STOPPING, why=why, set={"end_reason": reason, "why": why[:400]})


def _refused_too_often(workload: Workload) -> Hop | None:
    handed_in = Contribution.objects.filter(round__workload=workload).exclude(status="late").order_by("-id")
    last = list(handed_in[: settings.REFUSALS_MAX])
    if len(last) == settings.REFUSALS_MAX and all(one.status == "refused" for one in last):
        return _stop("refused_contributions", f"{len(last)} contributions in a row were refused: {last[0].why}")
    return None


def _diverged(workload: Workload) -> Hop | None:
    if not Round.objects.filter(workload=workload, state=Round.State.ABANDONED).exists():
        return None
    why = "the parameters do not follow from the rounds any more: the store, or a hub's memory, was changed under way"
    return _stop("diverged", f"{why}; the last checkpoints are kept")


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
    if workload.state in (State.PLACING, State.RECOVERING) and workload.sites_wanted and not _alive(workload):
        waited = (now - workload.entered_at).total_seconds()
        if waited > settings.NO_CAPACITY_AFTER_S:
            return _stop("no_capacity", f"no suitable machine was free for {waited:.0f} s. {_before(workload)}")
    return None


def _alive(workload: Workload) -> list[Placement]:
    leaving = (Placement.State.DRAINING, Placement.State.CLOSED)
    return list(workload.placements.exclude(state__in=leaving).order_by("id"))


def _reason(workload: Workload) -> str:
    """Why it gets another site: in place of one that is too dear now, or of one that was lost; or machines in one."""
    if all(site.get("within") for site in workload.assigned["sites"]):
        return "a site that lost machines gets others"
    moves = any(site.get("replaces") for site in workload.assigned["sites"])
    return "a better place was found for one of its sites" if moves else _last_words(workload)


def _replaced(alive: list[Placement]) -> list[Placement]:
    """Sites whose place another has taken, which trains now."""
    heirs = {one.replaces_id for one in alive if one.replaces_id and one.state == Placement.State.TRAINING}
    return [one for one in alive if one.pk in heirs]


def _before(workload: Workload) -> str:
    return f"Before: {_last_words(workload)}" if workload.placements.exists() else workload.why


def _last_words(workload: Workload) -> str:
    leaving = (Placement.State.DRAINING, Placement.State.CLOSED)
    last = workload.placements.filter(state__in=leaving).order_by("-entered_at", "-id").first()
    return f"{last.site}: {last.why}" if last else "a site is missing"
