"""A curve of braille dots goes where its points go."""

import math

import pytest
from gpuyard.cli.chart import BLANK, curve, sparkline
from hypothesis import given
from hypothesis import strategies as st


def dots(rows: list[str]) -> set[tuple[int, int]]:
    """(x, y) of every dot, from the upper left corner; by Unicode's numbering of braille dots."""
    places = {0: (0, 0), 1: (0, 1), 2: (0, 2), 3: (1, 0), 4: (1, 1), 5: (1, 2), 6: (0, 3), 7: (1, 3)}
    return {
        (2 * column + places[bit][0], 4 * line + places[bit][1])
        for line, row in enumerate(rows)
        for column, char in enumerate(row)
        if char != " "
        for bit in range(8)
        if (ord(char) - BLANK) >> bit & 1
    }


def test_a_fall_is_a_diagonal_from_the_upper_left_to_the_lower_right() -> None:
    rows, bounds = curve([(0, 3.0), (7, -4.0)], width=4, height=2)

    assert dots(rows) == {(n, n) for n in range(8)}
    assert bounds == (-4.0, 3.0)


def test_a_flat_line_is_flat() -> None:
    rows, _ = curve([(n, 2.0) for n in range(50)], width=10, height=3)

    assert len({y for _, y in dots(rows)}) == 1


def test_a_jump_leaves_no_hole() -> None:
    rows, _ = curve([(0, 0.0), (1, 0.0), (2, 1.0), (3, 1.0)], width=2, height=4)

    assert {y for _, y in dots(rows)} == set(range(16))


def test_points_of_one_column_are_averaged() -> None:
    rows, (low, high) = curve([(0, 1.0), (0.001, 3.0), (10, 0.0)], width=4, height=2)

    assert (low, high) == (0.0, 2.0)
    assert (0, 0) in dots(rows)


def test_without_points_there_is_room_but_no_curve() -> None:
    assert curve([], width=3, height=2)[0] == ["   ", "   "]


@given(
    st.lists(st.tuples(st.floats(0, 1e9), st.floats(-1e6, 1e6)), min_size=1, max_size=60),
    st.integers(1, 60),
    st.integers(1, 9),
)
def test_any_curve_fits_its_room_and_has_a_dot_in_every_column_between_its_ends(
    points: list[tuple[float, float]], width: int, height: int
) -> None:
    points = sorted(points)

    rows, (low, high) = curve(points, width=width, height=height)

    assert [len(row) for row in rows] == [width] * height
    columns = {x for x, _ in dots(rows)}
    assert columns == set(range(min(columns), max(columns) + 1))
    assert math.isfinite(low)
    assert low <= high


@pytest.mark.parametrize(
    ("values", "said"), [([3, 2, 1], "█▄▁"), ([1, 1], "▄▄"), ([], ""), (list(range(100)), "▁▁▂▂▃▃▄▄▅▅▆▇█")]
)
def test_a_sparkline_is_as_wide_as_it_may_be(values: list[float], said: str) -> None:
    assert len(sparkline(values, width=13)) <= 13
    assert sparkline(values, width=13)[-1:] == said[-1:]
    assert sparkline(values, width=13)[:1] == said[:1]
