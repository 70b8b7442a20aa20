"""
Which machines each provider listed when it was last asked, kept in this process: many leases look with one call.

A look may be as old as the provider's `look_every_s`, so it proves only that a machine was there. That one is gone is
said by a look made for the purpose: another process may have launched it after ours.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from offers import marketplace
from providers.base import Machine, Provider


@dataclass(frozen=True, slots=True)
class Look:
    """What one account at one provider listed."""

    at: datetime
    machines: dict[str, Machine]  # By key.


Account = tuple[str, int | None]
_looks: dict[Account, Look] = {}
_asking: defaultdict[Account, threading.Lock] = defaultdict(threading.Lock)  # Who comes meanwhile waits for the answer.


def find_machine(provider: Provider, key: str, *, now: datetime, owner_id: int | None = None) -> Machine | None:
    """
    Return the machine that bears the key, or None when the provider lists none now. Raises ProviderError.

    owner_id: whose account the provider is connected with; null is the broker's.
    """
    with _asking[provider.name, owner_id]:
        look = _looks.get((provider.name, owner_id))
        fresh = look is not None and timedelta(0) <= now - look.at < timedelta(seconds=provider.look_every_s)
        if look is None or not fresh or key not in look.machines:
            look = _ask(provider, owner_id, now)
        return look.machines.get(key)


def machines(provider: Provider, *, now: datetime, owner_id: int | None = None) -> list[Machine]:
    """Ask for every machine that bears a key of ours. Raises ProviderError."""
    with _asking[provider.name, owner_id]:
        return list(_ask(provider, owner_id, now).machines.values())


def forget(provider: Provider, *, owner_id: int | None = None) -> None:
    """Look again next time: something was launched or ended."""
    with _asking[provider.name, owner_id]:
        _looks.pop((provider.name, owner_id), None)


def _ask(provider: Provider, owner_id: int | None, now: datetime) -> Look:
    look = Look(now, {machine.key: machine for machine in provider.machines()})
    if provider.name != marketplace.NAME:  # Our own tables answer at once, and what they say changes every second.
        _looks[provider.name, owner_id] = look
    return look
