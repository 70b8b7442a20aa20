"""Who asks, for which team, and what may be done: what every request with a key or a session comes down to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from broker.identity.models import ApiKey, Membership, Team, User
from broker.identity.operations import check_key, own_team
from broker.identity.scopes import scopes_of


class NotAMember(Exception):
    """The team that was asked for is not one of the asker's; the argument is what was asked for."""


@dataclass(frozen=True, slots=True)
class Asker:
    """A person in a browser, or a program with a key that a person made."""

    user: User
    team: Team  # Whose workloads, hosts and money are meant.
    role: str
    scopes: tuple[str, ...]
    key: ApiKey | None  # None: the person himself.


def with_key(key: str, *, now: datetime) -> Asker:
    """Return who asks with an API key: for the key's team, as far as its maker's role goes. Raises KeyRefused."""
    found = check_key(key=key, now=now)
    membership, allowed = found.membership, scopes_of(found.membership)
    scopes = tuple(scope for scope in found.scopes if scope in allowed)
    return Asker(membership.user, membership.team, membership.role, scopes, found)


def in_browser(user: User, *, team: str | None, now: datetime) -> Asker:
    """Return who asks in a browser, for a team that he is in; None is his first. Raises NotAMember."""
    if team:
        known = Membership.objects.select_related("user", "team").filter(user=user)
        membership = known.filter(team_id=int(team)).first() if _is_id(team) else None
        if membership is None:
            raise NotAMember(team[:20])
    else:
        membership = _first_of(user, now)
    return Asker(membership.user, membership.team, membership.role, scopes_of(membership), None)


def _first_of(user: User, now: datetime) -> Membership:
    known = Membership.objects.select_related("user", "team").filter(user=user).order_by("id").first()
    return known or own_team(user=user, now=now)  # Who was made by hand gets his team when it is needed.


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18
