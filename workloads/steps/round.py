"""open -> closed, or abandoned: the hub. It waits for the sites, merges what they hand in, publishes a new version."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from offers import refusals
from workloads import hub, operations, pace, queries, robust, rounds, samples, storage
from workloads.lifecycle import born
from workloads.machine import Hop, Machine, Move, Nap
from workloads.models import Contribution, Placement, Round, Training, Workload
from workloads.node.training import outer

State = Round.State
CLAIM_FOR = timedelta(seconds=3)  # The hub renews it; when a hub dies, another goes on after that.
round_machine = Machine(Round, final={State.CLOSED, State.ABANDONED}, claim_for=CLAIM_FOR)
# The few numbers that each of several sites names are together too many for one update of the same kind.
UPDATE_CODEC = {"top2": "int4"}
# How long a round that one site has handed in waits for the others. What is not known yet of a site:
ANSWERS_S, LATE_S = 1.0, 20.0
# What is known is stretched a little; a site that hands in later has lost nothing, its work is in its next one.
STRETCH, MARGIN_S = 1.5, 0.3
# Independent contributions of a million numbers have cosines of +-.001; against the others is less than that.
AGAINST, STRANGER_AMONG = -0.05, 3
DIVERGED_MAX = 3  # More tries than these change nothing.
QUORUM_LOOK_S = 5.0  # A contribution, and a site that leaves, ring before that.
SILENT_S = 4.0  # A leader that knows of the call asks every second.


@round_machine.step(
    State.OPEN,
    exits={State.CLOSED, State.ABANDONED},
    deadline=timedelta(days=30),
    late=None,
)
def open_(round_: Round, now: datetime) -> Move:
    """Close when every site that is counted on has handed in, or the grace is over."""
    given = list(Contribution.objects.filter(round=round_, status="accepted").order_by("placement_id"))
    if not given and round_.workload.state in Workload.FINAL:
        return Hop(to=State.ABANDONED, why="the workload has ended")
    if not given:
        return Nap(seconds=30)
    wait_s = _wait_s(round_, now)
    if wait_s > 0:
        return Nap(seconds=wait_s)
    training = Training.objects.get(pk=round_.workload_id)
    try:
        closed = hub.close(training, given, _settings(training, len(given)))
    except hub.Diverged as error:
        if round_.attempts < DIVERGED_MAX:
            raise
        return Hop(to=State.ABANDONED, why=str(error))  # The workload ends of it.
    return Hop(
        to=State.CLOSED,
        why=f"{len(given)} of {len(given) + _missing(round_).count()} sites, {sum(g.samples for g in given)} samples",
        set={**closed.update, "closed_at": now},
        then=lambda: _commit(round_, given, closed, now),
    )


def _wait_s(round_: Round, now: datetime) -> float:
    """Return for how many seconds the round still waits for somebody, as far as is known now; 0 when for nobody."""
    training = Training.objects.get(pk=round_.workload_id)
    missing = list(_missing(round_))
    if missing and round_.contributions.filter(status="accepted").count() < training.quorum:
        return QUORUM_LOOK_S
    return max((_patience_s(site, round_.called_at, training.grace_s, now) for site in missing), default=0.0)


def _patience_s(site: Placement, called_at: datetime | None, grace_s: float | None, now: datetime) -> float:
    """Return for how long yet a site is waited for: one that does not answer the call is soon given up."""
    if called_at is None:
        return 30.0  # Only a site that left has handed in; the others are to train as long as ever.
    called_s = (now - called_at).total_seconds()
    if site.heard_at is None or site.heard_at < called_at:
        return _expected(site.answers_s, ANSWERS_S) - called_s
    silent_s = (now - site.heard_at).total_seconds()
    late_s = _expected(site.late_s, LATE_S) if grace_s is None else grace_s
    return min(late_s - called_s, SILENT_S - silent_s)


def _expected(known_s: float | None, unknown_s: float) -> float:
    return unknown_s if known_s is None else STRETCH * known_s + MARGIN_S


def _missing(round_: Round) -> QuerySet[Placement]:
    handed_in = round_.contributions.exclude(status="refused").values("placement_id")
    counted_on = rounds.members(round_.workload_id).exclude(pk__in=handed_in)
    return counted_on.exclude(idle_version=round_.version)


def _settings(training: Training, sites: int) -> hub.Settings:
    """A single site's outer step is the identity: it goes on where it was, and the momentum fades."""
    codec = UPDATE_CODEC.get(training.codec, training.codec)
    if sites == 1:
        return hub.Settings(lr=1.0, momentum=0.0, codec=codec)
    known = queries.samples(training.pk)
    # What a round merges changes with the sites and their links, so it is taken from the rounds so far.
    merged_here = known["merged"] - training.merged_before
    a_round = merged_here / training.version if training.version else training.samples_per_round * sites
    lr, factor = outer.settings(known["total"] / a_round, (known["total"] - known["merged"]) / a_round)
    return hub.Settings(
        lr=lr if training.outer_lr is None else training.outer_lr,
        momentum=factor if training.outer_momentum is None else training.outer_momentum,
        codec=codec,
        mean=training.outer_mean or (robust.MEAN if sites <= robust.PLAIN_MAX else robust.CLIPPED),
    )


def _commit(round_: Round, given: list[Contribution], closed: hub.Closed, now: datetime) -> None:
    """The one transaction of a round: update, samples, members and the next round."""
    workload_id = round_.workload_id
    training = Training.objects.select_for_update().get(pk=workload_id)
    assert training.version == round_.version, f"round {round_.version} closes on version {training.version}"
    columns = {**closed.training, **_paced(training, given)}
    Training.objects.filter(pk=workload_id).update(**columns)
    for contribution, figures in zip(given, closed.given, strict=True):
        Contribution.objects.filter(pk=contribution.pk).update(status="merged", **figures)
    samples.merge(given, round_.version)
    _send_strangers_away(round_, given, closed, now)
    rounds.release_late(round_)
    Round.objects.create(
        workload_id=workload_id, version=round_.version + 1, opened_at=now, state=State.OPEN, **born(now)
    )
    Workload.objects.filter(pk=workload_id).update(reported_at=now)
    if "snapshot_sha256" in closed.training:
        _keep_checkpoint(training, closed, now)


def _send_strangers_away(round_: Round, given: list[Contribution], closed: hub.Closed, now: datetime) -> None:
    """A site whose contributions point away from the others' twice running leaves, and another takes its place."""
    if len(given) < STRANGER_AMONG:
        return  # Of two that disagree nobody knows who is right.
    for contribution, figures in zip(given, closed.given, strict=True):
        if figures["cosine"] > AGAINST:
            continue
        mine = Contribution.objects.filter(placement=contribution.placement_id, status="merged", partial=False)
        before = mine.exclude(pk=contribution.pk).order_by("-id").first()
        if before is None or before.cosine is None or before.cosine > AGAINST:
            continue
        if before.round.contributions.filter(status="merged").count() < STRANGER_AMONG:
            continue
        why = f"its contributions point away from the others': cosine {before.cosine:.2f}, {figures['cosine']:.2f}"
        operations.request_drain(placement_id=contribution.placement_id, why=why, now=now)
        for lease in contribution.placement.leases.all():
            refusals.remember(offer=lease.offer, reason=refusals.FAILED, why=why, now=now)


def _paced(training: Training, given: list[Contribution]) -> dict[str, object]:
    """Return the columns that say how the next round is to be."""
    costs = [
        pace.Cost((one.train_s - (one.stall_s or 0)) / one.steps, (one.put_s or 0) + (one.fetch_s or 0))
        for one in given
        if one.train_s is not None and not one.partial
    ]
    now = pace.Pace(training.sync_every_steps, training.codec)
    then = pace.chosen(now, costs, steps_too=training.is_pace_chosen, codec_too=training.is_codec_chosen)
    return {"sync_every_steps": then.steps, "codec": then.codec}


def _keep_checkpoint(training: Training, closed: hub.Closed, now: datetime) -> None:
    version, digest = closed.training["snapshot_version"], closed.training["snapshot_sha256"]
    assert isinstance(version, int)
    assert isinstance(digest, str)
    operations.keep_artifact(
        workload_id=training.pk,
        kind="checkpoint",
        name=f"round-{version - 1}.safetensors",
        version=version,
        sha256=digest,
        metrics={},
        now=now,
    )
    for old in (training.momentum_sha256, training.remainder_sha256):
        if old and old not in closed.training.values():
            transaction.on_commit(lambda old=old: storage.delete(old))  # type: ignore[misc]  # Only the hub reads it.
