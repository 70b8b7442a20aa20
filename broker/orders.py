"""Use cases that touch two floors at once."""

from __future__ import annotations

from datetime import datetime

from django.db import IntegrityError, transaction

from billing import operations as money
from workloads import operations as work
from workloads.models import Workload
from workloads.operations import Order
from workloads.queries import by_idempotency_key


class IdempotencyConflict(Exception):
    """The key was used before, for another order."""


def accept(*, order: Order, now: datetime) -> tuple[Workload, bool]:
    """
    Turn a quote into a running workload and set its budget aside, or neither; return it and whether it is new.

    Raises QuoteExpired, QuoteTaken, CreditExhausted, IdempotencyConflict.
    """
    if known := _known(order):
        return known, False
    try:
        with transaction.atomic():
            workload = work.submit(order=order, now=now)
            money.open_hold(workload=workload, now=now)
    except (IntegrityError, work.QuoteTaken):
        if known := _known(order):  # The same order, a moment ago, in another process.
            return known, False
        raise
    return workload, True


def _known(order: Order) -> Workload | None:
    if order.idempotency_key is None:
        return None
    known = by_idempotency_key(owner_id=order.quote.owner_id, key=order.idempotency_key)
    if known is not None and known.body_sha256 != order.body_sha256:
        raise IdempotencyConflict(order.idempotency_key)
    return known
