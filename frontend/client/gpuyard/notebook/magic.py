"""`%%yard`, which trains the cell below it, and `%yard`, which is the `yard` command in a notebook."""

import os
import shlex
from pathlib import Path
from typing import Any

import typer
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand
from IPython.display import display

from gpuyard.client import Client
from gpuyard.errors import GpuyardError
from gpuyard.notebook import options, page, program, returning, running

ATTACH = "%yard attach ID"


@magics_class
class YardMagics(Magics):  # type: ignore[misc]  # IPython's own classes have no types.
    """The two magics."""

    @no_var_expand  # type: ignore[untyped-decorator]
    @cell_magic("yard")  # type: ignore[untyped-decorator]
    def train(self, line: str, cell: str) -> None:
        """Train the cell, and what it names, where it is cheapest to finish. `%%yard --help` names the flags."""
        with Plainly():
            wanted = options.parse(line)
            if wanted is None:
                return
            screen = screen_of(self.shell)
            packed, gathered = program.pack(
                cell,
                namespace=own_names(self.shell),
                cells=self.shell.history_manager.input_hist_parsed,
                folder=Path.cwd(),
                send=wanted.send,
                get=wanted.get,
                workdir=wanted.workdir,
                requirements=wanted.requirements,
                flags=self.shell.compile.flags,
            )
            client = Client.from_config()
            chosen = running.choose(client, wanted, packed, screen)
            if chosen is None:
                return
            workload = running.order(client, wanted, packed, quote=chosen, name=notebook_name(self.shell))
            for note in gathered.notes:
                self.say(note)
            if wanted.detach:
                self.say(
                    f"Run {workload['id']} goes on without this notebook. Back to it: %yard attach {workload['id']}"
                )
                return
            self.to_the_end(client, workload["id"], screen.new(), get=wanted.get, model_to=wanted.pull)

    @no_var_expand  # type: ignore[untyped-decorator]
    @line_magic("yard")  # type: ignore[untyped-decorator]
    def command(self, line: str) -> None:
        """`%yard ps`, `%yard stop 12`: any command of `yard`; and `%yard attach 12`, `%yard login URL KEY`."""
        with Plainly():
            words = shlex.split(line)
            if words[:1] == ["attach"]:
                self.attach(words[1:])
            else:
                command(words)

    def attach(self, words: list[str]) -> None:
        """Follow a run again, and bring home what it left. Raises: GpuyardError."""
        if len(words) != 1 or not words[0].isdecimal():
            raise options.WrongUsage(f"%yard attach {' '.join(words)}", hint=f"{ATTACH}; `%yard ps` lists the runs")
        self.to_the_end(Client.from_config(), int(words[0]), screen_of(self.shell), get=[], model_to=None)

    def to_the_end(
        self, client: Client, workload_id: int, screen: running.Screen, *, get: list[str], model_to: Path | None
    ) -> None:
        """Follow, and bring home. Raises: GpuyardError, RunFailed."""
        seen = running.follow(client, client.workload(workload_id), screen)
        state = seen.workload["state"]
        if not seen.is_followed:
            if not screen.is_page:
                self.say(seen.notes[-1][1])
            return
        if state == "succeeded":
            home = returning.bring(client, workload_id, self.shell.user_ns, model_to=model_to)
            seen.notes += home.told(get)
        if screen.is_page:
            screen.put(page.run(seen))
        else:
            self.say(page.run(seen).text)
        if state != "succeeded":
            reason = seen.workload["end_reason"] or state
            why = f": {seen.workload['why']}" if seen.workload["why"] else ""
            kept = f"; `%yard pull {workload_id}` brings its last parameters" if seen.workload["version"] else ""
            raise running.RunFailed(
                f"run {workload_id} {state} ({reason}){why}",
                hint=f"lines of notebook_cell.py are the cell's; `%yard logs {workload_id}` has all it wrote{kept}",
            )

    def say(self, text: str) -> None:
        """A line below the cell."""
        typer.echo(text)


class Plainly:
    """An error is told as what was wrong and what to do next, without a traceback of this package."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, GpuyardError):
            lines = [f"Error: {error.message}", *(f"  {name}: {wrong}" for name, wrong in error.details.items())]
            lines += [f"Next: {error.hint}"] if error.hint else []
            # https://ipython.readthedocs.io/en/stable/config/integrating.html#custom-exception-tracebacks
            error._render_traceback_ = lambda: lines  # type: ignore[attr-defined]


class Page:
    """A place in a notebook's output."""

    is_page = True

    def __init__(self) -> None:
        self._handle: Any = None

    def put(self, shown: page.Shown) -> None:
        """Show it, in place of what was shown before."""
        if self._handle is None:
            self._handle = display(shown, display_id=True)
        else:
            self._handle.update(shown)

    def new(self) -> "Page":
        """Another place, below."""
        return Page()


class Terminal:
    """Lines, one below the other."""

    is_page = False

    def __init__(self) -> None:
        self._told = ""

    def put(self, shown: page.Shown) -> None:
        """Show what was not shown a moment ago."""
        lines = [line for line in shown.text.splitlines() if line not in self._told.splitlines()]
        self._told = shown.text
        typer.echo("\n".join(lines))

    def new(self) -> "Terminal":
        """Go on below."""
        return Terminal()


def screen_of(shell: Any) -> running.Screen:
    """A page where a kernel speaks to a front end, else the terminal."""
    return Page() if hasattr(shell, "kernel") else Terminal()


def command(words: list[str]) -> None:
    """A command of `yard`, in this process. Raises: GpuyardError."""
    from gpuyard.cli import run

    if words[:1] == ["login"] and len(words) == 3:
        words = [*words[:2], "--key", words[2]]
    if not words:
        words = ["--help"]
    if code := run(words):
        # What was wrong has been told; the cell must not look as if it had worked.
        raise GpuyardError(f"`yard {words[0]}` ended with exit code {code}", hint="what it said stands above")


def own_names(shell: Any) -> dict[str, Any]:
    """The notebook's namespace without what IPython put there: In, Out, get_ipython, an `open` of its own, ..."""
    hidden = shell.user_ns_hidden
    return {name: value for name, value in shell.user_ns.items() if hidden.get(name, shell) is not value}


def notebook_name(shell: Any) -> str:
    """The notebook's own name, where its front end tells: JupyterLab by a variable, VS Code by a name."""
    told = shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME", "")
    return Path(str(told)).stem if str(told).endswith(".ipynb") else ""
