"""`yard key`: API keys, made, listed and revoked."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from gpuyard.cli import completing
from gpuyard.cli.flags import JsonFlag
from gpuyard.cli.output import Output, text
from gpuyard.cli.session import connect
from gpuyard.cli.times import day
from gpuyard.paging import every
from gpuyard.people import Key

key_app = typer.Typer(help="Keys for programs and people.", rich_markup_mode=None, no_args_is_help=True)


def expiry(said: str) -> str:
    """30d, 12h, or a date: RFC 3339 in UTC. Raises: typer.BadParameter."""
    span = re.fullmatch(r"(\d{1,5})([dh])", said)
    try:
        if span:
            number = int(span[1])
            when = datetime.now(UTC) + (timedelta(days=number) if span[2] == "d" else timedelta(hours=number))
        else:
            when = datetime.fromisoformat(said)
            when = (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC)
        return when.isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{said!r} is no time; write it as 30d, 12h or 2027-06-30") from None


@key_app.command("make")
def make(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="read, run, supply, operate, observe (repeatable); read and run if none.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(parser=expiry, metavar="WHEN", help="30d, 12h or 2027-06-30; never if not given.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Make a key and print it, this once. A broker wants a person signed in for that, and says at which page."""
    out = Output(json=json)
    made = connect().create_key(name, scopes=scope or ["read", "run"], expires_at=expires)
    out.document(made)
    out.line(made.get("key", ""))
    if not json:
        until = f", until {day(made.get('expires_at'))}" if made.get("expires_at") else ""
        out.note(f"Key {made['id']} ({', '.join(made['scopes'])}{until}). It is shown this once: keep it safe.")


@key_app.command("list")
def list_keys(json: JsonFlag = False) -> None:
    """Your keys, without their secrets."""
    out, client = Output(json=json), connect()
    rows: list[Key] = list(every(lambda cursor: client.keys(cursor=cursor)))
    out.document({"results": rows})
    if not rows:
        out.line("No key yet: yard key make NAME --scope read --scope run")
        return
    headers = ["id", "name", "starts with", "scopes", "made", "last used", "ends", "state"]
    cells = [
        [
            str(row["id"]),
            row["name"],
            text(row.get("prefix")),
            ", ".join(row["scopes"]),
            day(row.get("created_at")),
            day(row.get("last_used_at")),
            day(row.get("expires_at")),
            state_of(row),
        ]
        for row in rows
    ]
    out.table(headers, cells, right=["id"])


def state_of(row: Key) -> str:
    """Whether it still opens anything."""
    if row.get("revoked_at"):
        return "revoked"
    until = row.get("expires_at")
    return "expired" if until and datetime.fromisoformat(until) <= datetime.now(UTC) else "good"


@key_app.command("revoke")
def revoke(
    key: Annotated[int, typer.Argument(metavar="ID", min=1, help="The key.", autocompletion=completing.key_ids)],
    json: JsonFlag = False,
) -> None:
    """Have the broker refuse a key from now on."""
    out = Output(json=json)
    answer = connect().revoke_key(key)
    out.document(answer or {"id": key, "revoked": True})
    out.line(f"Key {key} opens nothing any more.")
