"""The broker's JSON objects about keys and teams. What an older broker does not say is absent."""

from typing import Literal, NotRequired, TypedDict

Scope = Literal["read", "run", "supply", "operate", "observe"]
Role = Literal["owner", "member", "viewer"]


class Key(TypedDict):
    """An API key; `key`, the secret itself, is there once, when it was just made."""

    id: int
    name: str
    scopes: list[str]
    prefix: NotRequired[str]
    created_at: NotRequired[str | None]
    expires_at: NotRequired[str | None]
    last_used_at: NotRequired[str | None]
    revoked_at: NotRequired[str | None]
    made_by: NotRequired[str]
    key: NotRequired[str]


class Team(TypedDict):
    """Those who share workloads, credit and accounts at clouds; `role` is one's own."""

    id: int
    name: str
    role: NotRequired[Role]


class Member(TypedDict):
    """One person of a team."""

    user: int
    role: Role
    username: NotRequired[str]
    email: NotRequired[str]
    created_at: NotRequired[str]


class Invitation(TypedDict):
    """An invitation that was not answered yet; its `link` is there once, when it was just made."""

    id: int
    email: str
    role: Role
    invited_by: NotRequired[str]
    created_at: NotRequired[str]
    expires_at: NotRequired[str | None]
    link: NotRequired[str]
    mailed: NotRequired[bool]


class Invited(TypedDict):
    """What an invitation's link stands for; `team` is its name."""

    team: str
    email: str
    role: Role
    invited_by: str
    expires_at: str
