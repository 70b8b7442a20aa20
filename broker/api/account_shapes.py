"""The objects about people and their money, as the API sends them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers as s

from broker.api.shapes import listed, usd


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


class LedgerShape(listed(EntryShape)):  # type: ignore[misc]
    """Rows of the ledger; `sum_usd` over all accounts that they touch is always zero."""

    sum_usd = usd()


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
