"""Where a notebook defined a name: the source of its functions and classes, found again in the cells that ran."""

import ast
import inspect
import linecache
from collections.abc import Iterator, Sequence
from types import FunctionType
from typing import Any


def source_of(name: str, defined: Any, *, cells: Sequence[str]) -> str | None:
    """The source of a function, class or lambda of the notebook; None when no cell defines it.

    `cells`: the code that ran, oldest first, as IPython made Python of it.
    """
    own = getattr(inspect.unwrap(defined), "__name__", name)
    for text in _places(defined, cells):
        for statement in reversed(list(_statements(text))):
            if _defines(statement, own if own != "<lambda>" else name):
                found = _segment(text, statement)
                return found if own in (name, "<lambda>") else f"{found}\n{name} = {own}"
    return None


def dotted_imports(name: str, *, cells: Sequence[str]) -> list[str]:
    """The `import a.b.c` statements of the cells that bind `name`, a."""
    found: dict[str, None] = {}
    for text in cells:
        for node in (each for each in _statements(text) if isinstance(each, ast.Import)):
            for alias in node.names:
                if alias.asname is None and "." in alias.name and alias.name.partition(".")[0] == name:
                    found[f"import {alias.name}"] = None
    return list(found)


def _places(defined: Any, cells: Sequence[str]) -> Iterator[str]:
    """The cell whose code it holds, where it holds any; then all cells, the newest first."""
    inner = inspect.unwrap(defined)
    codes = [inner] if isinstance(inner, FunctionType) else list(getattr(inner, "__dict__", {}).values())
    for each in codes:
        function = getattr(each, "__func__", each)
        if isinstance(function, FunctionType):
            lines = linecache.getlines(function.__code__.co_filename)
            if lines:
                yield "".join(lines)
    yield from reversed(cells)


def _statements(text: str) -> Iterator[ast.stmt]:
    """The statements of a cell that run at its top level, also below an `if`, a `try` or a `with`."""
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return
    while body:
        statement, *body = body
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            inner = [each for each in ast.iter_child_nodes(statement) if isinstance(each, ast.stmt)]
            body = [*inner, *body]


def _defines(statement: ast.stmt, name: str) -> bool:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return statement.name == name
    return (
        isinstance(statement, ast.Assign)
        and isinstance(statement.value, ast.Lambda)
        and any(isinstance(target, ast.Name) and target.id == name for target in statement.targets)
    )


def _segment(text: str, statement: ast.stmt) -> str:
    """The statement's own lines, decorators and comments included, moved to the left margin."""
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(each.lineno for each in decorators)])
    lines = text.splitlines()[first - 1 : statement.end_lineno]
    return inspect.cleandoc("\n".join(["", *lines])) if lines[0][:1].isspace() else "\n".join(lines)
