"""The one shape every provider of machines is bent into."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol


class ProviderError(Exception):
    """A provider did not do what was asked."""


class NoCapacity(ProviderError):
    """Nothing of this shape is free now. Try another offer."""


class Rejected(ProviderError):
    """The request can never succeed as written. Do not retry."""


class Unreachable(ProviderError):
    """No answer, or a 5xx. It may have worked: ask again with the same key."""


class Market(StrEnum):
    """How a machine is sold."""

    ON_DEMAND = "on_demand"
    SPOT = "spot"  # May be taken away; includes "preemptible", "bid" and suppliers' spare machines.
    RESERVED = "reserved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One line of a provider's price list, in the provider's own words."""

    provider: str
    region: str
    zone: str = ""
    country: str = ""  # ISO 3166-1 alpha-2; empty when the provider does not say.
    machine_type: str
    accelerator_label: str  # As the provider spells it; offers.gpus knows what it means.
    accelerator_count: int
    memory_gib: float | None  # Per accelerator; None when the provider does not say.
    vcpus: float | None
    ram_gib: float | None
    market: Market
    usd_per_hour: Decimal  # The whole machine, before tax.
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOrder:
    """What we ask for. The same key never buys two machines."""

    key: str
    region: str
    machine_type: str
    market: Market
    max_usd_per_hour: Decimal
    startup_script: str = ""


class MachineState(StrEnum):
    """What a provider says of a machine that it still lists."""

    BOOTING = "booting"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A rented machine as its provider sees it."""

    key: str  # Ours, from LaunchOrder; written into the provider's name or tag.
    machine_id: str
    state: MachineState
    address: str | None
    leaving_at: datetime | None = None  # The provider has said that it takes the machine back then.


class PriceList(Protocol):
    """Something that can be read for prices."""

    name: str

    def listings(self) -> Iterable[Listing]:
        """Return today's lines. Raises ProviderError; a bad row is skipped, not raised."""


class Provider(PriceList, Protocol):
    """A price list at which machines can be rented too."""

    look_every_s: int  # How often it is worth asking after a machine that runs.

    def launch(self, order: LaunchOrder) -> Machine:
        """Rent a machine. Asked twice with one key it rents once. Raises ProviderError."""

    def machines(self) -> Iterable[Machine]:
        """Return every machine that bears a key of ours. What is not listed is gone."""

    def terminate(self, key: str) -> None:
        """Ask for the machine to end. Terminating a dead machine is not an error."""
