"""open -> closed, or abandoned: the hub. It waits for the sites, merges what they hand in, publishes a new version."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from workloads import operations, rounds, storage
from workloads.machine import Hop, Machine, Move, Nap
from workloads.models import Contribution, Round, SampleRange, Training, Workload, born
from workloads.node.training import codec, outer

State = Round.State
round_machine = Machine(Round, final={State.CLOSED, State.ABANDONED})
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
    theta, momentum = _merge(training, given)
    state, moved = codec.encode(theta), codec.encode(momentum) if momentum is not None else None
    digest = storage.put_bytes(state)
    momentum_digest = storage.put_bytes(moved) if moved is not None else training.momentum_sha256
    storage.get(digest)  # Counted only once it was read back.
    news = {"state_sha256": digest, "state_bytes": len(state)}
    return Hop(
        to=State.CLOSED,
        why=f"{len(given)} of {len(given) + _missing(round_).count()} sites, {sum(g.samples for g in given)} samples",
        set={**news, "closed_at": now},
        then=lambda: _commit(round_, given, {**news, "momentum_sha256": momentum_digest}, now),
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


def _merge(training: Training, given: list[Contribution]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Weigh with samples^2 / steps (Decoupled DiLoCo, arXiv 2604.21428) and take the outer step."""
    theta = codec.decode(storage.get(training.state_sha256))
    momentum = codec.decode(storage.get(training.momentum_sha256)) if training.momentum_sha256 else None
    deltas = [
        (outer.weight(samples=one.samples, steps=one.steps), codec.decode(storage.get(one.sha256))) for one in given
    ]
    if len(deltas) == 1:
        # A single site's outer step is the identity: it goes on where it was. The momentum rests.
        merged, _ = outer.merge(theta, None, deltas, 1.0, 0.0)
        return merged, momentum
    lr, factor = _outer_settings(training, len(deltas))
    return outer.merge(theta, momentum, deltas, lr, factor)


def _outer_settings(training: Training, sites: int) -> tuple[float, float]:
    lr, factor = outer.settings(training.total_samples // max(1, training.samples_per_round * sites))
    return (
        lr if training.outer_lr is None else training.outer_lr,
        factor if training.outer_momentum is None else training.outer_momentum,
    )


def _commit(round_: Round, given: list[Contribution], news: dict[str, Any], now: datetime) -> None:
    """The one transaction of a round: update, samples, members and the next round."""
    workload_id = round_.workload_id
    training = Training.objects.select_for_update().get(pk=workload_id)
    assert training.version == round_.version, f"round {round_.version} closes on version {training.version}"
    Training.objects.filter(pk=workload_id).update(version=round_.version + 1, **news)
    ids = [contribution.pk for contribution in given]
    Contribution.objects.filter(pk__in=ids).update(status="merged")
    SampleRange.objects.filter(contribution__in=ids).update(merged_version=round_.version, holder=None)
    rounds.release_late(round_)
    rounds.admit_all(workload_id)
    Round.objects.create(
        workload_id=workload_id, version=round_.version + 1, opened_at=now, state=State.OPEN, **born(now)
    )
    operations.keep_artifact(
        workload_id=workload_id,
        kind="checkpoint",
        name=f"round-{round_.version}.safetensors",
        version=round_.version + 1,
        sha256=news["state_sha256"],
        metrics={},
        now=now,
    )
    Workload.objects.filter(pk=workload_id).update(reported_at=now)
    if training.momentum_sha256 and training.momentum_sha256 != news["momentum_sha256"]:
        transaction.on_commit(lambda: storage.delete(training.momentum_sha256))  # Nobody but this step reads it.
