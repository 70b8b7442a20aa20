"""The clock's way in."""

from celery import shared_task
from django.utils import timezone

from offers import operations


@shared_task
def refresh_market() -> int:
    """Poll the price lists."""
    return operations.refresh_market(now=timezone.now())


@shared_task
def refresh_hosts() -> None:
    """Bring the suppliers' hosts' offers up to date."""
    operations.refresh_hosts(now=timezone.now())
