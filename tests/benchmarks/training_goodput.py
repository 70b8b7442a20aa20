"""
What a real preemption trace leaves of three sites: `python -m tests.benchmarks.training_goodput`.

The trace is the first four hours of v100_1node_9zones_2023a (../shared/data/traces; GPUYARD_TRACES names another
place), us-west-2a, b and c, one machine each: six takes, three times the mean of that trace's 23 days, played in five
minutes. When a zone's machine is taken its site is killed (-9), when there is one again a site starts as a new
placement. Nobody tells the broker. 115,000 parameters, a round in 20 steps of 0.1 s at least, behind NAT at 100 Mbit/s
and 50 ms.

goodput: tokens merged while the trace ran, from its first commit to its end, over those that the live seconds of the
sites' processes in that time could have merged at the rate of ten undisturbed rounds before the trace. A process lives
from its start, so the five seconds that Python and torch take to load count, though of a machine's life they would be a
fiftieth as much; once_started is without them: from a process' first step.

`python -m tests.benchmarks.training_goodput [--hours 4] [--seconds 300]`
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks import parts
from tests.benchmarks.training_network import SITES, Network
from tests.benchmarks.training_sites import DidNotHappen, Job, Recipe, opened, say, tell

TRACES = Path(os.environ.get("GPUYARD_TRACES") or parts.ROOT.parent / "shared" / "data" / "traces")
TRACE, ZONES = "v100_1node_9zones_2023a.npz", ("us-west-2a", "us-west-2b", "us-west-2c")
RECIPE = Recipe(model="small", batch=8, every=20, pace_s=0.1)
MBIT_PER_S, RTT_MS = 100.0, 50.0
START_S, PATIENCE_S, CALM_ROUNDS = 60.0, 90.0, 10


@dataclass(frozen=True, slots=True)
class Event:
    """From this second of the trace on, a place has a machine or has none."""

    at_s: float
    place: str
    has_machine: bool


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--seconds", type=float, default=300.0)
    given = parser.parse_args()
    if not (TRACES / TRACE).exists():
        say(f"goodput: not measured: there is no {TRACE} (GPUYARD_TRACES names its place)")
        return tell({"goodput": None})
    events = scaled(TRACES / TRACE, hours=given.hours, seconds=given.seconds)
    with opened() as floor:
        if isinstance(floor.network, Network):
            floor.network.shape(mbit_per_s=MBIT_PER_S, rtt_ms=RTT_MS, nat=True)
        job = Job(floor, RECIPE)
        try:
            figures = measured(job, events, given.seconds)
        except DidNotHappen as late:
            say(f"goodput: not measured: {late}")
            floor.say_last_words()
            figures = {"goodput": None}
        finally:
            job.end()
    return tell(figures | {"hours": given.hours, "seconds_played": given.seconds})


def scaled(path: Path, *, hours: float, seconds: float) -> list[Event]:
    """Return what changes in the trace's first hours, played in so many seconds; all places begin with a machine."""
    with np.load(path) as trace:
        rows = [list(trace["zones"]).index(zone) for zone in ZONES]
        ticks = int(hours * 3600 / trace["tick_s"])
        has = trace["count"][rows, :ticks] > 0
    before = np.hstack([np.ones((len(rows), 1), bool), has[:, :-1]])
    return [
        Event(tick * seconds / ticks, SITES[row], bool(has[row, tick]))
        for tick, row in np.argwhere((has != before).T).tolist()
    ]


def measured(job: Job, events: Sequence[Event], seconds: float) -> dict[str, Any]:
    """Train undisturbed, then as the trace says."""
    from tests.benchmarks import training_rows

    commits = job.commits
    job.start()
    commits.wait_for(2, within_s=START_S)  # All three are in the rounds by now.
    first = commits.version + 1
    commits.wait_for(first + CALM_ROUNDS, within_s=PATIENCE_S)
    begun_s = time.monotonic()
    play(job, events, begun_s, seconds)
    ended_s = begun_s + seconds
    at_s = dict(reversed(commits.at_s))
    calm_tokens = job.recipe.tokens(
        training_rows.merged_samples(job.workload_id, versions=range(first, first + CALM_ROUNDS))
    )
    tokens_per_site_s = calm_tokens / (at_s[first + CALM_ROUNDS] - at_s[first]) / len(SITES)
    opening = min(number for number, at in commits.at_s if at >= begun_s)
    closing = max(number for number, at in commits.at_s if at <= ended_s)
    merged = job.recipe.tokens(training_rows.merged_samples(job.workload_id, versions=range(opening, closing)))
    live_s, started_s = lived(job, at_s[opening], ended_s)
    return {
        "goodput": merged / (tokens_per_site_s * live_s),
        "once_started": merged / (tokens_per_site_s * started_s),
        "takes": sum(not event.has_machine for event in events),
        "rounds": closing - opening,
        "live_s": live_s,
        "tokens_per_site_s": tokens_per_site_s,
    }


def play(job: Job, events: Sequence[Event], begun_s: float, seconds: float) -> None:
    """Kill and start sites when the trace says so."""
    here = {site.place: site for site in job.sites}
    for event in events:
        time.sleep(max(0.0, begun_s + event.at_s - time.monotonic()))
        if event.has_machine:
            here[event.place] = job.add_site(event.place)
            here[event.place].start()
        else:
            here[event.place].kill()
        say(f"goodput: {event.at_s:5.0f} s {event.place} {'has' if event.has_machine else 'loses'} its machine")
    time.sleep(max(0.0, begun_s + seconds - time.monotonic()))


def lived(job: Job, begun_s: float, ended_s: float) -> tuple[float, float]:
    """Return for how many seconds of a span the sites' processes lived, and since each one's first step."""
    live_s = started_s = 0.0
    for site in job.sites:
        steps = site.steps()[:, 4]
        for start_s, *end_s in site.child.lives:
            end = min([*end_s, ended_s])
            live_s += max(0.0, end - max(start_s, begun_s))
            own = steps[steps > start_s]
            if len(own):
                started_s += max(0.0, end - max(own[0], begun_s))
    return live_s, started_s


if __name__ == "__main__":
    sys.exit(main())
