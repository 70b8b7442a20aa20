"""
The offers' page in a real browser against a book of 100,000 offers.

`make bench-dashboard`, with Chromium from Debian. The web process as `make run` starts it; browser, database and server
share the machine, and the browser draws without a graphics card. The last line is one JSON object:

first_rows_ms: from the start of the navigation, with nothing cached, to the frame in which rows are on the screen.
longest_frame_ms, frame_p99_ms: between two frames while the table is scrolled by wheel, a screenful at a time.
long_task_ms: the longest task of the page's own thread meanwhile (Long Tasks API; 0 where none took 50 ms).
change_ms, change_max_ms: from a price's commit to the frame in which the new one is on the screen.
lighthouse_desktop, lighthouse_mobile: the lowest of the pages' medians of Lighthouse's performance score (0 to 100).
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "broker.settings")
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # Playwright's loop runs in this thread; the queries are ours alone.
import django

django.setup()

from django.core.management import call_command
from django.db import connection
from playwright.sync_api import Browser, Page, sync_playwright

from offers import poll
from tests.benchmarks import bench_market, market_http
from tests.e2e.lighthouse import scores

VISITS, CHANGES, WHEELS, JUDGED = 7, 30, 60, 3
PAGES = ("/offers", "/launch", "/workloads", "/hosts")
ROW = '[role="row"][data-index="0"]'
WATCH_FRAMES = """() => {
    window.frames_ = []; window.tasks_ = [];
    new PerformanceObserver((list) => window.tasks_.push(...list.getEntries().map((one) => one.duration)))
        .observe({type: "longtask"});
    let before = performance.now();
    const look = (now) => {
        window.frames_.push(now - before);
        before = now;
        window.frame_ = requestAnimationFrame(look);
    };
    window.frame_ = requestAnimationFrame(look);
}"""
WATCH_TEXT = """() => {
    window.seen_ = {};
    new MutationObserver(() => {
        const text = document.querySelector('[role="row"][data-index="0"]')?.innerText ?? "";
        const price = text.match(/\\$0\\.\\d{3}/)?.[0];
        if (price && !(price in window.seen_)) requestAnimationFrame(() => { window.seen_[price] ??= Date.now(); });
    }).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


def main() -> None:
    """Fill the book, start the web process and the browser, and measure."""
    call_command("migrate", verbosity=0)
    now = datetime.now(UTC)
    listings = bench_market.multiplied(bench_market.OFFERS)
    first = replace(listings[0], usd_per_hour=Decimal("0.010"), accelerator_count=1)  # It stays the cheapest.
    poll.record([first, *listings[1:]], provider="many", now=now, complete=True)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE offers_offer; ")
    key = market_http.bench_key()
    chromium = shutil.which("chromium") or sys.exit("chromium is missing (Debian: apt install chromium)")
    with market_http.web({}) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        told = visits(browser, url, key) | scroll(browser, url, key) | changes(browser, url, key, first, now)
        browser.close()
        told |= lighthouse(url, key)
    sys.stdout.write(json.dumps({"offers": len(listings)} | told) + "\n")


def opened(browser: Browser, url: str, key: str) -> Page:
    """Return the page with rows on it, in a context of its own: nothing is cached."""
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, extra_http_headers={"Authorization": f"Bearer {key}"}
    )
    page = context.new_page()
    page.goto(f"{url}/offers")
    page.wait_for_selector(ROW)
    return page


def visits(browser: Browser, url: str, key: str) -> dict[str, float]:
    """Measure until the first rows are there."""
    took = []
    for _ in range(VISITS + 1):
        page = opened(browser, url, key)
        took.append(page.evaluate("() => new Promise((done) => requestAnimationFrame(() => done(performance.now())))"))
        page.context.close()
    say(f"first rows: {[round(one) for one in took]} ms, the first visit apart")
    return {"first_rows_ms": round(statistics.median(took[1:]))}


def scroll(browser: Browser, url: str, key: str) -> dict[str, float]:
    """Measure frames while the wheel turns."""
    page = opened(browser, url, key)
    page.wait_for_timeout(1000)
    page.mouse.move(700, 500)
    page.evaluate(WATCH_FRAMES)
    for _ in range(WHEELS):
        page.mouse.wheel(0, 700)
        page.wait_for_timeout(80)
    frames = sorted(page.evaluate("() => { cancelAnimationFrame(window.frame_); return window.frames_; }")[1:])
    tasks = page.evaluate("() => window.tasks_")
    rows = page.evaluate("() => Number([...document.querySelectorAll('[data-index]')].at(-1).dataset.index)")
    page.context.close()
    say(f"scrolled to row {rows} in {len(frames)} frames; the slowest {[round(one, 1) for one in frames[-5:]]} ms")
    return {
        "scrolled_rows": rows,
        "longest_frame_ms": round(frames[-1], 1),
        "frame_p99_ms": round(frames[int(len(frames) * 0.99)], 1),
        "long_task_ms": round(max(tasks, default=0), 1),
    }


def changes(browser: Browser, url: str, key: str, line: Any, now: datetime) -> dict[str, float]:
    """Measure from a price's commit until it is on the screen."""
    page = opened(browser, url, key)
    page.wait_for_selector("text=live")
    page.evaluate(WATCH_TEXT)
    committed = {}
    for number in range(CHANGES):
        usd = Decimal(number + 11) / 1000  # In small steps: a price that leaps is kept back.
        poll.record([replace(line, usd_per_hour=usd)], provider="many", now=now)
        committed[f"${usd:.3f}"] = time.time() * 1000
        page.wait_for_timeout(600 + number % 7 * 20)
    seen = page.evaluate("() => window.seen_")
    took = [seen[name] - at for name, at in committed.items() if name in seen]
    page.context.close()
    return {
        "changes": len(took),
        "change_ms": round(statistics.median(took)),
        "change_max_ms": round(max(took)),
    }


def lighthouse(url: str, key: str) -> dict[str, float]:
    """Let Lighthouse judge how fast each page is, on its idea of a desktop and of a phone."""
    told = {}
    for form in ("desktop", "mobile"):
        worst = 100.0
        for path in PAGES:
            runs = [scores(url + path, key=key, form=form, categories=("performance",)) for _ in range(JUDGED)]
            found = [one["performance"] for one in runs]
            say(f"lighthouse {form} {path}: {found}")
            worst = min(worst, statistics.median(found))
        told[f"lighthouse_{form}"] = worst
    return told


def say(line: str) -> None:
    """Tell how it goes, beside the result."""
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
