"""The objects about needs and quotes, as the API sends and takes them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers as s

from broker.api.shapes import RefusalShape, choice, number, stored, texts, usd, whole
from offers.matching.book import TIERS
from offers.matching.choice import LABELS
from offers.matching.need import SPREADS
from providers.base import Market

ONE_OR_MORE = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
POINT = {"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}], "minItems": 2, "maxItems": 2}
CURVE = {"type": "array", "items": POINT}


class NeedShape(s.Serializer[Any]):
    """What a workload asks for; every field may be left out."""

    accelerator = stored(ONE_OR_MORE, required=False, allow_null=True, help_text="A name or a family, or several.")
    accelerators = whole(help_text="Of all sites together, split as it comes cheapest.")
    accelerators_per_site = whole()
    min_accelerators_per_site = whole()
    sites = whole()
    max_sites = whole()
    spread = choice("Spread", SPREADS, required=False, allow_null=True)
    min_memory_gib = number(help_text="Of each accelerator.")
    interconnect = s.CharField(required=False, allow_null=True, help_text="Inside a site of several machines.")
    offers = s.ListField(child=s.IntegerField(), required=False, allow_null=True, help_text="Only these offers.")
    providers, not_providers = texts(), texts()
    regions, not_regions = texts(), texts()
    countries, not_countries = texts(), texts()
    residency = s.CharField(required=False, allow_null=True, help_text="A group of countries: EU, EEA, ...")
    markets = texts()
    tiers = s.ListField(child=choice("Tier", TIERS), required=False, allow_null=True)
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


class SpeedShape(s.Serializer[Any]):
    """How fast a plan is, and how that is known."""

    source = choice("SpeedSource", ("measured", "stated", "probed", "predicted", "unknown"))
    samples_per_s = s.FloatField(allow_null=True, help_text="Of the whole plan.")
    per_accelerator = s.DictField(child=s.FloatField(allow_null=True), help_text="{name: samples/s of one}")


class QuoteSiteShape(s.Serializer[Any]):
    """Machines at one site of a quote."""

    site = s.CharField()
    provider = s.CharField()
    region = s.CharField()
    market = choice("Market", Market)
    instance_type = s.CharField()
    accelerator = s.CharField()
    accelerators = s.IntegerField()
    nodes = s.IntegerField()
    usd_per_hour = usd()
    offer = s.IntegerField()
    country = s.CharField(allow_blank=True)
    latitude = s.FloatField(allow_null=True)
    longitude = s.FloatField(allow_null=True)


class RangeShape(s.Serializer[Any]):
    """One time of ten it is less than p10, one time of ten more than p90."""

    p10 = s.FloatField()
    p50 = s.FloatField()
    p90 = s.FloatField()


class UsdRangeShape(s.Serializer[Any]):
    """The same in USD."""

    p10 = usd()
    p50 = usd()
    p90 = usd()


class OutcomeShape(s.Serializer[Any]):
    """What may become of a plan."""

    finish_s = RangeShape()
    cost_usd = UsdRangeShape()
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


class ExcludedShape(s.Serializer[Any]):
    """How many offers a constraint excluded."""

    constraint = s.CharField()
    offers = s.IntegerField()


class RelaxationShape(s.Serializer[Any]):
    """What one constraint loosened would make possible."""

    field = s.CharField()
    value = stored({"description": "What the field would have to be; null: left out."})
    change = s.CharField()
    usd = usd()
    finish_s = s.FloatField(allow_null=True)


class QuoteRefusalFieldsShape(s.Serializer[Any]):
    """Of `need_unmet` what stands in the way and what would help, of `budget_below_cheapest` what it would cost."""

    excluded = ExcludedShape(many=True, required=False)
    offers_considered = s.IntegerField(required=False)
    relaxations = RelaxationShape(many=True, required=False)
    cheapest_usd = usd(required=False)


class QuoteRefusalShape(RefusalShape):
    """Why there is no quote."""

    fields = stored(QuoteRefusalFieldsShape)


class QuoteErrorShape(s.Serializer[Any]):
    """The answer to a need that has no quote."""

    error = QuoteRefusalShape()


class QuoteShape(s.Serializer[Any]):
    """A whole answer, promised until `expires_at`."""

    id = s.IntegerField()
    expires_at = s.DateTimeField()
    rank = s.IntegerField()
    need = stored(NeedShape)
    usd_per_hour = usd()
    cost_usd = usd(allow_null=True)
    finish_s = s.FloatField(allow_null=True)
    speed = stored(SpeedShape)
    sites = QuoteSiteShape(many=True)
    labels = s.ListField(child=choice("Label", LABELS), help_text="What it is best at.")
    outcome = OutcomeShape(allow_null=True)
    why = s.CharField()
    why_not = s.CharField(allow_blank=True, help_text="What the next best would be like.")


class QuotesShape(s.Serializer[Any]):
    """The answer to a need."""

    quotes = QuoteShape(many=True)
    excluded = ExcludedShape(many=True)
    offers_considered = s.IntegerField()
    curve = stored(CURVE, help_text="[hours, USD]: the cheapest for each deadline.")
