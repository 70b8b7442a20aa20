"""Curves made of characters: a row of bars, and a line of braille dots."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

BARS = "▁▂▃▄▅▆▇█"
BLANK = 0x2800  # The braille character without dots; each dot is a bit of it.
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # By column of two, by row of four from the top.


def sparkline(values: Sequence[Decimal] | Sequence[float], width: int = 40) -> str:
    """The values as a row of bars, the newest last; more than `width` are thinned out."""
    if not values:
        return ""
    step = max(1, -(-len(values) // width))
    shown: Sequence[Any] = values[::-1][::step][::-1]
    low, high = min(shown), max(shown)
    if low == high:
        return BARS[3] * len(shown)
    return "".join(BARS[int((value - low) / (high - low) * (len(BARS) - 1))] for value in shown)


def curve(points: Sequence[tuple[float, float]], *, width: int, height: int) -> tuple[list[str], tuple[float, float]]:
    """A line through (x, y), x ascending, as `height` rows of `width` characters; and its lowest and highest y.

    A character has two by four dots. Points on one column of dots are averaged; a gap is bridged by a straight line.
    """
    columns = averaged(points, width * 2)
    if not columns:
        return [" " * width] * height, (0.0, 0.0)
    low, high = bounds([y for _, y in columns])
    tops = [(x, round((high - y) / (high - low) * (height * 4 - 1))) for x, y in columns]
    cells = [[0] * width for _ in range(height)]
    for x, top in tops[:1]:
        cells[top // 4][x // 2] |= DOTS[x % 2][top % 4]
    for (x1, top1), (x2, top2) in pairwise(tops):
        before = top1
        for x in range(x1 + 1, x2 + 1):
            now = round(top1 + (top2 - top1) * (x - x1) / (x2 - x1))
            # From the height before to this one, so that a steep line has no holes.
            for top in range(min(before + (now > before), now), max(before - (now < before), now) + 1):
                cells[top // 4][x // 2] |= DOTS[x % 2][top % 4]
            before = now
    return ["".join(chr(BLANK + cell) if cell else " " for cell in row) for row in cells], (low, high)


def averaged(points: Sequence[tuple[float, float]], columns: int) -> list[tuple[int, float]]:
    """The mean of the points of each column that has any."""
    if not points:
        return []
    first, last = points[0][0], points[-1][0]
    span = (last - first) or 1.0
    sums: dict[int, tuple[float, int]] = {}
    for x, y in points:
        column = min(int((x - first) / span * columns), columns - 1)
        total, count = sums.get(column, (0.0, 0))
        sums[column] = (total + y, count + 1)
    return [(column, total / count) for column, (total, count) in sorted(sums.items())]


def bounds(values: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest, a little apart where they are the same."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
