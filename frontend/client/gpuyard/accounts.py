"""The broker's JSON objects about accounts at clouds. None of them holds a secret."""

from typing import Literal, TypedDict


class Denied(TypedDict):
    """A permission that the last check found missing."""

    name: str
    why: str


class Polled(TypedDict):
    """How reading a provider's prices goes."""

    seen_at: str | None
    stale: bool
    failures: int
    error: str
    lines: int


class Provider(TypedDict):
    """A cloud that machines can be rented at, and whose account is used for it; `hint` ends what names the account."""

    name: str
    credentials: dict[str, bool]  # {name: whether it is required}
    connected: Literal["own", "broker"] | None
    hint: str
    checked_at: str | None
    denied: list[Denied]
    source: Polled | None


class Permission(TypedDict):
    """One thing that an account must be allowed to do; `granted` is null when only doing it would tell."""

    name: str
    granted: bool | None
    why: str


class Check(TypedDict):
    """What an account may do."""

    provider: str
    checked_at: str
    permissions: list[Permission]
