"""Typed, named, fail-fast reads of the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from json import loads
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cryptography.fernet import Fernet


class SettingWrong(Exception):
    """A variable is missing or means nothing."""


def text(name: str, default: str | None = None) -> str:
    """Read NAME, or the file that NAME_FILE points at. Raises SettingWrong."""
    if path := os.getenv(f"{name}_FILE"):
        return Path(path).read_text().strip()
    value = os.getenv(name, default)
    if value is None:
        raise SettingWrong(f"{name} is not set")
    return value


def number(name: str, default: float) -> float:
    """Read a number. Raises SettingWrong."""
    value = text(name, str(default))
    try:
        return float(value)
    except ValueError:
        raise SettingWrong(f"{name}={value}: not a number") from None


def usd(name: str, default: str) -> Decimal:
    """Read an amount of money. Raises SettingWrong."""
    value = text(name, default)
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise SettingWrong(f"{name}={value}: not an amount") from None
    if not amount.is_finite() or not 0 <= amount < 10**9 or amount != round(amount, 6):
        raise SettingWrong(f"{name}={value}: 0 or more is needed, with at most six places")
    return amount


def flag(name: str, default: bool) -> bool:
    """Read True/False or 1/0. Raises SettingWrong."""
    value = text(name, "1" if default else "0")
    if value not in ("True", "False", "1", "0"):
        raise SettingWrong(f"{name}={value}: use 1 or 0")
    return value in ("True", "1")


def json(name: str, default: Any) -> Any:
    """Read JSON of the default's kind. Raises SettingWrong, which does not show the value: it may be a secret."""
    value = text(name, "")
    if not value.strip():
        return default
    try:
        found = loads(value)
    except ValueError as error:
        raise SettingWrong(f"{name}: not JSON: {error}") from None
    if not isinstance(found, type(default)):
        raise SettingWrong(f"{name}: a JSON {type(default).__name__} is needed")
    return found


def words(name: str, default: str = "") -> list[str]:
    """Read a list separated by commas."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def fernet_keys(name: str) -> list[str]:
    """Read Fernet keys separated by commas. Raises SettingWrong, which shows none of them."""
    keys = words(name)
    for place, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            raise SettingWrong(f"{name}: key {place} is no Fernet key: 32 bytes in URL-safe base64") from None
    return keys


def database(name: str, default: str, *, pool: int = 0) -> dict[str, Any]:
    """
    Read a libpq URL into Django's form; `?host=` names a unix socket's directory. pool: share so many connections.

    Raises SettingWrong. Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
    """
    url = urlsplit(text(name, default))
    if url.scheme not in ("postgres", "postgresql"):
        raise SettingWrong(f"{name}: a postgresql:// URL is needed, not {url.scheme}://")
    query = dict(parse_qsl(url.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(url.path.lstrip("/")) or "gpuyard",
        "HOST": query.pop("host", "") or url.hostname or "",
        "PORT": str(query.pop("port", "") or url.port or ""),
        "USER": unquote(url.username or query.pop("user", "")),
        "PASSWORD": unquote(url.password or ""),
        # A pool is for the web process: under ASGI every request runs in a thread of its own, which would connect anew.
        "CONN_MAX_AGE": 0 if pool else 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": query | ({"pool": {"min_size": 1, "max_size": pool, "timeout": 10}} if pool else {}),
    }


def origin(url: str) -> str:
    """Return scheme://host[:port] of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def redis(url: str) -> str:
    """Return what redis-py calls the place that Celery calls redis+socket://."""
    return url.replace("redis+socket://", "unix://", 1)


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mails are handed in."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    use_ssl: bool  # From the first byte on.
    use_tls: bool  # After STARTTLS.


def mail_server(name: str) -> MailServer | None:
    """Read smtps://, smtp+tls:// (STARTTLS) or smtp:// with [user:password@]host[:port]. Raises SettingWrong."""
    value = text(name, "")
    if not value:
        return None
    ports = {"smtps": 465, "smtp+tls": 587, "smtp": 25}
    try:
        url = urlsplit(value)
        port = url.port or ports[url.scheme]
    except (KeyError, ValueError):
        url, port = urlsplit(""), 0
    if not url.hostname:  # The value is not shown: it may hold a password.
        raise SettingWrong(f"{name}: smtps://, smtp+tls:// or smtp:// with user:password@host:port is needed")
    user, password = unquote(url.username or ""), unquote(url.password or "")
    return MailServer(url.hostname, port, user, password, url.scheme == "smtps", url.scheme == "smtp+tls")
