"""A run that goes on from a version of another, on any sites: its parameters, and which samples are merged already."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from workloads import hub, versions
from workloads.lifecycle import born
from workloads.models import Round, SampleRange, Training, Workload


class CannotResume(Exception):
    """The run does not train what the one it goes on from has trained."""


def newest(workload: Workload) -> int:
    """Return the newest version of a workload's parameters. Raises versions.VersionGone."""
    training = Training.objects.filter(pk=workload.pk).first()
    if training is None or training.version is None:
        raise versions.VersionGone(f"workload {workload.pk} has no parameters yet", [])
    return training.version


def check(workload: Workload, version: int) -> None:
    """See that a version can be had. Raises versions.VersionGone."""
    training = Training.objects.filter(pk=workload.pk).first()
    if training is None:
        raise versions.VersionGone(f"workload {workload.pk} has no parameters yet", [])
    versions.way_to(training, version)


def carry_over(training: Training, *, now: datetime) -> None:
    """
    Give a training that was just made, of a workload that resumes another, the state and the samples of that.

    The newest version comes with the outer optimizer's momentum, and every one since the newest snapshot; an older one
    without. Raises CannotResume, versions.VersionGone, hub.Diverged.
    """
    workload = training.workload
    before = Training.objects.get(pk=workload.resumes_id)
    version = workload.resumes_version
    assert version is not None
    for name in ("tensors", "dataset_samples", "dataset_fingerprint"):
        if getattr(training, name) != getattr(before, name):
            raise CannotResume(f"{name}: this run has other than workload {before.pk}, from which it is to go on")
    if training.total_samples < before.next_sample:
        raise CannotResume(
            f"total_samples: this run has {training.total_samples}, {before.next_sample} were begun in {before.pk}"
        )
    state = hub.state_at(before, version)
    state.version = 0
    with TemporaryDirectory(prefix="gpuyard-") as directory:
        columns = hub.snapshot(training, state, Path(directory))
    for name, value in columns.items():
        setattr(training, name, value)
    training.version, training.fingerprint, training.initial_sha256 = 0, state.fingerprint, training.snapshot_sha256
    _carry_samples(before, version, training)
    training.save()
    Round.objects.create(workload_id=training.pk, version=0, opened_at=now, state=Round.State.OPEN, **born(now))


def _carry_samples(before: Training, version: int, training: Training) -> None:
    """What was not merged in that version is free; all else counts as merged."""
    rows = SampleRange.objects.filter(workload=before.pk).order_by("start")
    open_ = [row for row in rows if row.merged_version is None or row.merged_version >= version]
    SampleRange.objects.bulk_create(SampleRange(workload_id=training.pk, start=row.start, end=row.end) for row in open_)
    training.next_sample = before.next_sample
    training.merged_before = before.next_sample - sum(row.end - row.start for row in open_)
