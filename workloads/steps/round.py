"""open -> closed, or abandoned: the hub. It waits for the sites, merges what they hand in, publishes a new version."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from workloads import hub, operations, queries, rounds, storage
from workloads.lifecycle import born
from workloads.machine import Hop, Machine, Move, Nap
from workloads.models import Contribution, Round, SampleRange, Training, Workload
from workloads.node.training import outer

State = Round.State
CLAIM_FOR = timedelta(seconds=3)  # The hub renews it; when a hub dies, another goes on after that.
round_machine = Machine(Round, final={State.CLOSED, State.ABANDONED}, claim_for=CLAIM_FOR)
# The few numbers that each of several sites names are together too many for one update of the same kind.
UPDATE_CODEC = {"top2": "int4"}
GRACE_MIN_S = 20.0  # The least that a slower site is waited for after the first contribution.
GRACE_SHARE = 1.0  # Of the time the first site took: a site of half the speed is waited for.


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
    wait_s = _wait_s(round_, given, now)
    if wait_s > 0:
        return Nap(seconds=wait_s)
    training = Training.objects.get(pk=round_.workload_id)
    closed = hub.close(training, given, _settings(training, len(given)))
    return Hop(
        to=State.CLOSED,
        why=f"{len(given)} of {len(given) + _missing(round_).count()} sites, {sum(g.samples for g in given)} samples",
        set={**closed.update, "closed_at": now},
        then=lambda: _commit(round_, given, closed, now),
    )


def _wait_s(round_: Round, given: list[Contribution], now: datetime) -> float:
    """Return for how many seconds the round still waits for somebody; 0 when for nobody."""
    if not _missing(round_).exists():
        return 0
    first_at = min(contribution.received_at for contribution in given)
    grace = max(GRACE_MIN_S, GRACE_SHARE * (first_at - round_.opened_at).total_seconds())
    return min(5.0, grace - (now - first_at).total_seconds())


def _missing(round_: Round) -> Any:
    handed_in = round_.contributions.exclude(status="refused").values("placement_id")
    counted_on = rounds.members(round_.workload_id).exclude(pk__in=handed_in)
    return counted_on.exclude(idle_version=round_.version)


def _settings(training: Training, sites: int) -> hub.Settings:
    """A single site's outer step is the identity: it goes on where it was, and the momentum rests."""
    codec = UPDATE_CODEC.get(training.codec, training.codec)
    if sites == 1:
        return hub.Settings(lr=1.0, momentum=0.0, codec=codec)
    samples, a_round = queries.samples(training.pk), max(1, training.samples_per_round * sites)
    lr, factor = outer.settings(samples["total"] / a_round, (samples["total"] - samples["merged"]) / a_round)
    return hub.Settings(
        lr=lr if training.outer_lr is None else training.outer_lr,
        momentum=factor if training.outer_momentum is None else training.outer_momentum,
        codec=codec,
    )


def _commit(round_: Round, given: list[Contribution], closed: hub.Closed, now: datetime) -> None:
    """The one transaction of a round: update, samples, members and the next round."""
    workload_id = round_.workload_id
    training = Training.objects.select_for_update().get(pk=workload_id)
    assert training.version == round_.version, f"round {round_.version} closes on version {training.version}"
    Training.objects.filter(pk=workload_id).update(**closed.training)
    for contribution, figures in zip(given, closed.given, strict=True):
        Contribution.objects.filter(pk=contribution.pk).update(status="merged", **figures)
    ids = [contribution.pk for contribution in given]
    SampleRange.objects.filter(contribution__in=ids).update(merged_version=round_.version, holder=None)
    rounds.release_late(round_)
    rounds.admit_all(workload_id)
    Round.objects.create(
        workload_id=workload_id, version=round_.version + 1, opened_at=now, state=State.OPEN, **born(now)
    )
    Workload.objects.filter(pk=workload_id).update(reported_at=now)
    if "snapshot_sha256" in closed.training:
        _keep_checkpoint(training, closed, now)


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
