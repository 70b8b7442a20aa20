"""Machines that bear our key and that no lease wants: found by asking every account at a provider, and ended."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from offers import accounts, marketplace, sightings
from offers.queries import provider
from providers.base import ProviderError
from workloads.models import Lease

logger = logging.getLogger(__name__)
GRACE = timedelta(seconds=5)  # A lease that ended so lately is still being seen to.


def end_orphans(*, now: datetime, at_clouds: bool = True) -> int:
    """End every machine whose lease is over or unknown, at clouds too or only on suppliers' hosts; return how many."""
    ended = 0
    for name, owner_id in ((marketplace.NAME, None), *(accounts.all_accounts() if at_clouds else [])):
        try:
            cloud = provider(name, owner_id=owner_id)
            for machine in sightings.machines(cloud, now=now, owner_id=owner_id):
                if _orphan(machine.key, now):
                    logger.warning("orphans.ended provider=%s owner=%s key=%s", name, owner_id, machine.key)
                    cloud.terminate(machine.key)
                    sightings.forget(cloud, owner_id=owner_id)
                    ended += 1
        except ProviderError as error:
            logger.warning("orphans.world-failed provider=%s owner=%s error=%s", name, owner_id, error)
    return ended


def _orphan(key: str, now: datetime) -> bool:
    number = key.removeprefix("lease-")
    if not number.isdigit():
        return False  # Not one of this broker's.
    lease = Lease.objects.filter(pk=int(number)).first()
    return lease is None or (lease.state in Lease.DEAD and now - lease.entered_at > GRACE)
