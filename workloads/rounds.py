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
from django.db.models import F, QuerySet

from workloads import bell, hub, pace, payloads, resuming, samples, storage, versions
from workloads.lifecycle import born
from workloads.models import Contribution, Event, Placement, Round, Training, Workload
from workloads.node.training import outer
from workloads.payloads import Payload

ANSWERS_MAX_S, LATE_MAX_S = 5.0, 30.0
FADES = 0.8  # A second of delay counts for so much when the next one is shorter.


class SiteGone(Exception):
    """The placement takes part no more: lost, closed, or its workload ended. Its machine will be told to stop."""


class ModelDiffers(Exception):
    """This site's model, data or settings are not those of the other sites."""


class NotReady(Exception):
    """The site must say hello, or hand in the initial parameters, first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a site says when it comes. tensors: {name: {shape, dtype}}; None: the broker is to choose."""

    incarnation: int
    world: int
    tensors: dict[str, Any]
    dataset_samples: int
    dataset_fingerprint: str
    total_samples: int
    batch_size: int
    sync_every_steps: int | None
    outer_lr: float | None
    outer_momentum: float | None
    codec: str | None
    quorum: int | None
    grace_s: float | None
    outer_mean: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedIn:
    """
    A contribution as offered. ranges: positions [start, end) that it used.

    base: the version from which its first step was taken. figures: {train_s, stall_s, put_s, fetch_s}, as measured.
    """

    version: int
    base: int
    sha256: str
    samples: int
    steps: int
    ranges: list[tuple[int, int]]
    partial: bool
    loss: float | None
    figures: dict[str, float]


@transaction.atomic
def hello(*, placement: Placement, said: Hello, now: datetime) -> Training:
    """Take a site in, or back after a restart: what it held is free again. Raises SiteGone, ModelDiffers."""
    _member(placement)
    training, made = Training.objects.select_for_update().get_or_create(
        workload_id=placement.workload_id, defaults=_first(said)
    )
    if made and placement.workload.resumes_id:
        _resume(training, now)
    if not made:
        for field in ("tensors", "dataset_samples", "dataset_fingerprint", "total_samples"):
            ours, theirs = getattr(training, field), getattr(said, field)
            if ours != theirs:
                raise ModelDiffers(f"{field}: this site has {_short(theirs)}, the others have {_short(ours)}")
    samples.free(placement.pk)
    Placement.objects.filter(pk=placement.pk).update(
        incarnation=said.incarnation, world=said.world, hello_at=now, joined=False, idle_version=None, heard_at=None
    )
    return training


def _resume(training: Training, now: datetime) -> None:
    try:
        resuming.carry_over(training, now=now)
    except (resuming.CannotResume, versions.VersionGone) as error:
        raise ModelDiffers(str(error)) from error


def _first(said: Hello) -> dict[str, Any]:
    """Return the columns of a training that this site is the first of."""
    every = said.sync_every_steps or pace.FIRST_STEPS
    return {
        "tensors": said.tensors,
        "dataset_samples": said.dataset_samples,
        "dataset_fingerprint": said.dataset_fingerprint,
        "total_samples": said.total_samples,
        "sync_every_steps": every,
        "is_pace_chosen": said.sync_every_steps is None,
        "outer_lr": said.outer_lr,
        "outer_momentum": said.outer_momentum,
        "samples_per_round": every * said.batch_size * said.world,
        "quorum": said.quorum or 1,
        "grace_s": said.grace_s,
        "outer_mean": said.outer_mean or "",
        "codec": said.codec or pace.FIRST_CODEC,
        "is_codec_chosen": said.codec is None,
    }


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
def lease_samples(*, placement: Placement, number: int, count: int, now: datetime) -> tuple[str, Training, Any]:
    """
    Lease up to `count` positions to a site, which becomes one that the rounds count on.

    number: of the question; the same number gets the same answer. Return (status, training, [(start, end)...]);
    status: leased, wait (there are none now), done (all are merged), drain. Raises SiteGone, NotReady.
    """
    training = _locked(placement)
    if training.version is None:
        raise NotReady("nobody has handed in the initial parameters yet")
    if samples.all_merged(training):
        return "done", training, []
    if placement.drain_requested_at:
        return "drain", training, []
    ranges = samples.leased(placement, number) or samples.take(training, placement, number=number, count=count)
    mine = Placement.objects.filter(pk=placement.pk)
    if ranges:
        mine.update(joined=True, idle_version=None)
        return "leased", training, ranges
    if not samples.holds_any(placement) and placement.idle_version != training.version:
        mine.update(idle_version=training.version)
        _ring(Round.objects.get(workload=training.workload_id, version=training.version), now)
    return "wait", training, []


@transaction.atomic
def stop(*, placement: Placement, why: str, now: datetime) -> None:
    """
    End the run early: sites train on what they have got, and then all is done. Raises SiteGone, NotReady.
    """
    training = _locked(placement)
    if training.stopped_at is None:
        Training.objects.filter(pk=training.pk).update(stopped_at=now)
        state = placement.workload.state
        Event.objects.create(
            workload_id=training.pk,
            subject_type="workload",
            subject_id=training.pk,
            from_state=state,
            to_state=state,
            why=f"the script at {placement.site} ends the run early: {why}"[:400],
            at=now,
        )


def heard(*, placement: Placement, version: int, now: datetime) -> None:
    """
    Note that a site's leader asks how the round of `version` stands.

    From how soon it asks after the call, the hub learns how long the silence of a live site lasts.
    """
    fields: dict[str, Any] = {"heard_at": now}
    round_ = Round.objects.filter(workload=placement.workload_id, version=version, called_at__isnull=False).first()
    is_first = round_ is not None and (placement.heard_at is None or placement.heard_at < round_.called_at)
    # Whoever comes back after a while says nothing of how soon it answers.
    if round_ and is_first and (round_.closed_at is None or now - round_.closed_at <= timedelta(seconds=ANSWERS_MAX_S)):
        fields["answers_s"] = _usual(placement.answers_s, round_.called_at, now, ANSWERS_MAX_S)
    Placement.objects.filter(pk=placement.pk, incarnation=placement.incarnation).update(**fields)


def contribute(*, placement: Placement, given: HandedIn, now: datetime) -> tuple[str, str]:
    """
    Take a contribution in; return (accepted, late or refused, why). The same one twice is once.

    One without samples says that this round need not wait for the site. Late is what a closed round can not take: its
    samples stay the site's, whose next contribution holds the same work. The samples of what is refused are free
    again, and so is all that a site holds whose contribution is partial: it leaves. Raises SiteGone, NotReady,
    storage.ObjectMissing.
    """
    training = Training.objects.filter(workload_id=placement.workload_id).first()
    if training is None:
        raise NotReady("say hello first")
    payload = payloads.read(given.sha256, training) if given.samples else Payload()
    with transaction.atomic():
        training = _locked(placement)
        round_ = Round.objects.select_for_update().filter(workload=training.workload_id, version=given.version).first()
        if round_ is None:
            raise NotReady(f"there is no round {given.version}")
        same = Contribution.objects.filter(round=round_, placement=placement, sha256=given.sha256)
        known = same.exclude(status="refused").first()
        if known is not None:
            return ("late" if known.status == "late" else "accepted"), known.why
        status, why = _judged(placement, round_, training, given, payload)
        if status == "refused" or (status == "accepted" and given.samples):
            contribution = _kept(placement, round_, given, payload, status, why, now)
            if status == "accepted":
                samples.use(placement, contribution, given.ranges)
                _call(placement, round_, given, now)
        elif status == "late" and round_.state == Round.State.CLOSED:
            _learn_lateness(placement, round_, now)
        if status == "accepted" and not given.samples:
            Placement.objects.filter(pk=placement.pk).update(idle_version=given.version)
        if status == "refused":
            samples.free(placement.pk, given.ranges)
            transaction.on_commit(lambda: bell.wake("workload", placement.workload_id, now))
        if given.partial:
            samples.free(placement.pk)
            Placement.objects.filter(pk=placement.pk).update(joined=False)
        _ring(round_, now)
        return status, why


def _judged(
    placement: Placement, round_: Round, training: Training, given: HandedIn, payload: Payload
) -> tuple[str, str]:
    """Return (accepted, late or refused, why)."""
    if round_.state != Round.State.OPEN:
        return "late", f"round {given.version} is closed; the newest is {training.version}"
    if Contribution.objects.filter(round=round_, placement=placement).exclude(status="refused").exists():
        return "late", f"round {given.version} has a contribution of this site already"
    if not given.version - outer.STALE_MAX <= given.base <= given.version:
        return "refused", f"its first step was taken from version {given.base}; {given.version} is too far from it"
    fault = payload.fault or samples.misuse(placement, given.ranges, samples=given.samples, steps=given.steps)
    fault = fault or payloads.too_large(training, payload, steps=given.steps)
    return ("refused", fault) if fault else ("accepted", "")


def _kept(
    placement: Placement,
    round_: Round,
    given: HandedIn,
    payload: Payload,
    status: str,
    why: str,
    now: datetime,
) -> Contribution:
    return Contribution.objects.create(
        round=round_,
        placement=placement,
        sha256=given.sha256,
        samples=given.samples,
        steps=given.steps,
        accelerators=placement.world,
        loss=given.loss,
        partial=given.partial,
        base=given.base,
        size_bytes=payload.size_bytes,
        norm_bound=payload.norm_bound,
        status=status,
        why=why[:200],
        received_at=now,
        **given.figures,
    )


def _call(placement: Placement, round_: Round, given: HandedIn, now: datetime) -> None:
    """The first whole contribution calls the others; the others' show how long after the call they come."""
    if round_.called_at is None and not given.partial:
        Round.objects.filter(pk=round_.pk).update(called_at=now)
    else:
        _learn_lateness(placement, round_, now)


def _learn_lateness(placement: Placement, round_: Round, now: datetime) -> None:
    """From those that came too late as well, or a site that has become slower would be too late for ever."""
    if round_.called_at is not None:
        late_s = _usual(placement.late_s, round_.called_at, now, LATE_MAX_S)
        Placement.objects.filter(pk=placement.pk).update(late_s=late_s)


def _usual(known_s: float | None, start: datetime, end: datetime, most_s: float) -> float:
    """Return what a delay is to be expected to be: longer ones count at once, shorter ones by and by."""
    new_s = min(max(0.0, (end - start).total_seconds()), most_s)
    return new_s if known_s is None else max(new_s, FADES * known_s + (1 - FADES) * new_s)


def forget(*, placement_id: int, now: datetime) -> None:
    """A site takes part no more: nobody waits for it, and what it held is free. What it handed in still counts."""
    placement = Placement.objects.get(pk=placement_id)
    with transaction.atomic():
        Training.objects.select_for_update().filter(workload_id=placement.workload_id).first()
        Placement.objects.filter(pk=placement_id).update(joined=False)
        samples.free(placement_id)
    for round_ in Round.objects.filter(workload_id=placement.workload_id, state="open"):
        _ring(round_, now)


def members(workload_id: int) -> QuerySet[Placement]:
    """Return the sites that the open round counts on."""
    return Placement.objects.filter(workload_id=workload_id, joined=True, state__in=Placement.MEMBER)


def release_late(round_: Round) -> None:
    """
    Contributions that came while the round was being merged are late: their samples are their sites' as before.

    Those of a site that has left, or has started anew and knows nothing of them, are free again.
    """
    late = Contribution.objects.filter(round=round_, status="accepted")
    know = late.filter(placement__state__in=Placement.MEMBER, placement__joined=True)
    know = know.filter(received_at__gte=F("placement__hello_at"))
    samples.give_back(late.exclude(pk__in=know), to_their_sites=False)
    samples.give_back(know, to_their_sites=True)
    late.update(status="late", why="it came when the round was already being merged")


def _ring(round_: Round, now: datetime) -> None:
    transaction.on_commit(lambda: bell.wake("round", round_.pk, now))


def _member(placement: Placement) -> None:
    if placement.state not in Placement.MEMBER or placement.workload.state in Workload.FINAL:
        raise SiteGone(f"placement {placement.pk} is {placement.state}")


def _locked(placement: Placement) -> Training:
    """Lock the training of a site that takes part, and read the site anew. Raises SiteGone, NotReady."""
    training = Training.objects.select_for_update().filter(workload_id=placement.workload_id).first()
    if training is None:
        raise NotReady("say hello first")
    placement.refresh_from_db()
    _member(placement)
    return training


def _short(value: Any) -> str:
    return f"{len(value)} tensors" if isinstance(value, dict) else str(value)
