"""
What the store keeps: models for ever, the versions of the last rounds, few of those before, nothing that is merged.

A round leaves one object per site, an update and sometimes a snapshot; without this a long run would fill the store.
Of a workload can be had (workloads.versions): theta_0; each version of the last VERSIONS_KEPT rounds, by a checkpoint
and the updates since; and the first checkpoint of each VERSION_KEPT_EVERY versions before. Once it has ended with a
model: theta_0 and the newest.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Q

from workloads import storage
from workloads.models import Artifact, Contribution, Program, Round, Training, Workload

logger = logging.getLogger(__name__)
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


def _superfluous(workload: Workload, now: datetime) -> list[Artifact]:
    every = 0 if _has_ended_well(workload) else settings.VERSION_KEPT_EVERY
    before = workload.artifacts.filter(kind="checkpoint", version__lt=_anchor(workload)).order_by("version")
    superfluous, known = [], {0}  # theta_0 is kept anyhow.
    for old in before:
        place = old.version // every if every else 0
        if place in known and old.created_at < now - SERVED_FOR:
            superfluous.append(old)
        known.add(place)
    return superfluous[:BATCH]


def _sweep_updates(now: datetime) -> int:
    """Updates lead on from a checkpoint: those before the one that the last versions stand on lead nowhere."""
    gone = 0
    old = Round.objects.filter(state=Round.State.CLOSED, update_kept=True, closed_at__lt=now - SERVED_FOR)
    for workload in Workload.objects.filter(pk__in=old.values("workload")):
        before = old.filter(workload=workload, version__lt=_anchor(workload))
        for pk, sha256 in before.values_list("pk", "update_sha256")[:BATCH]:
            Round.objects.filter(pk=pk).update(update_kept=False)
            if not _in_use(sha256):  # Two rounds may have taken the same step.
                storage.delete(sha256)
                gone += 1
    return gone


def _anchor(workload: Workload) -> int:
    """Return the version of the checkpoint that the last versions stand on: from it on all can be had."""
    newest = Training.objects.filter(pk=workload.pk).values_list("version", flat=True).first() or 0
    wanted = newest if _has_ended_well(workload) else newest - settings.VERSIONS_KEPT
    heirs = Workload.objects.filter(resumes=workload, training=None).exclude(state__in=Workload.FINAL)
    for version in heirs.values_list("resumes_version", flat=True):  # They have not taken it over yet.
        wanted = min(wanted, version)
    checkpoints = workload.artifacts.filter(kind="checkpoint", version__lte=wanted).order_by("-version")
    return checkpoints.values_list("version", flat=True).first() or 0


def _has_ended_well(workload: Workload) -> bool:
    return workload.state in Workload.FINAL and workload.artifacts.filter(kind="model").exists()


def _wanted_by_the_hub(sha256: str) -> bool:
    """Whether theta at the newest version can be made again only with this contribution."""
    merged = Contribution.objects.filter(sha256=sha256, status="merged", round__workload__training__isnull=False)
    return merged.filter(round__version__gte=F("round__workload__training__snapshot_version")).exists()


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
