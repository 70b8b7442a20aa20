"""
What the store keeps: models for ever, the newest checkpoints, and nothing that is already merged.

A round leaves one object per site, an update and sometimes a snapshot; without this a long run would fill the store.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db.models import F, Q, QuerySet

from workloads import storage
from workloads.models import Artifact, Contribution, Program, Round, Training, Workload

logger = logging.getLogger(__name__)
CHECKPOINTS_KEPT = 3  # Of a workload that runs; one that has ended with a model keeps the newest only.
SERVED_FOR = timedelta(minutes=10)  # So long after its round an answer may still be asked again, or a state be fetched.
BATCH = 500


def sweep(*, now: datetime) -> int:
    """Delete merged, late and refused contributions and old checkpoints; return how many objects went."""
    return _sweep_contributions(now) + _sweep_checkpoints(now) + _sweep_updates(now)


def _sweep_contributions(now: datetime) -> int:
    over = Contribution.objects.filter(received_at__lt=now - SERVED_FOR).exclude(status="accepted")
    gone = 0
    for sha256 in over.exclude(sha256="").order_by("id").values_list("sha256", flat=True).distinct()[:BATCH]:
        lately = Contribution.objects.filter(sha256=sha256, received_at__gte=now - SERVED_FOR).exists()
        if not lately and not _in_use(sha256) and not _wanted_by_the_hub(sha256):
            storage.delete(sha256)
            Contribution.objects.filter(sha256=sha256).update(sha256="")  # The row stays: it is the round's history.
            gone += 1
    return gone


def _sweep_checkpoints(now: datetime) -> int:
    gone = 0
    several = Artifact.objects.filter(kind="checkpoint", created_at__lt=now - SERVED_FOR).values("workload").distinct()
    for workload in Workload.objects.filter(pk__in=several):
        for old in _superfluous(workload, now):
            Artifact.objects.filter(pk=old.pk).delete()
            if not _in_use(old.sha256):
                storage.delete(old.sha256)
                gone += 1
    return gone


def _sweep_updates(now: datetime) -> int:
    """Updates lead on from a checkpoint: those before the oldest one that is kept lead nowhere."""
    gone = 0
    old = Round.objects.filter(state=Round.State.CLOSED, update_kept=True, closed_at__lt=now - SERVED_FOR)
    for workload in old.order_by("workload").values_list("workload", flat=True).distinct():
        kept = Artifact.objects.filter(workload=workload, kind="checkpoint").order_by("version").first()
        before = old.filter(workload=workload, version__lt=kept.version if kept else 0)
        for pk, sha256 in before.values_list("pk", "update_sha256")[:BATCH]:
            Round.objects.filter(pk=pk).update(update_kept=False)
            if not _in_use(sha256):  # Two rounds may have taken the same step.
                storage.delete(sha256)
                gone += 1
    return gone


def _wanted_by_the_hub(sha256: str) -> bool:
    """Whether theta at the newest version can be made again only with this contribution."""
    merged = Contribution.objects.filter(sha256=sha256, status="merged", round__workload__training__isnull=False)
    return merged.filter(round__version__gte=F("round__workload__training__snapshot_version")).exists()


def _superfluous(workload: Workload, now: datetime) -> list[Artifact]:
    mine: QuerySet[Artifact] = workload.artifacts.filter(kind="checkpoint").order_by("-version")
    ended = workload.state in Workload.FINAL and workload.artifacts.filter(kind="model").exists()
    kept = 1 if ended else CHECKPOINTS_KEPT
    return [old for old in mine[kept : kept + BATCH] if old.created_at < now - SERVED_FOR]


def _in_use(sha256: str) -> bool:
    return (
        Artifact.objects.filter(sha256=sha256).exists()
        or Training.objects.filter(
            Q(initial_sha256=sha256)
            | Q(snapshot_sha256=sha256)
            | Q(momentum_sha256=sha256)
            | Q(remainder_sha256=sha256)
        ).exists()
        or Round.objects.filter(update_sha256=sha256, update_kept=True).exists()
        or Contribution.objects.filter(sha256=sha256, status="accepted").exists()
        or Program.objects.filter(sha256=sha256).exists()
    )
