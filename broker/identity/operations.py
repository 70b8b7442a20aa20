"""Make users and keys; check keys."""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256

from django.db import transaction

from billing.operations import grant
from broker.identity.models import ApiKey, User

SCOPES = ("read", "run", "supply", "operate", "observe")
OPENING_CREDIT_USD = Decimal(100)
USED_EVERY = timedelta(minutes=1)  # last_used_at is no access log; it is written at most so often.


class KeyRefused(Exception):
    """The key is unknown, revoked or expired; the argument says which, for its owner's eyes."""


def make_key(
    *, user: User, name: str, scopes: tuple[str, ...] = SCOPES, expires_at: datetime | None = None, now: datetime
) -> str:
    """Make an API key and return it: the only time that it can be seen."""
    assert set(scopes) <= set(SCOPES), scopes
    prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    key = f"yk_{prefix}_{secret}"
    ApiKey.objects.create(
        user=user,
        name=name,
        prefix=prefix,
        sha256=sha256(key.encode()).hexdigest(),
        scopes=list(scopes),
        created_at=now,
        expires_at=expires_at,
    )
    return key


def check_key(*, key: str, now: datetime) -> ApiKey:
    """Return the key's row. Raises KeyRefused."""
    parts = key.split("_", 2)
    found = ApiKey.objects.select_related("user").filter(prefix=parts[1]).first() if len(parts) == 3 else None
    if found is None or not hmac.compare_digest(found.sha256, sha256(key.encode()).hexdigest()):
        raise KeyRefused("this API key is not known here")
    if found.revoked_at is not None or not found.user.is_active:
        raise KeyRefused("this API key was revoked")
    if found.expires_at is not None and found.expires_at <= now:
        raise KeyRefused(f"this API key expired at {found.expires_at:%Y-%m-%d %H:%M} UTC")
    if found.last_used_at is None or now - found.last_used_at > USED_EVERY:
        ApiKey.objects.filter(pk=found.pk).update(last_used_at=now)
    return found


@transaction.atomic
def first_user(*, username: str, now: datetime) -> tuple[User, str | None]:
    """Make the first user with opening credit and a key; asked again, return the user and None."""
    user, made = User.objects.get_or_create(username=username)
    if not made:
        return user, None
    grant(user_id=user.pk, amount_usd=OPENING_CREDIT_USD, source=f"opening-credit/{user.pk}", now=now)
    return user, make_key(user=user, name="first key", now=now)
