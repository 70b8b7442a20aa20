"""What runs, where it was put, what we rent for it, and what happened."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from offers.models import USD, Offer, Quote, this_transaction
from workloads.lifecycle import Lifecycle


class Program(models.Model):
    """A researcher's packed script and directory, named by its hash."""

    owner = models.ForeignKey(settings.TENANT_MODEL, models.PROTECT)
    sha256 = models.CharField(max_length=64)
    tar_sha256 = models.CharField(max_length=64, null=True)  # workloads.programs; null: uploaded before there was one.
    size_bytes = models.PositiveBigIntegerField()
    profile = models.JSONField(null=True)  # What a probe measured of it (offers.matching.roofline.Profile).
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "sha256"], name="a_program_is_kept_once_per_owner")]


class Workload(Lifecycle):
    """What a customer asked us to run, and how it fares."""

    class State(models.TextChoices):
        """placing -> starting -> running -> SUCCEEDED; recovering goes round; stopping ends it."""

        PLACING = "placing"
        STARTING = "starting"
        RUNNING = "running"
        RECOVERING = "recovering"
        STOPPING = "stopping"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    FINAL = (State.SUCCEEDED, State.FAILED, State.CANCELLED)
    END_REASONS = (
        "finished", "asked", "budget", "script_error", "refused_contributions", "diverged", "no_capacity", "silent",
        "deadline", "no_session",
    )  # fmt: skip

    owner = models.ForeignKey(settings.TENANT_MODEL, models.PROTECT)
    quote = models.OneToOneField(Quote, models.PROTECT)
    program = models.ForeignKey(Program, models.PROTECT)
    name = models.CharField(max_length=80)
    script = models.CharField(max_length=255)
    args = models.JSONField(default=list)
    budget_usd = models.DecimalField(**USD)
    priority = models.SmallIntegerField(default=0)  # Higher goes first, and may drain lower ones.
    sites_wanted = models.PositiveSmallIntegerField(default=1)  # As the quote says; the policy may change it.
    assigned = models.JSONField(null=True)  # A site that was found for it (workloads.seeking), until it is placed.
    sought_at = models.DateTimeField(null=True)  # When machines were last looked for, in vain or not.
    judged_at = models.DateTimeField(null=True)  # When the policy last looked at it (workloads.policing).
    idempotency_key = models.CharField(max_length=255, null=True)
    body_sha256 = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    first_step_at = models.DateTimeField(null=True)
    reported_at = models.DateTimeField(null=True)  # The last sign of training.
    ended_at = models.DateTimeField(null=True)
    end_reason = models.CharField(max_length=24, blank=True)
    why = models.CharField(max_length=400, blank=True)
    stop_requested_at = models.DateTimeField(null=True)
    resumes = models.ForeignKey("self", models.PROTECT, null=True)  # It goes on from a version of that one.
    resumes_version = models.PositiveIntegerField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner", "idempotency_key"], name="an_idempotency_key_orders_once"),
            models.CheckConstraint(condition=Q(budget_usd__gt=0), name="a_workload_has_a_budget"),
            models.CheckConstraint(condition=Q(priority__range=(-100, 100)), name="a_priority_is_within_100"),
            models.CheckConstraint(
                condition=~Q(state__in=["succeeded", "failed", "cancelled"])
                | (Q(ended_at__isnull=False) & ~Q(end_reason="")),
                name="an_ended_workload_says_when_and_why",
            ),
        ]
        indexes = [models.Index(fields=["wake_at"], name="workload_due")]

    def workload_of(self) -> int:
        """Itself."""
        return self.pk

    def concerned(self) -> list[tuple[str, int]]:
        """Nobody above it."""
        return []


class Placement(Lifecycle):
    """One workload at one site: one Ray cluster, one member of the rounds."""

    class State(models.TextChoices):
        """leasing -> joining -> training -> draining -> CLOSED."""

        LEASING = "leasing"
        JOINING = "joining"
        TRAINING = "training"
        DRAINING = "draining"
        CLOSED = "closed"

    MEMBER = (State.JOINING, State.TRAINING, State.DRAINING)  # May take part in rounds.

    workload = models.ForeignKey(Workload, models.PROTECT, related_name="placements")
    provider = models.CharField(max_length=32)
    region = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    why = models.CharField(max_length=400, blank=True)  # Of its closing.
    replaces = models.ForeignKey("self", models.PROTECT, null=True)  # The site that leaves once this one trains.
    blame = models.CharField(max_length=24, blank=True)  # Whose doing the closing was: an end_reason, or empty.
    drain_requested_at = models.DateTimeField(null=True)
    exit_code = models.SmallIntegerField(null=True)
    accelerators = models.PositiveIntegerField(default=0)  # As placed: with fewer it trains on, and more are sought.
    machines = models.PositiveSmallIntegerField(null=True)  # That it trains on, as was last told.
    ray_token = models.CharField(max_length=64)  # Of this placement's cluster alone.
    ray_port = models.PositiveIntegerField()
    site_secret = models.CharField(max_length=64)
    # As a member of the rounds:
    hello_at = models.DateTimeField(null=True)
    incarnation = models.PositiveBigIntegerField(null=True)  # Of the newest leader; older ones are cut off.
    world = models.PositiveIntegerField(null=True)  # Accelerators that it trains on.
    joined = models.BooleanField(default=False)  # Counted on when a round closes.
    idle_version = models.PositiveIntegerField(null=True)  # Asked for samples in that round and there were none.
    heard_at = models.DateTimeField(null=True)  # The leader last asked how the round stands.
    answers_s = models.FloatField(null=True)  # From a round's call to that; usual, as far as is known.
    late_s = models.FloatField(null=True)  # From a round's call to this site's contribution, likewise.

    class Meta:
        indexes = [models.Index(fields=["wake_at"], name="placement_due")]

    @property
    def site(self) -> str:
        """Where it runs, for people; as Offer.site."""
        return self.region if "/" in self.region else f"{self.provider}/{self.region}"

    def workload_of(self) -> int:
        """Its workload."""
        return self.workload_id

    def concerned(self) -> list[tuple[str, int]]:
        """Its workload, and the round that may have counted on it."""
        rounds = self.workload.rounds.filter(state="open").values_list("pk", flat=True)
        return [("workload", self.workload_id), *(("round", pk) for pk in rounds)]


class Lease(Lifecycle):
    """One machine we pay for, during [opened_at, closed_at), at a price frozen at the sale."""

    class State(models.TextChoices):
        """requested -> booting -> held -> releasing -> RELEASED; REFUSED; LOST."""

        REQUESTED = "requested"
        BOOTING = "booting"
        HELD = "held"
        RELEASING = "releasing"
        RELEASED = "released"
        LOST = "lost"
        REFUSED = "refused"

    DEAD = (State.RELEASED, State.LOST, State.REFUSED)

    placement = models.ForeignKey(Placement, models.PROTECT, related_name="leases")
    offer = models.ForeignKey(Offer, models.PROTECT)
    accelerators = models.PositiveIntegerField()
    cost_usd_per_hour = models.DecimalField(**USD)
    sell_usd_per_hour = models.DecimalField(**USD)
    opened_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    release_requested_at = models.DateTimeField(null=True)
    taken_at = models.DateTimeField(null=True)  # When its owner or its cloud said that it takes it back.
    why = models.CharField(max_length=400, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(closed_at=None) | Q(opened_at__isnull=False, closed_at__gte=F("opened_at")),
                name="a_lease_closes_after_it_opens",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["released", "lost", "refused"])
                | Q(opened_at=None)
                | Q(closed_at__isnull=False),
                name="a_finished_lease_is_closed",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["booting", "held"]) | Q(opened_at__isnull=False),
                name="a_held_lease_is_paid_for",
            ),
        ]
        indexes = [models.Index(fields=["wake_at"], name="lease_due")]

    @property
    def key(self) -> str:
        """What the provider knows it by."""
        return f"lease-{self.pk}"

    def workload_of(self) -> int:
        """Its placement's workload."""
        return self.placement.workload_id

    def concerned(self) -> list[tuple[str, int]]:
        """Its placement."""
        return [("placement", self.placement_id)]


class Node(models.Model):
    """The same machine as a place to compute: address, agent, what its agent last said. No money."""

    lease = models.OneToOneField(Lease, models.PROTECT)
    address = models.CharField(max_length=64)
    phase = models.CharField(max_length=16, blank=True)
    phase_at = models.DateTimeField(null=True)  # When its agent first said so.
    exit_code = models.SmallIntegerField(null=True)
    error = models.JSONField(null=True)  # {code, message}
    usage = models.JSONField(null=True)  # How busy its host is, as in docs/protocol.md.
    seen_at = models.DateTimeField()


class LogLine(models.Model):
    """One line that a lease's processes wrote."""

    workload = models.ForeignKey(Workload, models.PROTECT, related_name="log_lines", db_index=False)
    lease = models.ForeignKey(Lease, models.PROTECT)
    seq = models.PositiveBigIntegerField()
    at = models.DateTimeField()
    stream = models.CharField(max_length=8)
    text = models.TextField()
    # That wrote it: what is new is told in this order without a gap (workloads.live).
    transaction = models.BigIntegerField(db_default=this_transaction())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["lease", "seq"], name="a_log_line_counts_once")]
        indexes = [models.Index(fields=["workload", "transaction"], name="log_line_by_transaction")]


class Artifact(models.Model):
    """A model, a checkpoint or results: bytes with a hash, recorded once read back and verified. Never overwritten."""

    workload = models.ForeignKey(Workload, models.PROTECT, related_name="artifacts")
    kind = models.CharField(max_length=12)  # model, checkpoint, results
    name = models.CharField(max_length=120)
    version = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    size_bytes = models.PositiveBigIntegerField()
    metrics = models.JSONField(default=dict)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workload", "kind", "version"], name="one_artifact_of_a_kind_per_version"),
        ]


class Event(models.Model):
    """One move of one lifecycle, or a decision to stay; figures: what it was decided on. Append-only."""

    workload = models.ForeignKey(Workload, models.PROTECT, related_name="events", db_index=False)
    subject_type = models.CharField(max_length=16)
    subject_id = models.BigIntegerField()
    from_state = models.CharField(max_length=16)
    to_state = models.CharField(max_length=16)
    why = models.CharField(max_length=400, blank=True)
    figures = models.JSONField(null=True)
    at = models.DateTimeField()
    # That wrote it: what is new is told in this order without a gap (workloads.live).
    transaction = models.BigIntegerField(db_default=this_transaction())

    class Meta:
        indexes = [models.Index(fields=["workload", "transaction"], name="event_by_transaction")]
