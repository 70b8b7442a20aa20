"""Instants for people are local, short, and never without their offset."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from gpuyard.cli.output import rough, rough_range
from gpuyard.cli.times import day, moment
from gpuyard.money import dollars

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone_name", "at", "said"),
    [
        ("UTC0", "2026-11-22T10:01:00.123456Z", "10:01:00Z"),
        ("CET-1", "2026-11-22T10:01:00Z", "11:01:00+01:00"),
        ("NST3:30", "2026-11-22T10:01:00Z", "06:31:00-03:30"),
        ("UTC0", "2026-11-21T10:01:00Z", "2026-11-21 10:01:00Z"),
        ("JST-9", "2026-11-22T16:30:00Z", "2026-11-23 01:30:00+09:00"),
        ("UTC0", None, "-"),
        ("UTC0", "soon", "soon"),
    ],
)
def test_an_instant_is_told_in_the_local_zone(zone: Any, zone_name: str, at: str | None, said: str) -> None:
    zone(zone_name)

    assert moment(at, now=NOW) == said


def test_what_is_weeks_away_is_told_to_the_minute(zone: Any) -> None:
    zone("CET-1")

    assert day("2027-06-30T10:00:59Z") == "2027-06-30 11:00+01:00"


@pytest.mark.parametrize(
    ("seconds", "said"), [(45, "45 s"), (1260, "21 min"), (18720, "5.2 h"), (267840, "3.1 days"), (None, "-")]
)
def test_a_guess_has_no_more_digits_than_it_deserves(seconds: float | None, said: str) -> None:
    assert rough(seconds) == said


def test_a_range_says_its_unit_once() -> None:
    assert rough_range(540, 660) == "9 to 11 min"
    assert rough_range(50, 660) == "50 s to 11 min"
    assert rough_range(540, 541) == "9 min"


AMOUNTS = Path(__file__).parents[2] / "frontend" / "web" / "src" / "design" / "amounts.json"  # The dashboard's, too.


@pytest.mark.parametrize(("amount", "said"), json.loads(AMOUNTS.read_text()))
def test_money_is_written_as_on_the_dashboard(amount: str, said: str) -> None:
    assert dollars(amount) == said
