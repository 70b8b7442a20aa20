"""
From a need and open offers to ranked plans: whole machines at distinct sites, cheapest to finish first.

Each site is filled with the cheapest whole machines of one chip; sites are then taken together, one plan per choice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations

from offers import gpus
from offers.matching import estimate
from offers.matching.estimate import Speed
from offers.matching.need import Need

PLANS_MAX = 5
CANDIDATE_SITES_MAX = 10  # The cheapest so many sites are combined: at most C(10, 5) = 252 plans a size.
SITES_COMPARED_MAX = 4  # When the need leaves the number of sites open.


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOffer:
    """An offer as the engine sees it. `usd_per_hour` is what the customer would pay for one machine."""

    id: int
    provider: str
    region: str
    country: str
    market: str
    accelerator: str
    accelerators: int
    memory_gib: float | None
    usd_per_hour: Decimal
    leasable: bool
    available: int | None

    @property
    def usd_per_accelerator_hour(self) -> Decimal:
        """The price of one chip of the machine."""
        return self.usd_per_hour / self.accelerators


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One whole answer."""

    sites: tuple[SitePlan, ...]
    usd_per_hour: Decimal
    finish_s: float | None
    cost_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Ranked plans, and which constraint excluded how many offers (the first that it failed counts)."""

    plans: tuple[Plan, ...]
    excluded: tuple[tuple[str, int], ...]
    considered: int
    cheapest_usd: Decimal | None  # To finish, whatever the budget.
    too_late: int  # Plans that the deadline excluded.
    too_dear: int  # Plans that the budget excluded.


def solve(need: Need, offers: Iterable[OpenOffer], *, speed: Speed) -> Answer:
    """Return at most PLANS_MAX plans, cheapest to finish first; by price per hour of a chip where no speed is known."""
    offers = list(offers)
    excluded: Counter[str] = Counter()
    fitting = [offer for offer in offers if _fits(need, offer, excluded)]
    bundles = _bundles(need, fitting, excluded)
    plans = [_priced(need, sites, speed) for sites in _choices(need, bundles)]
    if not plans and bundles:
        excluded[f"sites: {need.sites} distinct sites wanted, {len(bundles)} fit"] += len(fitting)
    costs = [plan.cost_usd for plan in plans if plan.cost_usd is not None]
    in_time = [plan for plan in plans if not _late(need, plan)]
    affordable = [plan for plan in in_time if not _dear(need, plan)]
    affordable.sort(key=_rank)
    return Answer(
        plans=tuple(affordable[:PLANS_MAX]),
        excluded=tuple(excluded.most_common()),
        considered=len(offers),
        cheapest_usd=min(costs, default=None),
        too_late=len(plans) - len(in_time),
        too_dear=len(in_time) - len(affordable),
    )


def _fits(need: Need, offer: OpenOffer, excluded: Counter[str]) -> bool:
    for name, passes in _constraints(need):
        if not passes(offer):
            excluded[name] += 1
            return False
    return True


def _constraints(need: Need) -> Iterable[tuple[str, Callable[[OpenOffer], bool]]]:
    """Yield the named tests in the order in which they count."""
    if need.accelerator is not None:
        wanted = gpus.named(need.accelerator)
        yield f"accelerator: {wanted}", lambda offer: offer.accelerator.casefold() == wanted.casefold()
    if need.min_memory_gib is not None:
        least = need.min_memory_gib
        yield f"min_memory_gib: {least:g}", lambda offer: (offer.memory_gib or 0) >= least
    for name, wishes in (("providers", need.providers), ("regions", need.regions), ("countries", need.countries),
                         ("markets", need.markets)):  # fmt: skip
        if wishes is not None:
            field = {"countries": "country"}.get(name, name[:-1])
            allowed = {wish.casefold() for wish in wishes}
            yield f"{name}: {', '.join(wishes)}", lambda offer, f=field, a=allowed: getattr(offer, f).casefold() in a  # type: ignore[misc]
    yield "for rent here (price list only)", lambda offer: offer.leasable
    yield "free now", lambda offer: offer.available != 0


def _bundles(need: Need, offers: list[OpenOffer], excluded: Counter[str]) -> list[SitePlan]:
    """Fill each site with the cheapest whole machines of one chip; the cheapest sites first."""
    by_site: dict[tuple[str, str], dict[str, list[OpenOffer]]] = defaultdict(lambda: defaultdict(list))
    for offer in offers:
        by_site[offer.provider, offer.region][offer.accelerator].append(offer)
    bundles = []
    for (provider, region), by_chip in by_site.items():
        filled = [lines for chip in by_chip.values() if (lines := _fill(need.accelerators_per_site, chip))]
        sites = [SitePlan(provider=provider, region=region, lines=lines) for lines in filled]
        if sites:
            bundles.append(min(sites, key=lambda site: (site.usd_per_hour / site.accelerators, site.usd_per_hour)))
        else:
            name = f"accelerators_per_site: {need.accelerators_per_site}"
            excluded[name] += sum(len(chip) for chip in by_chip.values())
    bundles.sort(
        key=lambda site: (site.usd_per_hour / site.accelerators, site.usd_per_hour, site.provider, site.region)
    )
    return bundles


def _fill(wanted: int, offers: list[OpenOffer]) -> tuple[tuple[OpenOffer, int], ...] | None:
    """Return the cheaper of one kind of machine alone and the cheapest chips first, or None when there are too few."""
    answers: list[tuple[tuple[OpenOffer, int], ...]] = []
    for offer in offers:
        count = -(-wanted // offer.accelerators)
        if offer.available is None or count <= offer.available:
            answers.append(((offer, count),))
    missing, lines = wanted, []
    for offer in sorted(offers, key=lambda offer: (offer.usd_per_accelerator_hour, offer.id)):
        count = -(-missing // offer.accelerators)
        count = count if offer.available is None else min(count, offer.available)
        if missing > 0 and count > 0:
            lines.append((offer, count))
            missing -= count * offer.accelerators
    if missing <= 0:
        answers.append(tuple(lines))
    return min(answers, key=lambda lines: sum(o.usd_per_hour * n for o, n in lines), default=None)


def _choices(need: Need, bundles: list[SitePlan]) -> Iterable[tuple[SitePlan, ...]]:
    nearest = bundles[:CANDIDATE_SITES_MAX] if need.sites is None else bundles[: max(CANDIDATE_SITES_MAX, need.sites)]
    sizes = range(1, SITES_COMPARED_MAX + 1) if need.sites is None else [need.sites]
    for size in sizes:
        if size > CANDIDATE_SITES_MAX:
            yield from [tuple(nearest)] if len(nearest) == size else []
        else:
            yield from combinations(nearest, size)


def _priced(need: Need, sites: tuple[SitePlan, ...], speed: Speed) -> Plan:
    usd_per_hour = sum((site.usd_per_hour for site in sites), Decimal(0))
    rates = [None if (rate := speed.of(site.accelerator)) is None else rate * site.accelerators for site in sites]
    seconds = estimate.finish_s(need, rates=rates, sites=len(sites))
    cost = None if seconds is None else estimate.cost_usd(usd_per_hour=usd_per_hour, seconds=seconds)
    return Plan(sites=sites, usd_per_hour=usd_per_hour, finish_s=seconds, cost_usd=cost)


def _late(need: Need, plan: Plan) -> bool:
    return need.deadline_hours is not None and plan.finish_s is not None and plan.finish_s > need.deadline_hours * 3600


def _dear(need: Need, plan: Plan) -> bool:
    return need.budget_usd is not None and plan.cost_usd is not None and plan.cost_usd > need.budget_usd


def _rank(plan: Plan) -> tuple[Decimal, Decimal, int]:
    """Cost to finish; where it is unknown, the price of a chip-hour, then the fewer sites."""
    chips = sum(site.accelerators for site in plan.sites)
    return (plan.cost_usd if plan.cost_usd is not None else Decimal(0), plan.usd_per_hour / chips, len(plan.sites))
