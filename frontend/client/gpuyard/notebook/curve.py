"""The loss curve as inline SVG: a line for each site, readable in light and dark, and without colours."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 170
LEFT, RIGHT, TOP, BOTTOM = 48, 8, 8, 22
POINTS_MAX = 120
COLOURS = ("#2f81f7", "#d97706", "#16a34a", "#a855f7", "#e5484d", "#0d9488")  # Each 3:1 on white and on black.
DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 4", "10 4")
Points = Sequence[tuple[float, float]]


def svg(lines: Mapping[str, Points]) -> str:
    """The curve of (step, loss) by site; "" while there is nothing to draw."""
    drawn = {name: thinned(points) for name, points in lines.items()}
    drawn = {name: points for name, points in drawn.items() if points}
    if not drawn:
        return ""
    steps = [step for points in drawn.values() for step, _ in points]
    losses = [loss for points in drawn.values() for _, loss in points]
    marks = ticks(min(losses), max(losses))
    low, high = min(marks[0], *losses), max(marks[-1], *losses)
    first, last = min(steps), max(max(steps), min(steps) + 1)

    def across(step: float) -> float:
        return LEFT + (step - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def down(loss: float) -> float:
        return TOP + (high - loss) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(told(drawn))}">',
        *(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down(mark):.1f}" y2="{down(mark):.1f}"/>'
            f'<text x="{LEFT - 6}" y="{down(mark) + 3.5:.1f}" text-anchor="end">{mark:.4g}</text>'
            for mark in marks
        ),
        f'<text x="{LEFT}" y="{HEIGHT - 5}">step {first:,.0f}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 5}" text-anchor="end">{max(steps):,.0f}</text>',
    ]
    for at, points in enumerate(drawn.values()):
        way = " ".join(f"{across(step):.1f},{down(loss):.1f}" for step, loss in points)
        dash = f' stroke-dasharray="{DASHES[at % 6]}"' if DASHES[at % 6] else ""
        parts.append(f'<polyline points="{way}" stroke="{COLOURS[at % 6]}"{dash}/>')
        step, loss = points[-1]
        parts.append(f'<circle cx="{across(step):.1f}" cy="{down(loss):.1f}" r="3" fill="{COLOURS[at % 6]}"/>')
    return "".join([*parts, "</svg>", legend(drawn)])


def legend(lines: Mapping[str, Points]) -> str:
    """Which line is whose, and where it stands."""
    each = []
    for at, (name, points) in enumerate(lines.items()):
        dash = f' stroke-dasharray="{DASHES[at % 6]}"' if DASHES[at % 6] else ""
        key = '<svg width="24" height="8" aria-hidden="true"><line x1="0" x2="24" y1="4" y2="4" stroke-width="2"'
        key += f' stroke="{COLOURS[at % 6]}"{dash}/></svg>'
        each.append(f"<span>{key} {escape(name)} <b>{points[-1][1]:.4g}</b></span>")
    return f'<div class="legend"><span>loss</span>{"".join(each)}</div>'


def told(lines: Mapping[str, Points]) -> str:
    """The curve in words."""
    each = (
        f"{name}: from {points[0][1]:.4g} at step {points[0][0]:.0f} to {points[-1][1]:.4g} at step {points[-1][0]:.0f}"
        for name, points in lines.items()
    )
    return f"Loss. {'; '.join(each)}"


def thinned(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most so many points, each the mean of its neighbours; what is not finite is left out."""
    finite = [(step, loss) for step, loss in points if math.isfinite(loss)]
    width = math.ceil(len(finite) / POINTS_MAX) if finite else 1
    groups = (finite[at : at + width] for at in range(0, len(finite), width))
    return [(group[-1][0], sum(loss for _, loss in group) / len(group)) for group in groups]


def ticks(low: float, high: float) -> list[float]:
    """Two to six round numbers from below `low` to above `high`."""
    span = max(high - low, abs(high) * 1e-6) or 1.0  # A level curve has a scale, too.
    step = 10 ** math.floor(math.log10(span / 2))
    step *= next(times for times in (1, 2, 5, 10) if span / (step * times) <= 4)
    first = math.floor(low / step)
    return [step * at for at in range(first, max(math.ceil(high / step), first + 1) + 1)]
