"""The exit codes are told the same everywhere: help, the docs, and the errors themselves."""

import re
from pathlib import Path
from typing import Any

import pytest
from gpuyard import errors, exits

ROOT = Path(__file__).parents[2]


def test_help_tells_every_code_and_what_it_means(yard: Any) -> None:
    said = yard("--help").out

    told = {int(code): meaning for code, meaning in re.findall(r"^ +(\d+)  (.+)$", said, re.MULTILINE)}
    assert told == exits.MEANINGS


@pytest.mark.parametrize("page", ["frontend/client/README.md", "docs/cli.md"])
def test_the_docs_tell_every_code(page: str) -> None:
    told = re.findall(r"^\| (\d+) \| ", (ROOT / page).read_text(), re.MULTILINE)

    assert [int(code) for code in told] == sorted(exits.MEANINGS)


KINDS = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.GpuyardError)]


def test_every_error_ends_with_a_code_that_is_told() -> None:
    assert len(KINDS) > 15
    assert {kind.exit_code for kind in KINDS} <= set(exits.MEANINGS)


def test_the_docs_name_every_error() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()

    assert [kind.__name__ for kind in KINDS if kind.__name__ not in page] == []
