"""From offers to sites: whole machines of one kind of accelerator at one place, every way that can be the best."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from offers.matching import facts
from offers.matching.book import COMMUNITY, NO_LIMIT, OWN, SPOT, Book, Flags, Floats, Ints
from offers.matching.need import Need

SPLITS = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1.0)  # Of a total that is spread over sites, where all would be too many.
SPLIT_ALL_MAX = 8  # Up to so many accelerators in total, every number at a site is tried.
MIXED_MAX = 24  # So many sites are filled from several kinds of machines, those with the smallest bound first.
MIXED_ACCELERATORS_MAX = 512  # A larger site is filled from one kind of machine.


@dataclass(frozen=True, slots=True, eq=False)
class Fills:
    """
    Ways to fill a site. Arrays: [fills], but row and count: [kinds of machines of all fills, one after another].

    book: the offers that are left, a few thousand at most.
    """

    book: Book
    row: Ints  # Of the book.
    count: Ints  # Machines.
    starts: Ints  # Where the kinds of each fill begin.
    first: Ints  # A row of the fill: its place and accelerator are those of all its rows.
    accelerators: Ints
    machines: Ints
    spare: Floats  # The accelerators that giving back one machine would save; inf at a site of one machine.
    micro_usd: Floats  # An hour.
    spot: Floats  # Accelerators that are on the spot market.
    others: Floats  # Accelerators that are not the team's own.
    boot_s: Floats
    egress_usd_per_gib: Floats
    internet_mbit_per_s: Floats  # The slowest of its machines'; what is usual where nobody says.
    losses_per_hour: Floats  # Of any of its machines, by age: [fills, ages].

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.first)

    def lines(self, fill: int) -> list[tuple[int, int]]:
        """Return (row of the book, machines) of each kind of machine of a fill."""
        end = self.starts[fill + 1] if fill + 1 < len(self) else len(self.row)
        kinds = slice(self.starts[fill], end)
        return list(zip(self.row[kinds].tolist(), self.count[kinds].tolist(), strict=True))


def cheapest_of_each(book: Book, rows: Ints, *, most: int) -> Ints:
    """
    Return the rows that can be worth a look among these, which are in the book's order.

    Of rows that differ in price and stock alone, the cheapest that hold `most` accelerators together.
    """
    if len(rows) == 0:
        return rows
    group, free = book.group[rows], book.available[rows]
    starts = np.empty(len(rows), np.bool_)
    starts[0] = True
    np.not_equal(group[1:], group[:-1], out=starts[1:])
    if (free == NO_LIMIT).all():
        return np.asarray(rows[starts])
    wanted = -(-most // book.accelerators[rows])
    through = np.cumsum(np.minimum(free, wanted))
    before = through - np.minimum(free, wanted)
    before -= before[starts][np.cumsum(starts) - 1]
    return np.asarray(rows[before < wanted])


def counts(need: Need, book: Book) -> list[int]:
    """Return the numbers of accelerators that a site may be filled with, smallest first."""
    total = need.accelerators
    if total is None:
        return [need.site_size]
    if total <= SPLIT_ALL_MAX:
        wanted = set(range(1, total + 1))
    else:
        wanted = {math.ceil(total * share) for share in SPLITS}
        wanted |= _short(book, total)
    even = -(-total // max(need.sizes))
    return sorted(count for count in wanted | {even, total} if count >= need.site_size)


def fills(need: Need, book: Book, tier: Ints) -> Fills:
    """Return the ways to fill each site with as many accelerators as the need asks for. tier: of each row."""
    wanted = counts(need, book)
    row, count = _of_one_kind(book, wanted)
    mixed = _mixed(book, wanted)
    kinds = np.array([kind for lines in mixed for kind in lines], np.int64).reshape(-1, 2)
    of = np.repeat(np.arange(len(mixed)), [len(lines) for lines in mixed])
    return summed(
        book,
        np.concatenate([np.arange(len(row)), len(row) + of]),
        np.concatenate([row, kinds[:, 0]]),
        np.concatenate([count, kinds[:, 1]]),
        tier,
    )


def _short(book: Book, total: int) -> set[int]:
    """Return what the sites hold that cannot hold the total alone, and what is then missing elsewhere."""
    if (book.available == NO_LIMIT).all():
        return set()
    place = _place_and_chip(book)
    free = np.bincount(place, weights=np.minimum(book.available, total) * book.accelerators)
    held = np.unique(free[(free > 0) & (free < total)]).astype(np.int64)[-16:]
    return {int(count) for count in held} | {int(total - count) for count in held}


def _place_and_chip(book: Book) -> Ints:
    pair = book.site * (int(book.accelerator.max(initial=0)) + 1) + book.accelerator
    return np.asarray(np.unique(pair, return_inverse=True)[1])


def _of_one_kind(book: Book, wanted: list[int]) -> tuple[Ints, Ints]:
    """Return (row, machines) of every number of machines that fills a site alone."""
    machines = -(-np.array(wanted)[None, :] // book.accelerators[:, None])
    can = machines <= book.available[:, None]
    can[:, 1:] &= machines[:, 1:] != machines[:, :-1]
    rows, which = np.nonzero(can)
    return rows, np.asarray(machines[rows, which])


def _mixed(book: Book, wanted: list[int]) -> list[tuple[tuple[int, int], ...]]:
    """Return the cheapest fills of several kinds of machines, where one kind may not be the cheapest or not enough."""
    if len(book) < 2:
        return []
    place = _place_and_chip(book)
    order = np.lexsort((book.micro_usd / book.accelerators, place))
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    ends = np.append(starts[1:], len(order))
    several = ends - starts > 1
    found: list[tuple[float, int, int, int]] = []  # The least that it can cost, accelerators, and the place's rows.
    for count in wanted:
        if count == 1 or count > MIXED_ACCELERATORS_MAX:
            continue
        best = order[starts]  # The cheapest accelerators of each place.
        fit = (count % book.accelerators[best] == 0) & (book.available[best] >= count // book.accelerators[best])
        bound = book.micro_usd[best] / book.accelerators[best] * count
        found += [(float(bound[i]), count, int(starts[i]), int(ends[i])) for i in np.flatnonzero(several & ~fit)]
    mixed: dict[tuple[tuple[int, int], ...], None] = {}
    for _, count, start, end in sorted(found)[:MIXED_MAX]:
        for lines in _covers(book, order[start:end], count):
            if len(lines) > 1:
                mixed[tuple(lines)] = None
    return list(mixed)


def _covers(book: Book, rows: Ints, wanted: int) -> Iterable[list[tuple[int, int]]]:
    """
    Yield the cheapest covers by the hour: of each market alone and of all, of what boots or carries out no worse.

    The slowest boot and the dearest egress are the site's, so that one machine can spoil it: with them given, what is
    cheapest by the hour is cheapest to finish. Machines that are lost more often are dearer in the end; the markets
    alone see to that. Nor are slow links looked at, which one machine can spoil too.
    """
    boots, egress, market = book.boot_s[rows], np.nan_to_num(book.egress_usd_per_gib[rows]), book.market[rows]
    parts: dict[bytes, Ints] = {}
    for slowest in np.unique(boots):
        for dearest in np.unique(egress):
            bearable = (boots <= slowest) & (egress <= dearest)
            for one in (bearable, *(bearable & (market == each) for each in np.unique(market))):
                parts.setdefault(one.tobytes(), rows[one])
    for part in parts.values():
        yield from _cheapest_covers(book, part, wanted)


def _cheapest_covers(book: Book, rows: Ints, wanted: int) -> Iterable[list[tuple[int, int]]]:
    """
    Yield the cheapest set of machines for the wanted accelerators, and each that has more where no more are as cheap.

    A knapsack over accelerators, exact; each row's machines are bundled by powers of two. A machine that fills the site
    alone is no part of it.
    """
    rows = rows[book.accelerators[rows] < wanted]
    if len(rows) == 0:
        return
    top = wanted + int(book.accelerators[rows].max())  # A cover from which no machine can be spared has fewer.
    cost = np.full(top, np.inf)
    cost[0] = 0.0
    bundles: list[tuple[int, int, Flags]] = []
    for row, left in _worth_a_look(book, rows, wanted):
        size, bundle = int(book.accelerators[row]), 1
        while left > 0:
            bundle = min(bundle, left)
            step = bundle * size
            with_it = cost[:-step] + bundle * float(book.micro_usd[row])
            better = np.zeros(top, np.bool_)
            better[step:] = with_it < cost[step:]
            cost[step:] = np.where(better[step:], with_it, cost[step:])
            bundles.append((row, bundle, better))
            left, bundle = left - bundle, bundle * 2
    cheapest_from = np.minimum.accumulate(cost[::-1])[::-1]
    for total in range(wanted, top):
        if cost[total] < np.inf and (total + 1 == top or cost[total] < cheapest_from[total + 1]):
            yield _traced(book, bundles, total)


def _worth_a_look(book: Book, rows: Ints, wanted: int) -> Iterable[tuple[int, int]]:
    """Yield (row, machines) of each size until there are enough. rows: the cheapest accelerators first."""
    enough: dict[int, int] = {}
    for row in rows.tolist():
        size = int(book.accelerators[row])
        left = enough.setdefault(size, -(-wanted // size))
        if left > 0:
            taken = min(left, int(book.available[row]))
            enough[size] = left - taken
            yield row, taken


def _traced(book: Book, bundles: list[tuple[int, int, Flags]], total: int) -> list[tuple[int, int]]:
    taken: dict[int, int] = {}
    for row, bundle, better in reversed(bundles):
        if better[total]:
            taken[row] = taken.get(row, 0) + bundle
            total -= bundle * int(book.accelerators[row])
    return sorted(taken.items())


def summed(book: Book, of: Ints, row: Ints, count: Ints, tier: Ints) -> Fills:
    """Add up kinds of machines. of, row, count: the fill (rising), the row of the book and the machines of each."""
    starts = np.flatnonzero(np.diff(of, prepend=-1))
    chips = book.accelerators[row] * count

    def total(values: Floats | Ints) -> Floats:
        each = values.astype(np.float64)
        if len(starts) == len(of):
            return each
        return np.asarray(np.add.reduceat(each, starts, axis=0))

    def most(values: Floats) -> Floats:
        return values if len(starts) == len(of) else np.asarray(np.maximum.reduceat(values, starts))

    told = book.internet_mbit_per_s[row]
    usual = np.where(book.tier[row] == COMMUNITY, facts.HOST_MBIT_PER_S, facts.CLOUD_MBIT_PER_S)
    machines = total(count).astype(np.int64)
    return Fills(
        book=book,
        row=row,
        count=count,
        starts=starts,
        first=row[starts],
        accelerators=total(chips).astype(np.int64),
        machines=machines,
        spare=np.where(machines > 1, -most(-book.accelerators[row].astype(np.float64)), np.inf),
        micro_usd=total(book.micro_usd[row] * count.astype(np.float64)),
        spot=total(chips * ((book.market[row] == SPOT) & ~book.reserved[row])),
        others=total(chips * (tier[row] != OWN)),
        boot_s=most(book.boot_s[row]),
        egress_usd_per_gib=most(np.nan_to_num(book.egress_usd_per_gib[row])),
        internet_mbit_per_s=-most(-np.where(np.isnan(told), usual, told)),
        losses_per_hour=total(book.curve_table()[book.curve[row]] * count[:, None]),
    )
