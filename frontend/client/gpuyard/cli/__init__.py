"""The `yard` command. Exit codes: 0 ok, 1 error, 2 usage, 3 auth, 4 no capacity, 5 over budget, 10 the workload failed,
11 cancelled, 130 interrupted. With --json an error is on standard output too."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from gpuyard import __version__
from gpuyard.cli import follow, launch, login, workloads
from gpuyard.cli.explain import explain
from gpuyard.cli.hosts import host_app
from gpuyard.cli.market import quote
from gpuyard.cli.offers import offers_app
from gpuyard.cli.output import Output, report
from gpuyard.cli.probe import probe
from gpuyard.cli.providers import providers_app
from gpuyard.cli.pulling import pull
from gpuyard.cli.reserved import reserved_app
from gpuyard.errors import GpuyardError

app = typer.Typer(
    name="yard",
    no_args_is_help=True,
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
) -> None:
    """GPUYard: train where it is cheapest to finish."""


app.command()(login.login)
app.add_typer(offers_app, name="offers")
app.command()(quote)
app.command()(launch.run)
app.command()(probe)
app.command()(follow.watch)
app.command()(workloads.ps)
app.command()(workloads.show)
app.command()(follow.logs)
app.command()(follow.events)
app.command()(explain)
app.command()(workloads.rounds)
app.command()(workloads.stop)
app.command()(pull)
app.command()(workloads.bill)
app.command()(workloads.ledger)
app.add_typer(host_app, name="host")
app.add_typer(providers_app, name="providers")
app.add_typer(reserved_app, name="reserved")


def run(arguments: Sequence[str]) -> int:
    """One command line, to its exit code."""
    as_json = wants_json(arguments)
    try:
        outcome = typer.main.get_command(app)(args=list(arguments), prog_name="yard", standalone_mode=False)
    except GpuyardError as error:
        return report(error, as_json=as_json)
    except TyperException as error:
        return misused(error, as_json=as_json)
    except typer.Abort:
        Output(json=False).note("Nobody answered; nothing was done.")
        return 1
    return outcome if isinstance(outcome, int) else 0


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
        Output(json=False).note(f"Error: {error.format_message()}")
    return error.exit_code


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether --json is among yard's own arguments, known before they are parsed."""
    own = list(arguments)
    return "--json" in (own[: own.index("--")] if "--" in own else own)


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))
