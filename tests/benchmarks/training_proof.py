"""
A run of real size on one machine: `make proof` (25 minutes; writes docs/proof.md and docs/proof.svg).

A GPT of 10.8 million parameters on the standard library's sources, over three sites behind NAT at 100 Mbit/s and 50 ms
(loopback without root), a round in 20 steps, int8. Two sites are killed (-9) under way and one of them comes back;
nobody tells the broker. Held-out loss is of the shared parameters, as the updates lead to them from the first ones.

`python -m broker.local.testing -- python -m tests.benchmarks.training_proof [--minutes 21]`
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Subset

from tests.benchmarks import parts
from tests.benchmarks.training_model import SIZES, Gpt, Windows, held_out_loss
from tests.benchmarks.training_network import SITES, Network
from tests.benchmarks.training_sites import DidNotHappen, Floor, Job, Recipe, opened, say, tell

RECIPE = Recipe(model="proof", context=64, batch=4, every=20, pace_s=0.0, rate=6e-4)
MBIT_PER_S, RTT_MS = 100.0, 50.0
KILLED_AT, BACK_AT, KILLED_TOO_AT = 0.3, 0.45, 0.7  # Of the run.
HELD_OUT = 192  # Windows, at the end of the text.
EVALUATED, PROMPT, LETTERS = 24, "def ", 240
DOCS = parts.ROOT / "docs"
STUCK_S = 120.0
WIDE, HIGH, MARGIN = 860, 340, 50  # Of the picture.
Point = tuple[float, float]


def main() -> int:
    """Train, then write down what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=21.0)
    seconds = parser.parse_args().minutes * 60
    with opened(can_fail=False) as floor:  # Nothing is deleted, which is more than a small store holds.
        if isinstance(floor.network, Network):
            floor.network.shape(mbit_per_s=MBIT_PER_S, rtt_ms=RTT_MS, nat=True)
        job = Job(floor, RECIPE)
        try:
            moves = trained(job, seconds)
            losses = evaluated(job, floor)
            figures = written(job, moves, losses)
        finally:
            job.end()
    return tell(figures)


def trained(job: Job, seconds: float) -> list[tuple[float, str]]:
    """Train for so long; return what happened to the sites, and when."""
    sites, moves = job.start(), []
    job.commits.wait_for(0, within_s=120)
    begun_s = job.commits.at_s[0][1]
    steps = [
        (KILLED_AT, f"{SITES[0]} is killed", sites[0].kill),
        (BACK_AT, f"{SITES[0]} comes back", sites[0].start),
        (KILLED_TOO_AT, f"{SITES[1]} is killed", sites[1].kill),
    ]
    for share, words, act in steps:
        time.sleep(max(0.0, begun_s + share * seconds - time.monotonic()))
        act()
        moves.append((time.monotonic() - begun_s, words))
        say(f"proof: {moves[-1][0]:.0f} s {words}")
    time.sleep(max(0.0, begun_s + seconds - time.monotonic()))
    if time.monotonic() - job.commits.at_s[-1][1] > STUCK_S:
        raise DidNotHappen(f"the last version came {time.monotonic() - job.commits.at_s[-1][1]:.0f} s before the end")
    for site in sites:
        if site.child.is_running:
            site.kill()
    return moves


def evaluated(job: Job, floor: Floor) -> list[tuple[int, float]]:
    """Return (version, held-out loss) of some versions, the first and the last among them."""
    from tests.benchmarks import training_rows

    torch.set_num_threads(2)
    model = Gpt(RECIPE.model, RECIPE.context)
    windows = Subset(Windows(floor.corpus, RECIPE.context, held_out=True), range(HELD_OUT))
    newest = job.commits.version
    wanted = {round(newest * index / (EVALUATED - 1)) for index in range(EVALUATED)}
    losses = []
    for version, theta in training_rows.versions(job.workload_id):
        if version in wanted:
            _load(model, training_rows.parameters(job.workload_id, theta))
            losses.append((version, held_out_loss(model, windows)))
    return losses


def written(job: Job, moves: Sequence[tuple[float, str]], losses: Sequence[tuple[int, float]]) -> dict[str, Any]:
    """Write the page and the picture; return the figures."""
    from tests.benchmarks import training_rows

    begun_s = job.commits.at_s[0][1]
    at_s = {version: moment - begun_s for version, moment in job.commits.at_s}
    theta, alike = training_rows.replayed(job.workload_id)
    model = Gpt(RECIPE.model, RECIPE.context)
    _load(model, training_rows.parameters(job.workload_id, theta))
    rounds = training_rows.rounds(job.workload_id)
    curve = [(at_s[version] / 60, loss) for version, loss in losses]
    told = [(at_s[row["version"] + 1] / 60, row["loss"]) for row in rounds if row["loss"] is not None]
    (DOCS / "proof.svg").write_text(picture(curve, told, [(at / 60, words) for at, words in moves]))
    gaps = [at_s[version] - at_s[version - 1] for version in range(2, max(at_s) + 1)]
    figures = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "minutes": max(at_s.values()) / 60,
        "rounds": len(rounds),
        "tokens": RECIPE.tokens(sum(row["samples"] for row in rounds)),
        "held_out_loss": losses[-1][1],
        "held_out_loss_at_first": losses[0][1],
        "replay_gives_the_same_bits": alike,
        "gap_median_s": statistics.median(gaps),
        "gap_max_s": max(gaps),
    }
    (DOCS / "proof.md").write_text(page(figures, moves, rounds, at_s, generated(model)))
    return figures


def page(figures: Any, moves: Any, rounds: Any, at_s: Any, text: str) -> str:
    """Return the page."""
    width, layers = SIZES[RECIPE.model]
    happened = "; ".join(f"after {at / 60:.1f} minutes {words} (`kill -9`)" if "killed" in words
                         else f"after {at / 60:.1f} minutes {words}" for at, words in moves)  # fmt: skip
    table = "\n".join(
        f"| {row['version']} | {at_s[row['version'] + 1] / 60:.1f} | {row['sites']} | {row['samples']} | "
        f"{'-' if row['loss'] is None else format(row['loss'], '.3f')} | {row['update_bytes'] / 1e6:.1f} | "
        f"{row['merge_s']:.2f} | {row['stall_s']:.2f} |"
        for row in rounds
    )
    bits = "the very bits" if figures["replay_gives_the_same_bits"] else "OTHER bits than those"
    return f"""# A run of real size

Made by `make proof`, in {figures["minutes"]:.0f} minutes on 2 cores. A GPT of {figures["parameters"]:,} parameters
(width {width}, {layers} layers, characters) was trained on the standard library's sources over three sites behind NAT,
with the real broker, hub and session.

{happened[0].upper()}{happened[1:]}.

![Loss over time](proof.svg)

{figures["rounds"]} rounds, {figures["tokens"]:,.0f} characters. Held-out loss went from
{figures["held_out_loss_at_first"]:.3f} to {figures["held_out_loss"]:.3f} nats a character. A version came after
{figures["gap_median_s"]:.1f} s (median), {figures["gap_max_s"]:.1f} s at most, the kills included. Adding up the
updates from the first parameters gives {bits} of the last version.

What the model writes after "{PROMPT}", drawn at temperature 0.8:

```text
{text}
```

| round | minute | sites | samples | loss | update, MB | merge, s | longest stall, s |
|---|---|---|---|---|---|---|---|
{table}
"""


def picture(curve: Sequence[Point], told: Sequence[Point], moves: Sequence[tuple[float, str]]) -> str:
    """Return losses over minutes as SVG."""
    last = max(x for x, _ in curve)
    low, high = min(y for _, y in [*curve, *told]) - 0.1, max(y for _, y in [*curve, *told]) + 0.1

    def place(x: float, y: float) -> str:
        right = MARGIN + x / last * (WIDE - 2 * MARGIN)
        return f"{right:.1f},{HIGH - MARGIN - (y - low) / (high - low) * (HIGH - 2 * MARGIN):.1f}"

    def line(points: Sequence[Point], style: str) -> str:
        return f'<polyline fill="none" {style} points="{" ".join(place(*point) for point in points)}"/>'

    def words(x: float, y: float, text: str, style: str = "") -> str:
        right, down = place(x, y).split(",")
        return f'<text x="{right}" y="{down}" {style}>{text}</text>'

    marks = []
    for at, what in moves:
        ends = [(at, low), (at, high)]
        marks += [line(ends, 'stroke="#b45309" stroke-dasharray="4 4"'), words(at, high, what, 'fill="#b45309"')]
    ticks = [words(minute, low, f"{minute} min", 'dy="18"') for minute in range(0, int(last) + 1, 5)]
    step = 0.5
    levels = [index * step for index in range(int(low / step) + 1, int(high / step) + 1)]
    ticks += [words(0, level, f"{level:.1f}", 'dx="-30"') for level in levels]
    grid = [line([(0, level), (last, level)], 'stroke="#e5e7eb"') for level in levels]
    lines = [line(told, 'stroke="#93c5fd"'), line(curve, 'stroke="#1d4ed8" stroke-width="2"')]
    legend = words(last * 0.62, high - 0.12 * (high - low), "dark: held out; light: as trained, a round's mean")
    body = "\n".join([*grid, *lines, *marks, *ticks, legend])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" '
        f'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{WIDE}" height="{HIGH}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def generated(model: Gpt) -> str:
    """Return what the model writes after PROMPT."""
    torch.manual_seed(0)
    letters = [ord(letter) - 31 for letter in PROMPT]
    for _ in range(LETTERS):
        with torch.no_grad():
            logits = model.logits(torch.tensor([letters[-RECIPE.context :]]))[0, -1]
        letters.append(int(torch.multinomial(torch.softmax(logits / 0.8, 0), 1)))
    return "".join("\n" if code == 0 else chr(code + 31) for code in letters)


def _load(model: Gpt, tensors: dict[str, Any]) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(tensors[name]))


if __name__ == "__main__":
    sys.exit(main())
