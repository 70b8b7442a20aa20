"""The clock's way in."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from offers import accounts, clock, history, operations, queries


@shared_task
def poll_market() -> None:
    """Send a task for every source that is due: one that hangs holds up no other."""
    for name in clock.claim_due(now=timezone.now()):
        poll_source.delay(name)


@shared_task
def poll_source(name: str) -> None:
    """Read one source."""
    clock.read(name, now=timezone.now())


@shared_task
def import_published(name: str, days: int) -> None:
    """Fetch the prices of the last days that a provider publishes."""
    now = timezone.now()
    since = now - timedelta(days=days)
    accounts.try_each(name, lambda cloud: history.import_published(cloud, since=since, until=now))


@shared_task
def import_published_lately() -> None:
    """Fetch yesterday's and today's published prices of every provider that has any."""
    for name in queries.history_keepers():
        import_published.delay(name, 2)


@shared_task
def refresh_hosts() -> None:
    """Bring the suppliers' hosts' offers up to date."""
    operations.refresh_hosts(now=timezone.now())


@shared_task
def draw_history() -> None:
    """Bring the newest hour and day of the price charts up to date."""
    history.draw_newest(now=timezone.now())
