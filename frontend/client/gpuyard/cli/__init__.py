"""The `yard` command: its commands, its exit codes (`gpuyard.exits`), and how errors are told.

With --json an error is on standard output too.
"""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from gpuyard import __version__, exits
from gpuyard.cli import asking, follow, kept, launch, login, workloads
from gpuyard.cli.completion import completion
from gpuyard.cli.explain import explain
from gpuyard.cli.hosts import host_app
from gpuyard.cli.key import key_app
from gpuyard.cli.market import quote
from gpuyard.cli.offers import offers_app
from gpuyard.cli.output import Output, report
from gpuyard.cli.probe import probe
from gpuyard.cli.providers import providers_app
from gpuyard.cli.pulling import pull
from gpuyard.cli.reserved import reserved_app
from gpuyard.cli.session import EXPLAINED
from gpuyard.cli.team import team_app
from gpuyard.cli.top import top
from gpuyard.errors import GpuyardError

EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in exits.MEANINGS.items())
EPILOG += "\n\nComplete it in your shell: yard completion --help"

app = typer.Typer(
    name="yard",
    no_args_is_help=True,
    add_completion=False,  # `yard completion` prints the script, and touches no file of the shell.
    epilog=EPILOG,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        typer.echo(f"yard {__version__}")
        raise typer.Exit


@app.callback()
def yard(
    _version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")
    ] = False,
    _explain: Annotated[
        bool, typer.Option("--explain", help="Anywhere on the line: tell each call of the API on standard error.")
    ] = False,
) -> None:
    """GPUYard: train where it is cheapest to finish."""


app.command()(login.login)
app.add_typer(offers_app, name="offers")
app.command()(quote)
app.command()(launch.run)
app.command()(probe)
app.command()(follow.watch)
app.command("attach", help="The same as `yard watch`.", hidden=True)(follow.watch)
app.command()(top)
app.command()(workloads.ps)
app.command()(workloads.show)
app.command()(follow.logs)
app.command()(follow.events)
app.command()(follow.metrics)
app.command()(explain)
app.command()(workloads.rounds)
app.command()(workloads.stop)
app.command()(pull)
app.command()(kept.artifacts)
app.command()(kept.versions)
app.command()(kept.program)
app.command()(workloads.bill)
app.command()(workloads.ledger)
app.add_typer(host_app, name="host")
app.add_typer(providers_app, name="providers")
app.add_typer(reserved_app, name="reserved")
app.command()(asking.me)
app.add_typer(key_app, name="key")
app.add_typer(team_app, name="team")
app.command()(asking.api)
app.command()(completion)


def run(arguments: Sequence[str]) -> int:
    """One command line, to its exit code."""
    as_json = has("--json", arguments)
    explained = has("--explain", arguments)
    token = EXPLAINED.set(explained)
    if os.environ.get("_YARD_COMPLETE"):
        from typer import _completion_classes as shells

        shells.completion_init()
        shells._sanitize_help_text = str  # Our help holds no markup; to look for some would load rich: 100 ms.
    try:
        outcome = typer.main.get_command(app)(
            args=without("--explain", arguments) if explained else list(arguments),
            prog_name="yard",
            standalone_mode=False,
        )
    except GpuyardError as error:
        return report(error, as_json=as_json)
    except TyperException as error:
        return misused(error, as_json=as_json)
    except typer.Abort:
        Output(json=False).note("Nobody answered; nothing was done.")
        return exits.ERROR
    finally:
        EXPLAINED.reset(token)
    return outcome if isinstance(outcome, int) else exits.OK


def misused(error: TyperException, *, as_json: bool) -> int:
    """Tell a usage error: the usage line and what was wrong, with --json on standard output too."""
    told: dict[str, object] = {
        "code": "usage",
        "message": error.format_message(),
        "hint": "see --help; arguments of the script of `yard run` and `yard probe` go after --",
        "fields": {},
        "status": None,
        "exit_code": error.exit_code,
    }
    Output(json=as_json).row({"type": "error", "error": told})
    show = getattr(error, "show", None)
    if show:
        show()
    else:
        Output(json=False).error(error.format_message())
    return error.exit_code


def has(flag: str, arguments: Sequence[str]) -> bool:
    """Whether a flag is among yard's own arguments, known before they are parsed."""
    own = list(arguments)
    return flag in (own[: own.index("--")] if "--" in own else own)


def without(flag: str, arguments: Sequence[str]) -> list[str]:
    """The arguments without a flag of yard's own; what follows a -- is the script's."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    return [word for word in arguments[:end] if word != flag] + list(arguments[end:])


def main() -> None:
    """The console script. A reader that has seen enough (`yard ps | head -1`) ends it without a word."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end.
    sys.exit(code)
