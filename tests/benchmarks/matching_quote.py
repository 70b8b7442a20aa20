"""
Quotes, measured: `python -m tests.benchmarks.matching_quote`; the last line is one JSON object.

A hundred thousand offers, made of the real catalogs (GPUYARD_CATALOG_DIR, by default ../shared/data/catalogs) with
prices jittered; every fifth tells its stock. Needs of all kinds are quoted by the engine on a book in memory, and,
where DATABASE_URL names a database (`python -m broker.local.testing -- python -m tests.benchmarks.matching_quote`), on
the way that the API goes: shelf, accounts, sources, quotes written down.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from offers import gpus, places
from offers.matching import hazard_prior, solve
from offers.matching.book import Book, OpenOffer, book_of
from offers.matching.estimate import Speed
from offers.matching.need import Need, parse
from offers.matching.solve import Plan
from providers.base import Listing
from providers.catalog import Catalog
from tests.benchmarks import quote_truth

ROOT = Path(__file__).parents[2]
CATALOGS = Path(os.environ.get("GPUYARD_CATALOG_DIR") or ROOT.parent / "shared" / "data" / "catalogs")
OFFERS, RUNS = 100_000, 5
PLANS, TRUTHS = 60, 200  # So many plans are run so often in truth.
SPEED = Speed(source="measured", by_accelerator={"A100-80GB": 100.0})
HOUR = 100 * 3600  # Samples of an A100 in an hour.
# The last dozen cannot be met.
NEEDS: list[dict[str, Any]] = [
    *({"accelerator": chip, "accelerators_per_site": size, "samples": 20 * size * HOUR, **more}
      for chip, size in (("H100", 8), ("A100", 4), ("T4", 1), (["H100", "H200", "B200"], 8), ("L4", 2))
      for more in ({}, {"deadline_hours": 12}, {"sites": 3, "spread": "provider"}, {"markets": ["spot"]})),
    *({"samples": 40 * HOUR, **more}
      for more in ({}, {"min_memory_gib": 80}, {"accelerators_per_site": 8}, {"residency": "EU", "deadline_hours": 4},
                   {"max_spot_share": 0.5, "sites": 2}, {"max_spot_share": 0, "budget_usd": "200"})),
    *({"accelerators": total, "samples": 10 * total * HOUR, "checkpoint_gib": 2, "data_gib": 50, **more}
      for total, more in ((16, {}), (16, {"accelerator": "H100", "sites": 3}), (32, {"deadline_hours": 10}),
                          (24, {"min_accelerators_per_site": 8, "spread": "country", "sites": 3}), (6, {}))),
    {"accelerators_per_site": 8},
    {"accelerator": "H100"},
    {"accelerator": "A100", "accelerators_per_site": 8, "sites": 5, "samples": 100 * HOUR},
    {"accelerator": ["H100", "A100"], "accelerators_per_site": 8, "samples": 200 * HOUR, "min_memory_gib": 80,
     "not_providers": ["verda"], "not_regions": ["us-east-1"], "residency": "EEA", "markets": ["spot", "on_demand"],
     "tiers": ["own", "secure"], "prefer_own": True, "max_spot_share": 0.7, "spread": "provider", "max_egress_usd": 90,
     "max_usd_per_hour": 200, "data_gib": 20, "checkpoint_gib": 1, "deadline_hours": 30, "budget_usd": 900,
     "chance": 0.95, "max_sites": 3},
    {"accelerator": "H100", "accelerators_per_site": 8, "samples": 400 * HOUR, "deadline_hours": 0.5},
    {"accelerator": "H100", "accelerators_per_site": 8, "samples": 400 * HOUR, "budget_usd": "3"},
    {"accelerator": "H100", "min_memory_gib": 200, "samples": 40 * HOUR},
    {"accelerator": "T4", "countries": ["NO"], "residency": "EU", "samples": 40 * HOUR, "deadline_hours": 20},
    {"samples": 40 * HOUR, "budget_usd": "0.01"},
    {"samples": 4000 * HOUR, "deadline_hours": 0.2},
    {"accelerators_per_site": 8, "samples": 400 * HOUR, "deadline_hours": 2, "budget_usd": "10", "markets": ["spot"]},
    {"accelerators": 64, "sites": 3, "spread": "provider", "accelerator": "L4", "providers": ["aws", "gcp"],
     "samples": 400 * HOUR},
    {"accelerator": "H100", "accelerators_per_site": 8, "regions": ["nowhere"], "samples": 40 * HOUR},
    {"accelerator": "B200", "accelerators_per_site": 8, "tiers": ["own"], "samples": 40 * HOUR},
    {"accelerator": "H200", "accelerators_per_site": 16, "interconnect": "infiniband", "samples": 40 * HOUR},
    {"max_usd_per_hour": "0.001", "samples": 40 * HOUR, "deadline_hours": 10},
]  # fmt: skip


def figures() -> dict[str, Any]:
    """Return the keys of the bar, and what they are made of."""
    rows = offers()
    began = time.perf_counter()
    book = book_of(rows)
    told: dict[str, Any] = {
        "offers": len(book),
        "needs": len(NEEDS),
        "book_made_s": _round(time.perf_counter() - began),
    }
    needs = [parse(body) for body in NEEDS]
    answers = [solve.solve(need, book, speed=SPEED) for need in needs]
    told["needs_unmet"] = sum(not one.plans for one in answers)
    told["relaxations"] = sum(len(one.relaxations) for one in answers)
    told |= _spans("quote", needs, lambda need: solve.solve(need, book, speed=SPEED))
    told |= covered(book, [(need, plan) for need, one in zip(needs, answers, strict=True) for plan in one.plans])
    told |= cheapest_entry(book)
    if os.environ.get("DATABASE_URL"):
        told |= real_path(needs)
    return told


def offers() -> list[OpenOffer]:
    """Return the real catalogs' offers again and again, prices jittered by a fifth, until there are so many."""
    found: list[OpenOffer] = []
    for listing in listings():
        chip = gpus.identify(listing.accelerator_label, listing.memory_gib)
        place = places.find(listing.provider, listing.region, listing.country)
        egress = places.egress_usd_per_gib(listing.provider)
        found.append(
            OpenOffer(
                id=len(found),
                provider=listing.provider,
                region=listing.region,
                zone=listing.zone,
                country=place.country,
                machine_type=listing.machine_type,
                market=listing.market.value,
                accelerator=chip.name,
                accelerators=listing.accelerator_count * chip.per_label,
                memory_gib=listing.memory_gib or chip.memory_gib or None,
                usd_per_hour=listing.usd_per_hour,
                leasable=True,
                available=listing.available,
                egress_usd_per_gib=None if egress is None else float(egress),
                gco2_per_kwh=place.gco2_per_kwh,
            )
        )
    return found


def listings(*, seed: int = 7) -> Iterable[Listing]:
    """Yield OFFERS listings."""
    now = datetime.now(UTC)
    real = [line for path in sorted(CATALOGS.glob("*/vms.csv")) for line in Catalog(path=path, now=now).listings()]
    if not real:
        sys.exit(f"{CATALOGS} holds no <provider>/vms.csv; name a directory with GPUYARD_CATALOG_DIR")
    random = Random(seed)
    for index in range(OFFERS):
        line, turn = real[index % len(real)], index // len(real)
        price = (line.usd_per_hour * Decimal(f"{random.uniform(0.8, 1.2):.4f}")).quantize(Decimal("0.000001"))
        name = f"{line.machine_type[:80]}/{turn}" if turn else line.machine_type
        free = random.randint(0, 12) if index % 5 == 0 else None
        yield replace(line, machine_type=name, usd_per_hour=price, available=free)


def _spans(name: str, needs: Sequence[Need], ask: Callable[[Need], Any]) -> dict[str, float]:
    """Ask every need RUNS times; return quantiles over the needs of the median, by the clock and by the processor."""
    clock, processor = [], []
    for need in needs:
        spans = [_timed(lambda need=need: ask(need)) for _ in range(RUNS)]  # type: ignore[misc]
        clock.append(statistics.median(one for one, _ in spans) * 1000)
        processor.append(statistics.median(one for _, one in spans) * 1000)
    return {
        f"{name}_p50_ms": _round(float(np.quantile(clock, 0.5))),
        f"{name}_p95_ms": _round(float(np.quantile(clock, 0.95))),
        f"{name}_worst_ms": _round(max(clock)),
        f"{name}_cpu_p50_ms": _round(float(np.quantile(processor, 0.5))),
        f"{name}_cpu_p95_ms": _round(float(np.quantile(processor, 0.95))),
    }


def covered(book: Book, told: Sequence[tuple[Need, Plan]]) -> dict[str, float]:
    """Run plans in truth and return how often their cost, and their time, came between the p10 and p90 we told."""
    random = Random(11)
    known = [(need, plan) for need, plan in told if plan.outcome is not None]
    cost_in, time_in, by_plan = 0, 0, []
    chosen = random.sample(known, min(PLANS, len(known)))
    for need, plan in chosen:
        assert plan.outcome is not None
        share = quote_truth.share_of(need, plan.sites)
        inside = 0
        for _ in range(TRUTHS):
            sites = [_site(site) for site in plan.sites]
            usd, hours = quote_truth.cost_and_hours(need, sites, share=share, random=random)
            inside += plan.outcome.cost_usd.p10 <= usd <= plan.outcome.cost_usd.p90
            time_in += plan.outcome.finish_s.p10 <= hours * 3600 <= plan.outcome.finish_s.p90
        cost_in += inside
        by_plan.append(inside / TRUTHS)
    runs = len(chosen) * TRUTHS
    return {
        "interval_coverage": _round(cost_in / runs),
        "interval_coverage_of_time": _round(time_in / runs),
        "interval_coverage_worst_plan": _round(min(by_plan)),
        "interval_coverage_best_plan": _round(max(by_plan)),
        "plans_run_in_truth": len(chosen),
    }


def _site(site: solve.SitePlan) -> quote_truth.Site:
    """Return a site of a plan; how often its machines are lost is told by the same prior, unrounded."""
    by_age = np.zeros(9)
    for one, count in site.lines:
        line = hazard_prior.Line(
            key=(one.provider, one.region, one.zone, one.machine_type),
            accelerator=one.accelerator,
            market=one.market,
            accelerators=one.accelerators,
        )
        by_age += hazard_prior.prior_rates([line])[0] * count
    rate = SPEED.rate(site.accelerator)
    assert rate is not None
    return quote_truth.site_of(site, samples_per_s=rate.samples_per_s, sigma=rate.sigma, losses_per_h=by_age.tolist())


def cheapest_entry(book: Book) -> dict[str, float]:
    """Measure the question "one instance type, cheapest"."""
    questions = [(chip, count, market) for chip in ("H100", "A100-80GB", "T4", "L4") for count in (1, 2, 4, 8)
                 for market in ("on_demand", "spot")]  # fmt: skip
    ask = lambda: [solve.cheapest(book, accelerator=a, count=n, market=m) for a, n, m in questions]  # noqa: E731
    ask()
    seconds = statistics.median(_timed(ask)[1] for _ in range(RUNS))
    return {"cheapest_cpu_ms": _round(seconds / len(questions) * 1000)}


def real_path(needs: Sequence[Need]) -> dict[str, Any]:
    """Measure quotes as the API asks for them, and what the first of a process and news cost."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "broker.settings")
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from broker.identity.models import Team
    from offers import operations, poll, queries
    from offers.models import Offer, Quote, this_transaction

    call_command("migrate", verbosity=0)
    now = datetime.now(UTC)
    by_provider: dict[str, list[Listing]] = {}
    for line in listings():
        by_provider.setdefault(line.provider, []).append(line)
    for provider, lines in by_provider.items():
        poll.record(lines, provider=provider, now=now, complete=True, leasable=True)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE offers_offer")
    owner = Team.objects.create(name=f"quotes-{time.time_ns()}", created_at=now)
    queries.accounts.usable_by = lambda owner_id: set(by_provider)  # type: ignore[assignment]
    first_s, _ = _timed(lambda: queries.open_book(now=now))

    def ask(need: Need) -> None:
        try:
            operations.quote(owner_id=owner.pk, need=need, measured=dict(SPEED.by_accelerator), now=now)
        except (operations.NeedUnmet, operations.BudgetBelowCheapest):
            pass

    told = _spans("quote_real", needs, ask)
    some = list(Offer.objects.order_by("id").values_list("pk", flat=True)[:2000])

    def news() -> None:
        Offer.objects.filter(pk__in=some).update(usd_per_hour=Decimal(1), version=this_transaction())
        queries.open_book(now=now)

    news_s = statistics.median(_timed(news)[0] for _ in range(3))
    Quote.objects.filter(owner=owner).delete()
    return told | {"shelf_loaded_s": _round(first_s), "shelf_2000_news_s": _round(news_s)}


def _timed(act: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds that it takes, by the clock and by the processor."""
    began, busy = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - began, time.process_time() - busy


def _round(value: float) -> float:
    return float(f"{value:.3g}")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(figures()) + "\n")
