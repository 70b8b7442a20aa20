"""`yard me` and `yard api`: who one is, and any call of the API as it is."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gpuyard.cli.flags import JsonFlag
from gpuyard.cli.output import Output
from gpuyard.cli.session import connect
from gpuyard.money import dollars

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def me(json: JsonFlag = False) -> None:
    """Who the key belongs to, what it may do, and the credit."""
    out = Output(json=json)
    client = connect()
    found: Any = client.me()
    out.document(found)
    team = found.get("team")
    shared = f", team {team['name']} ({team.get('role', 'member')})" if team else ""
    out.line(f"{found['username']} at {client.url}{shared}")
    out.line(f"The key may: {', '.join(found['scopes'])}.")
    out.line(f"Balance {dollars(found['balance_usd'])}, of which {dollars(found['available_usd'])} is free to use.")


def method_of(said: str) -> str:
    """An HTTP method. Raises: typer.BadParameter."""
    if said.upper() not in METHODS:
        raise typer.BadParameter(f"{said!r} is none of {', '.join(METHODS)}")
    return said.upper()


def api(
    method: Annotated[str, typer.Argument(parser=method_of, metavar="METHOD", help="GET, POST, PUT, PATCH or DELETE.")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="As /v1/workloads?state=running.")],
    data: Annotated[
        str | None, typer.Option("--data", "-d", metavar="JSON", help="The body; @FILE reads a file, - the input.")
    ] = None,
    _json: JsonFlag = True,
) -> None:
    """Call the API as it is and print its answer as JSON, for what has no command. `yard api GET /v1/schema.json`."""
    if not path.startswith("/"):
        raise typer.BadParameter("a path begins with a slash: /v1/me", param_hint="PATH")
    Output(json=True).document(connect().ask(method, path, body_of(data)))


def body_of(data: str | None) -> Any:
    """The body as JSON. Raises: typer.BadParameter."""
    import json

    if data is None:
        return None
    try:
        said = sys.stdin.read() if data == "-" else Path(data[1:]).read_text() if data.startswith("@") else data
        return json.loads(said)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"no JSON: {error}", param_hint="--data") from None
