"""`yard login`: which broker, with which key."""

import os
import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from gpuyard import config
from gpuyard.cli.flags import JsonFlag
from gpuyard.cli.output import Output
from gpuyard.errors import AuthError
from gpuyard.money import dollars


def login(
    url: Annotated[str | None, typer.Argument(help="The broker's address; asked for if not given.")] = None,
    key: Annotated[str | None, typer.Option(help="The API key; `-` reads it from standard input.")] = None,
    json: JsonFlag = False,
) -> None:
    """Check an API key with its broker and keep both.

    Without --key it is asked for, hidden; if standard input is not a terminal, its first line is the key.
    """
    from gpuyard.client import Client

    out = Output(json=json)
    address = config.checked_url(url or os.environ.get("GPUYARD_URL") or ask_url())
    secret = (key if key not in (None, "-") else read_key(piped=key == "-")) or ""
    if not secret.strip():
        raise AuthError("no API key was given", code="no_api_key", hint="make one at the broker, then log in again")
    found = config.Config(url=address, api_key=secret.strip())
    me = Client(url=found.url, api_key=found.api_key).me()
    path = config.config_path()
    config.save(found, path=path)
    parts = urlsplit(address)
    if parts.scheme == "http" and parts.hostname not in ("localhost", "::1") and not is_loopback(parts.hostname or ""):
        out.note("Note: this address is http, not https: the key travels unprotected.")
    for name in ("GPUYARD_URL", "GPUYARD_API_KEY"):
        if os.environ.get(name):
            out.note(f"Note: {name} is set and goes before the file.")
    out.document({"me": me, "url": address, "config": str(path)})
    out.line(f"Logged in at {address} as {me['username']} ({', '.join(me['scopes'])}).")
    out.line(f"Balance {dollars(me['balance_usd'])}, of which {dollars(me['available_usd'])} is free to use.")
    out.line(f"Kept in {path}.")


def is_loopback(hostname: str) -> bool:
    """Whether the name is an IPv4 loopback address."""
    return hostname.startswith("127.")


def ask_url() -> str:
    """The address, asked on the terminal; what was stored before is offered. Raises: typer.BadParameter."""
    if not sys.stdin.isatty():
        raise typer.BadParameter("name the broker's address: yard login https://broker.example", param_hint="URL")
    stored = config.read_file(config.config_path()).get("url")
    return str(typer.prompt("Broker's address", default=stored, err=True))


def read_key(*, piped: bool) -> str:
    """The key: the first line of standard input, or asked on the terminal and not shown."""
    if piped or not sys.stdin.isatty():
        return sys.stdin.readline()
    return str(typer.prompt("API key", hide_input=True, err=True))
