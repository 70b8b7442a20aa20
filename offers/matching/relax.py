"""What stands in a need's way: for each constraint, what the cheapest answer would cost without it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import ROUND_UP, Decimal
from typing import Any

import numpy as np

from offers.matching.book import MARKETS, TIERS, Flags, Floats
from offers.matching.constraints import ALLOWED, DENIED, among, tiers
from offers.matching.need import Need
from offers.matching.plans import Plans
from offers.matching.question import Question

OF_OFFERS = (
    "accelerator", "min_memory_gib", "interconnect", "offers", "providers", "not_providers", "regions", "not_regions",
    "countries", "not_countries", "residency", "markets", "max_spot_share", "tiers", "max_usd_per_hour", "queue",
)  # fmt: skip
OF_PLANS = ("deadline_hours", "budget_usd", "max_spot_share", "max_usd_per_hour", "max_egress_usd")
GROWTH = (2, 4, 8)  # Times the accelerators that were asked for, where the deadline is too near.


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """What one constraint dropped or loosened would make possible."""

    field: str
    value: Any  # What the field of the need, as JSON, would have to be; None: it would have to be left out.
    change: str  # "with 40 GiB instead of 80"
    usd: Decimal  # To finish, expected; an hour's where the work or a speed is not known.
    finish_s: float | None


def relaxations(question: Question, found: Plans | None) -> tuple[Relaxation, ...]:
    """Return what would do, the cheapest first. found: the candidate plans, none of which is allowed."""
    need = question.need
    loosened = [*_of_plans(need, found), *_of_offers(question), *_of_counts(question, found)]
    best: dict[str, Relaxation] = {}
    for one in sorted(loosened, key=lambda one: one.usd):
        best.setdefault(one.field, one)
    return tuple(best.values())


def _of_plans(need: Need, found: Plans | None) -> Iterable[Relaxation]:
    """Plans that are there, but break one constraint."""
    for name in OF_PLANS:
        if found is None or name not in found.meets:
            continue
        flags = found.allowed(but=(name,))
        if not flags.any():
            continue
        key = found.late_hours if name == "deadline_hours" else found.ranked_usd
        plan = _least(key, flags)
        yield _told(name, *_of_plan(need, found, plan, name), found, plan)


def _of_offers(question: Question) -> Iterable[Relaxation]:
    """Offers that fail one constraint and no other."""
    need, left = question.need, question.passing()
    for name in OF_OFFERS:
        asked = need.queue is None if name == "queue" else getattr(need, name) is not None
        if not asked or question.passing(without=name) == left:
            continue
        other: dict[str, Any] = {name: True if name == "queue" else None}
        easier = replace(need, **other)
        plan = _cheapest(question.candidates(easier, without=name))
        if plan is not None:
            yield _told(name, *_of_lines(question, *plan, name), *plan)


def _of_counts(question: Question, found: Plans | None) -> Iterable[Relaxation]:
    """Fewer accelerators or sites, or more where that would be in time: the first number of each that would do."""
    done: set[str] = set()
    for name, value, change in _other_counts(question.need, found):
        if name in done:
            continue
        other: dict[str, Any] = {name: value}
        plan = _cheapest(question.candidates(replace(question.need, **other)))
        if plan is not None:
            done.add(name)
            yield _told(name, value, change, *plan)


def _other_counts(need: Need, found: Plans | None) -> Iterable[tuple[str, int | None, str]]:
    name = "accelerators" if need.accelerators is not None else "accelerators_per_site"
    asked = need.accelerators or need.accelerators_per_site or 1
    where = "" if need.accelerators is not None else " a site"
    if found is not None and found.allowed(but=("deadline_hours",)).any():
        for times in GROWTH:
            yield name, asked * times, f"with {asked * times} accelerators{where} instead of {asked}"
        return
    fewer, least = asked // 2, (need.min_accelerators_per_site or 1) * (need.sites or 1 if need.accelerators else 1)
    if fewer >= least:
        yield name, fewer, f"with {fewer} accelerators{where} instead of {asked}"
    if need.sites is not None and need.sites > 1:
        fewer_sites = need.sites - 1
        yield "sites", fewer_sites, f"with {fewer_sites} site{'s' * (fewer_sites > 1)} instead of {need.sites}"
    if need.spread is not None:
        yield "spread", None, f"with sites that may share a {need.spread}"


def _cheapest(found: Plans | None) -> tuple[Plans, int] | None:
    if found is None:
        return None
    flags = found.allowed()
    return (found, _least(found.ranked_usd, flags)) if flags.any() else None


def _least(key: Floats, flags: Flags) -> int:
    rows = np.flatnonzero(flags)
    return int(rows[np.argmin(key[rows])])


def _told(name: str, value: Any, change: str, found: Plans, plan: int) -> Relaxation:
    usd = Decimal(f"{found.usd[plan]:.6f}")
    finish_s = None if found.hours is None else float(found.hours[plan] * 3600)
    return Relaxation(field=name, value=value, change=change, usd=usd, finish_s=finish_s)


def _of_plan(need: Need, found: Plans, plan: int, name: str) -> tuple[Any, str]:
    """Return what the constraint would have to be for this plan, and that in words."""
    fills, members = found.paces.fills, [one for one in found.members[plan] if one >= 0]
    if name == "deadline_hours":
        hours = _up(found.late_hours[plan])
        return hours, f"with a deadline of {hours:g} h"
    if name == "budget_usd":
        usd = _cents(found.usd[plan])
        return usd, f"with a budget of {usd} USD"
    if name == "max_usd_per_hour":
        usd = _cents(fills.micro_usd[members].sum() / 1e6)
        return usd, f"with up to {usd} USD an hour"
    if name == "max_egress_usd":
        hours = 0.0 if found.hours is None else found.hours[plan]
        usd = _cents(found.paces.egress_fixed[members].sum() + found.paces.egress_per_h[members].sum() * hours)
        return usd, f"with {usd} USD of egress"
    share = math.ceil(fills.spot[members].sum() / fills.accelerators[members].sum() * 100)
    return share / 100, f"with {share} % of the accelerators on the spot market"


def _up(hours: float) -> float:
    """Round up to three digits: what is told is enough."""
    step = 10.0 ** (math.floor(math.log10(hours)) - 2)
    return float(f"{math.ceil(hours / step - 1e-9) * step:.3g}")


def _cents(usd: float) -> str:
    return str(Decimal(f"{usd:.6f}").quantize(Decimal("0.01"), ROUND_UP))


def _of_lines(question: Question, found: Plans, plan: int, name: str) -> tuple[Any, str]:
    """Return what the constraint would have to be for what the plan needs, and that in words."""
    need, fills = question.need, found.paces.fills
    book = fills.book
    rows = [row for fill in found.members[plan] if fill >= 0 for row, _ in fills.lines(int(fill))]
    columns = {wish: column for wish, column in (*ALLOWED, *DENIED)}
    given = getattr(need, name)

    def texts(column: str) -> list[str]:
        return sorted({book.text(column, row) or "an unknown place" for row in rows})

    if name in columns:
        also, column = texts(columns[name]), columns[name]
        words = f"also {'at' if column == 'provider' else 'in'} {', '.join(also)}"
        if "an unknown place" in also:
            return None, words
        if name.startswith("not_"):
            return [one for one in given if not among(book, column, (one,))[rows].any()] or None, words
        return [*given, *(one for one in also if one not in given)], words
    if name == "accelerator":
        return texts(name), f"with {', '.join(texts(name))} instead of {', '.join(need.wishes)}"
    if name == "offers":
        picked = f"{', '.join(texts('accelerator'))} at {', '.join(texts('provider'))}"
        return None, f"with others than the offers picked, {picked}"
    if name == "min_memory_gib":
        gib = float(np.nanmin(book.memory_gib[rows]))
        return gib, f"with {gib:g} GiB instead of {need.min_memory_gib:g}"
    if name == "queue":
        return True, f"with waiting until machines at {', '.join(texts('provider'))} are free"
    if name == "interconnect":
        return None, f"without {need.interconnect} between machines"
    if name == "residency":
        return None, f"also outside the {need.residency}, in {', '.join(texts('country'))}"
    if name in ("markets", "tiers"):
        ranks, known = (book.market, MARKETS) if name == "markets" else (tiers(book, question.scope), TIERS)
        also = sorted({known[one] for one in ranks[rows]})
        return [*given, *(one for one in also if one not in given)], f"also {', '.join(also)}"
    return _of_plan(need, found, plan, name)
