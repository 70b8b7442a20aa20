"""A cell with all that it needs, packed as `yard run` packs a script."""

import __future__

import ast
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gpuyard import pack as packing
from gpuyard.errors import InvalidProgram
from gpuyard.node import cell as ends
from gpuyard.node import notebook
from gpuyard.notebook import reading
from gpuyard.notebook.gathering import CannotSend, Gathered

OWN_NAMES = (ends.SCRIPT, ends.NAMES, ends.VALUES, ends.OBJECTS)


def pack(
    text: str,
    *,
    namespace: Mapping[str, Any],
    cells: Sequence[str] = (),
    folder: Path,
    send: Sequence[str] = (),
    get: Sequence[str] = (),
    workdir: Path | None = None,
    requirements: Path | None = None,
    flags: int = 0,
) -> tuple[packing.Program, Gathered]:
    """The program of a cell's text, without its first line, and what went along.

    namespace: the notebook's; cells: the code that ran in it, oldest first; folder: where its own modules lie;
    flags: of the __future__, as IPython's compiler has them. Raises: CannotSend, InvalidProgram.
    """
    source = plain(text)
    names = reading.read(source)
    gathered = Gathered(namespace, cells).take(names, also=send)
    gathered.imports |= {"from __future__ import annotations": None} if flags & annotations_flag() else {}
    files, left_out = packing.collect(workdir) if workdir else ({}, [])
    files |= modules(gathered.roots, folder=folder)
    if taken := sorted(set(files) & set(OWN_NAMES)):
        raise InvalidProgram(f"the folder has a {taken[0]}, a name that %%yard needs itself", hint="rename it")
    check_trains([source, *gathered.imports, *gathered.definitions.values()], files)
    check_sizes(gathered)
    with TemporaryDirectory(prefix="gpuyard-") as temporary:
        made = Path(temporary)
        objects = gathered.pickled() if gathered.objects else b""  # May name more classes.
        if gathered.imports or gathered.definitions:
            imports = "\n".join(sorted(gathered.imports, key=lambda line: not line.startswith("from __future__")))
            (made / ends.NAMES).write_text("\n\n\n".join([imports, *gathered.definitions.values(), ""]), "utf-8")
        if gathered.values.values:
            gathered.values.write(made / ends.VALUES)
        if objects:
            (made / ends.OBJECTS).write_bytes(objects)
        (made / ends.SCRIPT).write_text(script(source, names, get=get, flags=flags), "utf-8")
        files |= {path.name: path for path in made.iterdir()}
        return packing.of_files(files, script=ends.SCRIPT, left_out=left_out, requirements=requirements), gathered


def plain(text: str) -> str:
    """The cell as Python, its first line empty. Raises: CannotSend."""
    try:
        source = notebook.plain(f"%%yard\n{text}").source
        ast.parse(source)
    except notebook.NotebookUnfit as error:
        raise CannotSend(str(error), hint="or do that in a cell of its own, without %%yard") from None
    except SyntaxError as error:
        raise CannotSend(f"the cell, line {error.lineno}: {error.msg}", hint="correct it and run it again") from None
    return source


def annotations_flag() -> int:
    """`from __future__ import annotations`, as compilers know it."""
    return __future__.annotations.compiler_flag


def script(source: str, names: reading.Names, *, get: Sequence[str], flags: int) -> str:
    """The cell between its two ends; its lines keep their numbers, as the first stands where %%yard stood."""
    lines = source.splitlines()
    futures = {"from __future__ import annotations": None} if flags & annotations_flag() else {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            futures[ast.unparse(node)] = None
            for at in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[at] = ""
    lines[0] = "; ".join([*futures, "from gpuyard.node import cell as _yard", "_yard.begin(globals())"])
    last = f"_yard.finish(globals(), assigned={list(names.assigned)!r}, wanted={list(get)!r})"
    return "\n".join([*lines, last, ""])


def check_trains(sources: Sequence[str], files: Mapping[str, Path]) -> None:
    """Raises: CannotSend for a cell that would be paid for and then refused, as it never enters a session."""
    mentioned = any("gpuyard" in source for source in sources)
    if mentioned or any(b"gpuyard" in path.read_bytes() for name, path in files.items() if name.endswith(".py")):
        return
    raise CannotSend(
        "nothing here trains: neither the cell nor what it names uses gpuyard.train",
        hint="import gpuyard.train as yard; with yard.session(model, optimizer) as run: for batch in run.batches(...)",
    )


def check_sizes(gathered: Gathered) -> None:
    """Raises: InvalidProgram, naming the largest data."""
    total = sum(gathered.sizes.values())
    if total > packing.LIMIT_BYTES:
        largest = sorted(gathered.sizes, key=lambda name: -gathered.sizes[name])[:3]
        named = ", ".join(f"{name} ({gathered.sizes[name] / 1e6:.0f} MB)" for name in largest)
        raise InvalidProgram(
            f"what the cell names is {total / 1e6:.0f} MB, more than {packing.LIMIT_BYTES / 1e6:.0f} MB: {named}",
            code="program_too_large",
            hint="let the cell read it where it lies: yard.fetch, yard.TokenWindows, yard.Lines",
        )


def modules(roots: set[str], *, folder: Path) -> dict[str, Path]:
    """The modules beside the notebook that are imported, packages whole, and those that they import in turn."""
    files: dict[str, Path] = {}
    waiting, seen = sorted(roots - set(sys.stdlib_module_names)), {"gpuyard"}  # Hosts have it.
    while waiting:
        root = waiting.pop()
        if root in seen:
            continue
        seen.add(root)
        found: dict[str, Path] = {}
        if (folder / root).is_dir() and any((folder / root).glob("*.py")):
            inside, _ = packing.collect(folder / root)
            found = {f"{root}/{name}": path for name, path in inside.items()}
        elif (folder / f"{root}.py").is_file():
            found = {f"{root}.py": folder / f"{root}.py"}
        for name, path in found.items():
            if name.endswith(".py"):
                waiting += imported(path) - seen - set(sys.stdlib_module_names)
        files |= found
    return files


def imported(path: Path) -> set[str]:
    """The roots of what a file imports; nothing of one that is no Python."""
    try:
        return reading.read(path.read_text("utf-8")).modules
    except (SyntaxError, UnicodeDecodeError):
        return set()
