"""
The offer book, measured: `make bench-market`. The last line is one JSON object; everything is a median of several runs.

Needs the real catalogs (GPUYARD_CATALOG_DIR, by default ../shared/data/catalogs), wrk, and, for the comparison, an
environment of its own with gpuhunt (.venv-bench, made here). The database is `broker.local.testing`'s throw-away one.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "broker.settings")
import django

django.setup()

from django.core.management import call_command
from django.db import connection

from offers import history, lines, merge, partitions, poll, queries
from offers.models import PriceSample
from providers.base import Listing
from providers.catalog import Catalog
from tests.benchmarks import market_http, market_peer

ROOT = Path(__file__).parents[2]
CATALOGS = Path(os.environ.get("GPUYARD_CATALOG_DIR") or ROOT.parent / "shared" / "data" / "catalogs")
OFFERS, RUNS, NEWS_SHARE = 100_000, 3, 0.02
SAMPLES, DAYS, SAMPLED_OFFERS = 10_000_000, 90, 4_000
QUESTION = {"gpu": "H100", "count": "8"}
NOW = datetime.now(UTC)


def main() -> None:
    """Run every part and print the figures."""
    call_command("migrate", verbosity=0)
    listings = multiplied(OFFERS)
    told: dict[str, Any] = {"offers": len(listings), "runs": RUNS}
    told |= ingest(listings)
    told |= asked(listings)
    told |= memory()
    told |= chart()
    say("done")
    sys.stdout.write(json.dumps(told) + "\n")


def multiplied(wanted: int, *, seed: int = 7) -> list[Listing]:
    """Return the real catalogs' offers again and again, prices jittered by a fifth, until there are so many."""
    real = [line for path in sorted(CATALOGS.glob("*/vms.csv")) for line in Catalog(path=path, now=NOW).listings()]
    if not real:
        sys.exit(f"{CATALOGS} holds no <provider>/vms.csv; name a directory with GPUYARD_CATALOG_DIR")
    random, found, turn = Random(seed), [], 0
    while len(found) < wanted:
        for line in real[: wanted - len(found)]:
            price = (line.usd_per_hour * Decimal(f"{random.uniform(0.8, 1.2):.4f}")).quantize(Decimal("0.000001"))
            name = f"{line.machine_type[:80]}/{turn}" if turn else line.machine_type
            found.append(replace(line, provider="many", machine_type=name, usd_per_hour=price))
        turn += 1
    say(f"{len(real):,} real offers, multiplied to {len(found):,}")
    return found


def ingest(listings: list[Listing]) -> dict[str, Any]:
    """
    Measure a full poll into an empty book, and one with 2 % news, against a plain COPY of the same rows.

    The plain COPY goes into a table like the book's, with its constraints and indexes: what any way of bringing these
    rows in must do. Beside it stands a COPY into a bare table, which nothing could be asked of.
    """
    text = "".join(f"{line.text}\t{line.digest}\t{NOW.isoformat()}\n" for line in map(line_of, listings)).encode()
    full, again, plain, bare = [], [], [], []
    for run in range(RUNS):
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE offers_offer, offers_pricesample, offers_source CASCADE")
            for kind, times in (("INCLUDING ALL", plain), ("INCLUDING DEFAULTS INCLUDING IDENTITY", bare)):
                cursor.execute(f"DROP TABLE IF EXISTS plain; CREATE TABLE plain (LIKE offers_offer {kind})")
                times.append(timed(lambda: copy(cursor, text)))
                cursor.execute("DROP TABLE plain")
        full.append(timed(lambda: read(listings, minute=0)))
        news = [costlier(line) if index % 50 == run else line for index, line in enumerate(listings)]
        again.append(timed(lambda news=news: read(news, minute=5)))  # type: ignore[misc]
    ingest_s, reingest_s, copy_s, bare_s = map(statistics.median, (full, again, plain, bare))
    say(
        f"full poll {ingest_s:.2f} s, with 2 % news {reingest_s:.2f} s, COPY {copy_s:.2f} s,"
        f" into a bare table {bare_s:.2f} s"
    )
    return {
        "ingest_to_copy": ratio(ingest_s, copy_s),
        "reingest_to_copy": ratio(reingest_s, copy_s),
        "ingest_s": round(ingest_s, 3),
        "reingest_s": round(reingest_s, 3),
        "copy_s": round(copy_s, 3),
        "bare_copy_s": round(bare_s, 3),
    }


def line_of(listing: Listing) -> lines.Line:
    """Return the row of a listing as it is copied."""
    return lines.line_of(listing, leasable=False)


def copy(cursor: Any, text: bytes) -> None:
    """Copy the rows into the table `plain`."""
    with cursor.copy(f"COPY plain ({merge.NAMES}, digest, changed_at) FROM STDIN") as sink:
        sink.write(text)


def read(listings: Iterable[Listing], *, minute: int) -> poll.Page:
    """Take in a whole page."""
    return poll.record(listings, provider="many", now=NOW + timedelta(minutes=minute), complete=True)


def costlier(line: Listing) -> Listing:
    """Return the line at a new price."""
    return replace(line, usd_per_hour=line.usd_per_hour + Decimal("0.01"))


def asked(listings: list[Listing]) -> dict[str, Any]:
    """Measure the question "H100 x 8, any market, cheapest 50" in the process, over HTTP, and at gpuhunt."""
    read(listings, minute=9)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE offers_offer")
    now = NOW + timedelta(minutes=9)

    def ask() -> int:
        return len(queries.open_offers(now=now, wishes=QUESTION, limit=50))

    assert ask() == 50
    ours_s = statistics.median(timed(ask) for _ in range(200))
    say(f"open_offers {ours_s * 1000:.2f} ms")
    theirs_s = market_peer.query_s(listings, question=QUESTION, say=say)
    say(f"gpuhunt {theirs_s * 1000:.2f} ms")
    return {
        "open_offers_ms": round(ours_s * 1000, 3),
        "faster_than_gpuhunt": ratio(theirs_s, ours_s),
        "gpuhunt_ms": round(theirs_s * 1000, 1),
        **market_http.load(say=say),
    }


def memory() -> dict[str, Any]:
    """Measure what a poll of 60,000 rows adds to the memory of an idle process, its peak against its peak before."""
    code = "from tests.benchmarks.bench_market import poll_memory_mib as measure; print(measure())"
    told = [
        float(subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, check=True, capture_output=True,
                             text=True).stdout.split()[-1])
        for _ in range(RUNS)
    ]  # fmt: skip
    mib = statistics.median(told)
    say(f"a poll of 60,000 rows takes {mib:.0f} MiB above idle")
    return {"poll_memory_mib": round(mib, 1)}


def poll_memory_mib(rows: int = 60_000) -> float:
    """Poll a list whose rows come one by one, as from the pages of an API, in this process; return MiB above idle."""
    now = datetime.now(UTC)
    sample = next(iter(Catalog(path=min(CATALOGS.glob("*/vms.csv")), now=now).listings()))

    class Lasting:
        name, skipped = "lasting", {}

        def listings(self) -> Iterable[Listing]:
            for index in range(rows):
                yield replace(sample, provider="lasting", region=f"region-{index % 40}", machine_type=f"type-{index}",
                              usd_per_hour=Decimal(index % 977 + 1) / 100)  # fmt: skip

    connection.ensure_connection()
    poll.poll(
        _Short(), now=now, every=timedelta(minutes=5)
    )  # What is imported and cached at the first poll is idle too.
    before = peak_mib()
    page = poll.poll(Lasting(), now=now, every=timedelta(minutes=5))  # type: ignore[arg-type]
    assert page is not None
    assert page.lines == rows
    return peak_mib() - before


def peak_mib() -> float:
    """Return the most memory that this program has held (proc(5), VmHWM; getrusage would count its parent's too)."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


class _Short:
    name = "short"
    skipped: dict[str, int] = {}

    def listings(self) -> list[Listing]:
        return list(Catalog(path=min(CATALOGS.glob("*/vms.csv")), now=datetime.now(UTC)).listings())[:10]


def chart() -> dict[str, Any]:
    """Measure a chart of 90 days for one GPU over all providers, over ten million samples."""
    began = NOW - timedelta(days=DAYS)
    with connection.cursor() as cursor:
        partitions.ensure(cursor, began, NOW)
        cursor.execute("TRUNCATE offers_offer, offers_pricesample, offers_source CASCADE")
        read(h100s(), minute=-DAYS * 24 * 60)
        cursor.execute("TRUNCATE offers_pricesample")
        took = timed(lambda: fill(cursor, began))
        cursor.execute("ANALYZE offers_pricesample")
    rows = PriceSample.objects.count()
    say(f"{rows:,} samples written in {took:.0f} s")
    took = timed(lambda: history.draw_all(since=began, until=NOW))
    say(f"their buckets drawn in {took:.0f} s")
    wish = history.Chart(gpu="H100", since=began, until=NOW, by="provider")
    drawn = history.chart(wish)
    assert len(drawn[0]["points"]) >= DAYS
    chart_s = statistics.median(timed(lambda: history.chart(wish)) for _ in range(50))
    say(f"the chart, {len(drawn)} lines of {len(drawn[0]['points'])} points, in {chart_s * 1000:.1f} ms")
    return {"history_chart_ms": round(chart_s * 1000, 2), "history_samples": rows, "history_draw_s": round(took, 1)}


def h100s() -> list[Listing]:
    """Return offers of one GPU at many places."""
    like = multiplied(1)[0]
    return [
        replace(like, accelerator_label="H100 SXM", accelerator_count=8, memory_gib=80, machine_type=f"h100-{index}",
                region=f"region-{index % 40}", usd_per_hour=Decimal(16 + index % 9))
        for index in range(SAMPLED_OFFERS)
    ]  # fmt: skip


def fill(cursor: Any, began: datetime) -> None:
    """Give every offer a price each so often, as a spot market does."""
    each = SAMPLES // SAMPLED_OFFERS
    cursor.execute(
        """
        INSERT INTO offers_pricesample (offer_id, seen_at, usd_per_hour)
        SELECT o.id, %s + (n + random()) * %s * interval '1 second',
            round((o.usd_per_hour * (0.7 + random() * 0.6))::numeric, 6)
        FROM generate_series(0, %s) n, offers_offer o
        """,
        [began, DAYS * 86_400 / each, each - 1],
    )


def timed(act: Callable[[], Any]) -> float:
    """Return the seconds that it takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def ratio(one: float, other: float) -> float:
    """Return one / other to three digits."""
    return float(f"{one / other:.3g}")


def say(line: str) -> None:
    """Tell how it goes, beside the result."""
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
