"""The objects about reserved capacity, as the API sends them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers as s

from broker.api.shapes import usd

ID_MAX = 2**63 - 1


class NewReservationShape(s.Serializer[Any]):
    """Machines of an offer that are paid for already."""

    offer = s.IntegerField(min_value=1, max_value=ID_MAX, help_text="The id of an open on-demand offer.")
    machines = s.IntegerField(min_value=1, max_value=100_000)
    until = s.DateTimeField(help_text="When the reservation ends: RFC 3339, in the future.")


class ReservationShape(s.Serializer[Any]):
    """Reserved machines of one offer, and how many of them are in use."""

    id = s.IntegerField()
    offer = s.IntegerField(source="offer_id")
    site = s.CharField(source="offer.site")
    provider = s.CharField(source="offer.provider")
    region = s.CharField(source="offer.region")
    instance_type = s.CharField(source="offer.machine_type")
    accelerator = s.CharField(source="offer.accelerator")
    accelerators = s.IntegerField(source="offer.accelerators", help_text="Of each machine.")
    usd_per_hour = usd(source="offer.usd_per_hour", help_text="What one machine more costs at its provider.")
    machines = s.IntegerField()
    in_use = s.IntegerField()
    until = s.DateTimeField()
