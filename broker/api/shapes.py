"""The objects of the API, field by field: what the schema documents is what is sent."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers as s

from broker.api.version_shapes import ResumeShape


def usd(**options: Any) -> s.DecimalField:
    """A decimal string of USD with six places."""
    return s.DecimalField(max_digits=18, decimal_places=6, **options)


def texts() -> s.ListField:
    """Several names."""
    return s.ListField(child=s.CharField(), required=False, allow_null=True)


def number(**options: Any) -> s.FloatField:
    """A number that may be left out."""
    return s.FloatField(required=False, allow_null=True, **options)


def whole(**options: Any) -> s.IntegerField:
    """A whole number that may be left out."""
    return s.IntegerField(required=False, allow_null=True, **options)


class NeedShape(s.Serializer[Any]):
    """What a workload asks for; every field may be left out."""

    accelerator = s.JSONField(required=False, allow_null=True, help_text="A name or a family, or a list of them.")
    accelerators = whole(help_text="Of all sites together, split as it comes cheapest.")
    accelerators_per_site = whole()
    min_accelerators_per_site = whole()
    sites = whole()
    max_sites = whole()
    spread = s.ChoiceField(["provider", "region", "country"], required=False, allow_null=True)
    min_memory_gib = number(help_text="Of each accelerator.")
    interconnect = s.CharField(required=False, allow_null=True, help_text="Inside a site of several machines.")
    providers, not_providers = texts(), texts()
    regions, not_regions = texts(), texts()
    countries, not_countries = texts(), texts()
    residency = s.CharField(required=False, allow_null=True, help_text="A group of countries: EU, EEA, ...")
    markets = texts()
    tiers = s.ListField(child=s.ChoiceField(["own", "secure", "community"]), required=False, allow_null=True)
    prefer_own = s.BooleanField(required=False, allow_null=True, help_text="The team's own machines first.")
    queue = s.BooleanField(required=False, allow_null=True, help_text="May wait for machines that are busy now.")
    max_spot_share = number(min_value=0, max_value=1)
    samples = whole()
    samples_per_s = number(help_text="Of each accelerator.")
    program = s.CharField(required=False, allow_null=True)
    data_gib = number()
    checkpoint_gib = number()
    deadline_hours = number()
    chance = number(help_text="Of meeting the deadline, that is wanted.")
    budget_usd = usd(required=False, allow_null=True)
    max_usd_per_hour = usd(required=False, allow_null=True)
    max_egress_usd = usd(required=False, allow_null=True)


class QuoteSiteShape(s.Serializer[Any]):
    """Machines at one site of a quote."""

    site = s.CharField()
    provider = s.CharField()
    region = s.CharField()
    market = s.CharField()
    instance_type = s.CharField()
    accelerator = s.CharField()
    accelerators = s.IntegerField()
    nodes = s.IntegerField()
    usd_per_hour = usd()
    offer = s.IntegerField()


class RangeShape(s.Serializer[Any]):
    """One time of ten it is less than p10, one time of ten more than p90."""

    p10 = s.FloatField()
    p50 = s.FloatField()
    p90 = s.FloatField()


class OutcomeShape(s.Serializer[Any]):
    """What may become of a plan."""

    finish_s = RangeShape()
    cost_usd = s.DictField(child=usd(), help_text="p10, p50, p90")
    expected_usd = usd()
    egress_usd = usd()
    storage_usd = usd()
    deadline_chance = s.FloatField(allow_null=True)
    budget_chance = s.FloatField(allow_null=True)
    losses = s.FloatField(help_text="Machines lost on the way, expected.")
    loss_chance = s.FloatField(help_text="Of at least one.")
    energy_kwh = s.FloatField()
    carbon_kg = s.FloatField(allow_null=True)
    late_s = s.FloatField(help_text="Done by then with the chance that is wanted.")


class RelaxationShape(s.Serializer[Any]):
    """What one constraint loosened would make possible."""

    field = s.CharField()
    change = s.CharField()
    usd = usd()
    finish_s = s.FloatField(allow_null=True)


class QuoteShape(s.Serializer[Any]):
    """A whole answer, promised until `expires_at`."""

    id = s.IntegerField()
    expires_at = s.DateTimeField()
    rank = s.IntegerField()
    need = s.JSONField()
    usd_per_hour = usd()
    cost_usd = usd(allow_null=True)
    finish_s = s.FloatField(allow_null=True)
    speed = s.JSONField()
    sites = QuoteSiteShape(many=True)
    labels = s.ListField(child=s.CharField(), help_text="What it is best at: cheapest, fastest, safest, greenest.")
    outcome = OutcomeShape(allow_null=True)
    why = s.CharField()
    why_not = s.CharField(allow_blank=True, help_text="What the next best would be like.")


class ExcludedShape(s.Serializer[Any]):
    """How many offers a constraint excluded."""

    constraint = s.CharField()
    offers = s.IntegerField()


class QuotesShape(s.Serializer[Any]):
    """The answer to a need."""

    quotes = QuoteShape(many=True)
    excluded = ExcludedShape(many=True)
    offers_considered = s.IntegerField()
    curve = s.ListField(child=s.ListField(), help_text="[hours, USD]: the cheapest for each deadline.")


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
    kind = s.ChoiceField(choices=["model", "checkpoint", "results"])
    version = s.IntegerField()
    sha256 = s.CharField()
    size_bytes = s.IntegerField()
    metrics = s.JSONField()
    created_at = s.DateTimeField()


class NodeShape(s.Serializer[Any]):
    """A leased machine and what its agent says."""

    lease = s.IntegerField()
    state = s.CharField()
    host = s.CharField(allow_null=True)
    address = s.CharField(allow_null=True)
    accelerator = s.CharField()
    accelerators = s.IntegerField()
    usd_per_hour = usd()
    opened_at = s.DateTimeField(allow_null=True)
    closed_at = s.DateTimeField(allow_null=True)
    phase = s.CharField(allow_blank=True)
    usage = s.JSONField(allow_null=True)


class SiteShape(s.Serializer[Any]):
    """A placement."""

    placement = s.IntegerField()
    site = s.CharField()
    provider = s.CharField()
    region = s.CharField()
    state = s.CharField()
    why = s.CharField(allow_blank=True)
    nodes = NodeShape(many=True)


class WorkloadShape(s.Serializer[Any]):
    """What a customer asked to run, and how it fares."""

    id = s.IntegerField()
    name = s.CharField()
    state = s.CharField()
    end_reason = s.CharField(allow_null=True)
    why = s.CharField(allow_blank=True)
    created_at = s.DateTimeField()
    started_at = s.DateTimeField(allow_null=True)
    first_step_at = s.DateTimeField(allow_null=True)
    ended_at = s.DateTimeField(allow_null=True)
    script = s.CharField()
    args = s.ListField(child=s.CharField())
    program = s.CharField()
    quote = s.IntegerField()
    need = s.JSONField()
    resumes = ResumeShape(allow_null=True)
    budget_usd = usd()
    priority = s.IntegerField()
    sites_wanted = s.IntegerField()
    hold_usd = usd()
    spent_usd = usd()
    version = s.IntegerField(allow_null=True)
    samples = s.JSONField()
    loss = s.FloatField(allow_null=True)
    step = s.IntegerField()
    sites = SiteShape(many=True)
    artifact = ArtifactShape(allow_null=True)


class EventShape(s.Serializer[Any]):
    """One move of one lifecycle."""

    id = s.IntegerField()
    at = s.DateTimeField()
    subject = s.CharField(source="subject_type")
    subject_id = s.IntegerField()
    to = s.CharField(source="to_state")
    why = s.CharField(allow_blank=True)
    figures = s.JSONField(allow_null=True, help_text="What a decision was made on.")

    def get_fields(self) -> Any:
        """`from` is a word of Python's own, so it is named here."""
        return super().get_fields() | {"from": s.CharField(source="from_state")}


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
    values = s.JSONField()


class ContributorShape(s.Serializer[Any]):
    """What one site handed in."""

    site = s.CharField(source="placement.site")
    placement = s.IntegerField(source="placement_id")
    samples = s.IntegerField()
    steps = s.IntegerField()
    loss = s.FloatField(allow_null=True)
    status = s.CharField()
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


class NewHostShape(s.Serializer[Any]):
    """A supplier's machine to register."""

    name = s.RegexField(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    region = s.RegexField(r"^[a-z0-9-]{1,30}/[a-z0-9-]{1,30}$", help_text='Your own name and the place: "home/berlin".')
    country = s.RegexField("^[A-Za-z]{2}$", required=False, default="")
    usd_per_hour = usd(min_value=0)


class HostShape(s.Serializer[Any]):
    """A supplier's machine."""

    id = s.IntegerField()
    name = s.CharField()
    region = s.CharField()
    country = s.CharField(allow_blank=True)
    usd_per_hour = usd()
    state = s.CharField()
    why = s.CharField(allow_blank=True)
    hardware = s.JSONField()
    address = s.CharField(allow_blank=True)
    seen_at = s.DateTimeField(allow_null=True)
    reclaim_at = s.DateTimeField(allow_null=True)
    earned_usd = usd()
    lease = s.IntegerField(allow_null=True)
    enrol_token = s.CharField(required=False)


class SupplierShape(s.Serializer[Any]):
    """A party that rents its machines out through us."""

    id = s.IntegerField()
    username = s.CharField()
    hosts = s.IntegerField()
    hosts_offered = s.IntegerField()
    hosts_rented = s.IntegerField()
    owed_usd = usd()


class EntryShape(s.Serializer[Any]):
    """One row of the ledger."""

    id = s.IntegerField()
    at = s.DateTimeField()
    debit = s.CharField()
    credit = s.CharField()
    amount_usd = usd()
    what = s.CharField()
    workload = s.IntegerField(source="workload_id", allow_null=True)
    lease = s.IntegerField(source="lease_id", allow_null=True)


class BillLineShape(s.Serializer[Any]):
    """One lease's span and price."""

    lease = s.IntegerField()
    site = s.CharField()
    provider = s.CharField()
    region = s.CharField()
    host = s.CharField(allow_null=True)
    usd_per_hour = usd()
    opened_at = s.DateTimeField()
    closed_at = s.DateTimeField(allow_null=True)
    seconds = s.DecimalField(max_digits=18, decimal_places=6)
    usd = usd()


class BillShape(s.Serializer[Any]):
    """What a workload costs: `total_usd` from the lease spans, `billed_usd` from the ledger."""

    workload = s.IntegerField()
    total_usd = usd()
    billed_usd = usd()
    final = s.BooleanField()
    leases = BillLineShape(many=True)


class MeShape(s.Serializer[Any]):
    """Who the key belongs to."""

    id = s.IntegerField()
    username = s.CharField()
    scopes = s.ListField(child=s.CharField())
    balance_usd = usd()
    available_usd = usd()
