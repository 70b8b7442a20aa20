"""
How well the hazard model foretells survival of one hour on real availability traces.

    python -m tests.benchmarks.matching_hazard      prints figures() as one JSON line and draws docs/calibration.svg

Protocol. A set is one trace (zones x ticks of machine counts) and a gang size n, 1 and the trace's largest count; a
zone is up while its count is at least n. Time runs forward once. At tick t the model has seen ticks 0 to t of all zones
of its own set and nothing else; its prior (`hazard_prior`) is the same everywhere. For each zone that is up at t it
gives the chance to be up at every tick of (t, t + 1 h]. Ticks from the middle of the trace on are judged, up to one
hour before its end. The score is Brier's. It is held against

- the training base rate: the share of survivors among all (zone, tick) up whose hour ended before the middle;
- the base rate of the judged part itself, which nobody could have known;
- each zone's own training base rate.

`brier_gain` is 1 - (mean Brier over the sets) / (mean Brier of the training base rate over the sets), each set with the
same weight, so that the longest trace does not decide. `rolling`: the same for each fifth of the traces from the second
on, with base rates from all before it. `frozen`: rates are learnt from the first half and stay; only ages go on.
`without_*`: what is left when the model knows no age, no place, no prior of ours (a flat 0.18 losses an hour), or a
prior from the other traces only. Bamboo's traces are left out: one group of nodes for 11 to 27 hours has one to three
losses of a gang in its second half, and a score of three events says nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offers.matching import survival as curves
from offers.matching.calibration import Calibration, calibration
from offers.matching.hazard import Watch
from offers.matching.hazard_prior import SPOT_FIRST_DAY, Line

PROJECT = Path(__file__).parents[2]
TRACES = PROJECT.parent / "shared" / "data" / "traces"
PICTURE = PROJECT / "docs" / "calibration.svg"
HOUR_S = 3600.0
SIDE, LEFT, TOP = 320, 64, 40  # Of the picture's square, in pixels.
WIDTH, HEIGHT = LEFT + SIDE + 56, TOP + SIDE + 56


@dataclass(frozen=True)
class Trace:
    """One set. up: [zones, ticks]."""

    name: str
    up: NDArray[np.bool_]
    tick_s: float

    @property
    def hour(self) -> int:
        """Ticks in one hour, rounded up."""
        return int(np.ceil(HOUR_S / self.tick_s))

    @property
    def lines(self) -> list[Line]:
        """A line for each zone; all are one provider's spot machines of one chip."""
        return [Line(key=("cloud", "", str(i), ""), accelerator="chip", market="spot") for i in range(len(self.up))]

    def stays(self) -> NDArray[np.bool_]:
        """Whether each zone is up at each tick and at every tick of the hour after it. [zones, ticks - hour]."""
        windows = np.lib.stride_tricks.sliding_window_view(self.up, self.hour + 1, axis=1)
        return np.asarray(windows.all(axis=-1))


@dataclass(frozen=True)
class Foretold:
    """Chances and what came, for (zone, tick) that were up from `begin` up to `end`."""

    predicted: NDArray[np.float64]
    came: NDArray[np.float64]
    base_rate: float
    zone_base_rates: NDArray[np.float64]

    def against(self, base_rate: float | NDArray[np.float64] | None) -> Calibration:
        """Return its scores against a base rate."""
        return calibration(self.predicted, self.came, base_rate=base_rate)


def figures() -> dict[str, Any]:
    """Return `brier_gain` and what is behind it."""
    traces = list(_traces())
    chances = [_foretell(trace) for trace in traces]
    halves = [_judged(trace, chance, 0.5, 1.0) for trace, chance in zip(traces, chances, strict=True)]
    pooled = _pooled(halves)
    ablated = {name: _gain(traces, [change(trace) for trace in traces]) for name, change in _ablations(traces).items()}
    return {
        "brier_gain": _gain(traces, chances),
        "brier_gain_by_held_back_rate": _gain_of([half.against(None) for half in halves]),
        "brier_gain_by_zone_rates": _gain_of([half.against(half.zone_base_rates) for half in halves]),
        "calibration_error": round(pooled.error, 4),
        "predictions": sum(len(half.came) for half in halves),
        "sets": {trace.name: _shown(half) for trace, half in zip(traces, halves, strict=True)},
        "rolling": [_gain(traces, chances, i / 5, (i + 1) / 5) for i in range(1, 5)],
        **ablated,
        "bins": [
            (b.count, b.predicted and round(b.predicted, 3), b.observed and round(b.observed, 3)) for b in pooled.bins
        ],
    }


def picture() -> str:
    """Return predicted against observed survival on the held-back halves of all sets, as SVG."""
    traces = list(_traces())
    return _drawn(_pooled([_judged(trace, _foretell(trace), 0.5, 1.0) for trace in traces]))


def _traces() -> Iterator[Trace]:
    for path in sorted(TRACES.glob("*.npz")):
        stored = np.load(path)
        count, tick_s = stored["count"], float(stored["tick_s"])
        for gang in sorted({1, int(count.max())}):
            yield Trace(f"{path.stem} gang {gang}", count >= gang, tick_s)


def _foretell(
    trace: Trace,
    *,
    priors: NDArray[np.float64] | None = None,
    rates: Callable[[Watch], NDArray[np.float64]] = Watch.rates_per_hour,
    learns_until: float = 1.0,
) -> NDArray[np.float64]:
    """Return for each zone and tick the chance to stay up for an hour, from what was seen up to that tick."""
    watch = Watch(trace.up[:, :0], tick_s=trace.tick_s, lines=trace.lines)
    watch.priors = watch.priors if priors is None else np.broadcast_to(priors, watch.priors.shape)
    chance = np.zeros(trace.up.shape)
    now = rates(watch)
    for tick in range(trace.up.shape[1]):
        watch.observe(trace.up[:, tick])
        if tick < learns_until * trace.up.shape[1]:
            now = rates(watch)
        chance[:, tick] = curves.survival(now, watch.age_s, trace.hour * trace.tick_s)
    return chance


def _judged(trace: Trace, chance: NDArray[np.float64], begin: float, end: float) -> Foretold:
    stays = trace.stays()
    ticks = stays.shape[1]
    first, last = int(begin * trace.up.shape[1]), min(int(end * trace.up.shape[1]), ticks)
    up = trace.up[:, :ticks]
    known, judged = up.copy(), up.copy()
    known[:, max(first - trace.hour, 0) :] = False
    judged[:, :first] = judged[:, last:] = False
    base_rate = float(stays[known].mean())
    zones = [float(stays[i][known[i]].mean()) if known[i].any() else base_rate for i in range(len(up))]
    return Foretold(
        predicted=chance[:, :ticks][judged],
        came=stays[judged].astype(np.float64),
        base_rate=base_rate,
        zone_base_rates=np.repeat(zones, judged.sum(axis=1)),
    )


def _gain(traces: list[Trace], chances: list[NDArray[np.float64]], begin: float = 0.5, end: float = 1.0) -> float:
    found = [_judged(trace, chance, begin, end) for trace, chance in zip(traces, chances, strict=True)]
    return _gain_of([one.against(one.base_rate) for one in found])


def _gain_of(found: list[Calibration]) -> float:
    return round(1 - sum(one.brier for one in found) / sum(one.base_brier for one in found), 4)


def _pooled(found: list[Foretold]) -> Calibration:
    return calibration(np.concatenate([one.predicted for one in found]), np.concatenate([one.came for one in found]))


def _shown(found: Foretold) -> dict[str, float]:
    training, own, zones = (found.against(rate) for rate in (found.base_rate, None, found.zone_base_rates))
    return {
        "n": len(found.came),
        "brier": round(training.brier, 4),
        "gain": round(training.gain, 4),
        "gain_by_held_back_rate": round(own.gain, 4),
        "gain_by_zone_rates": round(zones.gain, 4),
        "predicted": round(float(found.predicted.mean()), 3),
        "observed": round(float(found.came.mean()), 3),
        "calibration_error": round(training.error, 4),
    }


def _ablations(traces: list[Trace]) -> dict[str, Callable[[Trace], NDArray[np.float64]]]:
    flat = np.full(len(curves.AGES_S), SPOT_FIRST_DAY)
    return {
        "frozen": lambda trace: _foretell(trace, learns_until=0.5),
        "without_age": lambda trace: _foretell(trace, priors=flat, rates=_ageless),
        "without_place": lambda trace: _foretell(trace, rates=_placeless),
        "without_prior": lambda trace: _foretell(trace, priors=flat),
        "with_prior_of_others": lambda trace: _foretell(trace, priors=_prior_of_others(trace, traces)),
    }


def _ageless(watch: Watch) -> NDArray[np.float64]:
    """Each zone's one rate, shrunk towards that of all."""
    losses, hours = watch.losses.sum(axis=1), watch.exposure_h.sum(axis=1)
    pool = (2 + losses.sum()) / (2 / SPOT_FIRST_DAY + hours.sum())
    return np.repeat(((5 + losses) / (5 / pool + hours))[:, None], len(curves.AGES_S), axis=1)


def _placeless(watch: Watch) -> NDArray[np.float64]:
    """All zones as one."""
    losses, hours = watch.losses.sum(axis=0), watch.exposure_h.sum(axis=0)
    return np.broadcast_to((5 + losses) / (5 / watch.priors[0] + hours), watch.priors.shape)


def _prior_of_others(trace: Trace, traces: list[Trace]) -> NDArray[np.float64]:
    """What the first halves of the other files show; never the same file with another gang."""
    lost, hours = np.zeros(len(curves.AGES_S)), np.zeros(len(curves.AGES_S))
    for other in traces:
        if other.name.split()[0] != trace.name.split()[0]:
            seen = Watch(other.up[:, : other.up.shape[1] // 2], tick_s=other.tick_s, lines=other.lines)
            lost, hours = lost + seen.losses.sum(axis=0), hours + seen.exposure_h.sum(axis=0)
    return (lost + 0.5) / (hours + 0.5)


def _drawn(found: Calibration) -> str:
    dots = [
        (b.predicted, b.observed, b.count) for b in found.bins if b.predicted is not None and b.observed is not None
    ]
    parts = [f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>']
    for at in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        parts.append(f'<path class="grid" d="M{_x(at)} {_y(0)}V{_y(1)}M{_x(0)} {_y(at)}H{_x(1)}"/>')
        parts.append(f'<text x="{_x(at)}" y="{_y(0) + 18}" text-anchor="middle">{at:.1f}</text>')
        parts.append(f'<text x="{_x(0) - 8}" y="{_y(at) + 4}" text-anchor="end">{at:.1f}</text>')
    parts.append(f'<path class="perfect" d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}"/>')
    parts.append(f'<path class="found" d="M{"L".join(f"{_x(p)} {_y(o)}" for p, o, _ in dots)}"/>')
    for p, o, n in dots:
        told = f"{p:.3f} predicted, {o:.3f} observed, {n} predictions"
        parts.append(f'<circle cx="{_x(p)}" cy="{_y(o)}" r="4"><title>{told}</title></circle>')
        parts.append(f'<text class="count" x="{_x(p) + 7}" y="{_y(o) + 14}">{n:,}</text>')
    parts += [
        f'<text class="title" x="{LEFT}" y="22">Still up after one hour: calibration error {found.error:.3f}</text>',
        f'<text x="{_x(0.5)}" y="{_y(0) + 40}" text-anchor="middle">predicted (small: how many)</text>',
        f'<text transform="translate(18 {_y(0.5)}) rotate(-90)" text-anchor="middle">observed share</text>',
    ]
    return _SHEET.format(width=WIDTH, height=HEIGHT, body="\n".join(parts))


def _x(share: float) -> float:
    return round(LEFT + SIDE * share, 1)


def _y(share: float) -> float:
    return round(TOP + SIDE * (1 - share), 1)


_SHEET = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">
<title>Predicted against observed survival of one hour, ten bins</title>
<style>
text {{ font: 12px system-ui, sans-serif; fill: #333 }}
.title {{ font-weight: 600 }}
.count {{ font-size: 10px; fill: #666 }}
.ground {{ fill: #fff }}
.grid {{ stroke: #e2e2e2; fill: none }}
.perfect {{ stroke: #888; stroke-dasharray: 4 4; fill: none }}
.found {{ stroke: #1f6feb; stroke-width: 2; fill: none }}
circle {{ fill: #1f6feb }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #ddd }}
.count {{ fill: #aaa }}
.ground {{ fill: #16181c }}
.grid {{ stroke: #2e3238 }}
.found {{ stroke: #6cb0ff }}
circle {{ fill: #6cb0ff }}
}}
</style>
{body}
</svg>
"""


if __name__ == "__main__":
    PICTURE.write_text(picture())
    sys.stdout.write(json.dumps(figures()) + "\n")
