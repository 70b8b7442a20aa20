"""
Our keys as clouds see them: with this broker's mark before them, so that two brokers that share an account at a cloud
do not take each other's machines for their own.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from offers.models import Broker
from providers.base import LaunchOrder, Machine, Provider


def mark() -> str:
    """Return this broker's mark: six characters, made once for a database."""
    found = Broker.objects.values_list("mark", flat=True).first()
    if found is None:
        Broker.objects.bulk_create([Broker(pk=1, mark=f"b{secrets.token_hex(3)[:5]}")], ignore_conflicts=True)
        found = Broker.objects.values_list("mark", flat=True).get()
    return found


class Marked:
    """A provider at which all keys carry a mark. Everything but the keys is the provider's own."""

    def __init__(self, provider: Provider, own_mark: str) -> None:
        self._provider = provider
        self._before = f"{own_mark}-" if own_mark else ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def launch(self, order: LaunchOrder) -> Machine:
        """Rent a machine under the marked key. Raises ProviderError."""
        machine = self._provider.launch(replace(order, key=self._before + order.key))
        return replace(machine, key=order.key)

    def machines(self) -> Iterator[Machine]:
        """Return the machines with our mark, by their bare keys. Raises ProviderError."""
        for machine in self._provider.machines():
            if machine.key.startswith(self._before):
                yield replace(machine, key=machine.key.removeprefix(self._before))

    def terminate(self, key: str) -> None:
        """Ask for the machine of the bare key to end. Raises ProviderError."""
        self._provider.terminate(self._before + key)
