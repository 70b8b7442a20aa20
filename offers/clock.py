"""
What is polled, and when: every source on its own clock, and never twice at once.

A source is a provider at which the broker or a team has an account, a feed that needs none, or a catalog in the
SkyPilot schema. A provider's prices are the same for all, so it is read once, with whichever account works.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db.models import Q

from offers import accounts, poll
from offers.models import Source
from providers import catalog, registry
from providers.base import Listing, PriceList, ProviderError

CLAIM_FOR = timedelta(minutes=15)  # A poll that takes longer, or whose worker died, is begun anew.
Open = Callable[[datetime], PriceList]


def sources() -> dict[str, Open]:
    """Return {name: how to open its price list}. A provider with an account wins over a feed or catalog of its name."""
    found: dict[str, Open] = {}
    if settings.CATALOG_DIR:
        for path in sorted(Path(settings.CATALOG_DIR).glob("*/vms.csv")):
            found[path.parent.name] = lambda now, path=path: catalog.Catalog(path=path, now=now)  # type: ignore[misc]
    for name, url in settings.CATALOG_URLS.items():
        found[name] = lambda now, name=name, url=url: catalog.Online(name=name, url=url, now=now)  # type: ignore[misc]
    for name in settings.PRICE_LISTS:
        own = settings.PRICE_LIST_KEYS.get(name, {})
        found[name] = lambda now, name=name, own=own: registry.price_list(name, **own)  # type: ignore[misc]
    for name in accounts.connected():
        found[name] = lambda now, name=name: _AnyAccount(name)  # type: ignore[misc]
    return found


def every(name: str) -> timedelta:
    """Return how often a source is read."""
    return timedelta(seconds=settings.POLL_EVERY_S.get(name, settings.POLL_EVERY_S[""]))


def claim_due(*, now: datetime) -> list[str]:
    """Return the sources that are to be read now. Each is given out once, until it was read or its claim is over."""
    names = list(sources())
    Source.objects.bulk_create([Source(provider=name) for name in names], ignore_conflicts=True)
    due = Source.objects.filter(Q(next_try_at=None) | Q(next_try_at__lte=now), provider__in=names)
    return [name for name in due.values_list("pk", flat=True) if claim(name, now=now)]


def claim(name: str, *, now: datetime) -> bool:
    """Take a source that is due; who comes second gets False."""
    due = Source.objects.filter(Q(next_try_at=None) | Q(next_try_at__lte=now), pk=name)
    return bool(due.update(next_try_at=now + CLAIM_FOR))


def read(name: str, *, now: datetime) -> poll.Page | None:
    """Poll a claimed source; None when it did not answer or is no source any more."""
    opened = sources().get(name)
    if opened is None:
        return None
    leasable = name in accounts.connected()
    try:
        price_list = opened(now)
    except (ProviderError, KeyError, TypeError) as error:  # A wrong name or a wrong argument in the settings.
        price_list = _Broken(name, f"{type(error).__name__}: {error}")
    return poll.poll(price_list, now=now, every=every(name), leasable=leasable)


class _AnyAccount:
    """A provider's price list, read with the first account that can."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.skipped: Counter[str] = Counter()

    def listings(self) -> list[Listing]:
        """Return the whole page of one account. Raises ProviderError."""
        lines, self.skipped = accounts.try_each(self.name, lambda cloud: (list(cloud.listings()), cloud.skipped))
        return lines


class _Broken:
    """A source that cannot be opened: it fails like one that does not answer, where its owner will see it."""

    def __init__(self, name: str, why: str) -> None:
        self.name, self.why = name, why
        self.skipped: Counter[str] = Counter()

    def listings(self) -> list[Listing]:
        """Raise what was wrong."""
        raise ProviderError(self.why)
