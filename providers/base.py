"""The one shape every provider of machines is bent into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol, TypeVar

Row = TypeVar("Row")
BAD_ROW = (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, IndexError)


class Reason(StrEnum):
    """What was behind an error, where the provider tells."""

    SOLD_OUT = "sold out"
    QUOTA = "quota"
    PRICE = "price"  # It asks more than we agreed to pay.
    BAD_REQUEST = "bad request"
    AUTH = "auth"
    MONEY = "money"
    RATE_LIMIT = "rate limit"
    OUTAGE = "outage"
    UNKNOWN = "unknown"


class ProviderError(Exception):
    """A provider did not do what was asked. Its text names no key, token or query."""

    def __init__(
        self,
        message: str = "",
        *,
        reason: Reason = Reason.UNKNOWN,
        status: int | None = None,
        body: object = None,
        retry_after_s: float | None = None,
    ) -> None:
        """status, body: of the HTTP answer, where there was one; retry_after_s: when the provider wants to be asked."""
        super().__init__(message)
        self.reason = reason
        self.status = status
        self.body = body
        self.retry_after_s = retry_after_s


class NoCapacity(ProviderError):
    """Nothing of this shape is free now, or not within our quota. Try another offer."""


class Rejected(ProviderError):
    """The request can never succeed as written. Do not retry."""


class Unreachable(ProviderError):
    """No answer, a 5xx, or asked too often. It may have worked: ask again with the same key."""


class Market(StrEnum):
    """How a machine is sold."""

    ON_DEMAND = "on_demand"
    SPOT = "spot"  # May be taken away; includes "preemptible", "bid" and suppliers' spare machines.
    RESERVED = "reserved"


class Stock(StrEnum):
    """How many are free, in the words that clouds use."""

    UNKNOWN = ""
    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One line of a provider's price list, in the provider's own words. None: the provider does not say."""

    provider: str
    region: str
    zone: str = ""
    country: str = ""  # ISO 3166-1 alpha-2; empty when the provider does not say.
    machine_type: str  # With region, zone, market and term it names the line: the same line has the same name tomorrow.
    accelerator_label: str  # As the provider spells it; offers.gpus knows what it means.
    accelerator_count: int
    memory_gib: float | None  # Per accelerator.
    vcpus: float | None
    ram_gib: float | None
    disk_gib: float | None = None  # Included in the price.
    market: Market
    term: str = ""  # Of a reservation: "1mo", "6mo", "1y", "3y". Empty when there is none.
    usd_per_hour: Decimal  # The whole machine with the disk that we ask for, before tax.
    available: int | None = None  # Machines free now.
    stock: Stock = Stock.UNKNOWN
    interruptions_per_hour: float | None = None  # The chance that a machine is taken away within an hour, 0 to 1.
    placement_score: float | None = None  # The cloud's own estimate that a launch succeeds, 0 to 1.
    reliability: float | None = None  # Share of time that the machine was up, 0 to 1.
    egress_usd_per_gib: Decimal | None = None
    internet_mbit_per_s: float | None = None  # Upwards, as measured or promised.
    interconnect: str = ""  # Between the accelerators of a machine: "nvlink", "pcie"; between machines: "infiniband".
    boot_s: float | None = None
    ends_at: datetime | None = None  # The provider takes the machine back then at the latest.
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePoint:
    """A price of the past, as a provider publishes it. It names its line as Listing does."""

    provider: str
    region: str
    zone: str = ""
    machine_type: str
    market: Market
    usd_per_hour: Decimal
    at: datetime  # True from then on, until the line's next point.


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOrder:
    """What we ask for. The same key never buys two machines."""

    key: str  # At most 40 characters of a-z, 0-9 and "-", the first a letter: fit for a name at any cloud.
    region: str
    zone: str = ""
    machine_type: str
    market: Market
    max_usd_per_hour: Decimal
    startup_script: str = ""  # Bash, run once as root at the first boot; at most 16 KiB in base64 (EC2's limit).
    disk_gib: int = 100


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One thing that a credential must be allowed to do, and whether it is."""

    name: str  # In the cloud's words, such as "ec2:RunInstances".
    granted: bool | None  # None: only doing it would tell.
    why: str = ""  # What the cloud said, when it is not granted or cannot be told.


class PriceList(Protocol):
    """Something that can be read for prices."""

    name: str
    skipped: Counter[str]  # {reason: rows} of the last `listings()`.

    def listings(self) -> Iterable[Listing]:
        """Return today's lines. Raises ProviderError; a bad row is counted in `skipped`, not raised."""


class Provider(PriceList, Protocol):
    """A price list at which machines can be rented too."""

    credentials: dict[str, bool]  # {name of a constructor argument: whether it must be given}; what a team hands over.
    look_every_s: int  # How often it is worth asking after a machine that runs.
    keeps_price_history: bool  # Whether `price_history` has anything to tell.

    def launch(self, order: LaunchOrder) -> Machine:
        """Rent a machine. Asked twice with one key it rents once. Raises ProviderError."""

    def machines(self) -> Iterable[Machine]:
        """Return every machine that bears a key of ours. What is not listed is gone."""

    def terminate(self, key: str) -> None:
        """Ask for the machine to end. Terminating a dead machine is not an error."""

    def price_history(self, *, since: datetime, until: datetime) -> Iterable[PricePoint]:
        """Return the published prices of [since, until), oldest first within a line. Raises ProviderError."""

    def check(self) -> list[Permission]:
        """Say of each permission that the verbs need whether we have it. Rents nothing. Raises Unreachable."""


def translated(
    rows: Iterable[Row], translate: Callable[[Row], Iterable[Listing]], skipped: Counter[str]
) -> Iterator[Listing]:
    """Yield the listings of every row that can be translated and count the others: one bad row never hides the good."""
    for row in rows:
        try:
            lines = list(translate(row))
        except BAD_ROW as error:
            skipped[f"{type(error).__name__}: {error}"[:80]] += 1
            continue
        yield from lines
