"""
The offer page against a book of 100,000 offers: from a price's commit to its event at twenty readers, and its pages.

`make bench-live`. The web process as `make run` starts it, no answer kept; database and readers share the machine.
The last line is one JSON object.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlsplit

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "broker.settings")
import django

django.setup()

from django.core.management import call_command
from django.db import connection

from offers import poll
from tests.benchmarks import bench_market, market_http

READERS, CHANGES, RUNS, PAGE = 20, 50, 21, 200
QUESTIONS = {
    "first_page_ms": "limit=200&sort=usd_per_gpu_hour",
    "filtered_ms": "limit=200&gpu=H100,A100&min_count=2&market=spot&sort=usd_per_hour",
    "unindexed_sort_ms": "limit=200&sort=-ram_gib",
    "text_ms": "limit=200&q=a100+us-east",
    "total_ms": "limit=200&total=true",
    "total_filtered_ms": "limit=200&total=true&gpu=H100&market=spot",
    "total_text_ms": "limit=200&total=true&q=a100+us-east",
}


def main() -> None:
    """Fill the book, start the web process, and measure."""
    call_command("migrate", verbosity=0)
    now = datetime.now(UTC)
    listings = bench_market.multiplied(bench_market.OFFERS)
    poll.record(listings, provider="many", now=now, complete=True)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE offers_offer; ")
    key = market_http.bench_key()
    with market_http.web({"GPUYARD_OFFERS_PAGE_FOR_S": "0"}) as url:
        reader = Reader(url, key)
        told = pages(reader) | depth(reader) | live(url, key, listings[0], now)
    sys.stdout.write(json.dumps({"offers": len(listings)} | told) + "\n")


class Reader:
    """One connection with a key."""

    def __init__(self, url: str, key: str) -> None:
        self.host, self.headers = urlsplit(url).netloc, {"Authorization": f"Bearer {key}"}
        self.line = http.client.HTTPConnection(self.host, timeout=60)

    def get(self, path: str) -> tuple[float, Any]:
        """Return the ms until the whole answer was there, and the answer."""
        began = time.perf_counter()
        self.line.request("GET", path, headers=self.headers)
        answer = self.line.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        return (time.perf_counter() - began) * 1000, json.loads(text)


def pages(reader: Reader) -> dict[str, float]:
    """Measure the questions of the page, and what it shows beside them."""
    ids = ",".join(str(row["id"]) for row in reader.get("/v1/offers?limit=200")[1]["results"])
    paths = {name: f"/v1/offers?{query}" for name, query in QUESTIONS.items()}
    paths |= {"facets_ms": "/v1/offers/facets", "facets_filtered_ms": "/v1/offers/facets?gpu=H100"}
    paths |= {"sparks_ms": f"/v1/offers/sparks?offers={ids}"}
    told = {}
    for name, path in paths.items():
        reader.get(path)
        told[name] = round(statistics.median(reader.get(path)[0] for _ in range(RUNS)), 1)
        say(f"{name} {told[name]}")
    return told


def depth(reader: Reader) -> dict[str, float]:
    """Measure pages of 200 rows from the first to the last."""
    took, cursor = [], ""
    while True:
        ms, page = reader.get(f"/v1/offers?limit={PAGE}&sort=usd_per_gpu_hour&cursor={quote(cursor)}")
        took.append(ms)
        if page["next"] is None:
            break
        cursor = page["next"]
    say(f"{len(took)} pages")
    return {
        "shallow_page_ms": round(statistics.median(took[:25]), 1),
        "deep_page_ms": round(statistics.median(took[-26:-1]), 1),
        "worst_page_ms": round(max(took), 1),
    }


def live(url: str, key: str, line: Any, now: datetime) -> dict[str, float]:
    """Measure from the commit of a price to its event at each of the readers."""
    came: list[dict[str, float]] = [{} for _ in range(READERS)]
    ready = threading.Barrier(READERS + 1)

    def read(at: dict[str, float]) -> None:
        reader = Reader(url, key)
        reader.line.request("GET", "/v1/offers/stream", headers=reader.headers)
        answer = reader.line.getresponse()
        answer.readline()
        ready.wait()
        while len(at) < CHANGES:
            text = answer.readline()
            if text.startswith(b"data: "):
                at[json.loads(text[6:])["usd_per_hour"]] = time.perf_counter()

    readers = [threading.Thread(target=read, args=(at,), daemon=True) for at in came]
    for reader in readers:
        reader.start()
    ready.wait()
    waited = []
    for number in range(CHANGES):
        usd = Decimal(number + 1) / 1000 + line.usd_per_hour
        poll.record([replace(line, usd_per_hour=usd)], provider="many", now=now)
        committed, name = time.perf_counter(), f"{usd:.6f}"
        time.sleep(0.5 + (number % 7) / 50)
        waited += [(at[name] - committed) * 1000 for at in came if name in at]
    for reader in readers:
        reader.join(timeout=10)
    return {
        "readers": READERS,
        "events": len(waited),
        "commit_to_event_median_ms": round(statistics.median(waited), 1),
        "commit_to_event_max_ms": round(max(waited), 1),
    }


def say(line: str) -> None:
    """Tell how it goes, beside the result."""
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
