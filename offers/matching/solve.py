"""From a need and the book to whole answers: the best plans with what may become of them, or what stands in the way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from offers import gpus
from offers.matching import choice
from offers.matching.book import MARKETS, Book, Ints, OpenOffer
from offers.matching.choice import CurvePoint
from offers.matching.constraints import Scope
from offers.matching.estimate import Speed
from offers.matching.need import Need
from offers.matching.outcome import Outcome, outcomes
from offers.matching.plans import Plans
from offers.matching.question import ANYWHERE, Question
from offers.matching.relax import Relaxation, relaxations

TOLD_APART = ("deadline_hours", "budget_usd")  # Answer counts the plans that these exclude.


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePlan:
    """Machines of one chip at one site: [(offer, machines)]."""

    provider: str
    region: str
    lines: tuple[tuple[OpenOffer, int], ...]

    @property
    def usd_per_hour(self) -> Decimal:
        """All its machines."""
        return sum((offer.usd_per_hour * count for offer, count in self.lines), Decimal(0))

    @property
    def accelerators(self) -> int:
        """All its chips."""
        return sum(offer.accelerators * count for offer, count in self.lines)

    @property
    def accelerator(self) -> str:
        """Its one kind of chip."""
        return self.lines[0][0].accelerator

    def __str__(self) -> str:
        """For people: "aws/us-east-1, 8 x H100-SXM spot"."""
        place = self.region if "/" in self.region else f"{self.provider}/{self.region}"
        markets = " and ".join(sorted({offer.market.replace("_", "-") for offer, _ in self.lines}))
        return f"{place}, {self.accelerators} x {self.accelerator} {markets}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One whole answer. None: the work or a speed is not known."""

    sites: tuple[SitePlan, ...]
    usd_per_hour: Decimal
    finish_s: float | None  # As likely earlier as later.
    cost_usd: Decimal | None  # Expected.
    outcome: Outcome | None
    labels: tuple[str, ...] = ()  # Of choice.LABELS.
    why_not: str = ""  # What the next best would be like, in figures; empty where there is none.

    def __str__(self) -> str:
        """For people: its sites."""
        return " + ".join(str(site) for site in self.sites)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Ranked plans, and which constraint excluded how many offers (the first that it failed counts)."""

    plans: tuple[Plan, ...]
    excluded: tuple[tuple[str, int], ...]
    considered: int
    cheapest_usd: Decimal | None  # To finish, whatever the budget.
    too_late: int  # Plans that the deadline excluded.
    too_dear: int  # Plans that the budget excluded.
    curve: tuple[CurvePoint, ...] = ()
    relaxations: tuple[Relaxation, ...] = ()  # Where no plan is left; the cheapest first.


def solve(
    need: Need, book: Book, *, speed: Speed, scope: Scope = ANYWHERE, reserved: Sequence[OpenOffer] = ()
) -> Answer:
    """
    Return at most choice.SHOWN_MAX plans, cheapest to finish first; by price per hour where no speed is known.

    reserved: offers of which the team holds reserved capacity; `available` is what is left of it.
    """
    question = Question(need, book, speed=speed, scope=scope, reserved=reserved)
    found = question.candidates(need)
    listed = np.empty(0, np.int64) if found is None else choice.shortlist(need, found)
    told = [] if found is None or found.hours is None else outcomes(need, found, listed)
    shown: list[Plan] = []
    if found is not None:
        shown = _by_outcome(need, found, listed, told) if found.hours is not None else _by_hour(found, listed)
    return Answer(
        plans=tuple(shown),
        excluded=_excluded(question, found),
        considered=question.considered,
        curve=choice.curve(told),
        relaxations=() if shown else relaxations(question, found),
        **_misses(need, found, told),
    )


def cheapest(book: Book, *, accelerator: str, count: int, market: str) -> int | None:
    """Return the row of the cheapest machine with exactly so many accelerators of a name or family, or None."""
    codes = [book.words["accelerator"].of.get(name) for name in gpus.meant_by(accelerator)]
    fits = (book.accelerators == count) & (book.market == MARKETS.index(market)) & (book.available > 0)
    of_chip = np.zeros(len(book), np.bool_)
    for code in codes:
        if code is not None:
            of_chip |= book.accelerator == code
    rows = np.flatnonzero(fits & of_chip)
    return int(rows[np.argmin(book.micro_usd[rows])]) if len(rows) else None


def _by_outcome(need: Need, found: Plans, listed: Ints, told: list[Outcome]) -> list[Plan]:
    """Return what is worth showing of the plans that do what is asked for."""
    allowed = found.allowed()[listed]
    good = [i for i, one in enumerate(told) if allowed[i] and choice.in_time_and_budget(need, one)]
    made = [_plan(found, int(listed[i]), told[i]) for i in good]
    measures = [
        (float(told[i].expected_usd), told[i].finish_s.p50, choice.risk(told[i]), float(found.kg[listed[i]]))
        for i in good
    ]
    return [
        replace(made[at], labels=labels, why_not=_why_not(made, measures, at, labels))
        for at, labels in choice.chosen(measures)
    ]


def _why_not(made: list[Plan], measures: list[choice.Measures], at: int, labels: tuple[str, ...]) -> str:
    """Return what the next best would be like, in what this one is best at; empty where there is none."""
    by = choice.LABELS.index(labels[0]) if labels else 0
    mine = str(made[at])
    others = [i for i in range(len(made)) if measures[i][by] >= measures[at][by] and str(made[i]) != mine]
    one = made[at].outcome
    other = made[min(others, key=lambda i: (measures[i][by], measures[i]))] if others else None
    if one is None or other is None or other.outcome is None:
        return ""
    return f"next best: {other}: {choice.compared(one, other.outcome)}"


def _by_hour(found: Plans, listed: Ints) -> list[Plan]:
    """Return what costs least an hour, where nobody knows how long it will take."""
    allowed = found.allowed()
    rows = [int(plan) for plan in listed if allowed[plan]]
    measures = [(float(found.usd[plan]), 0.0, float(found.losses[plan]), float(found.kg[plan])) for plan in rows]
    order = sorted(range(len(rows)), key=lambda i: (measures[i][0], len(found.members[rows[i]]), measures[i]))
    words: dict[int, list[str]] = defaultdict(list)
    for at, label in enumerate(choice.LABELS):
        if label != "fastest" and rows:
            words[min(order, key=lambda i: measures[i][at])].append(label)
    return [replace(_plan(found, rows[i], None), labels=tuple(words[i])) for i in order[: choice.SHOWN_MAX]]


def _plan(found: Plans, plan: int, outcome: Outcome | None) -> Plan:
    at = _sites(found, plan)
    return Plan(
        sites=at,
        usd_per_hour=sum((site.usd_per_hour for site in at), Decimal(0)),
        finish_s=None if outcome is None else outcome.finish_s.p50,
        cost_usd=None if outcome is None else outcome.expected_usd,
        outcome=outcome,
    )


def _sites(found: Plans, plan: int) -> tuple[SitePlan, ...]:
    fills = found.paces.fills
    members = [int(fill) for fill in found.members[plan] if fill >= 0]
    return tuple(
        SitePlan(
            provider=fills.book.text("provider", int(fills.first[fill])),
            region=fills.book.text("region", int(fills.first[fill])),
            lines=tuple((fills.book.offer(row), count) for row, count in fills.lines(fill)),
        )
        for fill in members
    )


def _excluded(question: Question, found: Plans | None) -> tuple[tuple[str, int], ...]:
    """Return what excludes offers, and what excludes those that are left where they make no plan."""
    need, counts = question.need, question.excluded()
    left = question.passing()
    if left and found is None:
        counts.append((f"accelerators_per_site: {need.site_size}", left))
    elif left and found is not None and not len(found):
        places = len(np.unique(found.paces.fills.book.site[found.paces.fills.first]))
        counts.append((f"sites: {need.sites} distinct sites wanted, {places} fit", left))
    elif found is not None and not found.allowed().any():
        broken = [name for name, met in found.meets.items() if not met.any()]
        counts += [(f"{name}: {getattr(need, name)}", left) for name in broken if name not in TOLD_APART]
    return tuple(sorted(counts, key=lambda one: -one[1]))


def _misses(need: Need, found: Plans | None, told: list[Outcome]) -> dict[str, Any]:
    """Return the cheapest cost whatever the budget, and how many plans come too late or are too dear."""
    if found is None or found.hours is None or not len(found):
        return {"cheapest_usd": None, "too_late": 0, "too_dear": 0}
    rest = found.allowed(but=TOLD_APART)
    in_time = rest & found.meets.get("deadline_hours", rest)
    dear = in_time & ~found.meets.get("budget_usd", in_time)
    costs = [one.expected_usd for one in told if choice.in_time_and_budget(replace(need, budget_usd=None), one)]
    return {
        "cheapest_usd": min(costs, default=None),
        "too_late": int(np.count_nonzero(rest & ~in_time)),
        "too_dear": int(np.count_nonzero(dear)),
    }
