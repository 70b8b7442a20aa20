"""No block of code on a page is beyond the reach of the tests that execute them (tests/journeys/test_pages.py)."""

from __future__ import annotations

import json
import re

import pytest

from tests.house.files_of_pages import FILES
from tests.pages import (
    DATA,
    LOOKS_LIKE_A_COMMAND,
    ROOT,
    RUN,
    SHOWN,
    blocks,
    check_unrun,
    indented,
    outside,
    pages,
    remarks,
)

ALL = [block for page in pages() for block in blocks(page)]


@pytest.mark.parametrize("page", pages())
def test_a_page_has_fences_with_a_language_and_no_other_code(page):
    assert not indented(page), "a block of code is a fence with a language"
    assert {block.language for block in blocks(page)} <= {*RUN, *DATA, *SHOWN}
    assert not [line for line in outside(page) if LOOKS_LIKE_A_COMMAND.match(line)], "a command stands in a fence"


@pytest.mark.parametrize("block", [block for block in ALL if block.language in SHOWN], ids=str)
def test_what_is_for_the_eye_alone_holds_nothing_to_type(block):
    assert not [line for line in block.text.splitlines() if LOOKS_LIKE_A_COMMAND.match(line)]


@pytest.mark.parametrize("page", pages())
def test_whatever_is_not_run_says_why(page):
    unrun = [block for block in blocks(page) if block.not_run]

    assert len(unrun) == remarks(page), "the comment stands just before its fence: <!-- not run: why -->"
    assert all(block.language in RUN and len(block.not_run.split()) > 2 for block in unrun)


@pytest.mark.parametrize("block", [block for block in ALL if block.not_run], ids=str)
def test_what_is_not_run_would_be_understood(block):
    check_unrun(block)


@pytest.mark.parametrize("block", [block for block in ALL if block.language in DATA], ids=str)
def test_a_file_is_what_it_says(block):
    FILES[block.name](block.text)


def test_the_pages_are_found():
    assert {"README.md", "docs/training.md", "docs/providers/vast.md", "frontend/client/README.md"} <= set(pages())
    assert len([block for block in ALL if block.language in RUN and not block.not_run]) > 20
    assert len([block for block in ALL if block.not_run]) < 8


@pytest.mark.parametrize("name", ["Need", "Quote", "Offer", "Workload", "Artifact", "Host"])
def test_the_shapes_of_the_protocol_are_the_schemas(name):
    schema = json.loads((ROOT / "docs" / "openapi.json").read_text())["components"]["schemas"][name]
    shapes = "".join(block.text for block in blocks("docs/protocol.md"))
    shape = re.sub(" # .*", "", re.split(rf"^{name} = {{", shapes, flags=re.M)[1])

    assert fields_of(shape) <= set(schema["properties"])


def fields_of(shape: str) -> set[str]:
    """The names in a shape up to the bracket that closes it, without those inside what it holds."""
    depth, flat = 1, ""
    for sign in shape:
        depth += (sign in "{[(") - (sign in "}])")
        if not depth:
            break
        flat += sign if depth == 1 else ""
    return set(re.findall(r"(?:^|,)\s*(\w+)", flat))
