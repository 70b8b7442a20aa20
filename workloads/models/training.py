"""How a workload trains: its state, rounds, what sites handed in, whose each sample is, and what they reported."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from offers.models import this_transaction
from workloads.lifecycle import Lifecycle
from workloads.models.placing import Placement, Workload


class Training(models.Model):
    """Of a workload: theta at `version`, as a snapshot and the updates since; and where its data stands."""

    workload = models.OneToOneField(Workload, models.PROTECT, primary_key=True)
    tensors = models.JSONField()  # {name: {shape, dtype}}
    dataset_samples = models.PositiveBigIntegerField()
    dataset_fingerprint = models.CharField(max_length=64, blank=True)  # Empty: the script's own dataset, or unknown.
    total_samples = models.PositiveBigIntegerField()
    sync_every_steps = models.PositiveIntegerField()
    is_pace_chosen = models.BooleanField(default=False)  # By the broker (workloads.pace), not by the script;
    is_codec_chosen = models.BooleanField(default=False)  # the codec likewise.
    outer_lr = models.FloatField(null=True)  # null: chosen from the rounds that are planned.
    outer_momentum = models.FloatField(null=True)
    quorum = models.PositiveIntegerField(default=1)  # A round closes with so many sites, or all where there are fewer.
    grace_s = models.FloatField(null=True)  # After the call, for sites that answer; null: as late as each usually is.
    stopped_at = models.DateTimeField(null=True)  # The script ended the run early: what is free is not trained on.
    outer_mean = models.CharField(max_length=8, blank=True)  # One of robust.RULES; empty: by the number of sites.
    samples_per_round = models.PositiveBigIntegerField()  # One site's, as the first planned it.
    next_sample = models.PositiveBigIntegerField(default=0)  # Positions from here on were never leased.
    merged_before = models.PositiveBigIntegerField(default=0)  # By the run that this one resumes, before this one.
    version = models.PositiveIntegerField(null=True)  # null: the initial parameters have not come yet.
    codec = models.CharField(max_length=8)  # Of contributions and updates (node.training.quantise).
    fingerprint = models.CharField(max_length=64, blank=True)  # Of theta at `version` (node.training.outer).
    initial_sha256 = models.CharField(max_length=64, blank=True)  # theta_0.
    state_bytes = models.PositiveBigIntegerField(default=0)  # Of a snapshot.
    snapshot_version = models.PositiveIntegerField(null=True)
    snapshot_sha256 = models.CharField(max_length=64, blank=True)
    momentum_sha256 = models.CharField(max_length=64, blank=True)  # At the snapshot; empty: zeros.
    remainder_sha256 = models.CharField(max_length=64, blank=True)  # What updates could not say yet, likewise.

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(next_sample__lte=F("total_samples")), name="samples_end_with_the_data"),
        ]


class Round(Lifecycle):
    """One outer synchronisation: contributions on theta_version in, an update to theta_(version+1) out."""

    class State(models.TextChoices):
        """open -> CLOSED; ABANDONED when the workload ended without it."""

        OPEN = "open"
        CLOSED = "closed"
        ABANDONED = "abandoned"

    workload = models.ForeignKey(Workload, models.PROTECT, related_name="rounds")
    version = models.PositiveIntegerField()
    opened_at = models.DateTimeField()
    called_at = models.DateTimeField(null=True)  # The first site handed in: the others are to do so too.
    closed_at = models.DateTimeField(null=True)
    merge_s = models.FloatField(null=True)
    update_sha256 = models.CharField(max_length=64, blank=True)  # theta_(version+1) - theta_version, packed.
    update_bytes = models.PositiveBigIntegerField(default=0)
    update_kept = models.BooleanField(default=True)  # False: the store has it no more.
    fingerprint = models.CharField(max_length=64, blank=True)  # Of theta_(version+1).
    codec = models.CharField(max_length=8, blank=True)
    outer_lr = models.FloatField(null=True)
    outer_momentum = models.FloatField(null=True)
    outer_mean = models.CharField(max_length=8, default="mean")  # By what rule its contributions have their shares.

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workload", "version"], name="a_round_happens_once"),
            models.UniqueConstraint(fields=["workload"], condition=Q(state="open"), name="one_round_is_open"),
            models.CheckConstraint(
                condition=~Q(state="closed") | (Q(closed_at__isnull=False) & ~Q(update_sha256="")),
                name="a_closed_round_has_an_update",
            ),
        ]
        indexes = [models.Index(fields=["wake_at"], name="round_due")]

    def workload_of(self) -> int:
        """Its workload."""
        return self.workload_id

    def concerned(self) -> list[tuple[str, int]]:
        """Its workload, whose data may now be used up."""
        return [("workload", self.workload_id)]


class Contribution(models.Model):
    """What one site hands in to one round. It counts once or not at all."""

    round = models.ForeignKey(Round, models.PROTECT, related_name="contributions")
    placement = models.ForeignKey(Placement, models.PROTECT)
    sha256 = models.CharField(max_length=64)
    samples = models.PositiveBigIntegerField()
    steps = models.PositiveIntegerField()
    accelerators = models.PositiveIntegerField(null=True)  # That its site trained on.
    loss = models.FloatField(null=True)
    partial = models.BooleanField()
    base = models.PositiveIntegerField()  # The version from which the oldest of its steps were taken.
    size_bytes = models.PositiveBigIntegerField(default=0)
    train_s = models.FloatField(null=True)  # Since this site's last one; stall_s of it without a step.
    stall_s = models.FloatField(null=True)
    put_s = models.FloatField(null=True)  # To send it,
    fetch_s = models.FloatField(null=True)  # and to get and apply the update before it.
    share = models.FloatField(null=True)  # Of the mean that it was merged into.
    norm = models.FloatField(null=True)
    norm_bound = models.FloatField(null=True)  # No norm of what it says is larger.
    cosine = models.FloatField(null=True)  # With the mean of the others.
    status = models.CharField(max_length=12)  # accepted -> merged | late; refused
    why = models.CharField(max_length=200, blank=True)
    received_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["round", "placement"],
                condition=~Q(status="refused"),
                name="a_site_contributes_once_a_round",
            ),
        ]


class SampleRange(models.Model):
    """Positions [start, end) of the permutation: leased to a site, waiting to be leased again, or merged for ever."""

    workload = models.ForeignKey(Workload, models.PROTECT, related_name="ranges")
    start = models.PositiveBigIntegerField()
    end = models.PositiveBigIntegerField()
    holder = models.ForeignKey(Placement, models.PROTECT, null=True)
    lease = models.PositiveIntegerField(null=True)  # The holder's number for its question: asked again, the same.
    contribution = models.ForeignKey(Contribution, models.PROTECT, null=True)  # That used it.
    merged_version = models.PositiveIntegerField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(end__gt=F("start")), name="a_range_is_not_empty"),
            models.CheckConstraint(
                condition=Q(merged_version=None) | Q(contribution__isnull=False), name="what_is_merged_was_contributed"
            ),
        ]  # With the exclusion constraint "no_sample_is_leased_twice", which the first migration adds in SQL.
        indexes = [models.Index(fields=["workload", "start"], name="range_by_place")]


class Metric(models.Model):
    """One row that a session reported."""

    workload = models.ForeignKey(Workload, models.PROTECT, related_name="metrics", db_index=False)
    placement = models.ForeignKey(Placement, models.PROTECT)
    seq = models.PositiveBigIntegerField()
    at = models.DateTimeField()
    step = models.PositiveBigIntegerField()
    version = models.PositiveIntegerField()
    values = models.JSONField()
    # That wrote it: what is new is told in this order without a gap (workloads.live).
    transaction = models.BigIntegerField(db_default=this_transaction())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["placement", "seq"], name="a_metric_counts_once")]
        indexes = [models.Index(fields=["workload", "transaction"], name="metric_by_transaction")]
