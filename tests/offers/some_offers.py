"""Offers, books and speeds for tests of the engine: what a test does not name does not matter to it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from offers.matching.book import Book, OpenOffer, book_of
from offers.matching.estimate import Speed
from offers.matching.profile import Profile, Work

STATED = Speed(source="stated", by_accelerator={}, anywhere=10.0)
SAMPLES_OF_AN_HOUR = 36_000  # Of one accelerator at STATED.
# A model with 4 GB of gradients, and of parameters in a round.
GIGA = Profile(
    work=(Work(1e12, 1e9, 1),), batch_size=8, precision="bf16", parameters=10**9, trainable=10**9,
    parameter_bytes=4e9, optimizer_bytes=8e9, activation_bytes=1e9,
)  # fmt: skip


def offer(
    pk: int, *, region: str = "here", chip: str = "CPU", count: int = 1, usd: Any = "1", **more: Any
) -> OpenOffer:
    """Return a machine that nobody takes away, at once ready."""
    wanted: dict[str, Any] = {
        "provider": "cloud", "country": "DE", "market": "on_demand", "memory_gib": 8.0, "leasable": True,
        "available": None, "machine_type": f"type-{pk}", "boot_s": 0.0,
    } | more  # fmt: skip
    return OpenOffer(
        id=pk, region=region, accelerator=chip, accelerators=count, usd_per_hour=Decimal(str(usd)), **wanted
    )


def book(*offers: OpenOffer) -> Book:
    """Return a book of offers whose machines are lost as often as they say themselves, and never break."""
    return book_of(offers)
