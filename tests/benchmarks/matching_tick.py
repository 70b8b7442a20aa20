"""
The tick, measured: how far from optimal, how fast. `python -m tests.benchmarks.matching_tick` prints one JSON object.

The exact model is the whole problem written out for HiGHS: a count for each (job, offer), a yes or no for each (job,
site, chip). Prices and sizes of the "catalog" family are those of ../shared/data/catalogs; stock, speeds and jobs are
drawn. CPU seconds are given beside wall seconds, since other work may share the machine.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from offers import gpus
from offers.matching.tick import Assignment, assign
from offers.matching.tick_fill import stock_of
from offers.matching.tick_jobs import UNLIMITED, Job, Offers
from offers.matching.tick_rank import ranked

CATALOGS = Path(__file__).parents[2].parent / "shared" / "data" / "catalogs"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
LARGE, SMALL = (100, 5_000), (20, 1_000)  # Gangs x offers.
FAMILIES = ("catalog", "lognormal", "uniform")
SEEDS = range(3)
# Seconds that a tick is given to end within 1 s, 5 s and 0.3 s: its first and its last step cannot be cut short.
WITHIN_1_S, WITHIN_5_S, WITHIN_300_MS = 0.85, 4.7, 0.25
TINY = 1_000
# Dense bf16 of the chips that are drawn, relative to an H100, and how often they are asked for.
SPEEDS = {"T4": 0.065, "L4": 0.12, "L40S": 0.36, "A10": 0.125, "A10G": 0.1, "V100": 0.125, "A100-40GB": 0.31,
          "A100-80GB": 0.31, "H100-SXM": 1.0, "H200": 1.1, "B200": 2.2, "MI300X": 1.3}  # fmt: skip
WISHES = (0.3, 0.5, 1, 0.5, 0.5, 0.7, 1, 2, 3, 2, 1, 0.5)
GANGS = (1, 2, 4, 8, 16, 24, 32, 48, 64)


@dataclass(frozen=True)
class Question:
    """One tick to solve."""

    offers: Offers
    jobs: list[Job]


def figures(*, exact_s: float = 0.0) -> dict[str, Any]:
    """Run every part. exact_s: seconds for the exact solver on each of five large instances; 0 leaves them out."""
    large = [(family, seed) for family in FAMILIES for seed in SEEDS]
    solved(drawn("lognormal", 0, *SMALL), 1.0)  # Loads what is loaded late.
    at = {
        limit: [timed(drawn(family, seed, *LARGE), limit)[0] for family, seed in large]
        for limit in (WITHIN_1_S, WITHIN_5_S)
    }
    alone = [timed(drawn(family, seed, *LARGE), WITHIN_1_S, time.process_time)[0] for family, seed in large]
    small = [
        against_exact(drawn(family, seed, *SMALL), WITHIN_300_MS, exact_s=60.0) for family in FAMILIES for seed in SEEDS
    ]
    proven = [one for one in small if one["proven"]]
    told: dict[str, Any] = {
        "tick_gap": statistics.median(one["gap"] for one in at[WITHIN_5_S]),
        "tick_s": statistics.median(one["wall_s"] for one in at[WITHIN_1_S]),
        "small_tick_gap": max(one["gap"] for one in proven),
        "tick_cpu_s": statistics.median(one["cpu_s"] for one in at[WITHIN_1_S]),
        "tick_gap_1s": statistics.median(one["gap"] for one in at[WITHIN_1_S]),
        "tick_gap_1s_of_cpu": statistics.median(one["gap"] for one in alone),
        "tick_worst_gap_1s_of_cpu": max(one["gap"] for one in alone),
        "tick_s_5s": statistics.median(one["wall_s"] for one in at[WITHIN_5_S]),
        "small_tick_s": statistics.median(one["wall_s"] for one in small),
        "small_tick_proven": f"{len(proven)} of {len(small)}",
        "large": {f"{family} {seed}": {f"within {limit:g} s": at[limit][index] for limit in at}
                  for index, (family, seed) in enumerate(large)},
        "small": small,
        "tiny": tiny(TINY),
    }  # fmt: skip
    if exact_s:
        told["crowded"] = [
            against_exact(crowded(drawn(family, 0, *LARGE)), WITHIN_5_S, exact_s=exact_s) for family in FAMILIES
        ]
        told["exact"] = [
            against_exact(drawn(family, 0, *LARGE), WITHIN_5_S, exact_s=exact_s) for family in FAMILIES[:2]
        ]
    return told


def solved(question: Question, limit_s: float, clock: Callable[[], float] = time.perf_counter) -> Assignment:
    """Solve one tick in real time, or in that of another clock."""
    asked, offers = question.jobs, question.offers
    return assign(asked, offers, recent_gpu_s={}, now=NOW, clock=clock, time_limit_s=limit_s)


def timed(
    question: Question, limit_s: float, clock: Callable[[], float] = time.perf_counter
) -> tuple[dict[str, Any], Assignment]:
    """Return gap to our own bound, wall and CPU seconds of a tick, and what it found."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = solved(question, limit_s, clock)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert_honest(question, found)
    return {"gap": found.gap, "wall_s": round(wall, 3), "cpu_s": round(cpu, 3), "placed": len(found.placed)}, found


def against_exact(question: Question, limit_s: float, *, exact_s: float) -> dict[str, Any]:
    """Return a tick's gap to what the exact solver found, or to the better bound, for the jobs that the tick placed."""
    told, found = timed(question, limit_s)
    began = time.perf_counter()
    placed = [job for job in question.jobs if job.id in found.placed]
    exact = Exact(question.offers, placed)
    least, bound = exact.cheapest(exact_s)
    proven = least - bound <= 1e-4 * bound + 1e-9
    best = least if proven else max(bound, found.bound_usd)
    return told | {"gap": max(0.0, found.cost_usd / best - 1), "gap_to_own_bound": found.gap, "proven": proven,
                   "exact_over_its_bound": least / bound - 1 if bound > 0 else math.inf,
                   "exact_s": round(time.perf_counter() - began, 1)}  # fmt: skip


def tiny(count: int) -> dict[str, Any]:
    """Return how random small ticks fare against the exact model: who is placed, and at which cost."""
    gaps, others = [], []
    for seed in range(count):
        question = drawn_tiny(seed)
        found = assign(question.jobs, question.offers, recent_gpu_s={}, now=NOW, clock=lambda: 0.0, time_limit_s=1.0)
        assert_honest(question, found)
        best = placed_by_rank(question)
        if set(found.placed) != best:
            others.append(seed)
            continue
        least, _ = Exact(question.offers, [job for job in question.jobs if job.id in best]).cheapest(60.0)
        gaps.append(found.cost_usd / least - 1 if best else 0.0)
    return {"instances": count, "worst_gap": max(gaps), "mean_gap": statistics.mean(gaps), "others_placed": others}


def placed_by_rank(question: Question) -> set[int]:
    """Return the jobs that are placed when each is, from the highest rank, if those before it still can be."""
    chosen: list[Job] = []
    for job in ranked(question.jobs, {}, NOW):
        if math.isfinite(Exact(question.offers, [*chosen, job]).cheapest(60.0)[0]):
            chosen.append(job)
    return {job.id for job in chosen}


class Exact:
    """All jobs placed at the least cost, as one integer programme."""

    def __init__(self, offers: Offers, jobs: Sequence[Job]) -> None:
        """Write it out."""
        self.stock = stock_of(offers, jobs)
        self.costs: list[float] = []
        self.most: list[float] = []
        self.rows: list[tuple[dict[int, float], float, float]] = []
        uses: dict[int, dict[int, float]] = {}
        for job in jobs:
            self._write(offers, job, uses)
        for offer, of in uses.items():
            self.rows.append((of, -np.inf, float(self.stock[offer])))

    def cheapest(self, limit_s: float) -> tuple[float, float]:
        """Return the least cost found and its lower bound; inf and inf when the jobs cannot all be placed."""
        if not self.costs:
            return (0.0, 0.0) if not self.rows else (math.inf, math.inf)
        data = [(row, column, value) for row, (of, _, _) in enumerate(self.rows) for column, value in of.items()]
        row, column, value = np.array(data).T
        shape = (len(self.rows), len(self.costs))
        matrix = sparse.csr_matrix((value, (row.astype(int), column.astype(int))), shape=shape)
        limits = LinearConstraint(matrix, [low for _, low, _ in self.rows], [high for _, _, high in self.rows])
        found = milp(
            self.costs,
            constraints=limits,
            integrality=np.ones(len(self.costs)),
            bounds=Bounds(0, self.most),
            options={"time_limit": limit_s, "mip_rel_gap": 1e-6},
        )
        if found.x is None:
            bound = found.mip_dual_bound if found.status == 1 and found.mip_dual_bound else math.inf
            return math.inf, bound
        return float(found.fun), float(found.mip_dual_bound)

    def _write(self, offers: Offers, job: Job, uses: dict[int, dict[int, float]]) -> None:
        may = (self.stock > 0) & np.isin(offers.chip, list(job.hours))
        may &= True if job.allowed is None else job.allowed
        at_site: dict[int, dict[int, float]] = {}
        for site, chip in sorted({(int(offers.site[o]), int(offers.chip[o])) for o in np.flatnonzero(may)}):
            rows = np.flatnonzero(may & (offers.site == site) & (offers.chip == chip))
            if self.stock[rows] @ offers.chips[rows] < job.accelerators:
                continue
            hours, fixed = job.hours[chip], job.fixed_usd.get(site, 0.0)
            chosen = self._variable(fixed, 1)
            at_site.setdefault(site, {})[chosen] = 1.0
            enough, price = {chosen: -float(job.accelerators)}, {}
            for offer in rows.tolist():
                size = int(offers.chips[offer])
                most = min(int(self.stock[offer]), -(-job.accelerators // size))
                count = self._variable(float(offers.usd_per_hour[offer]) * hours, most)
                enough[count], price[count] = float(size), float(offers.usd_per_hour[offer])
                uses.setdefault(offer, {})[count] = 1.0
                self.rows.append(({count: 1.0, chosen: -float(most)}, -np.inf, 0.0))
            self.rows.append((enough, 0.0, np.inf))
            hourly = min(math.inf if job.max_usd_per_hour is None else job.max_usd_per_hour,
                         math.inf if job.budget_usd is None else (job.budget_usd - fixed) / hours)  # fmt: skip
            if math.isfinite(hourly):
                self.rows.append((price | {chosen: -hourly}, -np.inf, 0.0))
        self.rows.append(({column: 1.0 for of in at_site.values() for column in of}, job.sites, job.sites))
        self.rows += [(of, -np.inf, 1.0) for of in at_site.values() if job.sites > 1]

    def _variable(self, cost: float, most: int) -> int:
        self.costs.append(cost)
        self.most.append(float(most))
        return len(self.costs) - 1


def assert_honest(question: Question, found: Assignment) -> None:
    """Fail unless no offer is sold twice and every placed job has all that it asked for and nothing else."""
    offers, jobs = question.offers, {job.id: job for job in question.jobs}
    assert not set(found.placed) & set(found.unplaced)
    assert set(found.placed) | set(found.unplaced) == set(jobs)
    sold = np.zeros(len(offers.free), dtype=int)
    total = 0.0
    for job_id, machines in found.placed.items():
        job, sites = jobs[job_id], {}
        for offer, count in machines:
            assert count > 0
            assert job.allowed is None or job.allowed[offer]
            sold[offer] += count
            sites.setdefault(int(offers.site[offer]), []).append((offer, count))
        assert len(sites) == job.sites
        for site, lines in sites.items():
            [chip] = {int(offers.chip[offer]) for offer, _ in lines}
            assert sum(int(offers.chips[offer]) * count for offer, count in lines) >= job.accelerators
            hourly = sum(float(offers.usd_per_hour[offer]) * count for offer, count in lines)
            cost = hourly * job.hours[chip] + job.fixed_usd.get(site, 0.0)
            assert job.max_usd_per_hour is None or hourly <= job.max_usd_per_hour + 0.02
            assert job.budget_usd is None or cost <= job.budget_usd + 0.02
            total += cost
    assert (sold <= np.where(offers.free == UNLIMITED, sold, offers.free)).all()
    assert math.isclose(total, found.cost_usd, rel_tol=1e-9, abs_tol=1e-6)
    assert found.bound_usd <= found.cost_usd + 1e-6


def crowded(question: Question, *, sold_out: float = 0.8) -> Question:
    """Return the tick with that share of its offers sold out."""
    random = np.random.default_rng(1)
    gone = random.random(len(question.offers.free)) < sold_out
    return Question(replace(question.offers, free=np.where(gone, 0, question.offers.free)), question.jobs)


def drawn(family: str, seed: int, jobs: int, offers: int) -> Question:
    """Draw a tick of a family: prices of the catalogs, lognormal by chip, or all uniform."""
    random = np.random.default_rng([seed, jobs, FAMILIES.index(family)])
    if family == "catalog":
        return _from_catalogs(random, jobs, offers)
    sites, chips = (40, 8) if offers > 2_000 else (20, 6)
    size = random.choice([1, 2, 4, 8], offers)
    chip = random.integers(0, chips, offers)
    base = random.uniform(1, 6, chips) if family == "lognormal" else np.ones(chips)
    if family == "lognormal":
        usd = base[chip] * random.lognormal(0, 0.35, offers) * size**0.97
        free = np.minimum(16, random.geometric(0.4, offers) - 1)
    else:
        usd, free = random.uniform(1, 5, offers) * size, random.integers(0, 5, offers)
    market = Offers(site=random.integers(0, sites, offers), chip=chip, chips=size, usd_per_hour=usd, free=free)
    asked = []
    for at in range(jobs):
        gang = int(random.integers(1, 65) if family == "uniform" else random.choice(GANGS))
        kinds = random.choice(chips, size=random.integers(1, 4), replace=False)
        work = random.lognormal(2, 0.7)
        hours = {int(kind): float(work / base[kind] * random.lognormal(0, 0.15)) for kind in kinds}
        asked.append(_job(at, gang, hours, random))
    return Question(market, asked)


def _from_catalogs(random: np.random.Generator, jobs: int, offers: int) -> Question:
    rows = _catalog_rows()
    drawn = np.concatenate([random.permutation(len(rows)) for _ in range(-(-offers // len(rows)))])[:offers]
    names, chips = {}, list(SPEEDS)
    site = np.array([names.setdefault(rows[row][0], len(names)) for row in drawn])
    free = np.where(random.random(offers) < 0.3, 0, np.minimum(16, random.geometric(0.35, offers) - 1))
    market = Offers(
        site=site,
        chip=np.array([chips.index(rows[row][1]) for row in drawn]),
        chips=np.array([rows[row][2] for row in drawn]),
        usd_per_hour=np.array([rows[row][3] for row in drawn]) * random.lognormal(0, 0.1, offers),
        free=free,
    )
    asked = []
    for at in range(jobs):
        gang = int(random.choice(GANGS, p=[0.1, 0.1, 0.15, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05]))
        kinds = random.choice(len(chips), size=random.integers(1, 4), replace=False, p=np.array(WISHES) / sum(WISHES))
        work = random.lognormal(1.5, 0.8)
        hours = {int(kind): float(work / SPEEDS[chips[kind]] * random.lognormal(0, 0.1)) for kind in kinds}
        share = random.uniform(0.2, 0.7) if random.random() < 0.5 else 1.0
        allowed = np.isin(site, random.choice(len(names), size=int(len(names) * share), replace=False))
        fixed = {at: float(random.exponential(3)) for at in range(len(names))} if random.random() < 0.3 else {}
        asked.append(_job(at, gang, hours, random, allowed=allowed, fixed_usd=fixed))
    return Question(market, asked)


def drawn_tiny(seed: int) -> Question:
    """Draw a tick of a few jobs and offers where stock is short and limits bind."""
    random = np.random.default_rng(seed)
    offers, chips = int(random.integers(3, 25)), int(random.integers(1, 4))
    size = random.choice([1, 2, 3, 4, 8], offers)
    free = np.where(random.random(offers) < 0.05, UNLIMITED, random.integers(0, 4, offers))
    market = Offers(
        site=random.integers(0, 4, offers),
        chip=random.integers(0, chips, offers),
        chips=size,
        usd_per_hour=np.round(random.uniform(1, 5, offers) * size, 2),
        free=free,
    )
    asked = []
    for at in range(int(random.integers(1, 8))):
        kinds = random.choice(chips, size=random.integers(1, chips + 1), replace=False)
        hours = {int(kind): float(random.uniform(1, 4)) for kind in kinds}
        gang = int(random.integers(1, 13))
        allowed = random.random(offers) < 0.8 if random.random() < 0.5 else None
        fixed = {site: float(random.uniform(0, 5)) for site in range(4)} if random.random() < 0.3 else {}
        budget = float(gang * random.uniform(3, 12)) if random.random() < 0.3 else None
        hourly = float(gang * random.uniform(1.5, 5)) if random.random() < 0.3 else None
        asked.append(_job(at, gang, hours, random, allowed=allowed, fixed_usd=fixed, budget=budget, hourly=hourly))
    return Question(market, asked)


def _job(
    at: int,
    gang: int,
    hours: dict[int, float],
    random: np.random.Generator,
    *,
    allowed: Any = None,
    fixed_usd: dict[int, float] | None = None,
    budget: float | None = None,
    hourly: float | None = None,
) -> Job:
    return Job(
        id=at,
        team=f"team {random.integers(0, 5)}",
        priority=int(random.integers(0, 3)),
        waiting_since=NOW - timedelta(minutes=int(random.integers(0, 300))),
        accelerators=gang,
        hours=hours,
        sites=1 if random.random() < 0.85 else int(random.integers(2, 4)),
        allowed=allowed,
        fixed_usd=fixed_usd or {},
        budget_usd=budget,
        max_usd_per_hour=hourly,
    )


@cache
def _catalog_rows() -> list[tuple[tuple[str, str], str, int, float]]:
    """Return ((provider, region), chip, chips, USD per hour) of every price, on demand and spot, of the drawn chips."""
    rows = []
    for path in sorted(CATALOGS.glob("*/vms.csv")):
        with path.open() as file:
            for row in csv.DictReader(file):
                chips = float(row["AcceleratorCount"] or 0)
                chip = gpus.named(row["AcceleratorName"]) if row["AcceleratorName"] else ""
                if chip in SPEEDS and chips >= 1 and chips == int(chips):
                    site = (path.parent.name, row["Region"])
                    prices = [float(row[name]) for name in ("Price", "SpotPrice") if row[name]]
                    rows += [(site, chip, int(chips), price) for price in prices]
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exact-s", type=float, default=0.0, help="seconds for the exact solver on large instances")
    sys.stdout.write(json.dumps(figures(exact_s=parser.parse_args().exact_s), indent=1) + "\n")
