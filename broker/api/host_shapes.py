"""The objects about suppliers and their machines, as the API sends and takes them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers as s

from broker.api.shapes import choice, number, stored, usd
from offers.marketplace import STATES

PAIR = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
PAIRS = {"type": "array", "items": PAIR}


class ChipShape(s.Serializer[Any]):
    """One accelerator, as its driver names it."""

    kind = s.CharField()
    memory_gib = s.FloatField(allow_null=True)
    uuid = s.CharField()


class BenchmarkShape(s.Serializer[Any]):
    """What a host measured of itself while it was idle."""

    precision = s.CharField()
    compute = stored(PAIRS, help_text="[FLOPs, FLOPs/s]")
    memory = stored(PAIRS, help_text="[bytes, bytes/s]")
    launch_s = s.FloatField()


class HardwareShape(s.Serializer[Any]):
    """What a host's agent found; empty until it came."""

    hostname = s.CharField(required=False, allow_blank=True)
    os = s.CharField(required=False, allow_blank=True)
    python = s.CharField(required=False, allow_blank=True)
    vcpus = number()
    ram_gib = number()
    disk_free_gib = number()
    accelerators = ChipShape(many=True, required=False)
    benchmarks = BenchmarkShape(many=True, required=False)


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
    state = choice("HostState", STATES)
    why = s.CharField(allow_blank=True)
    hardware = stored(HardwareShape)
    address = s.CharField(allow_blank=True)
    seen_at = s.DateTimeField(allow_null=True)
    reclaim_at = s.DateTimeField(allow_null=True)
    earned_usd = usd()
    lease = s.IntegerField(allow_null=True)
    rented_at = s.DateTimeField(allow_null=True, help_text="Since when that lease has it.")
    enrol_token = s.CharField(required=False)


class EarningsShape(s.Serializer[Any]):
    """What a host brought on one day, UTC."""

    day = s.DateField()
    usd = usd()
    seconds = s.FloatField(help_text="That it was rented.")


class SupplierShape(s.Serializer[Any]):
    """A party that rents its machines out through us."""

    id = s.IntegerField()
    username = s.CharField()
    hosts = s.IntegerField()
    hosts_offered = s.IntegerField()
    hosts_rented = s.IntegerField()
    owed_usd = usd()
