"""The live view's frames at each size, kept as text in `frames/`; GPUYARD_FRAMES=1 writes them anew."""

import io
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from gpuyard.cli import plans
from gpuyard.cli.frame import PARTS, allotted, frame
from gpuyard.cli.story import Curve, Pace, Story
from gpuyard.cli.words import plainly
from hypothesis import given as drawn
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from . import a_story
from . import objects_of_a_broker as given

FRAMES = Path(__file__).parent / "frames"


def rendered(story: Story, width: int, height: int, **options: Any) -> str:
    """The frame as text."""
    console = Console(file=io.StringIO(), width=width, height=height, highlight=False, **options)
    console.print(frame(story, width=width, height=height, now=a_story.NOW))
    return "".join(line.rstrip() + "\n" for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def is_kept(name: str, text: str) -> None:
    """Compare with what was kept."""
    path = FRAMES / f"{name}.txt"
    if os.environ.get("GPUYARD_FRAMES"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 40), (120, 40), (60, 30), (80, 14)])
def test_a_running_workload_looks_as_it_did(width: int, height: int) -> None:
    is_kept(f"running-{width}x{height}", rendered(a_story.story(), width, height))


@pytest.mark.parametrize("width", [80, 120])
def test_a_workload_that_waits_for_machines_shows_its_plan(width: int) -> None:
    story = Story(quote=given.quote())  # type: ignore[arg-type]
    waiting = given.workload("placing", sites=[], version=None, loss=None, step=0, started_at=None)
    story.take({"type": "workload", "workload": waiting | {"spent_usd": "0.000000"}}, now=0)
    story.take({"type": "event", "event": given.event(1, to="placing", why="")}, now=0)

    is_kept(f"placing-{width}", rendered(story, width, 24))


@pytest.mark.parametrize("width", [80, 120])
def test_the_end_says_why(width: int) -> None:
    ended = a_story.story("failed", end_reason="script_error", why="home/berlin: exit code 1\nKeyError: 'x'", sites=[])

    is_kept(f"failed-{width}", rendered(ended, width, 24))


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_plans_look_as_they_did(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    quotes: Any = [given.quote(), given.quote(8, rank=2, labels=["fastest", "safest"], outcome=None, cost_usd=None)]
    console.print(plans.table(quotes, width=width))

    text = "".join(line.rstrip() + "\n" for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]
    is_kept(f"plans-{width}", text)


@drawn(st.integers(40, 160), st.integers(12, 60))
def test_a_frame_fits_any_terminal(width: int, height: int) -> None:
    lines = rendered(a_story.story(), width, height).splitlines()

    assert len(lines) <= height
    assert max(cell_len(line) for line in lines) <= width


@drawn(st.integers(-5, 80), st.fixed_dictionaries({name: st.integers(0, 200) for name, *_ in PARTS}))
def test_rows_are_never_given_twice(room: int, there: dict[str, int]) -> None:
    rows = allotted(room, there)

    used = sum(rows[name] + around for name, around, _, _ in PARTS if rows[name])
    assert used <= max(room, 0)
    assert all(0 <= rows[name] <= min(most, there[name]) for name, _, _, most in PARTS)


def test_without_colours_the_words_say_it_all() -> None:
    coloured = rendered(a_story.story(), 80, 30, force_terminal=True, color_system="standard")
    plain = rendered(a_story.story(), 80, 30, force_terminal=True, no_color=True)

    assert "\x1b[32m● running" in coloured
    assert "● running" in plain
    assert not any(f"\x1b[{number}m" in plain for number in range(30, 38))


def test_what_a_machine_wrote_cannot_steer_the_terminal() -> None:
    story = a_story.story(name="\x1b[2Jname")
    story.take({"type": "log", "log": given.log_line(99, "a\x1b]0;title\x07b\x1b[2Jc")}, now=0)

    text = rendered(story, 80, 40)

    assert "\x1b" not in text
    assert "\x07" not in text


def test_times_are_local(zone: Any) -> None:
    zone("CET-1")

    text = rendered(a_story.story(), 80, 40)

    assert "11:40+01:00" in text
    assert "11:04:17  Stay at home/berlin" in text


def test_a_budget_that_will_not_last_stands_out() -> None:
    text = rendered(a_story.story(), 80, 24, force_terminal=True, color_system="standard")

    assert "\x1b[33m  to finish $7.25" in text


@pytest.mark.parametrize(
    ("subject", "number", "to", "said"),
    [
        ("workload", 12, "recovering", "Looking for machines to go on with: so it is"),
        ("placement", 4, "draining", "verda/FIN-03 hands in and leaves: so it is"),
        ("lease", 5, "lost", "fin-03-gpu-17 at verda/FIN-03 was lost: so it is"),
        ("lease", 99, "refused", "Machine 99 could not be had: so it is"),
        ("round", 3, "closed", "Merged: so it is"),
        ("novelty", 3, "odd", "novelty 3: odd: so it is"),
    ],
)
def test_moves_are_told_in_plain_words(subject: str, number: int, to: str, said: str) -> None:
    event: Any = given.event(1, subject=subject, subject_id=number, to=to, why="so it is")

    assert plainly(event, a_story.workload()) == said  # type: ignore[arg-type]


def test_a_long_run_is_remembered_in_bounded_room() -> None:
    curve = Curve()
    for number in range(20_000):
        curve.add(number, number / 2, site="a")

    assert 2000 < len(curve.points) <= 4000
    steps = {round(after - before, 6) for (before, _), (after, _) in pairwise(curve.points[:-1])}
    assert steps == {8.0}  # The beginning is remembered as well as the end.
    assert all(loss == pytest.approx(at / 2) for at, loss in curve.points)


def test_the_pace_is_that_of_the_last_minutes() -> None:
    pace, found = Pace(), a_story.workload()
    for second in range(0, 600, 30):
        pace.take(second, second * (10 if second < 300 else 50))

    assert pace.samples_per_s(found, 600) == pytest.approx(50)  # type: ignore[arg-type]
    assert pace.samples_per_s(found, 10_000) < 5  # type: ignore[arg-type, operator]
