"""Money that moved and money set aside."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from offers.models import USD
from workloads.models import Lease, Workload


class LedgerEntry(models.Model):
    """
    `amount_usd` moved from account `debit` to account `credit`. Append-only; balanced by construction.

    Accounts: "customer:<team id>", "supplier:<team id>", "provider:<name>", "margin", "grants".
    """

    debit = models.CharField(max_length=48)
    credit = models.CharField(max_length=48)
    amount_usd = models.DecimalField(**USD)
    what = models.CharField(max_length=120)
    source = models.CharField(max_length=120, unique=True)  # What it is for, once: a second booking is refused.
    workload = models.ForeignKey(Workload, models.PROTECT, null=True)
    lease = models.ForeignKey(Lease, models.PROTECT, null=True)
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_usd__gt=0), name="an_entry_moves_money"),
            models.CheckConstraint(condition=~Q(debit=F("credit")), name="an_entry_has_two_sides"),
        ]
        indexes = [models.Index(fields=["debit"], name="entry_by_debit"),
                   models.Index(fields=["credit"], name="entry_by_credit")]  # fmt: skip


class Hold(models.Model):
    """Credit set aside for one workload until it is settled."""

    owner = models.ForeignKey(settings.TENANT_MODEL, models.PROTECT)
    workload = models.OneToOneField(Workload, models.PROTECT)
    amount_usd = models.DecimalField(**USD)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_usd__gt=0), name="a_hold_holds_money"),
            models.CheckConstraint(
                condition=Q(closed_at=None) | Q(closed_at__gte=F("opened_at")), name="a_hold_closes_after_it_opens"
            ),
        ]
