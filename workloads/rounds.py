"""
Outer synchronisation across sites: who takes part, which samples are whose, which contribution counts.

Every verb here is one short transaction that holds the workload's Training row, so that two sites never get one sample.
The merge itself is a step of the round's lifecycle (workloads.steps.round). Picture: docs/architecture.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from workloads import bell, hub, storage
from workloads.lifecycle import born
from workloads.models import Contribution, Placement, Round, SampleRange, Training, Workload
from workloads.node.training import codec, outer, wire
from workloads.node.training.layout import Layout

# A site that comes while a round is this young takes part in it; the others would wait for it no longer than that.
JOIN_WITHIN = timedelta(seconds=3)
JOIN_FIRST_ROUND_WITHIN = timedelta(seconds=15)  # All sites start at about the same time.
MEMBER = (Placement.State.JOINING, Placement.State.TRAINING, Placement.State.DRAINING)


class SiteGone(Exception):
    """The placement takes part no more: lost, closed, or its workload ended. Its machine will be told to stop."""


class ModelDiffers(Exception):
    """This site's model, data or settings are not those of the other sites."""


class NotReady(Exception):
    """The site must say hello, or hand in the initial parameters, first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a site says when it comes. tensors: {name: {shape, dtype}}."""

    world: int
    tensors: dict[str, Any]
    dataset_samples: int
    total_samples: int
    batch_size: int
    sync_every_steps: int
    outer_lr: float | None
    outer_momentum: float | None
    codec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedIn:
    """A contribution as offered. ranges: positions [start, end) that it used."""

    version: int
    sha256: str
    samples: int
    steps: int
    ranges: list[tuple[int, int]]
    partial: bool
    loss: float | None


@transaction.atomic
def hello(*, placement: Placement, said: Hello, now: datetime) -> Training:
    """Take a site in, or back after a restart: what it held is free again. Raises SiteGone, ModelDiffers."""
    _member(placement)
    samples_per_round = said.sync_every_steps * said.batch_size * said.world
    training, made = Training.objects.select_for_update().get_or_create(
        workload_id=placement.workload_id,
        defaults={
            "tensors": said.tensors,
            "dataset_samples": said.dataset_samples,
            "total_samples": said.total_samples,
            "sync_every_steps": said.sync_every_steps,
            "outer_lr": said.outer_lr,
            "outer_momentum": said.outer_momentum,
            "samples_per_round": samples_per_round,
            "codec": said.codec,
        },
    )
    if not made:
        for field in ("tensors", "dataset_samples", "total_samples"):
            ours, theirs = getattr(training, field), getattr(said, field)
            if ours != theirs:
                raise ModelDiffers(f"{field}: this site has {_short(theirs)}, the others have {_short(ours)}")
    _free(placement.pk)
    Placement.objects.filter(pk=placement.pk).update(hello_at=now, joined=False, idle_version=None)
    return training


@transaction.atomic
def initial(*, placement: Placement, sha256: str, now: datetime) -> Training:
    """
    Make an object the initial parameters, unless another site was first.

    Raises SiteGone, NotReady, codec.CorruptTensors, codec.TensorsDiffer, codec.NotFinite, storage.ObjectMissing.
    """
    _member(placement)
    training = _locked(placement)
    if training.version is None:
        with storage.local(sha256) as path:
            begun = hub.begin(training, path=path)
        for name, value in begun.items():
            setattr(training, name, value)
        training.version = training.snapshot_version = 0
        training.initial_sha256 = training.snapshot_sha256 = sha256
        training.save()
        Round.objects.create(
            workload_id=training.workload_id, version=0, opened_at=now, state=Round.State.OPEN, **born(now)
        )
    return training


@transaction.atomic
def lease_samples(*, placement: Placement, version: int, count: int, now: datetime) -> tuple[str, Training, list[Any]]:
    """
    Lease up to `count` positions to a site for the round of `version`.

    Return (status, training, [(start, end)...]); status: leased, wait, done, drain, stale. A site that holds some
    already, because it did not hear the answer, gets the same again. Raises SiteGone, NotReady.
    """
    training = _locked(placement)
    placement.refresh_from_db()
    _member(placement)
    if training.version is None:
        raise NotReady("nobody has handed in the initial parameters yet")
    if _all_merged(training):
        return "done", training, []
    if placement.drain_requested_at:
        return "drain", training, []
    if version != training.version:
        return "stale", training, []
    held = _ranges(SampleRange.objects.filter(holder=placement, contribution=None))
    if held:
        return "leased", training, held
    round_ = Round.objects.get(workload_id=training.workload_id, version=version)
    if _handed_in(round_, placement) or not _may_join(placement, round_, now):
        return "wait", training, []
    leased = _take(training, placement, count)
    if not leased:
        Placement.objects.filter(pk=placement.pk).update(idle_version=version)
        transaction.on_commit(lambda: bell.wake("round", round_.pk, now))
        return "wait", training, []
    return "leased", training, leased


def contribute(*, placement: Placement, given: HandedIn, now: datetime) -> tuple[str, str]:
    """
    Take a contribution in; return (accepted or refused, why). The same one twice is once.

    What is refused, and what was leased but not used, is free again. Raises SiteGone, NotReady, storage.ObjectMissing.
    """
    training = Training.objects.filter(workload_id=placement.workload_id).first()
    if training is None:
        raise NotReady("say hello first")
    fault = _fault(given, training) if given.samples else ""
    with transaction.atomic():
        training = _locked(placement)
        placement.refresh_from_db()
        _member(placement)
        round_ = Round.objects.select_for_update().filter(workload=training.workload_id, version=given.version).first()
        if round_ is None:
            raise NotReady(f"there is no round {given.version}")
        known = (
            Contribution.objects.filter(round=round_, placement=placement, sha256=given.sha256).order_by("-id").first()
        )
        if known is not None and known.status != "refused":
            return ("refused" if known.status == "late" else "accepted"), known.why
        if round_.state != Round.State.OPEN or _handed_in(round_, placement):
            _free(placement.pk)
            return "refused", f"round {given.version} is closed; the newest is {training.version}"
        fault = fault or _misuse(given, placement)
        return _take_in(placement, round_, given, fault, now)


def _take_in(placement: Placement, round_: Round, given: HandedIn, fault: str, now: datetime) -> tuple[str, str]:
    if given.samples or fault:
        contribution = Contribution.objects.create(
            round=round_,
            placement=placement,
            sha256=given.sha256,
            samples=given.samples,
            steps=given.steps,
            loss=given.loss,
            partial=given.partial,
            status="refused" if fault else "accepted",
            why=fault[:200],
            received_at=now,
        )
        if not fault:
            _use(placement, contribution, given.ranges)
    _free(placement.pk)
    if given.partial:
        Placement.objects.filter(pk=placement.pk).update(joined=False)
    transaction.on_commit(lambda: bell.wake("round", round_.pk, now))
    if fault:
        transaction.on_commit(lambda: bell.wake("workload", placement.workload_id, now))
    return ("refused", fault) if fault else ("accepted", "")


def forget(*, placement_id: int, now: datetime) -> None:
    """A site takes part no more: nobody waits for it, and what it held is free. What it handed in still counts."""
    placement = Placement.objects.get(pk=placement_id)
    with transaction.atomic():
        Training.objects.select_for_update().filter(workload_id=placement.workload_id).first()
        Placement.objects.filter(pk=placement_id).update(joined=False)
        _free(placement_id)
    for pk in Round.objects.filter(workload_id=placement.workload_id, state="open").values_list("pk", flat=True):
        transaction.on_commit(lambda pk=pk: bell.wake("round", pk, now))  # type: ignore[misc]


def members(workload_id: int) -> QuerySet[Placement]:
    """Return the sites that the open round counts on."""
    return Placement.objects.filter(workload_id=workload_id, joined=True, state__in=MEMBER)


def admit_all(workload_id: int) -> None:
    """A round has closed: every site that has said hello takes part in the next."""
    Placement.objects.filter(
        workload_id=workload_id, state__in=MEMBER, hello_at__isnull=False, drain_requested_at=None
    ).update(joined=True)


def release_late(round_: Round) -> None:
    """Contributions that came while the round was being merged are late: their samples are free again."""
    late = Contribution.objects.filter(round=round_, status="accepted")
    for contribution in list(late):
        SampleRange.objects.filter(contribution=contribution).update(contribution=None, holder=None)
    late.update(status="late", why="it came when the round was already being merged")


def _member(placement: Placement) -> None:
    if placement.state not in MEMBER or placement.workload.state in Workload.FINAL:
        raise SiteGone(f"placement {placement.pk} is {placement.state}")


def _locked(placement: Placement) -> Training:
    training = Training.objects.select_for_update().filter(workload_id=placement.workload_id).first()
    if training is None:
        raise NotReady("say hello first")
    return training


def _all_merged(training: Training) -> bool:
    if training.next_sample < training.total_samples:
        return False
    return not SampleRange.objects.filter(workload=training.workload_id, merged_version=None).exists()


def _handed_in(round_: Round, placement: Placement) -> bool:
    return Contribution.objects.filter(round=round_, placement=placement).exclude(status="refused").exists()


def _may_join(placement: Placement, round_: Round, now: datetime) -> bool:
    """A member may; a newcomer when the round is young, or when nobody else is in it. Else it waits for the next."""
    if placement.joined:
        return True
    limit = JOIN_WITHIN if round_.version else JOIN_FIRST_ROUND_WITHIN
    young = now - round_.opened_at <= limit and not round_.contributions.exists()
    if not young and members(round_.workload_id).exclude(pk=placement.pk).exists():
        return False
    Placement.objects.filter(pk=placement.pk).update(joined=True)
    return True


def _take(training: Training, placement: Placement, count: int) -> list[tuple[int, int]]:
    """Lease what others left before what is new."""
    taken: list[tuple[int, int]] = []
    free = SampleRange.objects.filter(
        workload=training.workload_id, holder=None, contribution=None, merged_version=None
    ).order_by("start")
    for piece in free:
        if count <= 0:
            break
        end = min(piece.end, piece.start + count)
        _cut(piece, end)
        SampleRange.objects.filter(pk=piece.pk).update(holder=placement)
        taken.append((piece.start, end))
        count -= end - piece.start
    end = min(training.total_samples, training.next_sample + count)
    if end > training.next_sample:
        SampleRange.objects.create(
            workload_id=training.workload_id, start=training.next_sample, end=end, holder=placement
        )
        taken.append((training.next_sample, end))
        training.next_sample = end
        training.save()
    return taken


def _cut(piece: SampleRange, at: int) -> None:
    """Split a range at a position inside it; the piece keeps its first part."""
    if not piece.start < at < piece.end:
        return
    rest = SampleRange(workload_id=piece.workload_id, start=at, end=piece.end, holder_id=piece.holder_id)
    piece.end = at
    piece.save()
    rest.save()


def _use(placement: Placement, contribution: Contribution, used: list[tuple[int, int]]) -> None:
    """Mark the used parts of what the site holds; each lies inside one held range."""
    for start, end in used:
        piece = SampleRange.objects.get(holder=placement, contribution=None, start__lte=start, end__gte=end)
        if piece.start < start:
            _cut(piece, start)
            piece = SampleRange.objects.get(holder=placement, contribution=None, start=start)
        _cut(piece, end)
        SampleRange.objects.filter(pk=piece.pk).update(contribution=contribution)


def _free(placement_id: int) -> None:
    SampleRange.objects.filter(holder_id=placement_id, contribution=None).update(holder=None)


def _fault(given: HandedIn, training: Training) -> str:
    """Read the payload; return what is wrong with it, or an empty text."""
    try:
        with storage.local(given.sha256) as path:
            layout = Layout(training.tensors)
            name, parts = wire.read(path, size=layout.size)
            if strays := outer.strays(parts, name, layout):
                return f"there are numbers after the end of {strays[0]}"
    except (codec.CorruptTensors, codec.TensorsDiffer, codec.NotFinite, storage.HashMismatch) as error:
        return str(error)
    return ""


def _misuse(given: HandedIn, placement: Placement) -> str:
    """Return what is wrong with the samples that it says it used, or an empty text."""
    if given.samples != sum(end - start for start, end in given.ranges):
        return f"says {given.samples} samples, its ranges hold {sum(e - s for s, e in given.ranges)}"
    if given.samples and given.steps < 1:
        return "used samples without a step"
    last = -1
    for start, end in sorted(given.ranges):
        if start < last or end <= start:
            return f"range [{start}, {end}) overlaps another or is empty"
        last = end
        inside = Q(holder=placement, contribution=None, start__lte=start, end__gte=end)
        if not SampleRange.objects.filter(inside).exists():
            return f"range [{start}, {end}) is not leased to this site"
    return ""


def _ranges(rows: QuerySet[SampleRange]) -> list[tuple[int, int]]:
    return list(rows.order_by("start").values_list("start", "end"))


def _short(value: Any) -> str:
    return f"{len(value)} tensors" if isinstance(value, dict) else str(value)
