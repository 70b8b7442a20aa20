"""The objects about workloads and how they train, as the API sends and takes them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers as s

from broker.api.quote_shapes import NeedShape
from broker.api.shapes import choice, scalars, stored, usd
from broker.api.version_shapes import ResumeShape
from providers.base import Market
from workloads.models import Lease, Placement, Workload
from workloads.nodes import PHASES
from workloads.tick import MACHINES

STATES = sorted({state for machine in MACHINES.values() for state in machine.model.State.values})
FIGURES = {"type": "object", "additionalProperties": {}}  # Each policy has figures of its own.
WORK = {"type": "array", "items": {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}}


class OrderShape(s.Serializer[Any]):
    """An order."""

    quote = s.IntegerField()
    program = s.RegexField("^[0-9a-f]{64}$")
    script = s.CharField(max_length=255)
    args = s.ListField(
        child=s.CharField(allow_blank=True, trim_whitespace=False, max_length=4096), default=list, max_length=256
    )
    name = s.CharField(max_length=80, required=False, default="")
    budget_usd = usd(required=False, allow_null=True, default=None)
    priority = s.IntegerField(
        required=False, default=0, min_value=-100, max_value=100,
        help_text="Higher goes first where machines are short. Above 0 needs the scope operate.",
    )  # fmt: skip
    resume = ResumeShape(required=False, allow_null=True, default=None)


class ArtifactShape(s.Serializer[Any]):
    """A model, a checkpoint, or what a notebook's cell left beside them."""

    id = s.IntegerField()
    name = s.CharField()
    kind = choice("ArtifactKind", ("model", "checkpoint", "results"))
    version = s.IntegerField()
    sha256 = s.CharField()
    size_bytes = s.IntegerField()
    metrics = scalars()
    created_at = s.DateTimeField()


class BusyShape(s.Serializer[Any]):
    """How busy an accelerator is."""

    utilisation_percent = s.FloatField(allow_null=True)
    memory_used_gib = s.FloatField(allow_null=True)


class UsageShape(s.Serializer[Any]):
    """How busy a machine is."""

    cpu_percent = s.FloatField(allow_null=True)
    ram_used_gib = s.FloatField(allow_null=True)
    accelerators = BusyShape(many=True)


class NodeShape(s.Serializer[Any]):
    """A leased machine and what its agent says."""

    lease = s.IntegerField()
    state = choice("LeaseState", Lease.State.values)
    host = s.CharField(allow_null=True)
    address = s.CharField(allow_null=True)
    accelerator = s.CharField()
    accelerators = s.IntegerField()
    market = choice("Market", Market)
    usd_per_hour = usd()
    opened_at = s.DateTimeField(allow_null=True)
    closed_at = s.DateTimeField(allow_null=True)
    phase = choice("Phase", (*PHASES, ""), allow_blank=True, help_text="Empty: its agent has not said yet.")
    usage = stored(UsageShape, allow_null=True)


class SiteShape(s.Serializer[Any]):
    """A placement."""

    placement = s.IntegerField()
    site = s.CharField()
    provider = s.CharField()
    region = s.CharField()
    state = choice("PlacementState", Placement.State.values)
    why = s.CharField(allow_blank=True)
    country = s.CharField(allow_blank=True)
    latitude = s.FloatField(allow_null=True)
    longitude = s.FloatField(allow_null=True)
    nodes = NodeShape(many=True)


class SamplesShape(s.Serializer[Any]):
    """The work: merged + leased + free = total."""

    total = s.IntegerField()
    merged = s.IntegerField()
    leased = s.IntegerField()
    free = s.IntegerField()


class ResumedShape(s.Serializer[Any]):
    """The version of a workload that this one goes on from."""

    workload = s.IntegerField()
    version = s.IntegerField(allow_null=True)


class ForecastShape(s.Serializer[Any]):
    """What comes of a run that goes on as it does now; null: nobody can tell yet."""

    finish_at = s.DateTimeField(allow_null=True)
    cost_usd = usd(allow_null=True)
    over_budget = s.BooleanField()


class WorkloadShape(s.Serializer[Any]):
    """What a customer asked to run, and how it fares."""

    id = s.IntegerField()
    name = s.CharField()
    state = choice("WorkloadState", Workload.State.values)
    end_reason = choice("EndReason", Workload.END_REASONS, allow_null=True)
    why = s.CharField(allow_blank=True)
    created_at = s.DateTimeField()
    started_at = s.DateTimeField(allow_null=True)
    first_step_at = s.DateTimeField(allow_null=True)
    ended_at = s.DateTimeField(allow_null=True)
    script = s.CharField()
    args = s.ListField(child=s.CharField())
    program = s.CharField()
    quote = s.IntegerField()
    need = stored(NeedShape)
    resumes = ResumedShape(allow_null=True)
    budget_usd = usd()
    priority = s.IntegerField()
    sites_wanted = s.IntegerField()
    hold_usd = usd()
    spent_usd = usd()
    forecast = ForecastShape()
    version = s.IntegerField(allow_null=True)
    samples = SamplesShape()
    loss = s.FloatField(allow_null=True)
    step = s.IntegerField()
    sites = SiteShape(many=True)
    artifact = ArtifactShape(allow_null=True)


class EventShape(s.Serializer[Any]):
    """One move of one lifecycle."""

    id = s.IntegerField()
    at = s.DateTimeField()
    subject = choice("Subject", MACHINES, source="subject_type")
    subject_id = s.IntegerField()
    to = choice("State", STATES, source="to_state")
    why = s.CharField(allow_blank=True)
    figures = stored(FIGURES, allow_null=True, help_text="What a decision was made on.")

    def get_fields(self) -> Any:
        """`from` is a word of Python's own, so it is named here."""
        return super().get_fields() | {"from": choice("State", STATES, source="from_state")}


class LogLineShape(s.Serializer[Any]):
    """One line that a lease's processes wrote."""

    id = s.IntegerField()
    at = s.DateTimeField()
    site = s.CharField(source="lease.placement.site")
    host = s.CharField(allow_null=True)
    stream = s.CharField()
    text = s.CharField()


class MetricShape(s.Serializer[Any]):
    """One row that a session reported."""

    id = s.IntegerField()
    at = s.DateTimeField()
    site = s.CharField(source="placement.site")
    placement = s.IntegerField(source="placement_id")
    step = s.IntegerField()
    version = s.IntegerField()
    values = scalars()


class ContributorShape(s.Serializer[Any]):
    """What one site handed in."""

    site = s.CharField(source="placement.site")
    placement = s.IntegerField(source="placement_id")
    samples = s.IntegerField()
    steps = s.IntegerField()
    loss = s.FloatField(allow_null=True)
    status = choice("ContributionStatus", ("accepted", "merged", "late", "refused"))
    why = s.CharField(allow_blank=True)
    received_at = s.DateTimeField()
    share = s.FloatField(allow_null=True)  # Of the mean.
    norm = s.FloatField(allow_null=True)
    cosine = s.FloatField(allow_null=True)  # With the mean of the others.
    base = s.IntegerField()
    size_bytes = s.IntegerField()
    train_s = s.FloatField(allow_null=True)  # Since its last one, stall_s of it without a step.
    stall_s = s.FloatField(allow_null=True)
    put_s = s.FloatField(allow_null=True)
    fetch_s = s.FloatField(allow_null=True)  # Of the update before.


class RoundShape(s.Serializer[Any]):
    """One outer synchronisation."""

    version = s.IntegerField()
    opened_at = s.DateTimeField()
    called_at = s.DateTimeField(allow_null=True)  # The first site had handed in.
    closed_at = s.DateTimeField(allow_null=True)
    merge_s = s.FloatField(allow_null=True)
    contributors = ContributorShape(many=True)
    samples = s.IntegerField()
    update_sha256 = s.CharField(allow_blank=True)
    update_bytes = s.IntegerField()
    codec = s.CharField(allow_blank=True)
    fingerprint = s.CharField(allow_blank=True)  # Of the parameters after it: the same at all sites.


class StoredProgramShape(s.Serializer[Any]):
    """A program that the broker keeps."""

    sha256 = s.CharField()
    size_bytes = s.IntegerField()
    tar_sha256 = s.CharField(help_text="Of its files, however they were packed: what a need calls `program`.")


class ProfileShape(s.Serializer[Any]):
    """What a probe counted and measured of one training step of a program."""

    work = stored(WORK, help_text="[FLOPs, bytes, calls] of each shape of operation in the step.")
    batch_size = s.IntegerField()
    precision = s.CharField()
    parameters = s.IntegerField()
    trainable = s.IntegerField()
    parameter_bytes = s.FloatField()
    optimizer_bytes = s.FloatField()
    activation_bytes = s.FloatField()
    tokens_per_sample = s.IntegerField(required=False, allow_null=True)
    accelerator = s.CharField(required=False, allow_null=True)
    samples_per_s = s.FloatField(required=False, allow_null=True)


class ExampleFileShape(s.Serializer[Any]):
    """One file of an example."""

    path = s.CharField()
    text = s.CharField(allow_blank=True, trim_whitespace=False)


class ExampleShape(s.Serializer[Any]):
    """A program to begin with."""

    name = s.CharField()
    title = s.CharField()
    about = s.CharField(allow_blank=True)
    script = s.CharField()
    args = s.ListField(child=s.CharField())
    requirements = s.CharField(allow_null=True, help_text="What its requirements.txt says, if it has one.")
    files = ExampleFileShape(many=True)
    need = stored(NeedShape, help_text="To begin with.")
