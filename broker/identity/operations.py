"""Make users, their own teams, and keys; check keys."""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256

from django.conf import settings
from django.db import transaction

from billing.operations import grant
from broker.identity.models import ApiKey, Membership, Role, Team, User
from broker.identity.scopes import SCOPES, scopes_of

OPENING_CREDIT_USD = Decimal(100)
USED_EVERY = timedelta(minutes=1)  # last_used_at is no access log; it is written at most so often.


class KeyRefused(Exception):
    """The key is unknown, revoked or expired; the argument says which, for its owner's eyes."""


class ScopesBeyondTheRole(Exception):
    """A key would be able to do what its maker is not; the argument names the scopes."""


@transaction.atomic
def own_team(*, user: User, now: datetime) -> Membership:
    """Return the user's first membership: of the team that is his own, made now if he is in none."""
    User.objects.select_for_update().get(pk=user.pk)  # Asked twice at once, there is still one team.
    first = Membership.objects.select_related("user", "team").filter(user=user).order_by("id").first()
    if first is not None:
        return first
    team = Team.objects.create(name=user.username[:80], created_at=now)
    return Membership.objects.create(team=team, user=user, role=Role.OWNER, created_at=now)


@transaction.atomic
def welcome(*, user: User, now: datetime) -> Membership:
    """Give somebody who signed up a team of his own, with the credit that newcomers get."""
    membership = own_team(user=user, now=now)
    amount_usd = settings.SIGNUP_CREDIT_USD
    if amount_usd > 0:
        grant(team_id=membership.team_id, amount_usd=amount_usd, source=f"sign-up-credit/{user.pk}", now=now)
    return membership


def make_key(
    *,
    membership: Membership,
    name: str,
    scopes: tuple[str, ...] = SCOPES,
    expires_at: datetime | None = None,
    now: datetime,
) -> tuple[ApiKey, str]:
    """
    Make an API key; return its row and the key, which cannot be seen again. Raises ScopesBeyondTheRole.

    Should its maker's role allow less one day, the key can do less.
    """
    if beyond := set(scopes) - set(scopes_of(membership)):
        raise ScopesBeyondTheRole(", ".join(sorted(beyond)))
    prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    key = f"yk_{prefix}_{secret}"
    row = ApiKey.objects.create(
        membership=membership,
        name=name,
        prefix=prefix,
        sha256=sha256(key.encode()).hexdigest(),
        scopes=list(scopes),
        created_at=now,
        expires_at=expires_at,
    )
    return row, key


def check_key(*, key: str, now: datetime) -> ApiKey:
    """Return the key's row, with its maker and team. Raises KeyRefused."""
    parts = key.split("_", 2)
    rows = ApiKey.objects.select_related("membership__user", "membership__team")
    found = rows.filter(prefix=parts[1]).first() if len(parts) == 3 else None
    if found is None or not hmac.compare_digest(found.sha256, sha256(key.encode()).hexdigest()):
        raise KeyRefused("this API key is not known here")
    if found.revoked_at is not None or not found.membership.user.is_active:
        raise KeyRefused("this API key was revoked")
    if found.expires_at is not None and found.expires_at <= now:
        raise KeyRefused(f"this API key expired at {found.expires_at:%Y-%m-%d %H:%M} UTC")
    if found.last_used_at is None or now - found.last_used_at > USED_EVERY:
        ApiKey.objects.filter(pk=found.pk).update(last_used_at=now)
    return found


def revoke_key(*, key_id: int, now: datetime) -> None:
    """Let a key in no more. Revoked twice is revoked at the first time."""
    ApiKey.objects.filter(pk=key_id, revoked_at=None).update(revoked_at=now)


@transaction.atomic
def first_user(*, username: str, now: datetime) -> tuple[User, str | None, str | None]:
    """
    Make the first user, who runs the broker, with opening credit; return the user, a key and a password.

    Asked again, there is no new key; and a password only for a user who has none yet.
    """
    user, made = User.objects.select_for_update().get_or_create(username=username, defaults={"is_staff": True})
    password = None
    if not user.password:
        password = secrets.token_urlsafe(15)
        user.set_password(password)
        user.save(update_fields=["password"])
    if not made:
        return user, None, password
    own = own_team(user=user, now=now)
    grant(team_id=own.team_id, amount_usd=OPENING_CREDIT_USD, source=f"opening-credit/{user.pk}", now=now)
    _, key = make_key(membership=own, name="first key", now=now)
    return user, key, password
