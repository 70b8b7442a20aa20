"""Where the broker is and with which key: the environment first, then one file that only its owner can read."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gpuyard.errors import AuthError, InvalidConfig


@dataclass(frozen=True)
class Config:
    """A broker's address (no slash at the end) and an API key."""

    url: str
    api_key: str

    def __repr__(self) -> str:
        """Without the key: a representation ends up in logs."""
        return f"Config(url={self.url!r}, api_key='***')"


def config_path(*, environ: Mapping[str, str] | None = None) -> Path:
    """The file: the one named by GPUYARD_CONFIG, else ~/.config/gpuyard/config.json."""
    named = (os.environ if environ is None else environ).get("GPUYARD_CONFIG", "")
    return Path(named).expanduser() if named else Path.home() / ".config" / "gpuyard" / "config.json"


def load(*, environ: Mapping[str, str] | None = None) -> Config:
    """The address and the key in force: GPUYARD_URL and GPUYARD_API_KEY first, then the file.

    A stored key belongs to the stored address: it is not sent to another one that GPUYARD_URL names.

    Raises: AuthError when an address or a key is missing, InvalidConfig when one of them is unreadable.
    """
    env = os.environ if environ is None else environ
    path = config_path(environ=env)
    env_url, env_key = env.get("GPUYARD_URL", ""), env.get("GPUYARD_API_KEY", "")
    stored = {} if env_url and env_key else read_file(path)
    stored_url = checked_url(stored["url"]) if stored.get("url") else ""
    url = checked_url(env_url) if env_url else stored_url
    if not url:
        raise AuthError("no broker is known", code="no_broker", hint="run `yard login URL`, or set GPUYARD_URL")
    key = env_key or (stored.get("api_key", "") if url == stored_url else "")
    if not key:
        raise AuthError(f"no API key for {url}", code="no_api_key", hint="run `yard login`, or set GPUYARD_API_KEY")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise AuthError("the API key has characters no key has", code="no_api_key", hint="copy it again, whole")
    return Config(url=url, api_key=key)


def read_file(path: Path) -> dict[str, str]:
    """What the file holds; {} when there is none. Raises: InvalidConfig when it is not a JSON object of strings."""
    try:
        stored: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidConfig(f"{path} cannot be read: {error}") from error
    if not isinstance(stored, dict) or not all(isinstance(value, str) for value in stored.values()):
        raise InvalidConfig(f'{path} must hold {{"url": "...", "api_key": "..."}}')
    return stored


def save(config: Config, *, path: Path) -> None:
    """Write the file whole or not at all, readable by its owner only (0600, its new folder 0700)."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp creates with mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"url": config.url, "api_key": config.api_key}, file, indent=2)
            file.write("\n")
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def checked_url(url: str) -> str:
    """The address without a slash at its end. Raises: InvalidConfig when it is not http(s)://host[:port][/path]."""
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
        usable = usable and (parts.port is None or parts.port > 0) and not parts.username
    except ValueError:
        usable = False
    if not usable:
        raise InvalidConfig(f"{url!r} is not a broker's address", hint="give it as https://broker.example")
    return url.strip().rstrip("/")
