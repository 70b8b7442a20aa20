"""What may be bought, who rents it out through us, and what we promised to sell it for. No lifecycles here."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Cast

# Six places hold $0.000001 per GPU-hour; cents exist only on invoices and in Stripe.
USD: dict[str, Any] = {"max_digits": 18, "decimal_places": 6}
STOCK = ("none", "low", "medium", "high")


class CurrentTransaction(models.Func):
    """The number of the transaction that asks; it grows and is never used again (pg_current_xact_id)."""

    template = "pg_current_xact_id()::text"
    output_field = models.TextField()


def this_transaction() -> Cast:
    """Return the expression for what Offer.version holds."""
    return Cast(CurrentTransaction(), models.BigIntegerField())


class Source(models.Model):
    """Where offers come from: a provider, a feed or an imported catalog, and how reading it goes."""

    provider = models.CharField(max_length=32, primary_key=True)
    seen_at = models.DateTimeField(null=True)  # Its last good page; what is on that page was seen then.
    fresh_until = models.DateTimeField(null=True)  # From then on its offers are stale, and stale offers are not quoted.
    tried_at = models.DateTimeField(null=True)
    next_try_at = models.DateTimeField(null=True)  # Null: nobody polls it, its pages are imported.
    failures = models.PositiveIntegerField(default=0)  # In a row.
    error = models.CharField(max_length=400, blank=True)  # Of the last try; empty when it was good.
    took_s = models.FloatField(null=True)
    lines = models.PositiveIntegerField(default=0)  # Of the last good page.
    skipped = models.JSONField(default=dict)  # {reason: rows of the last page that could not be read}
    unknown = models.JSONField(default=dict)  # {label: lines}: accelerators that our table does not know.

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(failures=0) | ~Q(error=""), name="a_failing_source_says_why"),
        ]


class Offer(models.Model):
    """One kind of machine at one place, as last seen. Null: nobody says."""

    provider = models.CharField(max_length=32)
    region = models.CharField(max_length=64)
    zone = models.CharField(max_length=64, blank=True)
    country = models.CharField(max_length=2, blank=True)
    latitude = models.FloatField(null=True)
    longitude = models.FloatField(null=True)
    gco2_per_kwh = models.FloatField(null=True)  # Of the grid at the region.
    carbon_source = models.CharField(max_length=64, blank=True)
    machine_type = models.CharField(max_length=96)
    market = models.CharField(max_length=16)
    term = models.CharField(max_length=8, blank=True)  # Of a reservation.
    accelerator = models.CharField(max_length=64)
    family = models.CharField(max_length=64)  # What people ask for when the variant does not matter.
    vendor = models.CharField(max_length=16, blank=True)
    accelerators = models.PositiveIntegerField()
    memory_gib = models.FloatField(null=True)  # Per accelerator.
    vcpus = models.FloatField(null=True)
    ram_gib = models.FloatField(null=True)
    disk_gib = models.FloatField(null=True)
    usd_per_hour = models.DecimalField(**USD)
    usd_per_gpu_hour = models.DecimalField(**USD)
    leasable = models.BooleanField(default=False)  # We have an adapter that rents here; else only the price is known.
    available = models.PositiveIntegerField(null=True)  # Machines free now.
    stock = models.PositiveSmallIntegerField(null=True)  # STOCK: 0 none, 1 low, 2 medium, 3 high.
    interruptions_per_hour = models.FloatField(null=True)
    placement_score = models.FloatField(null=True)
    reliability = models.FloatField(null=True)
    egress_usd_per_gib = models.DecimalField(**USD, null=True)
    internet_mbit_per_s = models.FloatField(null=True)
    interconnect = models.CharField(max_length=32, blank=True)
    boot_s = models.FloatField(null=True)
    ends_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True)  # No longer on its provider's page.
    digest = models.BigIntegerField()  # Of the line as stored: a line that did not change is not written again.
    # The transaction that wrote it: changes are read in this order without a gap (offers.changes).
    version = models.BigIntegerField(db_default=this_transaction())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "region", "zone", "machine_type", "market", "term"],
                name="offer_is_one_line_of_one_price_list",
            ),
            models.CheckConstraint(condition=Q(usd_per_hour__gt=0), name="offer_price_is_positive"),
            models.CheckConstraint(condition=Q(accelerators__gt=0), name="offer_has_an_accelerator"),
        ]
        indexes = [
            models.Index(fields=["family", "usd_per_gpu_hour", "id"], name="offer_by_chip_and_price"),
            models.Index(fields=["usd_per_gpu_hour", "id"], name="offer_by_price"),
            models.Index(fields=["version"], name="offer_by_version"),
            models.Index(fields=["leasable"], condition=Q(leasable=True), name="offer_leasable"),
        ]

    @property
    def site(self) -> str:
        """Where it stands, for people: a region that names its own place ("home/berlin") needs no provider."""
        return self.region if "/" in self.region else f"{self.provider}/{self.region}"


class PriceSample(models.Model):
    """
    What a line cost from an instant on. Append-only; written when its price or stock changed or it went.

    A table in monthly partitions (offers.partitions); usd_per_hour null: it was no longer offered.
    """

    pk = models.CompositePrimaryKey("offer_id", "seen_at")
    # Offers are never deleted, so no constraint guards this: checking it would double the time of a poll.
    offer = models.ForeignKey(Offer, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="samples")
    seen_at = models.DateTimeField()
    usd_per_hour = models.DecimalField(**USD, null=True)
    available = models.PositiveIntegerField(null=True)
    stock = models.PositiveSmallIntegerField(null=True)


class PriceBucket(models.Model):
    """
    The prices in force during an hour or a day, per GPU-hour: what charts are drawn from (offers.history).

    An empty provider, region or market means all of them together.
    """

    width = models.CharField(max_length=4)  # "hour" or "day".
    at = models.DateTimeField()  # Its beginning.
    accelerator = models.CharField(max_length=64)
    provider = models.CharField(max_length=32, blank=True)
    region = models.CharField(max_length=64, blank=True)
    market = models.CharField(max_length=16, blank=True)
    min_usd = models.DecimalField(**USD)
    median_usd = models.DecimalField(**USD)
    max_usd = models.DecimalField(**USD)
    prices = models.PositiveIntegerField()  # How many different prices of different offers.

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["accelerator", "width", "provider", "region", "market", "at"],
                name="a_bucket_is_one_point_of_one_line",
            ),
            models.CheckConstraint(
                condition=Q(min_usd__lte=F("median_usd")) & Q(median_usd__lte=F("max_usd")),
                name="a_median_lies_between_min_and_max",
            ),
        ]
        indexes = [models.Index(fields=["width", "at"], name="bucket_by_time")]


class Quarantined(models.Model):
    """A line whose price cannot be right: kept out of the book, with the reason, until it is or a day has passed."""

    provider = models.CharField(max_length=32)
    region = models.CharField(max_length=64)
    zone = models.CharField(max_length=64, blank=True)
    machine_type = models.CharField(max_length=96)
    market = models.CharField(max_length=16)
    term = models.CharField(max_length=8, blank=True)
    usd_per_hour = models.DecimalField(max_digits=24, decimal_places=6)
    why = models.CharField(max_length=200)
    since = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "region", "zone", "machine_type", "market", "term"],
                name="a_line_is_in_quarantine_once",
            ),
        ]


class Refusal(models.Model):
    """What failed when it was bought or began, remembered for a while so that nobody tries it again at once."""

    owner = models.ForeignKey(settings.TENANT_MODEL, models.CASCADE, null=True)  # Whose account; null: everybody's.
    provider = models.CharField(max_length=32)
    region = models.CharField(max_length=64)
    zone = models.CharField(max_length=64, blank=True)
    machine_type = models.CharField(max_length=96)
    market = models.CharField(max_length=16)
    reason = models.CharField(max_length=16)  # offers.refusals.LASTS
    why = models.CharField(max_length=400, blank=True)
    machines = models.PositiveIntegerField(null=True)  # Of a quota: how many were held when one more was refused.
    times = models.PositiveIntegerField(default=1)  # In a row.
    at = models.DateTimeField()
    until = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "provider", "region", "zone", "machine_type", "market", "reason"],
                nulls_distinct=False,
                name="a_refusal_is_remembered_once",
            ),
            models.CheckConstraint(condition=Q(until__gt=F("at")), name="a_refusal_is_forgotten_later"),
        ]


class Spell(models.Model):
    """A machine that was watched from one age to another, of our own leases or of an imported trace. Append-only."""

    source = models.CharField(max_length=64)  # "lease", or the trace's name.
    provider = models.CharField(max_length=32)
    region = models.CharField(max_length=64)
    zone = models.CharField(max_length=64, blank=True)
    machine_type = models.CharField(max_length=96)
    accelerator = models.CharField(max_length=64)
    market = models.CharField(max_length=16)
    began_age_s = models.FloatField()  # Since when its capacity was there, as far as anybody knew.
    ended_age_s = models.FloatField()
    lost = models.BooleanField()  # False: it was given back.
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(began_age_s__gte=0, ended_age_s__gte=F("began_age_s")), name="a_spell_ends_after_it_began"
            ),
        ]
        indexes = [models.Index(fields=["at"], name="spell_by_time")]


class Broker(models.Model):
    """One row: who this broker is among those that share an account at a cloud."""

    mark = models.CharField(max_length=8)


class Account(models.Model):
    """A team's account at a cloud. Without one of the team's own, the broker's account (owner null) is used."""

    owner = models.ForeignKey(settings.TENANT_MODEL, models.CASCADE, null=True, related_name="accounts")
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

    supplier = models.ForeignKey(settings.TENANT_MODEL, models.PROTECT, null=True, related_name="hosts")
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


class Reservation(models.Model):
    """Machines of one line that a team has paid for until then, whether it uses them or not: at cost 0 for a plan."""

    owner = models.ForeignKey(settings.TENANT_MODEL, models.CASCADE, related_name="reservations")
    offer = models.ForeignKey(Offer, models.PROTECT, related_name="+")
    machines = models.PositiveIntegerField()
    until = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(machines__gt=0), name="a_reservation_has_machines"),
        ]


class Quote(models.Model):
    """A plan and its price that we stand by until `expires_at`. Immutable."""

    owner = models.ForeignKey(settings.TENANT_MODEL, models.PROTECT)
    need = models.JSONField()
    rank = models.PositiveSmallIntegerField()
    why = models.CharField(max_length=300)
    cost_usd = models.DecimalField(**USD, null=True)  # To finish; null when no speed is known.
    finish_s = models.FloatField(null=True)
    labels = models.JSONField(default=list)  # What it is best at: cheapest, fastest, safest, greenest.
    why_not = models.CharField(max_length=600, blank=True)  # What the next best would be like.
    outcome = models.JSONField(null=True)  # offers.matching.outcome.Outcome; null when no speed is known.
    curve = models.JSONField(default=list)  # [[hours, USD]]: the cheapest for each deadline, of the whole answer.
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
