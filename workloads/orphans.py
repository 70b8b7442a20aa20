"""Machines that bear our key and that no lease wants: found by asking the providers, and ended."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.conf import settings

from offers import marketplace
from offers.queries import provider
from providers.base import ProviderError
from workloads.models import Lease

logger = logging.getLogger(__name__)
GRACE = timedelta(seconds=5)  # A lease that ended so lately is still being seen to.


def end_orphans(*, now: datetime) -> int:
    """End every machine whose lease is over or unknown; return how many."""
    ended = 0
    for name in (marketplace.NAME, *settings.PROVIDERS):
        try:
            for machine in provider(name).machines():
                if _orphan(machine.key, now):
                    logger.warning("orphans.ended provider=%s key=%s", name, machine.key)
                    provider(name).terminate(machine.key)
                    ended += 1
        except ProviderError as error:
            logger.warning("orphans.world-failed provider=%s error=%s", name, error)
    return ended


def _orphan(key: str, now: datetime) -> bool:
    number = key.removeprefix("lease-")
    if not number.isdigit():
        return False  # Not one of this broker's.
    lease = Lease.objects.filter(pk=int(number)).first()
    return lease is None or (lease.state in Lease.DEAD and now - lease.entered_at > GRACE)
