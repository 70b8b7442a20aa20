"""The clock's way in."""

from celery import shared_task
from django.utils import timezone

from billing import operations


@shared_task
def watch_budgets() -> int:
    """Stop what would pass its budget."""
    return operations.watch_budgets(now=timezone.now())


@shared_task
def settle() -> int:
    """Charge spans and close the holds of what has ended."""
    return operations.settle(now=timezone.now())
