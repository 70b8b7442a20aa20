"""The objects of the offer book as the API sends them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers as s

from broker.api.shapes import choice, paged, usd
from offers.history import WIDTHS
from offers.models import STOCK
from offers.search import GROUPS
from providers.base import Market

DAYS_MAX = 3650


class OfferShape(s.Serializer[Any]):
    """One kind of machine at one place, as last seen."""

    id = s.IntegerField()
    provider = s.CharField()
    region = s.CharField()
    zone = s.CharField()
    country = s.CharField(help_text="ISO 3166, two letters; empty: unknown.")
    latitude = s.FloatField(allow_null=True)
    longitude = s.FloatField(allow_null=True)
    instance_type = s.CharField()
    market = choice("Market", Market)
    term = s.CharField()
    accelerator = s.CharField()
    vendor = s.CharField()
    accelerators = s.IntegerField()
    memory_gib = s.FloatField(allow_null=True)
    vcpus = s.FloatField(allow_null=True)
    ram_gib = s.FloatField(allow_null=True)
    disk_gib = s.FloatField(allow_null=True)
    usd_per_hour = usd()
    usd_per_gpu_hour = usd()
    leasable = s.BooleanField()
    available = s.IntegerField(allow_null=True)
    stock = choice("Stock", STOCK, allow_null=True)
    interruptions_per_hour = s.FloatField(allow_null=True)
    placement_score = s.FloatField(allow_null=True)
    reliability = s.FloatField(allow_null=True)
    egress_usd_per_gib = usd(allow_null=True)
    internet_mbit_per_s = s.FloatField(allow_null=True)
    interconnect = s.CharField()
    boot_s = s.FloatField(allow_null=True)
    gco2_per_kwh = s.FloatField(allow_null=True)
    carbon_source = s.CharField()
    ends_at = s.DateTimeField(allow_null=True)
    changed_at = s.DateTimeField()
    gone_at = s.DateTimeField(allow_null=True)
    seen_at = s.DateTimeField(allow_null=True)
    stale = s.BooleanField()


class OfferPageShape(paged(OfferShape)):  # type: ignore[misc]
    """One page of the book."""

    count = s.IntegerField(required=False, help_text="How many fit: on a first page with `total=true`.")
    count_is_exact = s.BooleanField(required=False, help_text="false: counting takes too long, this is an estimate.")


class OfferGroupShape(s.Serializer[Any]):
    """Offers that have something in common: only the names that were grouped by are there."""

    gpu = s.CharField(required=False)
    vendor = s.CharField(required=False, allow_blank=True)
    provider = s.CharField(required=False)
    region = s.CharField(required=False)
    country = s.CharField(required=False, allow_blank=True)
    market = choice("Market", Market, required=False)
    count = s.IntegerField(required=False, help_text="Accelerators of a machine.")
    offers = s.IntegerField()
    providers = s.IntegerField()
    available = s.IntegerField(allow_null=True)
    min_usd_per_gpu_hour = usd()
    median_usd_per_gpu_hour = usd()
    max_usd_per_gpu_hour = usd()


class SourceShape(s.Serializer[Any]):
    """Where offers come from, and how reading it goes."""

    provider = s.CharField()
    seen_at = s.DateTimeField(allow_null=True)
    stale = s.BooleanField()
    tried_at = s.DateTimeField(allow_null=True)
    next_try_at = s.DateTimeField(allow_null=True)
    failures = s.IntegerField()
    error = s.CharField()
    took_s = s.FloatField(allow_null=True)
    lines = s.IntegerField()
    quarantined = s.IntegerField()
    skipped = s.DictField(child=s.IntegerField())
    unknown = s.DictField(child=s.IntegerField())


class QuarantinedShape(s.Serializer[Any]):
    """A line whose price cannot be right."""

    id = s.IntegerField()
    provider = s.CharField()
    region = s.CharField()
    zone = s.CharField()
    instance_type = s.CharField(source="machine_type")
    market = choice("Market", Market)
    term = s.CharField()
    usd_per_hour = s.DecimalField(max_digits=24, decimal_places=6)
    why = s.CharField()
    since = s.DateTimeField()
    seen_at = s.DateTimeField()


class PointShape(s.Serializer[Any]):
    """The prices in force during an hour or a day, USD per GPU-hour."""

    at = s.DateTimeField()
    min = usd()
    median = usd()
    max = usd()
    prices = s.IntegerField()


class ChartLineShape(s.Serializer[Any]):
    """One line of a chart; an empty provider, region or market means all together."""

    gpu = s.CharField()
    provider = s.CharField()
    region = s.CharField()
    market = s.CharField()
    width = choice("ChartWidth", WIDTHS)
    points = PointShape(many=True)


class SparkShape(s.Serializer[Any]):
    """What an offer cost, at each of the instants."""

    offer = s.IntegerField()
    usd_per_gpu_hour = s.ListField(child=usd(allow_null=True))


class SparksShape(s.Serializer[Any]):
    """Small charts of many offers; `at`: the instants, oldest first."""

    at = s.ListField(child=s.DateTimeField())
    results = SparkShape(many=True)


class FacetShape(s.Serializer[Any]):
    """A value, and how many offers have it."""

    value = s.CharField(allow_blank=True)
    offers = s.IntegerField()


FacetsShape = type("FacetsShape", (s.Serializer,), {name: FacetShape(many=True) for name in GROUPS})
FacetsShape.__doc__ = "For each filter, the values that there are, most frequent first."


class NewHistoryShape(s.Serializer[Any]):
    """Whose published prices are wanted, and of how many days."""

    provider = s.CharField()
    days = s.IntegerField(required=False, default=90, min_value=1, max_value=DAYS_MAX)


class HistoryStartedShape(s.Serializer[Any]):
    """The prices are being fetched."""

    provider = s.CharField()
    days = s.IntegerField()
    started = s.BooleanField()


class CatalogLineShape(s.Serializer[Any]):
    """A row of a catalog that was not loaded."""

    line = s.IntegerField()
    reason = s.CharField()
    text = s.CharField(allow_blank=True)


class CatalogReportShape(s.Serializer[Any]):
    """What became of a catalog: loaded + not_gpu + all skipped = rows."""

    provider = s.CharField()
    rows = s.IntegerField()
    loaded = s.IntegerField()
    not_gpu = s.IntegerField()
    skipped = s.DictField(child=s.IntegerField(), help_text="{reason: rows}")
    examples = CatalogLineShape(many=True)
    offers = s.IntegerField()
    changed = s.IntegerField()
    gone = s.IntegerField()
    quarantined = s.IntegerField()
    refused = s.DictField(child=s.IntegerField(), help_text="{reason: rows}")
    unknown_accelerators = s.DictField(child=s.IntegerField(), help_text="{name: rows}")
