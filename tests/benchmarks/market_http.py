"""`GET /v1/offers` under wrk: the web process as `make run` starts it, the database and wrk share this machine."""

from __future__ import annotations

import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.utils import timezone

ROOT = Path(__file__).parents[2]
RUNS, SECONDS, CONNECTIONS = 3, 8, 16
# Forty questions in turn, the one of the bar among them.
QUESTIONS = """
local gpus = {"H100", "A100", "H200", "L4", "T4", "B200", "L40S", "V100", "A10G", "MI300X"}
local n = 0
request = function()
    n = n + 1
    local count = (math.floor(n / 10) % 4) * 2 + 2
    local path = "/v1/offers?gpu=" .. gpus[n % 10 + 1] .. "&min_count=" .. count .. "&limit=50"
    return wrk.format("GET", path, {["Authorization"] = "Bearer KEY"})
end
"""


def bench_key() -> str:
    """Return an API key of somebody who reads the book."""
    from broker.identity.operations import first_user, make_key, own_team

    now = timezone.now()
    user, key, _ = first_user(username="bench", now=now)
    return key or make_key(membership=own_team(user=user, now=now), name="bench", scopes=("read",), now=now)[1]


def load(*, say: Callable[[str], None]) -> dict[str, Any]:
    """Return requests a second and the 99th percentile in ms; then the same with no answer kept for a moment."""
    key = bench_key()
    kept = under_load(key, {})
    say(f"HTTP: {kept[0]:,.0f} requests/s, p99 {kept[1]:.1f} ms; {kept[2]} answers were no 200")
    fresh = under_load(key, {"GPUYARD_OFFERS_PAGE_FOR_S": "0"})
    say(f"HTTP, nothing kept: {fresh[0]:,.0f} requests/s, p99 {fresh[1]:.1f} ms; {fresh[2]} answers were no 200")
    return {
        "http_req_per_s": round(kept[0]),
        "http_p99_ms": round(kept[1], 2),
        "http_fresh_req_per_s": round(fresh[0]),
        "http_fresh_p99_ms": round(fresh[1], 2),
        "http_not_200": kept[2] + fresh[2],
    }


def under_load(key: str, changed: dict[str, str]) -> tuple[float, float, int]:
    """Start the web process, load it, and return medians: requests/s, p99 in ms, and how many answers were no 200."""
    with web(changed) as url, tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(QUESTIONS.replace("KEY", key))
        script.flush()
        wrk(url, script.name, seconds=2)
        told = [wrk(url, script.name, seconds=SECONDS) for _ in range(RUNS)]
    return statistics.median(one[0] for one in told), statistics.median(one[1] for one in told), sum(o[2] for o in told)


@contextmanager
def web(changed: dict[str, str]) -> Iterator[str]:
    """Run the web process meanwhile, with a changed environment; return its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "broker.asgi:application", "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if name != "GPUYARD_DB_POOL"} | changed
    process = subprocess.Popen([*command, "--log-level", "warning"], cwd=ROOT, env=environment)
    try:
        wait_for(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def wait_for(url: str, within_s: float = 60.0) -> None:
    """Return when the web process answers."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"{url}/healthz", timeout=2).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(url)


def wrk(url: str, script: str, *, seconds: int) -> tuple[float, float, int]:
    """Return requests/s, the 99th percentile in ms, and how many answers were no 200."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", script, url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    amount, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", said).groups()  # type: ignore[union-attr]
    p99_ms = float(amount) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    return float(rate[1]), p99_ms, int(bad[1]) if bad else 0  # type: ignore[index]
