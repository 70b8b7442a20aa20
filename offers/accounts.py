"""
Teams' accounts at clouds and the broker's own: taken in, checked, opened when a cloud is asked, removed.

A team rents with its own account where it has one, else with the broker's: one that was added here, or one of
settings.PROVIDERS. No secret leaves this module but to its adapter.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet

from offers import sealing
from offers.marks import Marked, mark
from offers.models import Account, Offer, Source, this_transaction
from providers import registry
from providers.base import Permission, Provider, ProviderError, Reason, Rejected

logger = logging.getLogger(__name__)
Result = TypeVar("Result")
VALUE_BYTES_MAX = 64 << 10
SECRET_LENGTH_MIN = 8  # A shorter piece of a secret may be a word of the sentence that it would be struck out of.
SECRET = re.compile("(key|secret|token|password|account)$")  # How the names of secret credentials end.
IDS = ("access_key_id", "subscription_id", "parent_id", "client_id", "project")  # Not secret; the first makes the hint.


class ProviderUnknown(Exception):
    """There is no adapter of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no provider {name[:40]!r}; known: {', '.join(sorted(registry.PROVIDERS))}")


class CredentialsInvalid(Exception):
    """A credential is missing, unknown, or cannot be one; the argument names it and shows no value."""


class AccountMissing(Rejected):
    """There is no account at that provider to use."""


def add(*, owner_id: int | None, provider: str, credentials: Mapping[str, Any], now: datetime) -> Account:
    """
    Keep a team's account at a provider (owner_id None: the broker's), in place of the one that it had there.

    Raises ProviderUnknown, CredentialsInvalid.
    """
    given = _fit(provider, credentials)
    try:
        _connect(provider, given)
    except Rejected as error:
        raise CredentialsInvalid(str(error)) from None
    news: dict[str, Any] = {"sealed": sealing.seal(given), "hint": _hint(given), "checked_at": None, "denied": []}
    account, _ = Account.objects.update_or_create(
        owner_id=owner_id, provider=provider, defaults=news, create_defaults={**news, "created_at": now}
    )
    Source.objects.filter(pk=provider).update(next_try_at=now)  # Whatever was wrong before, these may work.
    logger.info("accounts.added provider=%s owner=%s", provider, owner_id)
    return account


def _fit(provider: str, credentials: Mapping[str, Any]) -> dict[str, str]:
    """Return what was given, stripped. Raises ProviderUnknown, CredentialsInvalid."""
    if provider not in registry.PROVIDERS:
        raise ProviderUnknown(provider)
    fields = registry.credentials_of(provider)
    takes = f"{provider} takes {', '.join(fields) or 'none'}"
    given: dict[str, str] = {}
    for name, value in credentials.items():
        if name not in fields:
            raise CredentialsInvalid(f"{provider} has no credential {name[:40]!r}; {takes}")
        if not isinstance(value, str) or not _is_text(value):
            raise CredentialsInvalid(f"{name} must be a text")
        if len(value.encode()) > VALUE_BYTES_MAX:
            raise CredentialsInvalid(f"{name} is longer than {VALUE_BYTES_MAX >> 10} KiB")
        if value.strip():
            given[name] = value.strip()
    missing = [name for name, required in fields.items() if required and name not in given]
    if missing:
        raise CredentialsInvalid(f"{', '.join(missing)}: missing; {takes}")
    return given


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False  # Half of a surrogate pair.
    return True


def _hint(given: Mapping[str, str]) -> str:
    """The last four characters of what names the account, for people to tell it by."""
    found = next((given[name] for name in IDS if name in given), "")
    return found[-4:] if len(found) >= SECRET_LENGTH_MIN else ""


def remove(*, owner_id: int | None, provider: str, now: datetime) -> None:
    """Forget an account; with a provider's last one, its offers are not leasable any more. Raises AccountMissing."""
    gone, _ = Account.objects.filter(owner_id=owner_id, provider=provider).delete()
    if not gone:
        raise AccountMissing(f"no account at {provider}")
    logger.info("accounts.removed provider=%s owner=%s", provider, owner_id)
    if provider not in connected():
        Offer.objects.filter(provider=provider, leasable=True).update(
            leasable=False,
            changed_at=now,
            digest=-1 - F("digest"),  # No line has this one, so the next poll writes it anew.
            version=this_transaction(),
        )


def check(*, owner_id: int | None, provider: str, now: datetime) -> list[Permission]:
    """Ask the cloud what the account may do, and note what it may not. Raises AccountMissing, ProviderError."""
    account = Account.objects.filter(owner_id=owner_id, provider=provider).first()
    if account is None and not (owner_id is None and provider in settings.PROVIDERS):
        raise AccountMissing(f"no account at {provider}")
    credentials = _credentials(account) if account else settings.PROVIDERS[provider]
    try:
        found = _connect(provider, credentials).check()
    except ProviderError as error:
        if error.reason is not Reason.AUTH:
            raise type(error)(_without(credentials, str(error)), reason=error.reason) from None
        found = [Permission(name="sign in", granted=False, why=str(error))]
    told = [Permission(name=one.name, granted=one.granted, why=_without(credentials, one.why)[:400]) for one in found]
    if account is not None:
        denied = [{"name": one.name, "why": one.why} for one in told if one.granted is False]
        Account.objects.filter(pk=account.pk, sealed=account.sealed).update(checked_at=now, denied=denied)
    return told


def open_account(name: str, owner_id: int | None = None) -> Provider:
    """Return the provider connected with the owner's own account, else with the broker's. Raises Rejected."""
    account = _used_by(owner_id).filter(provider=name).order_by(F("owner").asc(nulls_last=True)).first()
    if account is not None:
        return _connect(name, _credentials(account))
    if name in settings.PROVIDERS:
        return _connect(name, settings.PROVIDERS[name])
    raise AccountMissing(f"neither this team nor the broker has an account at {name}")


def holder(name: str, owner_id: int | None) -> int | None:
    """Return whose account `open_account` opens: the owner, or None for the broker."""
    own = owner_id is not None and Account.objects.filter(owner_id=owner_id, provider=name).exists()
    return owner_id if own else None


def accounts_of(owner_id: int | None) -> dict[str, Account]:
    """Return {provider: account} of a team, or of the broker those that were added here."""
    return {account.provider: account for account in Account.objects.filter(owner_id=owner_id)}


def connected() -> set[str]:
    """Return the providers at which anybody has an account."""
    return {*Account.objects.values_list("provider", flat=True), *settings.PROVIDERS}


def usable_by(owner_id: int | None) -> set[str]:
    """Return the providers at which a team can rent: with its own account or with the broker's."""
    return {*_used_by(owner_id).values_list("provider", flat=True), *settings.PROVIDERS}


def all_accounts() -> list[tuple[str, int | None]]:
    """Return every account as (provider, owner); no owner: the broker's, at most one at a provider."""
    kept = set(Account.objects.values_list("provider", "owner_id"))
    return sorted(kept | {(name, None) for name in settings.PROVIDERS}, key=lambda one: (one[0], one[1] or 0))


def _used_by(owner_id: int | None) -> QuerySet[Account]:
    brokers = Account.objects.filter(owner=None)
    return brokers if owner_id is None else brokers | Account.objects.filter(owner_id=owner_id)


def try_each(name: str, act: Callable[[Provider], Result]) -> Result:
    """
    Do what any account at a provider may do, such as reading prices, with the first one that can.

    The broker's accounts come first, then the teams', lately checked ones before others. Raises ProviderError: the
    first account's, without a word of whose it is when it is a team's, as all may read why a source fails.
    """
    first: ProviderError | None = None
    for account in _in_turn(name):
        owner_id = account.owner_id if account else None
        credentials: Mapping[str, Any] = {}
        try:
            credentials = _credentials(account) if account else settings.PROVIDERS[name]
            return act(_connect(name, credentials))
        except ProviderError as error:
            why = _without(credentials, str(error))
            logger.warning("accounts.failed provider=%s owner=%s error=%s", name, owner_id, why)
            public = why if owner_id is None else f"{name}: with a team's account: {error.reason}"
            first = first or type(error)(public, reason=error.reason, retry_after_s=error.retry_after_s)
    raise first or AccountMissing(f"nobody has an account at {name}")


def _in_turn(name: str) -> list[Account | None]:
    """None stands for the account in the settings."""
    rows = list(Account.objects.filter(provider=name).order_by(F("checked_at").desc(nulls_last=True), "id"))
    brokers: list[Account | None] = [row for row in rows if row.owner_id is None]
    from_settings = [None] if name in settings.PROVIDERS else []
    return [*brokers, *from_settings, *(row for row in rows if row.owner_id is not None)]


def rotate() -> tuple[int, list[str]]:
    """Seal every account with the first key; return how many, and whose no key of ours opens."""
    done, closed = 0, []
    for pk in Account.objects.order_by("id").values_list("pk", flat=True):
        with transaction.atomic():
            account = Account.objects.select_for_update().filter(pk=pk).first()
            if account is None:
                continue
            try:
                account.sealed = sealing.resealed(account.sealed, whose=_whose(account))
            except sealing.CredentialsSealedWithAnotherKey:
                closed.append(_whose(account))
                continue
            account.save(update_fields=["sealed"])
            done += 1
    return done, closed


def _credentials(account: Account) -> dict[str, str]:
    """Raises CredentialsSealedWithAnotherKey."""
    return sealing.opened(account.sealed, whose=_whose(account))


def _whose(account: Account) -> str:
    return f"{account.provider}, {'the broker' if account.owner_id is None else f'team {account.owner_id}'}"


def _connect(name: str, credentials: Mapping[str, Any]) -> Provider:
    """Raises Rejected when there is no such provider, or when these cannot be credentials of it."""
    try:
        return Marked(registry.connect(name, **credentials), mark())
    except Rejected as error:
        raise Rejected(_without(credentials, str(error)), reason=error.reason) from None
    except (KeyError, TypeError) as error:  # These say names, never values.
        raise Rejected(_without(credentials, f"{type(error).__name__}: {error}"), reason=Reason.AUTH) from None
    except (ValueError, ArithmeticError) as error:
        raise Rejected(f"{name}: a credential cannot be read: {type(error).__name__}", reason=Reason.AUTH) from None


def _without(credentials: Mapping[str, Any], text: str) -> str:
    """Strike the secrets out: a cloud may say back what it was told."""
    for name, value in credentials.items():
        for piece in (str(value), *str(value).split()) if SECRET.search(name) else ():
            if len(piece) >= SECRET_LENGTH_MIN:
                text = text.replace(piece, "***")
    return text
