"""
The cheapest whole machines for a gang at a site, for many (job, site, chip) at once.

A group is the offers of one chip at one site. A pair is a job and a group that could hold its gang. The cheapest fill
of a pair is a knapsack: at least so many chips, at most so many machines of each offer. It is solved exactly by dynamic
programming over chips; machines of an offer are taken in lots of 1, 2, 4, ... so that any number can be made of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from offers.matching.tick_jobs import UNLIMITED, Bools, Floats, Ints, Job, Machines, Offers

CENT = 0.01  # Costs are floats here: a limit is not broken by less.


@dataclass(frozen=True, slots=True)
class Gang:
    """One pair, filled."""

    pair: int
    machines: Machines
    usd: float  # To finish, with what the site costs in any case.


class Pairs:
    """Every (job, group) that could hold the job's gang with `stock` [offers], and the lots to fill it from."""

    def __init__(self, offers: Offers, jobs: Sequence[Job], stock: Ints) -> None:
        """List the pairs in the order of the jobs."""
        self.offers, self.jobs, self.stock = offers, jobs, stock
        kinds = int(offers.chip.max(initial=0)) + 1
        _, group = np.unique(offers.site * kinds + offers.chip, return_inverse=True)
        order = np.argsort(group, kind="stable")
        found = [_candidates(offers, job, stock, group, order) for job in jobs]
        counts = [len(lengths) for _, lengths in found]
        lengths = _joined([lengths for _, lengths in found])
        self.job = np.repeat(np.arange(len(jobs)), counts)  # [pairs]
        self.first = _starts(np.array(counts, dtype=np.int64))  # [jobs + 1]
        self.entry_offer = _joined([rows for rows, _ in found])  # [entries]
        self.entry_pair = np.repeat(np.arange(len(lengths)), lengths)
        self.first_entry = _starts(lengths)  # [pairs + 1]
        head = self.entry_offer[self.first_entry[:-1]]
        self.site, self.chip = offers.site[head], offers.chip[head]
        self.chips_wanted = np.array([job.accelerators for job in jobs], dtype=np.int64)[self.job]
        self.sites_wanted = np.array([job.sites for job in jobs], dtype=np.int64)  # [jobs]
        self._price()
        self._cut_into_lots()
        everything = np.arange(len(self.job))
        self.least_usd = self.values(everything, self.entry_usd, stock)  # [pairs]: with the whole stock.
        self.too_dear = self.least_usd > self.limit_usd + CENT
        self.by_cost = np.lexsort((self.least_usd, self.job))
        self.by_cost = self.by_cost[~self.too_dear[self.by_cost]]
        self.cheapest = _starts(np.bincount(self.job[self.by_cost], minlength=len(jobs)))  # [jobs + 1], in by_cost

    def values(self, pairs: Ints, entry_usd: Floats, left: Ints) -> Floats:
        """Return the cost of the cheapest fill of each pair at such costs of a machine, from such stock; inf: none."""
        costs: Floats = _Knapsacks(self, pairs, entry_usd, left).values + self.fixed_usd[pairs]
        return costs

    def fills(self, pairs: Ints, entry_usd: Floats, left: Ints) -> list[Gang | None]:
        """Return the cheapest fill of each pair at such costs, with what it truly costs; None: none, or too dear."""
        sacks = _Knapsacks(self, pairs, entry_usd, left, keep=True)
        gangs = [self._gang(int(pair), taken) for pair, taken in zip(pairs, sacks.taken, strict=True)]
        dear = [at for at, gang in enumerate(gangs) if gang and gang.usd > self.limit_usd[gang.pair] + CENT]
        if dear and entry_usd is not self.entry_usd:  # The cheapest in truth may still keep to the limit.
            for at, gang in zip(dear, self.fills(pairs[dear], self.entry_usd, left), strict=True):
                gangs[at] = gang
        elif dear:
            for at in dear:
                gangs[at] = None
        return gangs

    def every_fill(self, pair: int, entry_usd: Floats, most_usd: float, most_steps: int) -> tuple[list[Gang], int]:
        """
        Return all fills of at most such a cost at such costs of a machine, none with a machine too many; and the steps.

        Past so many steps the list is not complete.
        """
        chips, offers = self.offers.chips[self.entry_offer], self.entry_offer
        entries = np.arange(self.first_entry[pair], self.first_entry[pair + 1])
        per_chip = entry_usd[entries] / chips[entries]
        entries, per_chip = entries[np.argsort(per_chip)], np.sort(per_chip)
        rows = [(int(offers[at]), int(chips[at]), float(entry_usd[at]), int(self.stock[offers[at]])) for at in entries]
        found, steps = [], 0
        heap: list[tuple[int, int, float, int, list[tuple[int, int]]]] = []
        heap.append((0, int(self.chips_wanted[pair]), float(self.fixed_usd[pair]), int(chips[entries].max()), []))
        while heap and steps <= most_steps:
            at, missing, usd, smallest, taken = heap.pop()
            steps += 1
            if missing <= 0:
                if -missing < smallest and usd <= most_usd:
                    found.append(self._gang(pair, taken))
            elif at < len(rows) and usd + missing * per_chip[at] <= most_usd:
                offer, size, price, stock = rows[at]
                heap.append((at + 1, missing, usd, smallest, taken))
                for count in range(1, min(stock, -(-missing // size)) + 1):
                    more = [*taken, (offer, count)]
                    heap.append((at + 1, missing - count * size, usd + count * price, min(smallest, size), more))
        return [gang for gang in found if gang and gang.usd <= self.limit_usd[pair] + CENT], steps

    def _gang(self, pair: int, taken: list[tuple[int, int]]) -> Gang | None:
        if not taken:
            return None
        machines: dict[int, int] = {}
        for offer, count in taken:
            machines[offer] = machines.get(offer, 0) + count
        usd_per_hour = sum(float(self.offers.usd_per_hour[offer]) * count for offer, count in machines.items())
        usd = float(self.fixed_usd[pair] + usd_per_hour * self.hours[pair])
        return Gang(pair, tuple(sorted(machines.items())), usd)

    def _price(self) -> None:
        """Set hours, fixed and most USD of each pair, and USD of a machine of each entry."""
        jobs = [self.jobs[index] for index in self.job.tolist()]
        sites, chips = self.site.tolist(), self.chip.tolist()
        self.hours = np.array([job.hours[chip] for job, chip in zip(jobs, chips, strict=True)])
        self.fixed_usd = np.array([job.fixed_usd.get(site, 0.0) for job, site in zip(jobs, sites, strict=True)])
        budget = np.array([np.inf if job.budget_usd is None else job.budget_usd for job in jobs])
        hourly = np.array([np.inf if job.max_usd_per_hour is None else job.max_usd_per_hour for job in jobs])
        self.limit_usd = np.minimum(budget, hourly * self.hours + self.fixed_usd)
        self.entry_usd = self.offers.usd_per_hour[self.entry_offer] * self.hours[self.entry_pair]

    def _cut_into_lots(self) -> None:
        """Split the machines that an entry could give into lots of 1, 2, 4, ... and the rest."""
        chips = self.offers.chips[self.entry_offer]
        rest = np.minimum(self.stock[self.entry_offer], -(-self.chips_wanted[self.entry_pair] // chips))
        entries, sizes, before, size, given = [], [], [], 1, np.zeros_like(rest)
        while (rest > 0).any():
            lot = np.minimum(rest, size)
            has = np.flatnonzero(lot)
            entries.append(has)
            sizes.append(lot[has])
            before.append(given[has])
            given, rest, size = given + lot, rest - lot, size * 2
        order = np.argsort(_joined(entries), kind="stable")
        self.lot_entry, self.lot_machines = _joined(entries)[order], _joined(sizes)[order]
        self.lot_before = _joined(before)[order]  # Machines of its entry in the lots before it.
        self.lots = np.bincount(self.entry_pair[self.lot_entry], minlength=len(self.job))  # [pairs]
        self.first_lot = _starts(self.lots)


class _Knapsacks:
    """Tables of the least cost of at least 0, 1, 2, ... chips, for pairs whose gangs are of like size at once."""

    def __init__(self, table: Pairs, pairs: Ints, entry_usd: Floats, left: Ints, *, keep: bool = False) -> None:
        """Solve them; with `keep`, remember what was taken."""
        self._keep = keep
        self.taken: list[list[tuple[int, int]]] = [
            [] for _ in pairs
        ]  # [(offer, machines)]; empty: no fill, or not kept.
        self.values = np.full(len(pairs), np.inf)
        scale = np.ceil(np.log2(table.chips_wanted[pairs])).astype(np.int64)
        for of_scale in np.unique(scale):
            self._solve(table, pairs, np.flatnonzero(scale == of_scale), entry_usd, left)

    def _solve(self, table: Pairs, pairs: Ints, where: Ints, entry_usd: Floats, left: Ints) -> None:
        where = where[np.argsort(-table.lots[pairs[where]], kind="stable")]  # So a step takes the first rows' lots.
        of, wanted = pairs[where], table.chips_wanted[pairs[where]]
        lots = table.lots[of]
        step = np.arange(int(lots.sum())) - np.repeat(np.cumsum(lots) - lots, lots)
        lot = (np.repeat(table.first_lot[of], lots) + step)[np.argsort(step, kind="stable")]
        entry = table.lot_entry[lot]
        offer = table.entry_offer[entry]
        machines = np.minimum(np.maximum(left[offer] - table.lot_before[lot], 0), table.lot_machines[lot])
        usd = np.where(machines > 0, machines * entry_usd[entry], np.inf)[:, None]
        given = (machines * table.offers.chips[offer])[:, None]
        chips = np.arange(int(wanted.max()) + 1)
        least = np.full((len(of), len(chips)), np.inf)
        least[:, 0] = 0.0
        start_of_row = (np.arange(len(of)) * len(chips))[:, None]
        ends = np.cumsum(np.bincount(step))
        steps: list[tuple[slice, Bools]] = []
        for first, end in zip([0, *ends[:-1]], ends, strict=True):
            of_step, active = slice(first, end), least[: end - first]
            without = np.maximum(chips - given[of_step], 0) + start_of_row[: end - first]
            with_it = least.take(without) + usd[of_step]
            better = with_it < active
            np.copyto(active, with_it, where=better)
            if self._keep:
                steps.append((of_step, better))
        self.values[where] = least[np.arange(len(of)), wanted]
        missing = np.where(np.isfinite(self.values[where]), wanted, 0)
        for of_step, better in reversed(steps):
            rows = np.arange(len(better))
            took = np.flatnonzero(better[rows, missing[rows]] & (missing[rows] > 0))
            at = took + of_step.start
            missing[took] = np.maximum(missing[took] - given[at, 0], 0)
            for row, one, count in zip(where[took].tolist(), offer[at].tolist(), machines[at].tolist(), strict=True):
                self.taken[row].append((one, count))


def stock_of(offers: Offers, jobs: Sequence[Job]) -> Ints:
    """Return the free machines [offers], a number that no tick can use up where the market is deep."""
    most = sum(job.accelerators * job.sites for job in jobs)
    return np.where(offers.free == UNLIMITED, most, offers.free).astype(np.int64)


def _candidates(offers: Offers, job: Job, stock: Ints, group: Ints, order: Ints) -> tuple[Ints, Ints]:
    """Return the offers that the job may use, group by group, and how many each group has; groups that suffice."""
    may = (stock > 0) & np.isin(offers.chip, list(job.hours))
    if job.allowed is not None:
        may &= job.allowed
    rows = order[may[order]]
    chips = np.bincount(group[rows], weights=stock[rows] * offers.chips[rows], minlength=len(order))
    rows = rows[chips[group[rows]] >= job.accelerators]
    _, lengths = np.unique(group[rows], return_counts=True)
    return rows, lengths


def _starts(lengths: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _joined(parts: list[Ints]) -> Ints:
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts]).astype(np.int64)
