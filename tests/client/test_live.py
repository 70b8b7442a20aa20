"""The live views on a real terminal: drawn in place, left without harm, plain where a terminal can do no more."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import a_story
from . import objects_of_a_broker as given
from .contract_broker import ContractBroker, Reply
from .terminal import SOURCE, Terminal
from .test_watch import rows


@pytest.fixture
def story(logged_in: ContractBroker) -> ContractBroker:
    """A broker where workload 12 runs, and goes on running."""
    broker = logged_in
    broker.on("GET", "/v1/me", given.ME)
    broker.on("GET", "/v1/quotes/7", given.quote())
    broker.on("GET", "/v1/workloads/12", a_story.workload())
    broker.on(
        "GET",
        "/v1/workloads",
        lambda asked: Reply(
            200, {"results": [a_story.workload()] if asked.query["state"] == "running" else [], "next": None}
        ),
    )
    rows(broker, "events", [given.event(1, at="2026-11-22T10:01:17Z")])
    rows(broker, "metrics", [given.metric(n, at=f"2026-11-22T10:02:{n:02d}Z") for n in range(10, 50)])
    rows(broker, "logs", [given.log_line(1, "epoch 1 of 9")])
    broker.on("GET", "/v1/workloads/12/rounds", {"results": []})
    broker.on("GET", "/v1/workloads/12/artifacts", {"results": []})
    return broker


@pytest.fixture
def terminal(story: ContractBroker, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Opens terminals, and closes them at the end."""
    opened: list[Terminal] = []

    def make(*arguments: str, **options: Any) -> Terminal:
        opened.append(Terminal(*arguments, cwd=tmp_path, **options))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def test_the_view_is_drawn_in_place_and_ctrl_c_leaves_the_run_alone(
    story: ContractBroker, terminal: Callable[..., Terminal]
) -> None:
    view = terminal("watch", "12")
    view.shows("epoch 1 of 9")
    drawn = len(view.raw)
    view.until(lambda: len(view.raw) > drawn + 4000)  # Some frames later.
    for said in ("● running", "32,000 of 200,000", "$0.42 of $5.00", "verda/FIN-03", "Machines found", "Ctrl-C leaves"):
        view.shows(said)  # What was read may end inside a frame, so each is waited for.
    view.until(lambda: view.text.count("train  workload 12") == 1)

    view.press("\x03")
    code = view.end()

    assert code == 130
    assert "Workload 12 goes on" in view.text
    assert "Ctrl-C leaves" not in view.text
    assert view.screen.cursor.hidden is False
    assert not story.calls("POST", ".*")


def test_the_last_frame_stays_and_the_exit_code_tells_how_it_ended(
    story: ContractBroker, terminal: Callable[..., Terminal]
) -> None:
    view = terminal("attach", "12", lines=44)
    view.shows("● running")
    story.on("GET", "/v1/workloads/12", a_story.workload("failed", end_reason="script_error", why="exit code 1"))

    code = view.end()

    assert code == 10
    assert "✗ failed (script_error)" in view.text
    assert "Workload 12 failed (script_error): exit code 1" in view.text.replace("\n", "")


def test_an_absent_broker_is_told_in_the_frame(story: ContractBroker, terminal: Callable[..., Terminal]) -> None:
    view = terminal("watch", "12")
    view.shows("● running")

    story.drop = 10**6
    view.shows("⚠ broker unreachable")
    story.drop = 0
    view.shows("● running")

    assert view.text.count("workload 12") == 1


def test_a_narrow_terminal_gets_what_fits(terminal: Callable[..., Terminal]) -> None:
    view = terminal("watch", "12", columns=60, lines=28)

    view.shows("Machines found")

    assert "Host" not in view.text
    assert "16 %  32,000 of 200,000" in view.text


@pytest.mark.parametrize(("columns", "lines", "term"), [(80, 30, "dumb"), (30, 30, "xterm"), (80, 6, "xterm")])
def test_a_terminal_that_cannot_show_it_gets_plain_lines(
    terminal: Callable[..., Terminal], columns: int, lines: int, term: str
) -> None:
    view = terminal("watch", "12", columns=columns, lines=lines, TERM=term)

    view.until(lambda: b"32,000/200,000" in view.raw.replace(b"\r\n", b""))

    assert b"\x1b[" not in view.raw
    assert b"Progress" not in view.raw


def test_no_color_is_heeded(terminal: Callable[..., Terminal]) -> None:
    view = terminal("watch", "12", NO_COLOR="1")

    view.shows("● running")

    assert b"\x1b[32m" not in view.raw
    assert b"\x1b[36m" not in view.raw


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_top_shows_all_that_runs_until_a_key_is_pressed(terminal: Callable[..., Terminal], key: str) -> None:
    view = terminal("top", columns=120)
    view.shows("q leaves")
    shown = view.text

    view.press(key)
    code = view.end()

    assert code == 0
    assert "1 workload, $16.02/h, $0.42 spent, $87.50 free to use" in shown
    assert "● running" in shown
    assert "$0.42/$5.00" in shown
    assert b"\x1b[?1049l" in view.raw  # What was on the screen before is there again.
    assert view.screen.cursor.hidden is False


def test_top_outside_a_terminal_is_one_plain_table(story: ContractBroker, yard: Any) -> None:
    said, as_json = yard("top"), yard("top", "--json")

    assert said.code == 0
    assert said.out.splitlines()[0] == "1 workload, $16.02/h, $0.42 spent, $87.50 free to use"
    assert said.out.splitlines()[2].split()[:4] == ["12", "train", "running", "16"]
    (row,) = as_json.json["results"]
    assert row["workload"]["id"] == 12
    assert row["usd_per_hour"] == "16.020000"


def test_top_without_a_run_says_what_to_do(story: ContractBroker, yard: Any) -> None:
    story.on("GET", "/v1/workloads", {"results": [], "next": None})

    assert "yard run SCRIPT" in yard("top", "--once").out


@pytest.mark.parametrize("lines", [1, 0])
def test_a_reader_that_has_seen_enough_hears_nothing(story: ContractBroker, lines: int) -> None:
    story.on("GET", "/v1/workloads", {"results": [a_story.workload()] * 3000, "next": None})

    done = subprocess.run(  # noqa: S602 - a pipe of our own command
        f"{sys.executable} -W error -m gpuyard ps --limit 3000 | head -{lines}",
        shell=True,
        env={**os.environ, "PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert len(done.stdout.splitlines()) == lines
    assert done.stderr == ""
