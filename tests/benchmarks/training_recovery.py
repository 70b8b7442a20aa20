"""
How long the others stand when a site, its line or the hub is gone, against torchft; all in one run.

Three sites behind NAT at 100 Mbit/s and 50 ms, 115,000 parameters, a round in 20 steps of 0.1 s at least: two seconds.
Nobody tells the broker that a site is dead. Everything is done a second after a commit, in the middle of the steps, and
as often as --times says; figures are medians, seconds. A wait that is given up counts as what was waited, and is told.

kill_extra_gap_s: a site is killed (-9); from the commit before to the next one, less the median distance of commits in
undisturbed rounds (those that begin and end without a fault, all three sites in them). torchft_gap_s: the same with
torchft's DiLoCo of three replica groups, its own settings (a heartbeat is missed after 5 s), no NAT.
blackhole_s: from all packets of a site being swallowed to the next commit. rejoin_s: from the line's return to the
first lease or accepted contribution of that site. hub_restart_s: the hub is killed and started at once; to the next
commit.

`python -m tests.benchmarks.training_recovery [--times 3] [--only ours|torchft]`
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from django.utils import timezone

from tests.benchmarks import parts
from tests.benchmarks.training_network import BROKER, SITES, Network
from tests.benchmarks.training_sites import (
    Child,
    DidNotHappen,
    Floor,
    Job,
    Recipe,
    Site,
    opened,
    say,
    tell,
    wait_for,
)

RECIPE = Recipe(model="small", batch=8, every=20, pace_s=0.1)
HALF_S = RECIPE.every * RECIPE.pace_s / 2
MBIT_PER_S, RTT_MS = 100.0, 50.0
START_S, PATIENCE_S = 60.0, 60.0
CALM_ROUNDS = 5  # Undisturbed ones before the first fault.
PEERS = parts.ROOT / ".venv-peers"
TORCHFT = ("numpy", "torch", "torchft")  # What of requirements-peers.in it takes.
LIGHTHOUSE_PORT = 29510
Figures = dict[str, list[float]]


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--only", choices=("ours", "torchft"))
    given = parser.parse_args()
    found: Figures = {}
    with opened() as floor:
        if given.only != "torchft":
            found |= ours(floor, given.times)
        if given.only != "ours":
            found["torchft_gap_s"] = torchft(floor, given.times)
    keys = ("kill_extra_gap_s", "torchft_gap_s", "blackhole_s", "rejoin_s", "hub_restart_s", "normal_gap_s")
    return tell(
        {key: statistics.median(found[key]) if found.get(key) else None for key in keys} | {"each": dict(found)}
    )


@dataclass
class Trial:
    """A run with the faults that it has seen."""

    job: Job
    calm_since_s: float = 0.0
    gaps: list[float] = field(default_factory=list)  # Distances of commits in undisturbed rounds.

    @property
    def normal_s(self) -> float:
        """The median distance of commits in undisturbed rounds."""
        return statistics.median(self.gaps)

    def calm(self, rounds: int) -> None:
        """Wait until all sites are in the rounds, and then for so many undisturbed rounds."""
        from tests.benchmarks import training_rows

        commits, since = self.job.commits, timezone.now()
        sites = [site.placement_id for site in self.job.sites]
        wait_for(
            lambda: all(training_rows.contributed(site, since=since) for site in sites),
            within_s=START_S,
            what="a contribution of every site",
            poll_s=0.1,
        )
        first = commits.version + 1  # The round that is open saw some of it.
        commits.wait_for(first + rounds, within_s=START_S)
        at_s = [at for version, at in commits.at_s if first <= version <= first + rounds]
        self.gaps += [end - begin for begin, end in zip(at_s, at_s[1:], strict=False)]

    def middle(self) -> None:
        """Wait for the middle of a round."""
        begun_s = self.job.commits.next_after(time.monotonic(), within_s=PATIENCE_S)
        time.sleep(max(0.0, begun_s + HALF_S - time.monotonic()))

    def next_commit(self, at_s: float) -> float:
        """Return when the first commit after a moment came, at the latest when it is given up."""
        try:
            return self.job.commits.next_after(at_s, within_s=PATIENCE_S)
        except DidNotHappen as late:
            say(f"recovery: {late}")
            return time.monotonic()


def ours(floor: Floor, times: int) -> Figures:
    """Kill sites, swallow lines and kill the hub, so many times each."""
    found: Figures = {}
    if isinstance(floor.network, Network):
        floor.network.shape(mbit_per_s=MBIT_PER_S, rtt_ms=RTT_MS, nat=True)
    else:
        say("recovery: no line can be cut: blackhole_s and rejoin_s are not measured")
    trial = Trial(Job(floor, RECIPE))
    try:
        sites = trial.job.start()
        trial.calm(CALM_ROUNDS)
        for number in range(times):
            site = sites[number % len(sites)]
            note(found, "kill_gap_s", killed(trial, site))
            trial.calm(1)
            if isinstance(floor.network, Network):
                gone_s, back_s = blackholed(trial, site, floor.network)
                note(found, "blackhole_s", gone_s)
                note(found, "rejoin_s", back_s)
                trial.calm(1)
            note(found, "hub_restart_s", hub_restarted(trial, floor))
            trial.calm(1)
    except DidNotHappen as late:
        say(f"recovery: given up: {late}")
        floor.say_last_words()
    finally:
        trial.job.end()
    found["normal_gap_s"] = trial.gaps
    found["kill_extra_gap_s"] = [gap - trial.normal_s for gap in found.get("kill_gap_s", [])]
    return found


def note(found: Figures, name: str, seconds: float) -> None:
    """Keep and tell one figure."""
    found.setdefault(name, []).append(seconds)
    say(f"recovery: {name} {seconds:.2f}")


def killed(trial: Trial, site: Site) -> float:
    """Return the distance of the commits before and after the killing of a site; it is started again then."""
    trial.middle()
    at_s = site.kill()
    gap_s = trial.next_commit(at_s) - trial.job.commits.last_before(at_s)
    site.start()
    return gap_s


def blackholed(trial: Trial, site: Site, network: Network) -> tuple[float, float]:
    """Return the seconds to the next commit without a site's line, and those from its return to the site's."""
    from tests.benchmarks import training_rows

    trial.middle()
    at_s = network.cut(site.place, True)
    gone_s = trial.next_commit(at_s) - at_s
    trial.next_commit(time.monotonic())  # One more round without it: it is truly out.
    held, since = training_rows.held(site.placement_id), timezone.now()
    back_s = network.cut(site.place, False)

    def returned() -> bool:
        nonlocal held
        now_held = training_rows.held(site.placement_id)
        fresh = now_held - held
        held &= now_held  # What was freed meanwhile and is leased again is a lease.
        return bool(fresh) or training_rows.contributed(site.placement_id, since=since) > 0

    try:
        wait_for(returned, within_s=PATIENCE_S, what=f"the return of site {site.place}")
    except DidNotHappen as late:
        say(f"recovery: {late}")
    return gone_s, time.monotonic() - back_s


def hub_restarted(trial: Trial, floor: Floor) -> float:
    """Return the seconds from the killing of the hub, which is started at once, to the next commit."""
    trial.middle()
    at_s = floor.hub.kill()
    floor.hub.start()
    return trial.next_commit(at_s) - at_s


def torchft(floor: Floor, times: int) -> list[float]:
    """Return the extra distances of the survivors' commits with torchft; empty when it can not be run."""
    python = installed()
    if python is None:
        return []
    network = floor.network
    if isinstance(network, Network):
        network.shape(mbit_per_s=MBIT_PER_S, rtt_ms=RTT_MS, nat=False)
    lighthouse = floor.child(
        "lighthouse",
        [str(python.with_name("torchft_lighthouse")), "--min_replicas", "1", "--bind", f"0.0.0.0:{LIGHTHOUSE_PORT}"],
        place=BROKER,
    )
    lighthouse.start()
    groups = [_group(floor, python, rank, place) for rank, place in enumerate(SITES)]
    try:
        return _torchft_gaps(groups, times)
    except DidNotHappen as late:
        say(f"recovery: torchft: {late}")
        floor.say_last_words()
        return []
    finally:
        for child in (lighthouse, *(child for child, _ in groups)):
            child.kill()


def installed() -> Path | None:
    """Return the python of the peers' environment, with torchft in it; None where it can not be made."""
    python = PEERS / "bin" / "python"
    wanted = [
        line
        for line in (parts.ROOT / "requirements-peers.in").read_text().split()
        if line.partition("==")[0] in TORCHFT
    ]
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", PEERS], check=True)
        if subprocess.run([python, "-c", "import numpy, torchft"], capture_output=True, check=False).returncode:
            say("installing torchft")
            subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"recovery: torchft_gap_s is not measured: {error}")
        return None
    return python


def _group(floor: Floor, python: Path, rank: int, place: str) -> tuple[Child, Path]:
    log = floor.directory / f"torchft-{place}.log"
    options = asdict(RECIPE) | {
        "corpus": str(floor.corpus),
        "log": str(log),
        "device": floor.network.device(place),
        "address": floor.network.address(place),
        "lighthouse": f"http://{floor.network.address(BROKER)}:{LIGHTHOUSE_PORT}",
        "rank": rank,
    }
    command = [str(python), "-m", "tests.benchmarks.training_peer", "torchft", json.dumps(options)]
    return floor.child(log.stem, command, place=place, OMP_NUM_THREADS="1"), log


def _torchft_gaps(groups: list[tuple[Child, Path]], times: int) -> list[float]:
    """Kill one group after the other, each time when all three commit."""
    for child, _ in groups:
        child.start()
    watched = groups[0][1]  # A survivor's log; the others are killed in turn.
    gaps, extra = [], []
    for number in range(times):
        doomed, log = groups[1 + number % (len(groups) - 1)]
        before = len(_commits(log))
        _more(log, before + 3, within_s=START_S)
        at_s = _commits(watched)[-3:]
        gaps += [end - begin for begin, end in zip(at_s, at_s[1:], strict=False)]
        _more(watched, len(_commits(watched)) + 1, within_s=PATIENCE_S)
        time.sleep(HALF_S)
        last_s = _commits(watched)[-1]
        killed_s = doomed.kill()
        next_s = _after(watched, killed_s)
        extra.append(next_s - last_s - statistics.median(gaps))
        told = f"normal {statistics.median(gaps):.2f}, {next_s - killed_s:.2f} after the kill"
        say(f"recovery: torchft_gap_s {extra[-1]:.2f}, {told}")
        doomed.start()
    return extra


def _commits(log: Path) -> list[float]:
    """When a group of torchft committed."""
    return [float(line.split()[0]) for line in log.read_text().splitlines() if line] if log.exists() else []


def _more(log: Path, count: int, *, within_s: float) -> None:
    wait_for(lambda: len(_commits(log)) >= count, within_s=within_s, what="a commit of torchft")


def _after(log: Path, at_s: float) -> float:
    def found() -> list[float]:
        return [each for each in _commits(log) if each > at_s]

    answer: list[float] = wait_for(found, within_s=PATIENCE_S, what="a commit of torchft's survivors")
    return answer[0]


if __name__ == "__main__":
    sys.exit(main())
