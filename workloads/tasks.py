"""The clock's way in."""

from celery import shared_task
from django.utils import timezone

from workloads import orphans, retention, seeking
from workloads.tick import MACHINES


@shared_task
def advance(*, kind: str, pk: int) -> None:
    """Look at one row."""
    MACHINES[kind].drive(pk, timezone.now)


@shared_task
def seek() -> int:
    """Look for machines for the workloads that lack some."""
    return seeking.seek(timezone.now())


@shared_task
def sweep_store() -> int:
    """Delete what no longer serves anybody."""
    return retention.sweep(now=timezone.now())


@shared_task
def end_orphans() -> int:
    """End rentals of suppliers' hosts that no lease wants."""
    return orphans.end_orphans(now=timezone.now(), at_clouds=False)


@shared_task
def end_orphans_everywhere() -> int:
    """End machines that bear our key and that no lease wants, at clouds too."""
    return orphans.end_orphans(now=timezone.now())
