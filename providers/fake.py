"""A cloud made of memory: for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from providers.base import (
    LaunchOrder,
    Listing,
    Machine,
    MachineState,
    NoCapacity,
    Permission,
    PricePoint,
    ProviderError,
    Reason,
    Rejected,
)


class Fake:
    """Boots on the second look. `interrupt()` takes a machine away."""

    name = "fake"
    credentials: dict[str, bool] = {}
    look_every_s = 5
    keeps_price_history = True

    def __init__(
        self, *, price_list: Iterable[Listing] = (), history: Iterable[PricePoint] = (), capacity: int = 8
    ) -> None:
        self.price_list = list(price_list)
        self.history = list(history)
        self.capacity = capacity
        self.skipped: Counter[str] = Counter()
        self.trouble: list[ProviderError] = []  # Each is raised by one launch.
        self.rented: dict[str, Machine] = {}

    def listings(self) -> Iterable[Listing]:
        """Return the price list it was made with."""
        return list(self.price_list)

    def launch(self, order: LaunchOrder) -> Machine:
        """Rent one of `capacity` machines. Raises NoCapacity, Rejected (dearer than agreed), what `trouble` holds."""
        if self.trouble:
            raise self.trouble.pop(0)
        if order.key not in self.rented:
            prices = [line.usd_per_hour for line in self.price_list if line.machine_type == order.machine_type]
            if prices and min(prices) > order.max_usd_per_hour:
                raise Rejected(f"{order.machine_type} costs {min(prices)} USD an hour", reason=Reason.PRICE)
            if len(self.rented) >= self.capacity:
                raise NoCapacity(order.machine_type, reason=Reason.SOLD_OUT)
            self.rented[order.key] = Machine(
                key=order.key, machine_id=f"m-{order.key}", state=MachineState.BOOTING, address=None
            )
        return self.rented[order.key]

    def machines(self) -> Iterable[Machine]:
        """Return what is rented, as it was before this look."""
        seen = list(self.rented.values())
        for machine in seen:
            self.rented[machine.key] = replace(machine, state=MachineState.RUNNING, address="10.0.0.1")
        return seen

    def terminate(self, key: str) -> None:
        """End a machine."""
        self.rented.pop(key, None)

    def price_history(self, *, since: datetime, until: datetime) -> Iterable[PricePoint]:
        """Return the history it was made with."""
        return [point for point in self.history if since <= point.at < until]

    def check(self) -> list[Permission]:
        """Everything is allowed here."""
        return [Permission(name="everything", granted=True)]

    def interrupt(self, key: str) -> None:
        """Take a machine away without a word, as a spot market does."""
        self.rented.pop(key, None)
