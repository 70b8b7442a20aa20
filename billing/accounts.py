"""The chart of accounts: who owns what is written into an entry's two sides."""

from __future__ import annotations

MARGIN = "margin"  # Ours.
GRANTS = "grants"  # Credit that we gave away.


def customer(team_id: int) -> str:
    """Return the account that a customer pays from."""
    return f"customer:{team_id}"


def supplier(team_id: int) -> str:
    """Return the account of what we owe a supplier."""
    return f"supplier:{team_id}"


def provider(name: str) -> str:
    """Return the account of what we owe an outside cloud."""
    return f"provider:{name}"
