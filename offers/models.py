"""What may be bought, who rents it out through us, and what we promised to sell it for. No lifecycles here."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q

# Six places hold $0.000001 per GPU-hour; cents exist only on invoices and in Stripe.
USD: dict[str, Any] = {"max_digits": 18, "decimal_places": 6}


class Offer(models.Model):
    """One kind of machine at one place, as last seen."""

    provider = models.CharField(max_length=32)
    region = models.CharField(max_length=64)
    zone = models.CharField(max_length=64, blank=True)
    country = models.CharField(max_length=2, blank=True)
    machine_type = models.CharField(max_length=96)
    market = models.CharField(max_length=16)
    accelerator = models.CharField(max_length=64)
    vendor = models.CharField(max_length=16, blank=True)
    accelerators = models.PositiveIntegerField()
    memory_gib = models.FloatField(null=True)  # Per accelerator; null: neither the provider nor our table says.
    vcpus = models.FloatField(null=True)
    ram_gib = models.FloatField(null=True)
    usd_per_hour = models.DecimalField(**USD)
    usd_per_gpu_hour = models.DecimalField(**USD)
    leasable = models.BooleanField(default=False)  # We can rent here, not only read the price.
    available = models.PositiveIntegerField(null=True)  # Machines free now; null: the provider does not say.
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "region", "zone", "machine_type", "market"],
                name="offer_is_one_line_of_one_price_list",
            ),
            models.CheckConstraint(condition=Q(usd_per_hour__gt=0), name="offer_price_is_positive"),
            models.CheckConstraint(condition=Q(accelerators__gt=0), name="offer_has_an_accelerator"),
        ]
        indexes = [
            models.Index(fields=["accelerator", "usd_per_gpu_hour", "id"], name="offer_by_chip_and_price"),
            models.Index(fields=["usd_per_gpu_hour", "id"], name="offer_by_price"),
            models.Index(fields=["leasable"], condition=Q(leasable=True), name="offer_leasable"),
        ]

    @property
    def site(self) -> str:
        """Where it stands, for people: a region that names its own place ("home/berlin") needs no provider."""
        return self.region if "/" in self.region else f"{self.provider}/{self.region}"


class PriceSample(models.Model):
    """A price that was true at an instant. Append-only; written when the price changed."""

    offer = models.ForeignKey(Offer, models.CASCADE, related_name="samples")
    usd_per_hour = models.DecimalField(**USD)
    seen_at = models.DateTimeField()


class Account(models.Model):
    """A team's account at a cloud. Without one of the team's own, the broker's account (owner null) is used."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="accounts")
    provider = models.CharField(max_length=32)
    sealed = models.BinaryField()  # The credentials as JSON, encrypted (offers.accounts).
    hint = models.CharField(max_length=64, blank=True)  # What tells it apart for people; never a secret.
    created_at = models.DateTimeField()
    checked_at = models.DateTimeField(null=True)
    denied = models.JSONField(default=list)  # Permissions that the last check found missing.

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "provider"], nulls_distinct=False, name="a_team_has_one_account_at_a_provider"
            ),
        ]


class Host(models.Model):
    """
    A machine with our agent on it: a supplier's, or (supplier null) one that we rented at a cloud, named by its key.

    A supplier's own work comes first, and a cloud's spot market too: either may take the machine back at any moment.
    """

    supplier = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="hosts")
    name = models.CharField(max_length=64)
    region = models.CharField(max_length=64)
    country = models.CharField(max_length=2, blank=True)
    usd_per_hour = models.DecimalField(**USD)  # What the supplier asks.
    created_at = models.DateTimeField()
    enrol_token_sha256 = models.CharField(max_length=64, unique=True)
    enrol_expires_at = models.DateTimeField()
    key_sha256 = models.CharField(max_length=64, blank=True)  # Of the agent's own secret; empty until it enrolled.
    address = models.CharField(max_length=64, blank=True)
    hardware = models.JSONField(default=dict)
    seen_at = models.DateTimeField(null=True)
    reclaim_at = models.DateTimeField(null=True)  # From then on it is the supplier's again.
    barred_why = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["supplier", "name"], name="a_supplier_names_a_host_once"),
            models.CheckConstraint(condition=Q(usd_per_hour__gt=0), name="host_price_is_positive"),
        ]


class Rental(models.Model):
    """One of our keys on one host. The marketplace's own memory, as a cloud has of its machines."""

    host = models.ForeignKey(Host, models.PROTECT, related_name="rentals")
    key = models.CharField(max_length=64, unique=True)
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["host"], condition=Q(ended_at=None), name="a_host_is_rented_once"),
        ]


class Listening(models.Model):
    """One row: since when we listen without a break. A silence that we could not have heard is nobody's fault."""

    since = models.DateTimeField()
    ticked_at = models.DateTimeField()


class Quote(models.Model):
    """A plan and its price that we stand by until `expires_at`. Immutable."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT)
    need = models.JSONField()
    rank = models.PositiveSmallIntegerField()
    why = models.CharField(max_length=300)
    cost_usd = models.DecimalField(**USD, null=True)  # To finish; null when no speed is known.
    finish_s = models.FloatField(null=True)
    speed = models.JSONField()
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(expires_at__gt=F("created_at")), name="quote_expires_after_it_was_made"),
        ]

    def is_open(self, now: datetime) -> bool:
        """Whether it may still be ordered."""
        return now < self.expires_at


class QuoteLine(models.Model):
    """So many machines of one offer at one of the quote's sites, at a frozen price."""

    quote = models.ForeignKey(Quote, models.CASCADE, related_name="lines")
    site_index = models.PositiveSmallIntegerField()
    offer = models.ForeignKey(Offer, models.PROTECT)
    nodes = models.PositiveSmallIntegerField()
    cost_usd_per_hour = models.DecimalField(**USD)  # One machine, what its provider gets.
    sell_usd_per_hour = models.DecimalField(**USD)  # One machine, what the customer pays.

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(nodes__gt=0), name="a_quote_line_has_machines"),
            models.CheckConstraint(
                condition=Q(sell_usd_per_hour__gte=F("cost_usd_per_hour")), name="we_do_not_sell_below_cost"
            ),
        ]
