"""`yard providers`: hand over credentials of clouds, see what they allow, take them back."""

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from gpuyard import accounts
from gpuyard.cli import flags
from gpuyard.cli.output import Output, text
from gpuyard.cli.session import connect
from gpuyard.cli.times import moment
from gpuyard.errors import GpuyardError, NotFound

providers_app = typer.Typer(help="Accounts at clouds.", rich_markup_mode=None, no_args_is_help=True)
SECRET = re.compile("(key|secret|token|password|account)$")  # How the names of secret credentials end.
DENIED = 3  # The exit code when a permission is missing.
GRANTED = {True: "yes", False: "no", None: "unknown"}
HISTORY = "Note: what is given with --set may stay in the shell's history; --from-env and --from-file do not do that."

Name = Annotated[str, typer.Argument(metavar="NAME", help="The cloud, as aws; `yard providers list` names them.")]
BrokerFlag = Annotated[
    bool, typer.Option("--broker", help="The broker's own account, which serves every team; scope `operate`.")
]
Pairs = list[str] | None


class CredentialsMissing(GpuyardError):
    """Required credentials were not given, and nobody can be asked. Nothing was sent."""

    exit_code = 2
    default_code = "credentials_missing"
    default_hint = "give them with --from-env NAME=VARIABLE or --from-file NAME=PATH"


@providers_app.command("add")
def add(
    name: Name,
    given: Annotated[
        Pairs, typer.Option("--set", metavar="KEY=VALUE", help="What is not secret, as regions (repeatable).")
    ] = None,
    from_file: Annotated[
        Pairs, typer.Option("--from-file", metavar="KEY=PATH", help="The content of a file (repeatable).")
    ] = None,
    from_env: Annotated[
        Pairs, typer.Option("--from-env", metavar="KEY=VARIABLE", help="A variable's value (repeatable).")
    ] = None,
    broker: BrokerFlag = False,
    json: flags.JsonFlag = False,
) -> None:
    """Hand over an account, in place of the one before, and check what it may do. Exit code 3: something is denied.

    What is required and was not given is asked for, hidden, if standard input is a terminal.
    """
    out, client = Output(json=json), connect()
    takes = named(client.providers(broker=broker), name)["credentials"]
    credentials = gather(takes, given=given, from_file=from_file, from_env=from_env)
    if any(SECRET.search(pair.partition("=")[0]) for pair in given or []):
        out.note(HISTORY)
    credentials |= ask([key for key, required in takes.items() if required and not credentials.get(key)], name)
    provider = client.put_account(name, credentials=credentials, broker=broker)
    try:
        checked = client.check_account(name, broker=broker)
    except GpuyardError:
        out.note(f"The account at {name} is kept, but was not checked: yard providers check {name}")
        raise
    out.document({"provider": provider, "permissions": checked["permissions"]})
    out.line(f"The account at {name} is kept, encrypted.")
    show_permissions(out, checked)


@providers_app.command("check")
def check(name: Name, broker: BrokerFlag = False, json: flags.JsonFlag = False) -> None:
    """Ask the cloud what the account may do; nothing is rented. Exit code 3: something is denied."""
    out = Output(json=json)
    checked = connect().check_account(name, broker=broker)
    out.document(checked)
    show_permissions(out, checked)


@providers_app.command("list")
def list_providers(broker: BrokerFlag = False, json: flags.JsonFlag = False) -> None:
    """Every cloud: what it takes, whose account is used, and what that may not do."""
    out = Output(json=json)
    providers = connect().providers(broker=broker)
    out.document({"results": providers})
    cells = [
        [
            one["name"],
            text(one["connected"]),
            text(one["hint"]),
            moment(one["checked_at"]),
            text(", ".join(denied["name"] for denied in one["denied"])),
            prices(one["source"]),
            ", ".join(key if required else f"[{key}]" for key, required in one["credentials"].items()),
        ]
        for one in providers
    ]
    out.table(["name", "account", "id ends in", "checked", "denied", "prices", "takes"], cells)


@providers_app.command("remove")
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    broker: BrokerFlag = False,
    json: flags.JsonFlag = False,
) -> None:
    """Have the broker forget the account. It is refused while machines are rented with it."""
    out = Output(json=json)
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("say --yes: there is no terminal to ask on", param_hint="--yes")
        typer.confirm(f"Forget the credentials of {name}?", abort=True, err=True)
    left = connect().remove_account(name, broker=broker)
    out.document(left)
    rest = "; the broker's is used from now on" if left["connected"] == "broker" else ""
    out.line(f"The account at {name} is forgotten{rest}.")


def named(providers: list[accounts.Provider], name: str) -> accounts.Provider:
    """The provider of that name. Raises: NotFound."""
    found = next((one for one in providers if one["name"] == name), None)
    if found is None:
        known = ", ".join(one["name"] for one in providers)
        raise NotFound(f"there is no provider {name!r}", hint=f"one of: {known}")
    return found


def gather(takes: dict[str, bool], *, given: Pairs, from_file: Pairs, from_env: Pairs) -> dict[str, str]:
    """What the flags give. Raises: typer.BadParameter, which never shows a value: it may be a secret."""
    found: dict[str, str] = {}
    for option, pairs, read in (
        ("--set", given, str),
        ("--from-file", from_file, read_file),
        ("--from-env", from_env, read_variable),
    ):
        for pair in pairs or []:
            key, equals, rest = pair.partition("=")
            if not equals:
                raise typer.BadParameter("write it as KEY=...", param_hint=option)
            if key not in takes:
                known = ", ".join(takes) or "no credential"
                raise typer.BadParameter(f"there is no credential {key!r}; it takes {known}", param_hint=option)
            if key in found:
                raise typer.BadParameter(f"{key} is given twice", param_hint=option)
            found[key] = read(rest)
    return found


def read_file(path: str) -> str:
    """A file's content. Raises: typer.BadParameter."""
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise typer.BadParameter(f"{path}: {why}", param_hint="--from-file") from None


def read_variable(variable: str) -> str:
    """A variable's value. Raises: typer.BadParameter."""
    if variable not in os.environ:
        raise typer.BadParameter(f"the variable {variable} is not set", param_hint="--from-env")
    return os.environ[variable]


def ask(missing: list[str], name: str) -> dict[str, str]:
    """What is missing, asked on the terminal and not shown. Raises: CredentialsMissing."""
    if missing and not sys.stdin.isatty():
        raise CredentialsMissing(f"{name} needs {', '.join(missing)} too")
    return {key: str(typer.prompt(f"{name} {key}", hide_input=True, err=True)) for key in missing}


def prices(source: accounts.Polled | None) -> str:
    """How reading its prices goes, for people."""
    if source is None:
        return "-"
    if source["error"]:
        return f"failing: {source['error']}"
    return f"{source['lines']} lines{', stale' if source['stale'] else ''}"


def show_permissions(out: Output, checked: accounts.Check) -> None:
    """The permissions as a table. Raises: typer.Exit with DENIED when one is missing."""
    permissions = checked["permissions"]
    cells = [[one["name"], GRANTED[one["granted"]], text(one["why"])] for one in permissions]
    out.table(["permission", "granted", "why"], cells)
    denied = [one["name"] for one in permissions if one["granted"] is False]
    if denied:
        out.note(f"Denied: {', '.join(denied)}. What it takes: docs/providers/{checked['provider']}.md")
        raise typer.Exit(DENIED)
