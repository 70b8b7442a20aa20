"""
The pages of the project and the blocks of code on them: what tests/house checks and tests/journeys executes.

A block is a fence with a language, and maybe the name of the file that it is, as in ```` ```python train.py ````: the
reader saves it under that name. A comment just before it says why it is not executed, if it is not:
`<!-- not run: needs an account at Azure -->`. It is then checked as far as that goes without running it.
"""

from __future__ import annotations

import ast
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
RUN = ("sh", "python")  # These are executed,
DATA = ("json", "yaml")  # these are held against what they say they are,
SHOWN = ("text",)  # and these are for the eye: output, drawings, shapes.
NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\s*", re.S)
LOOKS_LIKE_A_COMMAND = re.compile(r"(\$ |(yard|make|pip|python|curl|export|cd) [-\w./'\"])")


@dataclass(frozen=True)
class Block:
    """One block of a page; `line` is that of its first line of code, `not_run` is why it is not executed."""

    page: str
    line: int
    language: str
    name: str
    text: str
    not_run: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[tuple[int, str]]:
        """(line, command) of a shell block; what a backslash continues is one command."""
        found, begun = [], ""
        for number, line in enumerate(self.text.splitlines(), self.line):
            begun += line
            if line.endswith("\\"):
                begun += "\n"
            elif begun.strip() and not begun.startswith("#"):
                found.append((number - begun.count("\n"), begun))
                begun = ""
            else:
                begun = ""
        return found


def pages() -> list[str]:
    """Every page of the project."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.split()


def indented(page: str) -> list[int]:
    """The lines at which a block of code begins that is no fence, and so has no language."""
    return [token.map[0] + 1 for token in _tokens(page) if token.type == "code_block" and token.map]


def blocks(page: str) -> list[Block]:
    """The blocks of a page, from top to bottom."""
    found, tokens = [], _tokens(page)
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type == "fence" and token.map:
            language, _, name = token.info.strip().partition(" ")
            why = NOT_RUN.fullmatch(before.content) if before and before.type == "html_block" else None
            found.append(Block(page, token.map[0] + 2, language, name, token.content, why and why[1]))
    return found


def outside(page: str) -> list[str]:
    """The lines of a page that are in no block, without what they are indented by."""
    inside = {line for token in _tokens(page) if token.type == "fence" and token.map for line in range(*token.map)}
    lines = (ROOT / page).read_text().splitlines()
    return [line.strip() for number, line in enumerate(lines) if number not in inside]


def remarks(page: str) -> int:
    """How many comments of a page say that something is not run."""
    return sum(token.content.count("not run") for token in _tokens(page) if token.type == "html_block")


def check_unrun(block: Block) -> None:
    """Hold a block that is not executed against all that can be asked without running it."""
    if block.language == "python":
        ast.parse(block.text)
        return
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
    assert not done.returncode, (str(block), done.stderr)
    for _, command in block.commands:
        for words in _simple(command):
            if words[0] == "yard":
                parse_yard(words[1:])
            elif words[0] == "make":
                check_target(words)


def parse_yard(words: list[str]) -> None:
    """Let the real parser of `yard` read a command and do nothing. Raises click's errors."""
    import typer.main
    from gpuyard.cli import app

    command, context, name = typer.main.get_command(app), None, "yard"
    while True:
        context = command.make_context(name, list(words), parent=context)
        if not hasattr(command, "resolve_command"):
            return
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        name, command, words = command.resolve_command(context, rest)


def check_target(words: list[str]) -> None:
    """`make` knows the target."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    wanted = [word for word in words[1:] if "=" not in word]
    assert set(wanted) <= set(targets), words


def _simple(command: str) -> list[list[str]]:
    import shlex

    reader = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in reader:
        if set(word) <= set(";|&()<>"):
            found.append([])
        else:
            found[-1].append(word)
    return [words for words in found if words]


def _tokens(page: str):
    return MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text())
