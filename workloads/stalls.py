"""The market as workloads that lack machines see it: what each may take, what is free, and what runs already."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
from django.db.models import Q

from offers import queries as market
from offers import refusals
from offers.matching import constraints, estimate, tick
from offers.matching.book import MARKETS, NO_LIMIT, SPOT, Book, Flags, Ints
from offers.matching.constraints import Scope
from offers.matching.need import Need
from offers.matching.tick_jobs import UNLIMITED, Job, Offers, Running
from offers.matching.tick_rank import RAISED_EVERY
from offers.models import Offer, QuoteLine, Source
from workloads import queries
from workloads.models import Lease, Placement, Workload

GIVES_WAY = "gives way to workload"
LEAVING = (Placement.State.DRAINING, Placement.State.CLOSED)
CHANGEOVER_S = 90.0  # Of a machine that replaces a lost one, beside its boot: environment, Ray, parameters.
UNSEEN = timedelta(hours=1)  # A page is never older than this: what was opened before is in its stock.


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """
    Sites that a workload lacks; quoted: the lines of the quoted site that was never placed.

    within: a site that lacks this machine and maybe others (`missing` accelerators in all); then no site is lacking.
    """

    workload: Workload
    need: Need
    sites: int
    quoted: tuple[QuoteLine, ...] = ()
    alive: tuple[Placement, ...] = ()
    within: Any = None  # A Placement of queries.short_of_machines.

    @property
    def accelerators(self) -> int:
        """At each of the sites; or of the machine that one lacks, as large as its smallest."""
        if self.within is not None:
            return min(int(self.within.missing), *(lease.accelerators for lease in self.within.leases.all()))
        if self.quoted:
            return sum(line.offer.accelerators * line.nodes for line in self.quoted)
        return queries.site_size(self.workload)


class Stalls:
    """The open book as the tick wants it: what each gap may take, what is free, and what runs."""

    def __init__(self, gaps: Sequence[Gap], now: datetime) -> None:
        self.gaps, self.now = gaps, now
        self.book, self.team = self._beside_reserved(market.open_book(now=now))
        self.row_of = dict(zip(zip(self.team.tolist(), self.book.id.tolist(), strict=True), itertools.count()))
        self.free = self._free()
        self.masks = [self._mask(gap) for gap in gaps]
        wanted = np.logical_or.reduce(self.masks) if self.masks else np.zeros(len(self.book), bool)
        self.holders = self._holders()
        rows = {*np.flatnonzero(wanted).tolist(), *(row for held in self.holders.values() for row in held)}
        self.rows: Ints = np.array(sorted(rows), dtype=np.int64)
        self.place = {int(row): index for index, row in enumerate(self.rows)}

    def offers(self) -> Offers:
        """Return the rows that anybody may take or holds."""
        book, rows = self.book, self.rows
        redone = 1 + book.losses_per_hour[rows] * (book.boot_s[rows] + CHANGEOVER_S) / 3600
        return Offers(
            site=book.site[rows],
            chip=book.accelerator[rows],
            chips=book.accelerators[rows],
            usd_per_hour=book.micro_usd[rows] / 1e6 * redone,
            free=np.where(self.free[rows] == NO_LIMIT, UNLIMITED, self.free[rows]),
        )

    def jobs(self) -> list[Job]:
        """Return a job for each gap, numbered as the gaps are."""
        return [self._job(index, gap) for index, gap in enumerate(self.gaps)]

    def running(self) -> list[Running]:
        """Return what runs and might be drained; nobody, while one is already leaving for somebody who waits."""
        waits = [f"{GIVES_WAY} {gap.workload.pk}," for gap in self.gaps]
        leaving = Placement.objects.exclude(state=Placement.State.CLOSED).exclude(drain_requested_at=None)
        if any(why.startswith(tuple(waits)) for why in leaving.values_list("why", flat=True)):
            return []
        running = Workload.objects.in_bulk(list(self.holders))
        return [
            Running(
                id=pk,
                priority=self._counted(running[pk]),
                machines=tuple((self.place[row], count) for row, count in held.items()),
                gpu_s_lost=CHANGEOVER_S * sum(int(self.book.accelerators[row]) * n for row, n in held.items()),
            )
            for pk, held in self.holders.items()
        ]

    def take(self, machines: tick.Machines) -> bool:
        """Take machines out of what is free; return whether all of them were."""
        rows = {int(self.rows[place]): count for place, count in machines}
        if any(self.free[row] < count for row, count in rows.items()):
            return False
        for row, count in rows.items():
            self.free[row] -= count if self.free[row] != NO_LIMIT else 0
        return True

    def _counted(self, workload: Workload) -> int:
        """What its priority counted when it was placed: who waited long is not drained at once."""
        begun = queries.staying(workload.pk).first()
        placed_at = begun.created_at if begun else self.now
        before = workload.placements.filter(state=Placement.State.CLOSED, entered_at__lte=placed_at)
        last = before.order_by("-entered_at").first()
        waited = placed_at - (last.entered_at if last else workload.created_at)
        return workload.priority + max(0, waited // RAISED_EVERY)

    def sites(self, index: int, machines: tick.Machines) -> list[dict[str, Any]]:
        """Return what was found for a gap, site by site, as `Workload.assigned` keeps it."""
        # Of an offer that is reserved in part, the price of the rest.
        quoted = sorted(self.gaps[index].quoted, key=lambda line: line.sell_usd_per_hour)
        promised = {line.offer_id: line for line in quoted}
        ids = [int(self.book.id[self.rows[place]]) for place, _ in machines]
        costs = dict(Offer.objects.filter(pk__in=ids).values_list("pk", "usd_per_hour"))
        by_site: dict[int, list[list[Any]]] = defaultdict(list)
        for place, count in machines:
            row = int(self.rows[place])
            offer = self.book.offer(row)
            cost, sell = costs[offer.id], offer.usd_per_hour
            if offer.reserved:
                cost = sell
            elif line := promised.get(offer.id):
                cost, sell = line.cost_usd_per_hour, line.sell_usd_per_hour
            by_site[int(self.book.site[row])].append([offer.id, count, str(cost), str(sell)])
        within = {"within": self.gaps[index].within.pk} if self.gaps[index].within is not None else {}
        return [{"lines": lines, **within} for lines in by_site.values()]

    def _beside_reserved(self, book: Book) -> tuple[Book, Ints]:
        """The book beside the teams' reserved machines that are not in use, and each row's team; 0: it is for all."""
        books, teams = [], [np.zeros(len(book), np.int64)]
        for owner_id in sorted({gap.workload.owner_id for gap in self.gaps}):
            held = queries.reserved_in_use(owner_id)
            if own := market.reserved(owner_id=owner_id, now=self.now, held=held):
                books.append(book.with_same_words(own))
                teams.append(np.full(len(own), owner_id, np.int64))
        return (book.beside(books) if books else book), np.concatenate(teams)

    def _row_of(self, offer_id: int, owner_id: int, usd_per_hour: Decimal) -> int | None:
        """The row that a team's machine was taken from; None when it is not in the book any more."""
        return self.row_of.get((0 if usd_per_hour else owner_id, offer_id))

    def _free(self) -> Ints:
        """Machines free by row: what the book says less what was asked for since its page was read."""
        free = self.book.available.copy()
        read_at = dict(Source.objects.values_list("provider", "seen_at"))
        late = Q(opened_at=None) | Q(opened_at__gt=self.now - UNSEEN)
        pending = Lease.objects.exclude(state__in=Lease.DEAD).filter(late)
        pending = pending.exclude(sell_usd_per_hour=0)  # What is reserved was counted with what is in use of it.
        for pk, provider, opened_at in pending.values_list("offer_id", "offer__provider", "opened_at"):
            seen_at = read_at.get(provider)
            unseen = opened_at is None or seen_at is None or opened_at > seen_at
            row = self.row_of.get((0, pk))
            if unseen and row is not None and free[row] != NO_LIMIT:
                free[row] -= 1
        # One that ends before it was placed will not take what was found for it.
        waiting = Workload.objects.filter(assigned__isnull=False, stop_requested_at=None).exclude(
            state__in=(Workload.State.STOPPING, *Workload.FINAL)
        )
        for owner_id, assigned in waiting.values_list("owner_id", "assigned"):
            for pk, count, _, sell in (line for site in assigned["sites"] for line in site["lines"]):
                row = self._row_of(pk, owner_id, Decimal(sell))
                if row is not None and free[row] != NO_LIMIT:
                    free[row] -= count
        return np.maximum(free, 0)

    def _mask(self, gap: Gap) -> Flags:
        """What the gap may take: the strictest choice that has room for it by itself."""
        whole = self._fitting(gap, cautious=False)
        if gap.within is not None:
            like = self._like(gap.within)
            careful = self._fitting(gap, cautious=True) & like
            choices = [careful & (self.team == gap.workload.owner_id), careful]
            return next((choice for choice in choices if self._room(gap, choice)), whole & like)
        if gap.quoted:
            named = np.isin(self.book.id, [line.offer_id for line in gap.quoted])
            if self._room(gap, whole & named):
                return whole & named
        elsewhere = ~np.isin(self.book.site, self._busy(gap))
        careful = self._fitting(gap, cautious=True)
        paid = careful & (self.team == gap.workload.owner_id)
        choices = [careful & elsewhere, careful, whole & elsewhere]
        if gap.need.prefer_own:
            own = constraints.tiers(self.book, self._scope(gap, cautious=True)) == constraints.OWN
            choices = [choice & own for choice in choices[:2]] + choices
        choices = [paid & elsewhere, paid, *choices]
        if gap.need.spread is not None:
            apart = self._apart(gap)
            whole, choices = whole & apart, [choice & apart for choice in choices]
        return next((choice for choice in choices if self._room(gap, choice)), whole)

    def _fitting(self, gap: Gap, *, cautious: bool) -> Flags:
        """What fits the need, free or not: what runs there may be drained."""
        need, alive = gap.need, np.isin(self.team, (0, gap.workload.owner_id))
        # Whatever the speed, it may be taken.
        found = constraints.sieve(need, self.book, speed=estimate.UNKNOWN, scope=self._scope(gap, cautious=cautious))
        for test in found.tests:
            if test.name != constraints.FREE_NOW:
                alive &= test.passes
        alive &= found.seen
        if need.max_spot_share is not None and gap.within is None and not self._more_spot(gap):
            alive &= (self.book.market != SPOT) | self.book.reserved
        return alive

    def _scope(self, gap: Gap, *, cautious: bool) -> Scope:
        owner_id = gap.workload.owner_id
        held = partial(queries.machines_held, owner_id=owner_id)
        barred = refusals.barred(owner_id=owner_id, now=self.now, held=held, cautious=cautious)
        return market.scope(owner_id=owner_id, now=self.now, barred=barred)

    def _more_spot(self, gap: Gap) -> bool:
        """Whether one site more on spot machines keeps the share that the need allows."""
        leases = (lease for one in gap.alive for lease in one.leases.all() if lease.state not in Lease.DEAD)
        chips = [(lease.accelerators, lease.offer.market) for lease in leases]
        spot = sum(count for count, sold in chips if sold == "spot") + gap.accelerators
        total = gap.accelerators * gap.workload.sites_wanted
        return spot <= (gap.need.max_spot_share or 0.0) * total

    def _room(self, gap: Gap, mask: Flags) -> bool:
        """Whether what is free would do, if nobody else wanted any of it."""
        rows = np.flatnonzero(mask & (self.free > 0))
        if not len(rows):
            return False
        kinds = self.book.site[rows] * (int(self.book.accelerator.max()) + 1) + self.book.accelerator[rows]
        _, kind = np.unique(kinds, return_inverse=True)
        chips = np.bincount(kind, weights=np.minimum(self.free[rows], 10**6) * self.book.accelerators[rows])
        site_of = np.zeros(len(chips), dtype=np.int64)
        site_of[kind] = self.book.site[rows]
        return len(np.unique(site_of[chips >= gap.accelerators])) >= gap.sites

    def _busy(self, gap: Gap) -> list[int]:
        """Sites where the workload is already."""
        codes = (self.book.words["site"].of.get(f"{one.provider}\n{one.region}") for one in gap.alive)
        return [code for code in codes if code is not None]

    def _like(self, site: Placement) -> Flags:
        """Rows of the place, chip and market of a site's machines, which reach each other, or paid for already."""
        here = self.book.words["site"].of.get(f"{site.provider}\n{site.region}", -1)
        offers = [lease.offer for lease in site.leases.all()]
        chips = [self.book.words["accelerator"].of.get(offer.accelerator, -1) for offer in offers]
        markets = [MARKETS.index(offer.market) for offer in offers]
        alike = np.isin(self.book.accelerator, chips) & (np.isin(self.book.market, markets) | (self.team != 0))
        return alike & (self.book.site == here)

    def _apart(self, gap: Gap) -> Flags:
        """Rows that share nothing with the sites that the workload has, of what the need wants spread."""
        column = str(gap.need.spread)
        taken = {getattr(lease.offer, column) for one in gap.alive for lease in one.leases.all()}
        codes = [self.book.words[column].of.get(text, -1) for text in taken]
        return ~np.isin(getattr(self.book, column), codes)

    def _job(self, index: int, gap: Gap) -> Job:
        workload = gap.workload
        allowed = self.masks[index][self.rows]
        closed = workload.placements.filter(state=Placement.State.CLOSED).order_by("-entered_at").first()
        return Job(
            id=index,
            team=str(workload.owner_id),
            priority=workload.priority,
            waiting_since=closed.entered_at if closed else workload.created_at,
            accelerators=gap.accelerators,
            hours=self._hours(gap),
            sites=gap.sites,
            allowed=allowed,
            max_usd_per_hour=self._most_usd_per_hour(gap),
        )

    def _hours(self, gap: Gap) -> dict[int, float]:
        """Hours for a site's share of the work by kind of chip; one for all where no speed is known."""
        workload = gap.workload
        left = queries.samples(workload.pk)
        work = left["total"] - left["merged"] if left["total"] else (gap.need.samples or 0)
        speed = queries.speed(workload)
        hours: dict[int, float] = {}
        for code in np.unique(self.book.accelerator[self.rows]).tolist():
            rate = speed.of(self.book.words["accelerator"].things[code]) if work else None
            share = work / max(workload.sites_wanted, 1)
            hours[code] = share / (rate * gap.accelerators) / 3600 + CHANGEOVER_S / 3600 if rate else 1.0
        return hours

    def _most_usd_per_hour(self, gap: Gap) -> float | None:
        if gap.need.max_usd_per_hour is None:
            return None
        leases = (lease for one in gap.alive for lease in one.leases.all() if lease.state not in Lease.DEAD)
        spent = sum(float(lease.sell_usd_per_hour) for lease in leases)
        wanted = max(gap.workload.sites_wanted - len(gap.alive), 1)
        return max(float(gap.need.max_usd_per_hour) - spent, 0.0) / wanted

    def _holders(self) -> dict[int, dict[int, int]]:
        """Return {workload: {row: machines}} of what runs on rows of the book."""
        held: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        live = Lease.objects.exclude(state__in=Lease.DEAD).exclude(placement__state__in=LEAVING)
        named = ("placement__workload_id", "placement__workload__owner_id", "offer_id", "sell_usd_per_hour")
        for pk, owner_id, offer_id, sell in live.values_list(*named):
            row = self._row_of(offer_id, owner_id, sell)
            if row is not None:
                held[pk][row] += 1
        return {pk: dict(rows) for pk, rows in held.items()}
