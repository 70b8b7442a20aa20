"""Reading other people's answers field by field: what is not what it should be is a ValueError, never a wrong offer."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from providers.base import Reason, Unreachable

ABSURD_USD_PER_HOUR = Decimal(100_000)  # No machine on any list costs a thousandth of it per GPU.
TEXT_MAX = 200
_HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")  # JSON may hold one (RFC 8259, section 8.2); UTF-8 cannot.


def record(value: Any) -> Mapping[str, Any]:
    """Return a JSON object. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError(f"an object is needed, not {type(value).__name__}")
    return value


def records(value: Any) -> list[Any]:
    """Return a JSON list; nothing, or a map where a list should be, becomes a list too. Raises ValueError."""
    if value is None:
        return []
    if isinstance(value, dict):
        return list(value.values())
    if not isinstance(value, list):
        raise ValueError(f"a list is needed, not {type(value).__name__}")
    return value


def all_of(answer: Any, name: str, what: str) -> list[dict[str, Any]]:
    """
    Return the objects of the list `name` of an answer, where what is missing counts as gone: an account's machines.

    Rows of another kind are left out, but a list of nothing else is none. A map counts when it holds objects and
    nothing else: an empty one, or one with texts, is how errors look. Raises Unreachable.
    """
    told = answer.get(name) if isinstance(answer, dict) else None
    rows = list(told.values()) if isinstance(told, dict) else told if isinstance(told, list) else [None]
    found = [row for row in rows if isinstance(row, dict)]
    is_list = bool(found) and len(found) == len(rows) if isinstance(told, dict) else bool(found) or not rows
    if not is_list:
        raise Unreachable(f"{what}: an answer without a list of {name}", reason=Reason.OUTAGE)
    return found


def needed(row: Mapping[str, Any], name: str, what: str) -> str:
    """Return a field without which a machine of ours cannot be ended. Raises Unreachable: it must not seem gone."""
    try:
        return text(row.get(name))
    except ValueError as error:
        raise Unreachable(f"{what}: a machine of ours has no {name}: {error}", reason=Reason.OUTAGE) from None


def listed(provider: str, answer: Any, name: str) -> list[Any]:
    """Return the list `name` of an answer. Raises Unreachable for anything else: no list is not an empty one."""
    rows = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(rows, list | dict):
        raise Unreachable(f"{provider}: {name} is not a list", reason=Reason.OUTAGE)
    return records(rows)


def text(value: Any, default: str | None = None) -> str:
    """Return a text that is not empty, or the default. Numbers count as text. Raises ValueError."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and (found := value.strip()):
        if "\x00" in found or len(found) > TEXT_MAX or _HALF_A_CHARACTER.search(found):
            raise ValueError("a text that cannot be kept")
        return found
    if default is None:
        raise ValueError("a text is missing")
    return default


def price(value: Any) -> Decimal:
    """Return USD as a Decimal above 0. Raises ValueError for what is no price: 0 and less, absurd, not a number."""
    found = number(value)
    if found is None:
        raise ValueError("no price")
    if found <= 0:
        raise ValueError("price is not positive")
    if found > ABSURD_USD_PER_HOUR:
        raise ValueError("absurd price")
    return found


def number(value: Any) -> Decimal | None:
    """Return a finite number (also one that is written as text), or None when there is none. Raises ValueError."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(f"a number is needed, not {type(value).__name__}")
    try:
        found = Decimal(str(value).strip())
    except InvalidOperation:
        raise ValueError("not a number") from None
    if not found.is_finite():
        raise ValueError("not a finite number")
    return found


def positive(value: Any) -> float | None:
    """Return a number above 0 as a float, or None: absent, 0, or nothing that a machine can have. Never raises."""
    try:
        found = number(value)
    except ValueError:
        return None
    if found is None or found <= 0:
        return None
    size = float(found)
    return size if math.isfinite(size) and 0 < size < 1e12 else None


def share(value: Any) -> float | None:
    """Return a number from 0 to 1, or None. Never raises."""
    try:
        found = number(value)
    except ValueError:
        return None
    return float(found) if found is not None and 0 <= found <= 1 else None


def whole(value: Any) -> int:
    """Return a whole number from 0 to 100,000. Raises ValueError."""
    found = number(value)
    if found is None or found != found.to_integral_value() or not 0 <= found <= 100_000:
        raise ValueError("a whole number is needed")
    return int(found)


def accelerators(value: Any) -> int:
    """Return a count of accelerators, at least 1. Raises ValueError."""
    found = whole(value)
    if found < 1:
        raise ValueError("no accelerator")
    return found
