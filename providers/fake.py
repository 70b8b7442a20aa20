"""A cloud made of memory: for tests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from providers.base import LaunchOrder, Listing, Machine, MachineState, NoCapacity


class Fake:
    """Boots on the second look. `interrupt()` takes a machine away."""

    name = "fake"
    look_every_s = 5

    def __init__(self, *, price_list: Iterable[Listing] = (), capacity: int = 8) -> None:
        self.price_list = list(price_list)
        self.capacity = capacity
        self.rented: dict[str, Machine] = {}

    def listings(self) -> Iterable[Listing]:
        """Return the price list it was made with."""
        return list(self.price_list)

    def launch(self, order: LaunchOrder) -> Machine:
        """Rent one of `capacity` machines. Raises NoCapacity."""
        if order.key not in self.rented:
            if len(self.rented) >= self.capacity:
                raise NoCapacity(order.machine_type)
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

    def interrupt(self, key: str) -> None:
        """Take a machine away without a word, as a spot market does."""
        self.rented.pop(key, None)
