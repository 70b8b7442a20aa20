"""
Which gangs to buy together at the least cost: a set packing over filled gangs ("columns"), led by prices.

Every scarce machine gets a price beside its own: the dual of "no offer is sold twice" in the linear programme over the
columns known so far. At these prices each job alone looks for its cheapest gangs, which are the next columns, until
none helps (column generation; Desaulniers, Desrosiers, Solomon, "Column Generation", 2005, ch. 1). What the jobs would
pay alone at the prices, less what the stock is worth, is a lower bound for any assignment (Lagrange). Whole gangs are
then chosen by HiGHS among the columns, and columns near the prices are added while there is time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from offers.matching.tick_fill import Gang, Pairs
from offers.matching.tick_jobs import Bools, Floats, Ints, Job, Offers

Packing = dict[int, list[Gang]]  # By the place of a job in `pairs.jobs`; one gang a site.

TOLERANCE = 1e-4  # Of the cost: nearer than this to the bound nothing is sought.
ROUGH = 5e-3  # Of the cost: so near to the bound, whole gangs are chosen for the first time.
NEAR = 3  # So many pairs of a job beyond its sites are priced first, and become columns.
CHOOSING_SHARE = 0.4  # Of the time, for choosing whole gangs.
ROUNDS_MAX = 6  # Of varied columns after the first choice,
PAIRS_VARIED = 1500  # of so many pairs nearest to the prices,
NOISE = 0.03  # by such a relative change of costs.
STEPS_MAX = 20_000  # Of the search for every gang that may matter.


@dataclass(frozen=True, slots=True)
class Priced:
    """Where it converged: a price for each offer's machine, the bound, and the part of the newcomer left out."""

    price_usd: Floats  # [offers]
    bound_usd: float
    left_out: float


def cheapest(pairs: Pairs, start: Packing, *, left_s: Callable[[], float], seed: int) -> tuple[Packing, float]:
    """Return the cheapest packing found of all jobs, from one that places them all, and a lower bound of any's cost."""
    columns = _Columns(pairs, start)
    reserved_s = CHOOSING_SHARE * left_s()
    random = np.random.default_rng(seed)
    best, bound, idle, complete = start, -np.inf, 0, False
    for at in range(ROUNDS_MAX):
        before_s = left_s()
        priced = columns.converge(lambda: left_s() - reserved_s, ROUGH if at == 0 else TOLERANCE)
        found, least = columns.packed(left_s())
        idle = 0 if found is not None and usd(found) < usd(best) * (1 - TOLERANCE) else idle + 1
        best = min((packing for packing in (best, found) if packing is not None), key=usd)
        bound = max(bound, priced.bound_usd, least if complete else -np.inf)
        near = usd(best) - bound <= TOLERANCE * usd(best)
        if near or complete or idle == 2 or left_s() <= (before_s - left_s()) / 2:  # Later rounds are shorter.
            break
        complete = columns.widen(priced, usd(best) - bound, random)
    return best, min(bound, usd(best))


def room_for(
    offers: Offers, jobs: Sequence[Job], start: Packing, stock: Ints, *, left_s: Callable[[], float], seed: int
) -> Packing | None:
    """Return a packing that places the last of the jobs too, from one that places all others; None: none found."""
    pairs = Pairs(offers, jobs, stock)
    newcomer = len(jobs) - 1
    columns = _Columns(pairs, start_in(pairs, start), newcomer=newcomer)
    random = np.random.default_rng(seed)
    priced = columns.converge(left_s, TOLERANCE)
    limited = bool(np.isfinite(pairs.limit_usd).any())  # Then prices may lead to gangs above a limit and miss others.
    if left_s() <= 0 or (priced.left_out > TOLERANCE and not (limited and columns.widen(priced, np.inf, random))):
        return None
    for _ in range(2):
        found, _ = columns.packed(left_s())
        if found is not None and len(found.get(newcomer, ())) == jobs[newcomer].sites:
            return found
        columns.widen(priced, np.inf, random)
    return None


def usd(packing: Packing) -> float:
    """Return what a packing costs to finish."""
    return sum(gang.usd for gangs in packing.values() for gang in gangs)


def start_in(pairs: Pairs, packing: Packing) -> Packing:
    """Return the packing with its gangs' pairs named as in another table, where the jobs have the same places."""
    by_offer = {(int(pairs.job[pair]), int(offer)): int(pair)
                for pair, offer in zip(pairs.entry_pair, pairs.entry_offer, strict=True)}  # fmt: skip
    return {
        job: [Gang(by_offer[job, gang.machines[0][0]], gang.machines, gang.usd) for gang in gangs]
        for job, gangs in packing.items()
    }


class _Columns:
    """The gangs known so far, and the programmes over them. A `newcomer` may be left out, at more than any costs."""

    def __init__(self, pairs: Pairs, start: Packing, newcomer: int | None = None) -> None:
        """Begin with a packing of all jobs but the newcomer."""
        self.pairs, self.newcomer = pairs, newcomer
        self.gangs: list[Gang] = []
        self.known: set[tuple[int, tuple[tuple[int, int], ...]]] = set()
        self.add(gang for gangs in start.values() for gang in gangs)
        self.price_usd, self.value_usd = np.zeros(len(pairs.stock)), np.inf  # Of the linear programme, as last solved.
        self.priced = Priced(self.price_usd, -np.inf, 1.0)
        self.penalty_usd = 10 * (usd(start) + float(pairs.least_usd[np.isfinite(pairs.least_usd)].max(initial=1.0)))

    def add(self, gangs: Iterable[Gang | None]) -> int:
        """Take in gangs that are new, and return how many were."""
        before = len(self.gangs)
        for gang in gangs:
            if gang is not None and (gang.pair, gang.machines) not in self.known:
                self.known.add((gang.pair, gang.machines))
                self.gangs.append(gang)
        return len(self.gangs) - before

    def converge(self, left_s: Callable[[], float], tolerance: float) -> Priced:
        """Add the gangs that the prices call for until none helps or the time is over; called again, go on."""
        while self.priced.bound_usd < self.value_usd * (1 - tolerance) and left_s() > 0:
            which, costs = self._look_around(self.price_usd)
            bound = self._bound(which, costs, self.price_usd)
            if bound > self.priced.bound_usd:
                self.priced = Priced(self.price_usd, bound, self.priced.left_out)
            at_prices = self.pairs.entry_usd + self.price_usd[self.pairs.entry_offer]
            new = self.add(self.pairs.fills(self._nearest(which, costs), at_prices, self.pairs.stock))
            if not new and self.value_usd < np.inf:
                break
            self.value_usd, self.price_usd, left_out = self._relaxed()
            self.priced = replace(self.priced, left_out=left_out)
        return self.priced

    def widen(self, priced: Priced, slack_usd: float, random: np.random.Generator) -> bool:
        """
        Add gangs that a packing within `slack_usd` of the bound may hold; tell whether these are all.

        Where they are too many to list, those of the nearest pairs: filled at the prices, at none, and with some noise.
        """
        pairs = self.pairs
        at_prices = pairs.entry_usd + priced.price_usd[pairs.entry_offer]
        costs = pairs.values(pairs.by_cost, at_prices, pairs.stock)
        most = _nth_site(pairs, pairs.by_cost, costs)[pairs.job[pairs.by_cost]] + slack_usd
        order = np.argsort(costs - most, kind="stable")
        order = order[costs[order] <= most[order]]
        near = pairs.by_cost[order]
        if self._list_all(near, most[order], at_prices):
            return True
        near = near[:PAIRS_VARIED]
        self.add(pairs.fills(near, at_prices, pairs.stock))
        self.add(pairs.fills(near, pairs.entry_usd, pairs.stock))
        for _ in range(2):
            scale = random.uniform(0.3, 2.0, len(pairs.stock))[pairs.entry_offer]
            noise = random.lognormal(0.0, NOISE, len(pairs.entry_offer))
            varied = (pairs.entry_usd + scale * priced.price_usd[pairs.entry_offer]) * noise
            self.add(pairs.fills(near, varied, pairs.stock))
        return False

    def _list_all(self, which: Ints, most_usd: Floats, at_prices: Floats) -> bool:
        left = STEPS_MAX
        for pair, most in zip(which.tolist(), most_usd.tolist(), strict=True):
            gangs, steps = self.pairs.every_fill(pair, at_prices, most, left)
            left -= steps
            if left < 0:
                return False
            self.add(gangs)
        return True

    def packed(self, seconds: float) -> tuple[Packing | None, float]:
        """Choose whole gangs among the columns, None where none are found in the time; and the bound among them."""
        if seconds <= 0:
            return None, -np.inf
        programme = self._programme()
        limits = [LinearConstraint(programme.each_job, programme.gangs_wanted, programme.gangs_wanted)]
        if programme.at_most.shape[0]:
            limits.append(LinearConstraint(programme.at_most, -np.inf, programme.most))
        options = {"time_limit": seconds, "mip_rel_gap": TOLERANCE / 2}
        costs = programme.usd
        found = milp(costs, constraints=limits, integrality=np.ones(len(costs)), bounds=Bounds(0, 1), options=options)
        if found.x is None:
            return None, -np.inf
        packing: Packing = {}
        for column in np.flatnonzero(found.x[: len(self.gangs)] > 0.5):
            gang = self.gangs[column]
            packing.setdefault(int(self.pairs.job[gang.pair]), []).append(gang)
        return packing, float(found.mip_dual_bound)

    def _relaxed(self) -> tuple[float, Floats, float]:
        """Return value, price of each offer's machine, and the newcomer's part left out, of the linear programme."""
        programme = self._programme()
        rows = programme.at_most.shape[0]
        found = linprog(
            programme.usd,
            A_ub=programme.at_most if rows else None,
            b_ub=programme.most if rows else None,
            A_eq=programme.each_job,
            b_eq=programme.gangs_wanted,
            method="highs",
        )
        price = np.zeros(len(self.pairs.stock))
        if rows:
            price[programme.scarce] = np.maximum(0.0, -found.ineqlin.marginals[: len(programme.scarce)])
        return float(found.fun), price, 0.0 if self.newcomer is None else float(found.x[-1])

    def _programme(self) -> _Programme:
        pairs = self.pairs
        of = np.array([gang.pair for gang in self.gangs])
        job = pairs.job[of]
        lines = [(offer, count, at) for at, gang in enumerate(self.gangs) for offer, count in gang.machines]
        offer, machines, column = np.array(lines).T
        columns = len(self.gangs) + (self.newcomer is not None)
        costs = np.array([gang.usd for gang in self.gangs])
        each_job = sparse.csr_matrix((np.ones(len(of)), (job, np.arange(len(of)))), shape=(len(pairs.jobs), columns))
        if self.newcomer is not None:
            costs = np.append(costs, self.penalty_usd)
            alone = ([float(pairs.sites_wanted[self.newcomer])], ([self.newcomer], [columns - 1]))
            each_job = each_job + sparse.csr_matrix(alone, shape=each_job.shape)
        used = sparse.csr_matrix((machines, (offer, column)), shape=(len(pairs.stock), columns))
        scarce = np.flatnonzero(_most_used(job[column], offer, machines, len(pairs.stock)) > pairs.stock)
        spread = np.flatnonzero(pairs.sites_wanted[job] > 1)
        _, place = np.unique(np.stack([job[spread], pairs.site[of[spread]]]), axis=1, return_inverse=True)
        places = int(place.max(initial=-1)) + 1
        once = sparse.csr_matrix((np.ones(len(spread)), (place.ravel(), spread)), shape=(places, columns))
        most = np.concatenate([pairs.stock[scarce], np.ones(places)])
        wanted = pairs.sites_wanted.astype(np.float64)
        return _Programme(costs, each_job, wanted, sparse.vstack([used[scarce], once]).tocsr(), most, scarce)

    def _look_around(self, price: Floats) -> tuple[Ints, Floats]:
        """Return the pairs that may be the best of their jobs at the prices, and their costs at them."""
        pairs = self.pairs
        at_prices = pairs.entry_usd + price[pairs.entry_offer]
        order = pairs.by_cost
        job = pairs.job[order]
        first = np.arange(len(order)) - pairs.cheapest[job] < pairs.sites_wanted[job] + NEAR
        costs = pairs.values(order[first], at_prices, pairs.stock)
        enough = _nth_site(pairs, order[first], costs)
        rest = order[~first & (pairs.least_usd[order] < enough[job])]
        more = pairs.values(rest, at_prices, pairs.stock)
        return np.concatenate([order[first], rest]), np.concatenate([costs, more])

    def _nearest(self, which: Ints, costs: Floats) -> Ints:
        """Return the pairs to make columns of: the cheapest few of each job."""
        order = np.lexsort((costs, self.pairs.job[which]))
        job = self.pairs.job[which[order]]
        place = np.arange(len(order)) - np.searchsorted(job, job)
        return which[order][place < self.pairs.sites_wanted[job] - 1 + NEAR]

    def _bound(self, which: Ints, costs: Floats, price: Floats) -> float:
        """Return what the jobs would pay alone at the prices, less what the stock is worth at them."""
        which, costs, place = _best_at_sites(self.pairs, which, costs)
        job = self.pairs.job[which]
        taken = place < self.pairs.sites_wanted[job]
        each = np.bincount(job[taken], weights=costs[taken], minlength=len(self.pairs.jobs))
        if self.newcomer is not None:
            each[self.newcomer] = min(each[self.newcomer], self.penalty_usd)
        return float(each.sum() - price @ self.pairs.stock)


@dataclass(frozen=True, slots=True)
class _Programme:
    """Least `usd` [columns] with so many gangs for each job, no offer sold twice and no site taken twice by a job."""

    usd: Floats
    each_job: sparse.csr_matrix  # [jobs, columns]
    gangs_wanted: Floats  # [jobs]
    at_most: sparse.csr_matrix  # [scarce offers, then (job, site) of jobs with several sites; columns]
    most: Floats
    scarce: Ints  # Offers that the columns could oversell.


def _most_used(job: Ints, offer: Ints, machines: Ints, offers: int) -> Ints:
    """Return [offers]: machines that would be taken if every job took the column that uses most of the offer."""
    order = np.lexsort((machines, job, offer))
    job, offer, machines = job[order], offer[order], machines[order]
    last: Bools = np.append((job[1:] != job[:-1]) | (offer[1:] != offer[:-1]), True)
    return np.bincount(offer[last], weights=machines[last], minlength=offers)


def _best_at_sites(pairs: Pairs, which: Ints, costs: Floats) -> tuple[Ints, Floats, Ints]:
    """Return the cheapest pair of each job at each site, job by job from the cheapest, and its place in the job."""
    order = np.lexsort((costs, pairs.site[which], pairs.job[which]))
    which, costs = which[order], costs[order]
    job, site = pairs.job[which], pairs.site[which]
    first: Bools = np.append(True, (job[1:] != job[:-1]) | (site[1:] != site[:-1]))[: len(which)]
    which, costs = which[first], costs[first]
    order = np.lexsort((costs, pairs.job[which]))
    which, costs = which[order], costs[order]
    return which, costs, np.arange(len(which)) - np.searchsorted(pairs.job[which], pairs.job[which])


def _nth_site(pairs: Pairs, which: Ints, costs: Floats) -> Floats:
    """Return for each job the cost at the last of the sites that it would take; inf where it has too few."""
    which, costs, place = _best_at_sites(pairs, which, costs)
    job = pairs.job[which]
    last = place == pairs.sites_wanted[job] - 1
    nth = np.full(len(pairs.jobs), np.inf)
    nth[job[last]] = costs[last]
    return nth
