"""A Jupyter notebook as a script: its code cells run one after the other in one namespace, without IPython.

Sources: https://nbformat.readthedocs.io/en/latest/format_description.html (cells),
https://ipython.readthedocs.io/en/stable/interactive/magics.html (magics).
"""

from __future__ import annotations

import ast
import json
import linecache
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

# What only concerns a notebook on a screen is left out; so is what measures, since nothing depends on it.
LEFT_OUT = frozenset(
    "autoreload colors config load_ext matplotlib pdb precision reload_ext timeit unload_ext whos xmode yard".split()
)
CELLS_RUN = frozenset({"capture", "time", "yard"})
CELLS_LEFT_OUT = frozenset({"html", "HTML", "javascript", "js", "latex", "markdown", "svg", "timeit"})
INSTALLERS = re.compile(r"^[!%]{1,2}\s*(python3? -m )?(pip3?|conda|mamba|uv pip)\s+install\b")
ASSIGNED = re.compile(r"^[\w\s,.\[\]'\"]+=\s*([!%].*)$")
HELP = re.compile(r"^(\?{1,2}[\w.]+|[\w.]+\?{1,2})$")
INSTEAD = {"env": "write os.environ[...] = ...", "cd": "write os.chdir(...)", "run": "import the file"}


class NotebookUnfit(Exception):
    """No notebook, or one with what only IPython can run; the message names the cell and the line."""


@dataclass(frozen=True)
class Cell:
    """A code cell as Python, its lines where they were. number: among the code cells, from 1."""

    number: int
    source: str
    notes: tuple[str, ...]


def read(text: str, *, name: str) -> list[Cell]:
    """The code cells of a notebook's text; `name` is for messages. Raises NotebookUnfit."""
    try:
        document = json.loads(text)
        cells = [each for each in document["cells"] if each["cell_type"] == "code"]
        sources = ["".join(each["source"]) for each in cells]
    except (ValueError, KeyError, TypeError) as error:
        raise NotebookUnfit(f"{name} is not a Jupyter notebook (nbformat 4): {error!r}") from None
    if not any(source.strip() for source in sources):
        raise NotebookUnfit(f"{name} has no code cells")
    return [plain(source, number=number, name=name) for number, source in enumerate(sources, start=1)]


def plain(source: str, *, number: int = 1, name: str = "") -> Cell:
    """A cell without its magics. What Python takes is never touched. Raises NotebookUnfit."""
    where = f"{name}, code cell {number}" if name else "the cell"
    lines, notes = source.splitlines(), []
    while (first := _first(lines)) is not None and lines[first].startswith("%%"):
        word = (lines[first][2:].split() or [""])[0]
        if word in CELLS_LEFT_OUT:
            return Cell(number, "", (f"{where}: left out, %%{word} only shows or measures",))
        if word not in CELLS_RUN:
            raise NotebookUnfit(f"{where}, line {first + 1}: %%{word} cells do not run here; write it in Python")
        lines[first] = ""
    while (fault := _fault(lines)) is not None:
        line = lines[fault]
        instead = _instead(line.strip(), where=f"{where}, line {fault + 1}")
        if instead is None:
            break  # Python itself will say what is wrong with it.
        code, note = instead
        last = fault
        while lines[last].endswith("\\") and last + 1 < len(lines):
            last += 1
            lines[last], lines[last - 1] = lines[last], ""
        lines[last] = ""
        lines[fault] = line[: len(line) - len(line.lstrip())] + code
        notes += [f"{where}, line {fault + 1}: {note}"] if note else []
    return Cell(number, "\n".join(lines) + "\n", tuple(notes))


def _first(lines: list[str]) -> int | None:
    return next((at for at, line in enumerate(lines) if line.strip()), None)


def _fault(lines: list[str]) -> int | None:
    """Where Python stops understanding, counted from 0."""
    try:
        ast.parse("\n".join(lines))
    except SyntaxError as error:
        return min(max((error.lineno or 1) - 1, 0), len(lines) - 1)
    return None


def _instead(line: str, *, where: str) -> tuple[str, str] | None:
    """(What runs in place of an IPython line, what to say of it), or None when it is none. Raises NotebookUnfit."""
    if assigned := ASSIGNED.match(line):
        raise NotebookUnfit(f"{where}: {assigned[1]!r} needs IPython or a shell; write it in Python")
    if HELP.match(line):
        return "pass", ""
    if INSTALLERS.match(line):
        return "pass", f"{line!r} is left out; packages are installed from requirements.txt"
    if line.startswith("!"):
        raise NotebookUnfit(f"{where}: shell commands do not run here ({line!r}); write it in Python")
    if not line.startswith("%"):
        return None
    word, _, rest = line.lstrip("%").strip().partition(" ")
    if word == "time":
        return rest.strip() or "pass", ""
    if word in LEFT_OUT:
        return "pass", f"{line!r} is left out"
    raise NotebookUnfit(f"{where}: %{word} does not run here; {INSTEAD.get(word, 'write it in Python')}")


def run(path: Path) -> None:
    """Run a notebook as `__main__`. A traceback names the cell, and the line in it. Raises NotebookUnfit."""
    cells = read(path.read_text("utf-8"), name=path.name)
    for note in (note for cell in cells for note in cell.notes):
        sys.stderr.write(f"gpuyard: {note}\n")
    main = ModuleType("__main__")
    main.__dict__["display"] = display
    before = sys.modules["__main__"]
    sys.modules["__main__"] = main
    try:
        for cell in cells:
            file = f"{path}, code cell {cell.number}"
            # Without a time it stays, so that tracebacks and inspect.getsource find the lines.
            linecache.cache[file] = (len(cell.source), None, cell.source.splitlines(keepends=True), file)
            exec(compile(cell.source, file, "exec", dont_inherit=True), main.__dict__)
    finally:
        sys.modules["__main__"] = before


def display(*shown: Any, **how: Any) -> None:
    """What a notebook shows is a line of the log here."""
    for each in shown:
        sys.stdout.write(f"{each!r}\n")


if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(Path(sys.argv[0]).parent))
    run(Path(sys.argv[0]))
