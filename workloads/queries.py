"""Questions about what runs. Nothing here writes."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from offers import accounts, benchmarks, refusals
from offers.matching import estimate
from offers.matching import need as needs
from offers.matching import profile as profiles
from offers.models import Account
from workloads import samples as samples_of
from workloads.models import (
    Artifact,
    Contribution,
    Lease,
    Metric,
    Placement,
    Program,
    Round,
    SampleRange,
    Training,
    Workload,
)

# A site so many versions behind takes the updates; beyond that a snapshot is less.
UPDATES_MAX = 4


def leases_open_between(start: datetime, end: datetime) -> QuerySet[Lease]:
    """Return leases whose span [opened_at, closed_at) meets [start, end)."""
    return Lease.objects.filter(Q(closed_at=None) | Q(closed_at__gt=start), opened_at__lt=end).order_by("id")


def leases_of(workload_id: int) -> QuerySet[Lease]:
    """Return a workload's leases that were ever opened, oldest first."""
    mine = Lease.objects.filter(placement__workload=workload_id, opened_at__isnull=False)
    return mine.select_related("placement", "offer").order_by("id")


def leases_with_account(provider: str, owner_id: int | None) -> QuerySet[Lease]:
    """Return the leases that live on a team's account at a cloud; owner_id None: on the broker's, for any team."""
    live = Lease.objects.exclude(state__in=Lease.DEAD).filter(offer__provider=provider)
    if owner_id is not None:
        return live.filter(placement__workload__owner_id=owner_id)
    own = Account.objects.filter(provider=provider).exclude(owner=None).values("owner_id")
    return live.exclude(placement__workload__owner__in=own)


def machines_held(line: refusals.Line, *, owner_id: int | None) -> int:
    """Return how many machines of a line live on the account that this team rents with there."""
    provider, region, zone, machine_type, market = line
    live = leases_with_account(provider, accounts.holder(provider, owner_id)).filter(opened_at__isnull=False)
    named = {"region": region, "zone": zone, "machine_type": machine_type, "market": market}
    return live.filter(**{f"offer__{name}": value for name, value in named.items()}).count()


def reserved_in_use(owner_id: int) -> dict[int, int]:
    """Return {offer: machines} that a team holds at no cost: its reserved capacity."""
    live = Lease.objects.exclude(state__in=Lease.DEAD).filter(placement__workload__owner_id=owner_id)
    free = live.filter(sell_usd_per_hour=0).values_list("offer_id").annotate(machines=Count("id"))
    return dict(free)


def staying(workload_id: int) -> QuerySet[Placement]:
    """Return the sites that a workload has and keeps: not one that leaves, nor one that is to take another's place."""
    leaving = (Placement.State.DRAINING, Placement.State.CLOSED)
    here = Placement.objects.filter(workload_id=workload_id).exclude(state__in=leaving)
    successors = here.filter(replaces__in=here.values("pk"))
    return here.exclude(pk__in=successors.values("pk")).order_by("id")


def ends_with(lease: Lease) -> bool:
    """Whether a site ends when this machine leaves: its head, or any while it does not train yet."""
    head = lease.placement.leases.order_by("id").values_list("pk", flat=True).first()
    return lease.pk == head or lease.placement.state != Placement.State.TRAINING


def short_of_machines() -> QuerySet[Placement]:
    """Return the sites that train on fewer accelerators than they were placed with; `missing`: how many fewer."""
    leaving = (Placement.State.DRAINING, Placement.State.CLOSED)
    succeeded = Placement.objects.exclude(replaces=None).exclude(state__in=leaving).values("replaces")
    here = Placement.objects.filter(state=Placement.State.TRAINING, drain_requested_at=None).exclude(pk__in=succeeded)
    stays = Q(leases__taken_at=None, leases__release_requested_at=None) & ~Q(leases__state__in=Lease.DEAD)
    has = Coalesce(Sum("leases__accelerators", filter=stays), 0)
    return here.annotate(missing=F("accelerators") - has).filter(missing__gt=0).order_by("id")


def site_size(workload: Workload) -> int:
    """Return how many accelerators each of its sites is to have."""
    need = needs.parse(workload.quote.need)
    if need.accelerators is None:
        return need.site_size
    return max(need.site_size, -(-need.accelerators // max(workload.sites_wanted, 1)))


def speed(workload: Workload) -> estimate.Speed:
    """Return how fast a workload is taken to be: as it was measured, stated or predicted."""
    owner_id, sha256 = workload.owner_id, workload.program.tar_sha256 or workload.program.sha256
    profile = profile_of(owner_id=owner_id, program_sha256=sha256)
    return estimate.speed_for(
        needs.parse(workload.quote.need),
        measured=measured_speed(owner_id=owner_id, program_sha256=sha256),
        profile=profile,
        machines=benchmarks.machines(profile.precision) if profile else {},
    )


def profile_of(*, owner_id: int, program_sha256: str) -> profiles.Profile | None:
    """Return what a probe counted of a program, or None."""
    known = Program.objects.filter(_named(program_sha256), owner_id=owner_id, profile__isnull=False)
    program = known.order_by("-id").first()
    return profiles.parse(program.profile) if program else None


def _named(sha256: str, program: str = "") -> Q:
    """The programs that a need means: by the hash of their files or, as all were before, of the archive."""
    return Q(**{f"{program}sha256": sha256}) | Q(**{f"{program}tar_sha256": sha256})


def all_merged(workload_id: int) -> bool:
    """Whether every sample of the workload is merged; False while nothing is known of its data."""
    training = Training.objects.filter(pk=workload_id).first()
    return training is not None and samples_of.all_merged(training)


def samples(workload_id: int) -> dict[str, int]:
    """Return {total, merged, leased, free}; the last three add up to the first. Of a stopped run none is free."""
    training = Training.objects.filter(pk=workload_id).first()
    if training is None:
        return {"total": 0, "merged": 0, "leased": 0, "free": 0}
    width = Sum(F("end") - F("start"))
    sums = SampleRange.objects.filter(workload_id=workload_id).aggregate(
        merged=Sum(F("end") - F("start"), filter=Q(merged_version__isnull=False)), known=width
    )
    held = Q(holder__isnull=False) | Q(contribution__isnull=False)
    leased = SampleRange.objects.filter(held, workload_id=workload_id, merged_version=None).aggregate(all=width)["all"]
    merged = (sums["merged"] or 0) + training.merged_before
    taken = merged + (leased or 0)
    total = taken if training.stopped_at else training.total_samples
    return {"total": total, "merged": merged, "leased": leased or 0, "free": total - taken}


def last_metric(workload_id: int, name: str) -> tuple[float | None, int]:
    """Return (value, step) of the newest row that reports `name`; (None, 0) when none does."""
    rows = Metric.objects.filter(workload_id=workload_id, values__has_key=name).order_by("-id")
    row = rows.first()
    return (row.values[name], row.step) if row else (None, 0)


def placements(workload_id: int) -> QuerySet[Placement]:
    """Return a workload's placements with their leases, offers and nodes, oldest first."""
    mine = Placement.objects.filter(workload_id=workload_id).order_by("id")
    return mine.prefetch_related("leases__offer", "leases__node")


def rounds_of(workload_id: int) -> QuerySet[Round]:
    """Return a workload's rounds with what was handed in, oldest first; not one that came to nothing."""
    return (
        Round.objects.filter(workload_id=workload_id)
        .exclude(state=Round.State.ABANDONED)
        .order_by("version")
        .prefetch_related("contributions__placement")
    )


def samples_merged_of(placement: Placement) -> int:
    """Return how many samples a site trained on that are in the model."""
    mine = Contribution.objects.filter(placement=placement, status="merged")
    return int(mine.aggregate(all=Sum("samples"))["all"] or 0)


def newest_artifact(workload_id: int) -> Artifact | None:
    """Return the model, or the newest checkpoint while there is none."""
    mine = Artifact.objects.filter(workload_id=workload_id)
    return (
        mine.filter(kind="model").order_by("-id").first() or mine.filter(kind="checkpoint").order_by("-version").first()
    )


def measured_speed(*, owner_id: int, program_sha256: str) -> dict[str, float]:
    """
    Return samples/s of one accelerator, by name, from this owner's earlier runs of the same program.

    Measured over whole rounds, from a site's contribution to its next, so rounds' own cost is in it.
    """
    mine = Contribution.objects.filter(
        _named(program_sha256, "round__workload__program__"),
        status="merged",
        partial=False,
        round__workload__owner=owner_id,
    ).annotate(chips=Coalesce(F("accelerators"), Sum("placement__leases__accelerators")))
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for one in mine.select_related("round").order_by("-id")[:200]:
        seconds = one.train_s or (one.received_at - one.round.opened_at).total_seconds()
        chip = one.placement.leases.select_related("offer").first()
        if chip is not None and seconds > 0 and one.chips:
            totals[chip.offer.accelerator][0] += one.samples
            totals[chip.offer.accelerator][1] += seconds * one.chips
    return {name: samples / seconds for name, (samples, seconds) in totals.items()}


def samples_per_s(workload_id: int) -> float | None:
    """
    Return how fast a workload's sites train now, all together; None when nobody knows.

    Each site's newest contribution says it, over a whole round, so what a round costs is in it; before the first ones
    what the need states does.
    """
    training = Placement.objects.filter(workload_id=workload_id, state=Placement.State.TRAINING)
    given = Contribution.objects.filter(placement__in=training, status="merged", partial=False)
    newest = given.select_related("round").order_by("placement_id", "-id").distinct("placement_id")
    rates = [
        one.samples / seconds
        for one in newest
        if (seconds := one.train_s or (one.received_at - one.round.opened_at).total_seconds()) > 0
    ]
    if rates:
        return sum(rates)
    live = Lease.objects.filter(placement__in=training).exclude(state__in=Lease.DEAD)
    found = live.values_list("placement__workload__quote__need__samples_per_s").annotate(chips=Sum("accelerators"))
    return next((stated * chips for stated, chips in found if stated), None)


def by_idempotency_key(*, owner_id: int, key: str) -> Workload | None:
    """Return the workload that this key ordered, if any."""
    return Workload.objects.filter(owner_id=owner_id, idempotency_key=key).first()


def reachable_object(placement: Placement, sha256: str) -> bool:
    """Whether a site may read this object: a snapshot or an update of its own workload, earlier ones too."""
    first = Training.objects.filter(pk=placement.workload_id, initial_sha256=sha256)
    snapshot = Artifact.objects.filter(workload_id=placement.workload_id, kind="checkpoint", sha256=sha256)
    update = Round.objects.filter(workload_id=placement.workload_id, update_sha256=sha256)
    return first.exists() or snapshot.exists() or update.exists()


def round_status(placement: Placement, version: int, *, called: bool) -> str:
    """Return open, called (this site is to hand in; not when it knows already) or closed."""
    mine = Q(contributions__placement=placement) & ~Q(contributions__status="refused")
    rounds = Round.objects.filter(workload=placement.workload_id, version=version)
    found = rounds.annotate(handed_in=Count("contributions", filter=mine)).values_list(
        "state", "called_at", "handed_in"
    )
    state_, called_at, handed_in = found.first() or (Round.State.OPEN, None, 0)
    if state_ == Round.State.CLOSED:
        return "closed"
    return "called" if called_at and not called and not handed_in else "open"


def evaluates(placement: Placement) -> bool:
    """Whether a site is the one to evaluate the parameters: the oldest that trains."""
    members = Placement.objects.filter(workload=placement.workload_id, joined=True, drain_requested_at=None)
    return not members.filter(state__in=Placement.MEMBER, pk__lt=placement.pk).exists()


def merged(placement: Placement, version: int) -> str | None:
    """Return the SHA-256 of what a site handed in to that round, when it is merged."""
    mine = Contribution.objects.filter(round__workload=placement.workload_id, round__version=version)
    return mine.filter(placement=placement, status="merged").values_list("sha256", flat=True).first()


def state(training: Training, *, since: int | None = None) -> dict[str, Any] | None:
    """
    Return how to come to theta at the newest version; None before the first parameters.

    updates: from version `since` on where that is shorter than the snapshot and the updates after it.
    """
    if training.version is None or training.snapshot_version is None:
        return None
    behind = training.version - since if since is not None else UPDATES_MAX + 1
    closed = Round.objects.filter(workload=training.pk, state=Round.State.CLOSED, version__lt=training.version)
    near = since is not None and 0 <= behind <= UPDATES_MAX
    if near and closed.filter(version__gte=since, update_kept=False).exists():
        near = False  # The store has not all of them any more.
    closed = closed.filter(version__gte=since if near else training.snapshot_version)
    updates = closed.order_by("version").values_list("version", "update_sha256", "update_bytes", "fingerprint")
    names = ("version", "sha256", "size_bytes", "fingerprint")
    return {
        "version": training.version,
        "codec": training.codec,
        "sync_every_steps": training.sync_every_steps,
        "fingerprint": training.fingerprint,
        "snapshot": {
            "version": training.snapshot_version,
            "sha256": training.snapshot_sha256,
            "size_bytes": training.state_bytes,
        },
        "updates": [dict(zip(names, update, strict=True)) for update in updates],
    }
