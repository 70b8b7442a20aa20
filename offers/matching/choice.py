"""Which of many plans are shown: those that are best at something, in words; and the curve of cost against deadline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from offers.matching.book import Flags, Floats, Ints
from offers.matching.need import Need
from offers.matching.outcome import Outcome
from offers.matching.plans import Plans

SHOWN_MAX = 6
DEAREST = 5.0  # What costs so many times the cheapest is no answer, however fast or green it is.
NEXT_BEST = 6  # So many of the cheapest are drawn.
BEST_AT = 3  # And so many of the fastest, the safest and the greenest.
CURVE_POINTS = 10
ALIKE = 0.01  # What differs by less is the same, where plans are compared; futures are too few to tell.
CHANCES_ALIKE = 0.02
Measures = tuple[float, float, float, float]  # Cost, time, risk and carbon: the less the better.
LABELS = ("cheapest", "fastest", "safest", "greenest")


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The cheapest that is done by then with the chance that is wanted."""

    hours: float
    usd: Decimal


def shortlist(need: Need, plans: Plans) -> Ints:
    """Return the plans whose futures are drawn: the cheapest, the best at anything, and the cheapest for deadlines."""
    wide = _own_first(plans, plans.allowed(but=("deadline_hours", "budget_usd")))
    strict = _affordable(plans, wide & plans.allowed())
    wide = _affordable(plans, wide)
    found = [_least(plans.ranked_usd, strict, NEXT_BEST)]
    found += [_least(key, strict, BEST_AT) for key in (plans.late_hours, plans.losses, plans.kg)]
    if plans.hours is not None and wide.any():
        found.append(_least(plans.late_hours, wide, BEST_AT))
        late, cheapest = plans.late_hours, _least(plans.ranked_usd, wide, 1)[0]
        for hours in np.geomspace(late[wide].min(), max(late[cheapest], late[wide].min()), CURVE_POINTS):
            found.append(_least(plans.ranked_usd, wide & (late <= hours * (1 + 1e-9)), 1))
    return np.unique(np.concatenate(found))


def _own_first(plans: Plans, flags: Flags) -> Flags:
    """Where the team's own come first, only plans with as many of them as can be."""
    weight = plans.ranked_usd - plans.usd
    if not flags.any():
        return flags
    return np.asarray(flags & (weight <= weight[flags].min() + 1.0))


def _affordable(plans: Plans, flags: Flags) -> Flags:
    return np.asarray(flags & (plans.usd <= DEAREST * plans.usd[flags].min(initial=np.inf)))


def _least(key: Floats, flags: Flags, many: int) -> Ints:
    """Return the plans with the least, least first; of equals the one with fewer sites, which comes first."""
    rows = np.flatnonzero(flags)
    if len(rows) > many:
        values = key[rows]
        rows = rows[values <= np.partition(values, many - 1)[many - 1]]
    return np.asarray(rows[np.argsort(key[rows], kind="stable")][:many])


def curve(outcomes: Sequence[Outcome]) -> tuple[CurvePoint, ...]:
    """Return cost against deadline, the tightest first: what more time saves."""
    points: list[CurvePoint] = []
    for one in sorted(outcomes, key=lambda one: (one.late_s, one.expected_usd)):
        if not points or one.expected_usd < points[-1].usd * (1 - Decimal(ALIKE)):
            points.append(CurvePoint(one.late_s / 3600, one.expected_usd))
    return tuple(points)


def in_time_and_budget(need: Need, outcome: Outcome) -> bool:
    """Whether a plan does what the need asks for."""
    in_time = outcome.deadline_chance is None or outcome.deadline_chance >= need.wanted_chance
    return in_time and (need.budget_usd is None or outcome.expected_usd <= need.budget_usd)


def risk(outcome: Outcome) -> float:
    """Return the chance of what the buyer fears: to be late, where there is a deadline, else to lose a machine."""
    return outcome.loss_chance if outcome.deadline_chance is None else 1 - outcome.deadline_chance


def chosen(measures: Sequence[Measures]) -> list[tuple[int, tuple[str, ...]]]:
    """
    Return what is worth showing, cheapest first, with the words for what each is best at.

    What is dearer than another and in nothing better is not shown.
    """
    order = sorted(range(len(measures)), key=lambda i: measures[i])
    kept: list[int] = []
    for i in order:
        if not any(_no_worse(measures[k], measures[i]) for k in kept):
            kept.append(i)
    best = {label: min(kept, key=lambda i: (measures[i][at], measures[i])) for at, label in enumerate(LABELS) if kept}
    words = {i: tuple(label for label in LABELS if best[label] == i) for i in kept}
    shown = sorted(kept, key=lambda i: (not words[i], measures[i]))[:SHOWN_MAX]
    return [(i, words[i]) for i in sorted(shown, key=lambda i: measures[i])]


def _no_worse(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether one is as good as the other in everything but what it costs, as far as can be told."""
    (_, time, risk_of, carbon), (_, its_time, its_risk, its_carbon) = one, other
    return time <= its_time * (1 + ALIKE) and risk_of <= its_risk + CHANCES_ALIKE and carbon <= its_carbon * (1 + ALIKE)


def compared(one: Outcome, other: Outcome) -> str:
    """Return in figures what the other plan would be like: "0.42 USD more and 11 % slower"."""
    parts = [_more(other.expected_usd - one.expected_usd)]
    parts += _times(other.finish_s.p50 / one.finish_s.p50, "slower", "faster")
    if abs(risk(other) - risk(one)) >= CHANCES_ALIKE:
        fear = "to lose a machine" if one.deadline_chance is None else "to be late"
        parts.append(f"a chance of {risk(other):.2f} {fear} instead of {risk(one):.2f}")
    if one.carbon_kg and other.carbon_kg:
        parts += _times(other.carbon_kg / one.carbon_kg, "more CO2", "less CO2")
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]


def _more(usd: Decimal) -> str:
    if abs(usd) < Decimal("0.005"):
        return "the same cost"
    return f"{abs(usd):.2f} USD {'more' if usd > 0 else 'less'}"


def _times(ratio: float, more: str, less: str) -> list[str]:
    if abs(ratio - 1) < ALIKE:
        return []
    return [f"{ratio:.1f} times {'the time' if more == 'slower' else 'the CO2'}"] if ratio >= 2 else [
        f"{abs(ratio - 1) * 100:.0f} % {more if ratio > 1 else less}"
    ]  # fmt: skip
