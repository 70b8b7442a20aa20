"""Which versions of a workload's parameters can still be had, and what leads to each. Nothing here writes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from django.db.models import QuerySet

from workloads import storage
from workloads.models import Artifact, Round, Training


class VersionGone(Exception):
    """That version was never made, or retention has let go of it; `kept` are those that can be had."""

    def __init__(self, message: str, kept: list[tuple[int, int]]) -> None:
        super().__init__(message)
        self.kept = kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An object of the store. version: of a snapshot its own, of an update the one that it leads on from."""

    version: int
    sha256: str
    size_bytes: int
    fingerprint: str  # Of theta with it, as in node.training.outer; empty for theta_0.


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How to come to theta at a version: the snapshot, then the updates in their order."""

    version: int
    fingerprint: str
    snapshot: Stored
    updates: list[Stored]


def kept(training: Training) -> list[tuple[int, int]]:
    """Return the versions that can be had, as (first, last) of each stretch, oldest first."""
    if training.version is None:
        return []
    updates = set(_updates(training).values_list("version", flat=True))
    stretches: list[tuple[int, int]] = []
    starts = sorted({0, *_checkpoints(training).values_list("version", flat=True)})
    for start, limit in pairwise([*starts, training.version + 1]):
        end = start
        while end + 1 < limit and end in updates:
            end += 1
        if stretches and stretches[-1][1] + 1 == start:
            stretches[-1] = (stretches[-1][0], end)
        else:
            stretches.append((start, end))
    return stretches


def way_to(training: Training, version: int) -> Way:
    """Return what leads to theta at a version: the newest snapshot not after it. Raises VersionGone."""
    snapshot = _checkpoints(training).filter(version__lte=version).order_by("-version").first()
    start = snapshot.version if snapshot else 0
    updates = _updates(training).filter(version__range=(start, version - 1)).order_by("version")
    found = [
        Stored(version=one.version, sha256=one.update_sha256, size_bytes=one.update_bytes, fingerprint=one.fingerprint)
        for one in updates
    ]
    if training.version is None or not 0 <= version <= training.version or len(found) != version - start:
        raise VersionGone(_told(training, version), kept(training))
    first = _of(training, snapshot) if snapshot else _initial(training)
    last = found[-1] if found else first
    return Way(version=version, fingerprint=last.fingerprint, snapshot=first, updates=found)


def _checkpoints(training: Training) -> QuerySet[Artifact]:
    return Artifact.objects.filter(workload=training.pk, kind="checkpoint")


def _updates(training: Training) -> QuerySet[Round]:
    return Round.objects.filter(workload=training.pk, state=Round.State.CLOSED, update_kept=True)


def _of(training: Training, snapshot: Artifact) -> Stored:
    made_by = Round.objects.filter(workload=training.pk, version=snapshot.version - 1)
    return Stored(
        version=snapshot.version,
        sha256=snapshot.sha256,
        size_bytes=snapshot.size_bytes,
        fingerprint=made_by.values_list("fingerprint", flat=True).first() or "",
    )


def _initial(training: Training) -> Stored:
    digest = training.initial_sha256
    return Stored(version=0, sha256=digest, size_bytes=storage.size(digest), fingerprint="")


def _told(training: Training, version: int) -> str:
    if training.version is None:
        return f"workload {training.pk} has no parameters yet"
    if version > training.version:
        return f"workload {training.pk} has no version {version} yet; the newest is {training.version}"
    return f"version {version} of workload {training.pk} is kept no more; there are {said(kept(training))}"


def is_part_of_one(training: Training, sha256: str) -> bool:
    """Whether this object is a snapshot or an update that is kept."""
    return (
        sha256 == training.initial_sha256
        or _checkpoints(training).filter(sha256=sha256).exists()
        or _updates(training).filter(update_sha256=sha256).exists()
    )


def said(stretches: list[tuple[int, int]]) -> str:
    """Return stretches of versions for people: 0, 100, 181 to 201."""
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in stretches)
