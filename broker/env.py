"""Typed, named, fail-fast reads of the environment."""

from __future__ import annotations

import os
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
