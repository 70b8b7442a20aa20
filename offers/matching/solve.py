"""
From a need and open offers to ranked plans: whole machines at distinct sites, cheapest to finish first.

Each site is filled with whole machines of one chip; the best sites are then taken together, one plan per combination.
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
    """Return at most PLANS_MAX plans, cheapest to finish first; by price per hour where no speed is known."""
    offers = list(offers)
    excluded: Counter[str] = Counter()
    fitting = [offer for offer in offers if _fits(need, offer, excluded)]
    filled = _sites(need, fitting, excluded)
    plans = [_priced(need, sites, speed) for sites in _choices(need, filled, speed)]
    if not plans and filled:
        excluded[f"sites: {need.sites} distinct sites wanted, {len(filled)} fit"] += len(fitting)
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


def _sites(need: Need, offers: list[OpenOffer], excluded: Counter[str]) -> list[list[SitePlan]]:
    """Return, for each site that can be filled, every way worth a look."""
    by_site: dict[tuple[str, str], dict[str, list[OpenOffer]]] = defaultdict(lambda: defaultdict(list))
    for offer in offers:
        by_site[offer.provider, offer.region][offer.accelerator].append(offer)
    filled = []
    for (provider, region), by_chip in by_site.items():
        ways = [lines for chip in by_chip.values() for lines in _fills(need.accelerators_per_site, chip)]
        if ways:
            filled.append([SitePlan(provider=provider, region=region, lines=lines) for lines in ways])
        else:
            name = f"accelerators_per_site: {need.accelerators_per_site}"
            excluded[name] += sum(len(chip) for chip in by_chip.values())
    return filled


def _fills(wanted: int, offers: list[OpenOffer]) -> Iterable[tuple[tuple[OpenOffer, int], ...]]:
    """Yield each kind of machine alone, and the cheapest chips first where kinds must be mixed."""
    for offer in offers:
        count = -(-wanted // offer.accelerators)
        if offer.available is None or count <= offer.available:
            yield ((offer, count),)
    missing, lines = wanted, []
    for offer in sorted(offers, key=lambda offer: (offer.usd_per_accelerator_hour, offer.id)):
        count = -(-missing // offer.accelerators)
        count = count if offer.available is None else min(count, offer.available)
        if missing > 0 and count > 0:
            lines.append((offer, count))
            missing -= count * offer.accelerators
    if missing <= 0:
        yield tuple(lines)


def _choices(need: Need, filled: list[list[SitePlan]], speed: Speed) -> list[tuple[SitePlan, ...]]:
    """Return combinations of sites: each filled for the smallest price an hour, and each for the cheapest work."""

    def per_hour(site: SitePlan) -> tuple[Decimal, int, str, str]:
        return (site.usd_per_hour, -site.accelerators, site.provider, site.region)

    def per_work(site: SitePlan) -> tuple[float, Decimal, str, str]:
        rate = (speed.of(site.accelerator) or 1.0) * site.accelerators
        alone_s = estimate.finish_s(need, rates=[rate], sites=1) or 1 / rate
        return (float(site.usd_per_hour) * alone_s, site.usd_per_hour, site.provider, site.region)

    chosen: dict[tuple[SitePlan, ...], None] = {}
    for key in (per_hour, per_work):
        best = sorted((min(ways, key=key) for ways in filled), key=key)
        chosen.update(dict.fromkeys(_combined(need, best)))
    return list(chosen)


def _combined(need: Need, sites: list[SitePlan]) -> Iterable[tuple[SitePlan, ...]]:
    nearest = sites[:CANDIDATE_SITES_MAX] if need.sites is None else sites[: max(CANDIDATE_SITES_MAX, need.sites)]
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
    """Cost to finish; where it is unknown the price of an hour; then the fewer sites."""
    return (plan.cost_usd if plan.cost_usd is not None else Decimal(0), plan.usd_per_hour, len(plan.sites))
