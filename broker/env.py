"""Typed, named, fail-fast reads of the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


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


def words(name: str, default: str = "") -> list[str]:
    """Read a list separated by commas."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def database(name: str, default: str) -> dict[str, Any]:
    """
    Read a libpq URL into Django's form; `?host=` names a unix socket's directory.

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
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": query,
    }
