"""Spans to money: exact, once, whenever it runs."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import ProgrammingError, transaction
from hypothesis import given
from hypothesis import strategies as st

from billing import metering, operations, queries
from billing.models import Hold, LedgerEntry
from billing.money import hours_of, seconds_between, usd_for
from tests.conftest import NOON
from workloads.models import Lease, Placement, Workload

SECONDS = st.integers(0, 10 * 3600 * 1_000_000).map(lambda micros: timedelta(microseconds=micros))


@given(SECONDS, SECONDS)
def test_the_hours_of_a_span_are_the_span_without_gap_or_overlap(start, length):
    begin = NOON + start
    end = begin + length

    pieces = list(hours_of(begin, end))

    assert sum((seconds_between(*piece) for piece in pieces), Decimal(0)) == seconds_between(begin, end)
    for (_, cut), (next_begin, _) in zip(pieces, pieces[1:], strict=False):
        assert cut == next_begin
        assert (cut.minute, cut.second, cut.microsecond) == (0, 0, 0)


@given(SECONDS, st.decimals("0.000001", "100", places=6))
def test_an_amount_has_six_places_and_is_within_half_a_millionth(length, price):
    seconds = seconds_between(NOON, NOON + length)

    amount = usd_for(usd_per_hour=price, seconds=seconds)

    assert amount.as_tuple().exponent == -6
    assert abs(amount - price * seconds / 3600) <= Decimal("0.0000005")


def test_time_that_runs_backwards_costs_nothing():
    assert seconds_between(NOON, NOON - timedelta(hours=1)) == 0


@pytest.fixture
def lease(make_host, order_run, settle, clock):
    """A lease that was opened at 12:00:00 and is held."""
    order_run_agent = make_host("one", "home/berlin", usd="3.6")
    order_run(sites=1, budget="50")
    settle(order_run_agent, seconds=3)
    Lease.objects.update(opened_at=NOON)
    return Lease.objects.get()


@pytest.mark.django_db
class TestMeter:
    def close(self, lease, at):
        Lease.objects.filter(pk=lease.pk).update(closed_at=at, state="released")
        Placement.objects.update(state="closed")

    def amounts(self):
        return list(LedgerEntry.objects.exclude(workload=None).order_by("id").values_list("credit", "amount_usd"))

    def test_an_hour_is_charged_when_it_is_over_and_the_rest_when_the_lease_is(self, lease, owner):
        assert metering.meter(now=NOON + timedelta(minutes=59)) == 0
        assert metering.meter(now=NOON + timedelta(minutes=61)) == 1
        self.close(lease, NOON + timedelta(hours=1, seconds=100))
        assert metering.meter(now=NOON + timedelta(hours=5)) == 1

        supplier = f"supplier:{owner.team.pk}"
        assert self.amounts() == [
            (supplier, Decimal("3.6")),
            ("margin", Decimal("0.36")),
            (supplier, Decimal("0.1")),
            ("margin", Decimal("0.01")),
        ]

    def test_twice_or_late_is_the_same(self, lease):
        self.close(lease, NOON + timedelta(hours=3, microseconds=123_457))

        metering.meter(now=NOON + timedelta(days=9))
        once = self.amounts()
        metering.meter(now=NOON + timedelta(days=10))

        assert self.amounts() == once
        assert len(once) == 8
        workload = Workload.objects.get()
        spent = queries.spent_usd(workload_id=workload.pk, now=NOON + timedelta(days=10))
        assert queries.charged_usd(workload.pk) == spent
        assert queries.ledger_sum_usd(LedgerEntry.objects.all()) == 0

    def test_a_booked_entry_cannot_be_changed_or_deleted(self, lease):
        entry = LedgerEntry.objects.first()

        with pytest.raises(ProgrammingError, match="append-only"), transaction.atomic():
            LedgerEntry.objects.filter(pk=entry.pk).update(amount_usd=1)
        with pytest.raises(ProgrammingError, match="append-only"), transaction.atomic():
            entry.delete()

    def test_a_hold_is_closed_only_when_all_is_charged(self, lease):
        Workload.objects.update(state="cancelled", ended_at=NOON, end_reason="asked")
        assert operations.settle(now=NOON + timedelta(minutes=5)) == 0, "a machine is still held"
        self.close(lease, NOON + timedelta(minutes=10))

        assert operations.settle(now=NOON + timedelta(minutes=11)) == 1

        assert Hold.objects.get().closed_at == NOON + timedelta(minutes=11)
        assert queries.charged_usd(Workload.objects.get().pk) == Decimal("0.66")

    def test_a_run_is_asked_to_stop_before_its_budget_is_passed(self, lease):
        Hold.objects.update(amount_usd=Decimal("3.96"))  # An hour at the customer's price.

        assert operations.watch_budgets(now=NOON + timedelta(minutes=59)) == 0
        assert operations.watch_budgets(now=NOON + timedelta(minutes=59, seconds=41)) == 1
        assert operations.watch_budgets(now=NOON + timedelta(minutes=59, seconds=42)) == 0

        assert Workload.objects.get().end_reason == "budget"
