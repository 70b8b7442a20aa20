"""What a workload asks for, checked."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from decimal import Decimal, InvalidOperation
from typing import Any

SITES_MAX = 16


class NeedInvalid(Exception):
    """A need that means nothing; the argument says which field and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """
    GPUs, work, deadline, budget and the places it may run; tied to no provider.

    None means "no wish" everywhere; `sites` None lets the engine compare one and several.
    """

    accelerator: str | None = None
    accelerators_per_site: int = 1
    sites: int | None = None
    min_memory_gib: float | None = None  # Per accelerator.
    providers: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None
    countries: tuple[str, ...] | None = None
    markets: tuple[str, ...] | None = None
    samples: int | None = None
    samples_per_s: float | None = None  # Per accelerator.
    program: str | None = None
    deadline_hours: float | None = None
    budget_usd: Decimal | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it with money as a string, for storing and for the API."""
        shown = asdict(self)
        shown["budget_usd"] = None if self.budget_usd is None else str(self.budget_usd)
        return shown


def parse(body: Any) -> Need:
    """Read a need out of JSON. Raises NeedInvalid."""
    if not isinstance(body, dict):
        raise NeedInvalid("a need is a JSON object")
    known = {field.name for field in fields(Need)}
    unknown = sorted(set(body) - known)
    if unknown:
        raise NeedInvalid(f"unknown field {unknown[0]!r}; known: {', '.join(sorted(known))}")
    given = {name: value for name, value in body.items() if value is not None}
    read: dict[str, Any] = {}
    for name, value in given.items():
        read[name] = _READERS[name](name, value)
    return Need(**read)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 200:
        raise NeedInvalid(f"{name} must be a short text")
    return value.strip()


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise NeedInvalid(f"{name} must be a list of texts that is not empty")
    return tuple(_text(name, one) for one in value)


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**15:
        raise NeedInvalid(f"{name} must be a whole number of at least 1")
    return value


def _sites(name: str, value: Any) -> int:
    if _count(name, value) > SITES_MAX:
        raise NeedInvalid(f"{name} must be at most {SITES_MAX}")
    return int(value)


def _quantity(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e15:
        raise NeedInvalid(f"{name} must be a positive number")
    return float(value)


def _money(name: str, value: Any) -> Decimal:
    try:
        usd = Decimal(str(value))
    except InvalidOperation:
        raise NeedInvalid(f"{name} must be an amount in USD such as 5 or 0.50") from None
    if isinstance(value, bool) or not usd.is_finite() or not 0 < usd < 10**9:
        raise NeedInvalid(f"{name} must be a positive amount in USD")
    return usd.quantize(Decimal("0.000001"))


_READERS = {
    "accelerator": _text,
    "accelerators_per_site": _count,
    "sites": _sites,
    "min_memory_gib": _quantity,
    "providers": _texts,
    "regions": _texts,
    "countries": _texts,
    "markets": _texts,
    "samples": _count,
    "samples_per_s": _quantity,
    "program": _text,
    "deadline_hours": _quantity,
    "budget_usd": _money,
}
