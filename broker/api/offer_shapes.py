"""The objects of the offer book as the API sends them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers as s

from broker.api.shapes import usd
from offers.models import STOCK


class OfferShape(s.Serializer[Any]):
    """One kind of machine at one place, as last seen."""

    id = s.IntegerField()
    provider = s.CharField()
    region = s.CharField()
    zone = s.CharField()
    country = s.CharField()
    latitude = s.FloatField(allow_null=True)
    longitude = s.FloatField(allow_null=True)
    instance_type = s.CharField()
    market = s.ChoiceField(choices=["on_demand", "spot", "reserved"])
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
    stock = s.ChoiceField(choices=STOCK, allow_null=True)
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
    market = s.CharField()
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
    width = s.ChoiceField(choices=["hour", "day"])
    points = PointShape(many=True)
