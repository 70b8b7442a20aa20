"""
Who is placed: jobs by rank, each where it is cheapest, before any of lower rank.

A job that does not fit may move those placed before it (they stay placed), then drain what runs at a lower priority.
One that has waited long and still does not fit has the free machines of its nearest sites kept for it: otherwise
smaller jobs would take them tick after tick and a large gang would starve.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from offers.matching import tick_drain
from offers.matching.tick_columns import Packing, room_for
from offers.matching.tick_fill import Gang, Pairs
from offers.matching.tick_jobs import Ints, Job, Machines, Running

# Each so long a wait counts as one priority more, so whatever newcomers bring, a job is first some day.
RAISED_EVERY = timedelta(hours=6)
KEPT_AFTER = timedelta(hours=12)  # Waiting so long, a job that does not fit has machines kept for it.
LOOKED_AT = 4  # Pairs of a job, filled at once.


@dataclass(slots=True)
class Standing:
    """Where the placing stands. Jobs by their place in the ranked list."""

    left: Ints  # [offers]: machines that nobody has.
    placed: Packing = field(default_factory=dict)
    drained: list[Running] = field(default_factory=list)
    freed: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # [offers]: drained machines now in use.
    kept: dict[int, Machines] = field(default_factory=dict)
    why: dict[int, str] = field(default_factory=dict)

    def take(self, index: int, gangs: list[Gang]) -> None:
        """Place a job on machines that are left."""
        self.placed[index] = gangs
        self.left = self.left - machines_of(gangs, len(self.left))


def ranked(jobs: Sequence[Job], recent_gpu_s: Mapping[str, float], now: datetime) -> list[Job]:
    """
    Return the jobs from the highest rank: priority raised by age, then the team that has used least, then the oldest.

    What a team's jobs ahead in the list will use counts as used, so teams take turns within a priority.
    """
    used = defaultdict(float, recent_gpu_s)
    waiting: dict[int, dict[str, list[Job]]] = defaultdict(lambda: defaultdict(list))
    for job in sorted(jobs, key=lambda job: (job.waiting_since, job.id), reverse=True):
        waiting[raised(job, now)][job.team].append(job)
    order = []
    for priority in sorted(waiting, reverse=True):
        teams = waiting[priority]
        while teams:
            team = min(teams, key=lambda team: (used[team], teams[team][-1].waiting_since, teams[team][-1].id))  # noqa: B023
            job = teams[team].pop()
            used[team] += job.accelerators * job.sites * 3600 * min(job.hours.values(), default=0.0)
            order.append(job)
            if not teams[team]:
                del teams[team]
    return order


def raised(job: Job, now: datetime) -> int:
    """Return the job's priority with its age."""
    return job.priority + max(0, (now - job.waiting_since) // RAISED_EVERY)


def place_by_rank(
    pairs: Pairs, running: Sequence[Running], stock: Ints, *, now: datetime, left_s: Callable[[], float], seed: int
) -> Standing:
    """
    Place the jobs of `pairs`, which are ranked, one after another.

    stock: [offers], free now; `pairs` counts what runs too. left_s: time for moving those placed.
    """
    standing = Standing(left=stock.copy(), freed=np.zeros_like(stock))
    for index, job in enumerate(pairs.jobs):
        if len(np.unique(pairs.site[_pairs_of(pairs, index)])) < job.sites:
            standing.why[index] = _never(pairs, index)
        elif gangs := cheapest_now(pairs, index, standing.left):
            standing.take(index, gangs)
        elif not (_moved(pairs, index, standing, left_s, seed) or _drained(pairs, index, standing, running)):
            standing.why[index] = _not_now(pairs, index, standing.left)
            if now - job.waiting_since >= KEPT_AFTER:
                _keep(pairs, index, standing)
    return standing


def cheapest_now(pairs: Pairs, index: int, left: Ints) -> list[Gang] | None:
    """Return the job's cheapest gangs from what is left, one a site; None: it does not fit."""
    wanted = pairs.jobs[index].sites
    best: dict[int, Gang] = {}
    ahead, step = _pairs_of(pairs, index), LOOKED_AT
    while len(ahead):
        if len(best) >= wanted:
            enough = sorted(gang.usd for gang in best.values())[wanted - 1]
            ahead = ahead[: np.searchsorted(pairs.least_usd[ahead], enough)]
        for gang in pairs.fills(ahead[:step], pairs.entry_usd, left):
            if gang is not None:
                site = int(pairs.site[gang.pair])
                best[site] = min(best.get(site, gang), gang, key=lambda gang: gang.usd)
        ahead, step = ahead[step:], 2 * step
    return sorted(best.values(), key=lambda gang: gang.usd)[:wanted] if len(best) >= wanted else None


def machines_of(gangs: Sequence[Gang], offers: int) -> Ints:
    """Return [offers]: the machines that gangs take."""
    taken = np.zeros(offers, dtype=np.int64)
    for gang in gangs:
        for offer, count in gang.machines:
            taken[offer] += count
    return taken


def _pairs_of(pairs: Pairs, index: int) -> Ints:
    """Return the job's pairs within its limit, from the cheapest."""
    return pairs.by_cost[pairs.cheapest[index] : pairs.cheapest[index + 1]]


def _moved(pairs: Pairs, index: int, standing: Standing, left_s: Callable[[], float], seed: int) -> bool:
    """Place the job by moving jobs placed before it, which stay placed."""
    order = sorted(standing.placed)
    held = machines_of([gang for gangs in standing.placed.values() for gang in gangs], len(standing.left))
    of = np.isin(pairs.entry_pair, _pairs_of(pairs, index))
    if left_s() <= 0 or not held[pairs.entry_offer[of]].any():
        return False
    start = {at: standing.placed[placed] for at, placed in enumerate(order)}
    jobs = [pairs.jobs[placed] for placed in [*order, index]]
    packing = room_for(pairs.offers, jobs, start, standing.left + held, left_s=left_s, seed=seed)
    if packing is None:
        return False
    standing.left = standing.left + held
    for at, placed in enumerate([*order, index]):
        standing.take(placed, packing[at])
    return True


def _drained(pairs: Pairs, index: int, standing: Standing, running: Sequence[Running]) -> bool:
    """Place the job by draining workloads of a lower priority as it was given: age drains nobody."""
    below = [one for one in running if one.priority < pairs.jobs[index].priority]
    if not below:
        return False
    able = [one for one in below if one not in standing.drained]
    gone = [one for one in below if one in standing.drained]
    spare = np.maximum(tick_drain.machines_held(gone, len(standing.left)).sum(axis=1) - standing.freed, 0)
    found = tick_drain.fewest(pairs, _pairs_of(pairs, index), pairs.jobs[index].sites, able, standing.left + spare)
    if found is None:
        return False
    victims, gangs = found
    # Only what the job takes is free for others: a drained workload is not drained for a lower one.
    more = np.maximum(machines_of(gangs, len(spare)) - standing.left, 0)
    standing.drained += victims
    standing.freed = standing.freed + more
    standing.left = standing.left + more
    standing.take(index, gangs)
    return True


def _keep(pairs: Pairs, index: int, standing: Standing) -> None:
    """Withhold what is free at the sites where the job lacks least."""
    lack: dict[int, tuple[int, int]] = {}
    for pair in _pairs_of(pairs, index).tolist():
        missing = max(0, pairs.jobs[index].accelerators - int(_free_chips(pairs, pair, standing.left)))
        site = int(pairs.site[pair])
        lack[site] = min(lack.get(site, (missing, pair)), (missing, pair))
    kept: list[tuple[int, int]] = []
    for missing, pair in sorted(lack.values())[: pairs.jobs[index].sites]:
        [gang] = pairs.fills(np.array([pair]), pairs.entry_usd, standing.left) if not missing else [None]
        rows = pairs.entry_offer[pairs.first_entry[pair] : pairs.first_entry[pair + 1]]
        kept += gang.machines if gang else [(int(row), int(standing.left[row])) for row in rows if standing.left[row]]
    if kept:
        standing.kept[index] = tuple(sorted(kept))
        offers, machines = _rows(standing.kept[index])
        standing.left = standing.left.copy()
        standing.left[offers] -= machines
        standing.why[index] += "; it has waited long, so what is free there is kept for it"


def _rows(machines: Machines) -> tuple[Ints, Ints]:
    offers, counts = np.array(machines, dtype=np.int64).reshape(-1, 2).T
    return offers, counts


def _free_chips(pairs: Pairs, pair: int, left: Ints) -> int:
    rows = pairs.entry_offer[pairs.first_entry[pair] : pairs.first_entry[pair + 1]]
    return int(left[rows] @ pairs.offers.chips[rows])


def _never(pairs: Pairs, index: int) -> str:
    job = pairs.jobs[index]
    those = np.arange(pairs.first[index], pairs.first[index + 1])
    if len(np.unique(pairs.site[those])) >= job.sites:
        cheapest = those[np.argmin(pairs.least_usd[those] - pairs.limit_usd[those])]
        cost, limit = pairs.least_usd[cheapest], pairs.limit_usd[cheapest]
        return f"too dear: a site would cost {cost:.2f} USD to finish, its limit is {limit:.2f}"
    return f"{_wish(job)} would not be there if nothing ran: too few that it allows"


def _not_now(pairs: Pairs, index: int, left: Ints) -> str:
    job = pairs.jobs[index]
    free = max(_free_chips(pairs, pair, left) for pair in _pairs_of(pairs, index).tolist())
    if job.sites == 1 and free >= job.accelerators:
        return f"{_wish(job)} are free only above its limit"
    return f"{_wish(job)} are not free; the site with most has {free}"


def _wish(job: Job) -> str:
    return f"{job.accelerators} chips of one kind at {'one site' if job.sites == 1 else f'each of {job.sites} sites'}"
