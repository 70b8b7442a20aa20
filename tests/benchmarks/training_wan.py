"""
Three sites behind NAT against synchronous DDP over the same lines without NAT: tokens a second, stalls, bytes.

A GPT of 3.2 million parameters, a round in 50 steps, in the codec that the runtime chooses; DDP over Gloo sends float32
gradients each step. Lines of 100 Mbit/s with 50 ms between any two places, then 20 Mbit/s with 100 ms; the broker's own
is 1 Gbit/s. Two cores hold three sites, so the batch is small, each site has one thread, and every step takes 0.25 s at
least, as an accelerator's would: on our side that is what a step takes, on DDP's all that is sent within it costs
nothing. Ours and DDP take turns, each from a new start.

tokens_vs_ddp: tokens merged a second (between the commits of the first round and of the last but one) over those of
DDP's steps after the second; median of the turns. stall_share: seconds that the loop stood in `next(batches)` and in
the session's hook after the optimizer's step, less as many times what that takes at the median, over all seconds; mean
of the sites, median of the turns. bytes_vs_ddp: bytes at the sites' interfaces, in and out, a step; the lower of both
lines.

`python -m tests.benchmarks.training_wan [--turns 2] [--rounds 4] [--lines 100mbit 20mbit]`
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import asdict
from typing import Any

import numpy as np

from tests.benchmarks.training_network import SITES, Network, NoNamespaces
from tests.benchmarks.training_sites import DidNotHappen, Floor, Job, Recipe, opened, rounded, say, tell, wait_for

LINES = {"100mbit": (100.0, 50.0), "20mbit": (20.0, 100.0)}  # Mbit/s each way, ms there and back.
DDP_STEPS = {"100mbit": 8, "20mbit": 4}
WARM_UP = 2  # DDP's first steps, in which it arranges its buckets.
PORT = 29400
LEAST_TURN_S = 60.0


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--lines", nargs="*", default=list(LINES), choices=LINES)
    given = parser.parse_args()
    recipe = Recipe(model="large", context=32, batch=4, every=given.every, pace_s=0.25)
    turns: dict[str, list[dict[str, float]]] = {}
    try:
        with opened(loopback_will_do=False) as floor:
            for line in given.lines:
                for _ in range(given.turns):
                    turns.setdefault(line, []).append(turn(floor, recipe, line, given.rounds))
    except (NoNamespaces, DidNotHappen) as error:
        say(f"wan: not measured, or not all of it: {error}")
    return tell(figures(turns))


def figures(turns: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Return the keys, None where nothing was measured, and what they are made of."""

    def median(line: str, name: str) -> float | None:
        return statistics.median(one[name] for one in turns[line]) if turns.get(line) else None

    bytes_of = [value for line in LINES if (value := median(line, "bytes_ratio")) is not None]
    return {
        **{f"tokens_vs_ddp_{line}": median(line, "tokens_ratio") for line in LINES},
        **{f"stall_share_{line}": median(line, "stall_share") for line in LINES},
        "bytes_vs_ddp": min(bytes_of, default=None),
        "turns": turns,
    }


def turn(floor: Floor, recipe: Recipe, line: str, rounds: int) -> dict[str, float]:
    """Measure ours and DDP once on a line."""
    assert isinstance(floor.network, Network)
    mbit_per_s, rtt_ms = LINES[line]
    floor.network.shape(mbit_per_s=mbit_per_s, rtt_ms=rtt_ms, nat=True)
    ours = measured(floor, recipe, rounds)
    floor.network.shape(mbit_per_s=mbit_per_s, rtt_ms=rtt_ms, nat=False)
    theirs = measured_ddp(floor, recipe, line)
    told = {
        "tokens_ratio": ours["tokens_per_s"] / theirs["tokens_per_s"],
        "bytes_ratio": theirs["bytes_per_step"] / ours["bytes_per_step"],
        **ours,
        **{f"ddp_{name}": value for name, value in theirs.items()},
    }
    say(f"{line}: {json.dumps(rounded(told))}")
    return told


def measured(floor: Floor, recipe: Recipe, rounds: int) -> dict[str, float]:
    """Train so many rounds on three sites; what is measured lies between the first commit and the last but one."""
    from tests.benchmarks import training_rows

    samples = rounds * len(SITES) * recipe.every * recipe.batch
    job = Job(floor, Recipe(**asdict(recipe) | {"samples": samples}))
    job.start()
    try:
        begun_s = job.commits.wait_for(1, within_s=LEAST_TURN_S)
        last = max(2, rounds - 1)
        ended_s = job.commits.wait_for(last, within_s=LEAST_TURN_S + rounds * recipe.every * 4 * recipe.pace_s)
        wait_for(
            lambda: all(site.steps()[-1, 4] > ended_s for site in job.sites),
            within_s=LEAST_TURN_S,
            what="a step after the last commit",
            poll_s=0.5,
        )
    finally:
        job.end()
    seconds = ended_s - begun_s
    merged = training_rows.merged_samples(job.workload_id, versions=range(1, last))
    sites = [site.steps() for site in job.sites]
    return {
        "tokens_per_s": recipe.tokens(merged) / seconds,
        "stall_share": statistics.fmean(_stalled_s(site, begun_s, ended_s) / seconds for site in sites),
        "bytes_per_step": sum(_gained(site, site[:, 6], begun_s, ended_s) for site in sites)
        / sum(_gained(site, np.arange(len(site)), begun_s, ended_s) for site in sites),
        "step_s": statistics.median(np.concatenate([site[:, 4] - site[:, 1] for site in sites])),
        "seconds": seconds,
    }


def _gained(steps: np.ndarray, counter: np.ndarray, begun_s: float, ended_s: float) -> float:
    """How much a counter that was read after each step gained; between two steps as if it ran evenly."""
    begin, end = np.interp([begun_s, ended_s], steps[:, 4], counter)
    return float(end - begin)


def _stalled_s(steps: np.ndarray, begun_s: float, ended_s: float) -> float:
    """Waiting for a batch, and the session's hook after the optimizer's step, beyond what they take at the median."""
    edges = np.clip(steps[:, :4], begun_s, ended_s)
    stood_s = (edges[:, 1] - edges[:, 0]) + (edges[:, 3] - edges[:, 2])
    inside = (steps[:, 3] > begun_s) & (steps[:, 0] < ended_s)
    return float(stood_s[inside].sum() - inside.sum() * np.median(stood_s[inside]))


def measured_ddp(floor: Floor, recipe: Recipe, line: str) -> dict[str, float]:
    """Train by DDP on the three sites."""
    network = floor.network
    children = []
    for rank, place in enumerate(SITES):
        log = floor.directory / f"ddp-{place}-{len(floor.children)}.log"
        options = asdict(recipe) | {
            "corpus": str(floor.corpus),
            "log": str(log),
            "device": network.device(place),
            "master": f"{network.address(SITES[0])}:{PORT}",
            "rank": rank,
            "world": len(SITES),
            "steps": DDP_STEPS[line],
        }
        command = [sys.executable, "-m", "tests.benchmarks.training_peer", "ddp", json.dumps(options)]
        children.append((floor.child(log.stem, command, place=place, OMP_NUM_THREADS="1"), log))
    for child, _ in children:
        child.start()
    try:
        wait_for(lambda: not any(child.is_running for child, _ in children), within_s=240, what="the end of DDP")
    finally:
        for child, _ in children:
            child.kill()
    for child, _ in children:
        assert child.process is not None
        assert child.process.returncode == 0, child.last_words()
    logs = [np.loadtxt(log)[WARM_UP:] for _, log in children]
    steps = len(logs[0]) - 1
    seconds = statistics.fmean(log[-1, 0] - log[0, 0] for log in logs)
    return {
        "tokens_per_s": recipe.tokens(steps * len(SITES) * recipe.batch) / seconds,
        "bytes_per_step": statistics.fmean(log[-1, 1] - log[0, 1] for log in logs) / steps,
        "step_s": seconds / steps,
    }


if __name__ == "__main__":
    sys.exit(main())
