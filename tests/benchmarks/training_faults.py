"""
A hundred random faults in one run, and what they did to the data and to the loss.

Three sites behind NAT at 100 Mbit/s and 50 ms, 115,000 parameters, a round in 20 steps of 0.1 s at least. Kinds, drawn
alike often: a site is killed (-9) and started again, as the same placement (a lost one keeps its samples until the
house says that it is lost, and there is no house here); the hub, or the web process, is killed and started again; the
store takes nothing in for a while; a site's line is cut for a while (without namespaces its process is stopped
instead). The next fault comes when the last is over, restarts not awaited. Then the run goes on to its end, and the
same is trained without faults.

faults: how many there were before all was merged. samples_wrong: positions that were not merged exactly once, by the
ranges and by the contributions; all of them when replaying the updates from the first parameters does not give every
fingerprint on the way, or a site ended with other parameters. fault_loss_gap: loss on held-out text, nats a character,
less that of the run without faults at as many merged tokens. crashes: processes that ended when nobody killed them;
they are started again.

`python -m tests.benchmarks.training_faults [--faults 100] [--seed 0] [--new-placements]`
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import asdict
from typing import Any

import torch

from tests.benchmarks.training_model import Gpt, Windows, held_out_loss
from tests.benchmarks.training_network import Network
from tests.benchmarks.training_sites import Child, DidNotHappen, Floor, Job, Recipe, Site, opened, say, tell, wait_for

RECIPE = Recipe(model="small", batch=8, every=20, pace_s=0.1)
MBIT_PER_S, RTT_MS = 100.0, 50.0
KINDS = ("site", "hub", "web", "store", "line")
DOWN_S, PAUSE_S = (0.2, 1.0), (0.2, 1.2)  # How long a fault lasts, and until the next one: drawn evenly.
# Enough that the faults are over first: one and its pause take 1.8 s, in which 80 samples were merged; undisturbed 420.
SAMPLES_A_FAULT = 160
START_S, END_S = 60.0, 240.0


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--new-placements", action="store_true", help="every other killed site comes back as a new one")
    given = parser.parse_args()
    recipe = Recipe(**asdict(RECIPE) | {"samples": SAMPLES_A_FAULT * given.faults})
    with opened() as floor:
        if isinstance(floor.network, Network):
            floor.network.shape(mbit_per_s=MBIT_PER_S, rtt_ms=RTT_MS, nat=True)
        how = {"seed": given.seed, "new_placements": given.new_placements}
        faulty = Faults(floor, Job(floor, recipe), **how)
        told = trained(faulty, given.faults)
        calm = trained(Faults(floor, Job(floor, recipe), **how), 0)
    return tell(
        {
            "faults": sum(faulty.done.values()),
            "samples_wrong": told["samples_wrong"],
            "fault_loss_gap": told["loss"] - calm["loss"] if told["is_over"] and calm["is_over"] else None,
            "kinds": dict(faulty.done),
            "crashes": faulty.crashes,
            "replay_agrees": told["replay_agrees"],
            "with_faults": told,
            "without": calm,
            "samples": recipe.samples,
            "seed": given.seed,
        }
    )


class Faults:
    """What goes wrong on a floor."""

    def __init__(self, floor: Floor, job: Job, *, seed: int, new_placements: bool) -> None:
        self.floor, self.job, self.chance, self._new_placements = floor, job, random.Random(seed), new_placements
        self.done: Counter[str] = Counter()
        self.crashes = 0

    def start(self) -> None:
        """Start three sites, and wait until the first round is merged."""
        self.job.start()
        self.job.commits.wait_for(1, within_s=START_S)

    def one(self) -> None:
        """Do one thing, undo it a while later, and pause."""
        kind = self.chance.choice(KINDS)
        {"site": self._site, "hub": self._hub, "web": self._web, "store": self._store, "line": self._line}[kind]()
        self.done[kind] += 1
        self._wait(PAUSE_S)

    def supervise(self) -> None:
        """Start again what ended by itself and had not finished."""
        for child in (self.floor.hub, self.floor.web):
            if not child.is_running:
                self._note_crash(child)
                child.start()
        for site in self.living:
            if not site.child.is_running and not site.outcome.exists():
                self._note_crash(site.child)
                site.start()

    @property
    def living(self) -> list[Site]:
        """The newest site of each place."""
        return list({site.place: site for site in self.job.sites}.values())

    @property
    def is_over(self) -> bool:
        """Whether a site has seen that all is merged."""
        return any(site.outcome.exists() for site in self.job.sites)

    def _note_crash(self, child: Child) -> None:
        self.crashes += 1
        say(f"faults: {child.said.stem} ended by itself: {child.last_words()[-400:]}")

    def _site(self) -> None:
        site = self.chance.choice(self.living)
        site.kill()
        self._wait(DOWN_S)
        if self._new_placements and self.chance.random() < 0.5:
            self._replace(site)
        else:
            site.start()

    def _replace(self, site: Site) -> None:
        self.job.add_site(site.place).start()

    def _hub(self) -> None:
        self._restart(self.floor.hub)

    def _web(self) -> None:
        self._restart(self.floor.web)

    def _restart(self, child: Child) -> None:
        child.kill()
        self._wait(DOWN_S)
        child.start()

    def _store(self) -> None:
        self.floor.store.fail()
        self._wait(DOWN_S)
        self.floor.store.mend()

    def _line(self) -> None:
        site, network = self.chance.choice(self.living), self.floor.network
        if isinstance(network, Network):
            network.cut(site.place, True)
            self._wait(DOWN_S)
            network.cut(site.place, False)
        elif site.child.is_running:
            site.child.signal(signal.SIGSTOP)
            self._wait(DOWN_S)
            site.child.signal(signal.SIGCONT)

    def _wait(self, span_s: tuple[float, float]) -> None:
        time.sleep(self.chance.uniform(*span_s))


def trained(faults: Faults, count: int) -> dict[str, Any]:
    """Train to the end with so many faults at the most; return what came of it."""
    from tests.benchmarks import training_rows

    job, begun_s = faults.job, time.monotonic()
    faulty_s = 0.0
    try:
        faults.start()
        while sum(faults.done.values()) < count and not faults.is_over:
            faults.supervise()
            faults.one()
        faulty_s = time.monotonic() - begun_s
        say(f"faults: {dict(faults.done)} in {faulty_s:.0f} s; version {job.commits.version}")

        def over() -> bool:
            faults.supervise()
            return faults.is_over

        wait_for(over, within_s=END_S, what="the end of the run", poll_s=0.2)
    except DidNotHappen as late:
        say(f"faults: {late}: what is not merged counts as wrong, and there is no loss to compare")
        faults.floor.say_last_words()
    finally:
        job.end()
    theta, agrees = training_rows.replayed(job.workload_id)
    known = training_rows.fingerprint(job.workload_id)
    others = [site.place for site in job.sites if site.outcome.exists() and site.outcome.read_text() != known]
    if others:
        say(f"faults: the sites {others} ended with other parameters")
    total = job.recipe.samples
    wrong = training_rows.samples_wrong(job.workload_id, total) if agrees and not others else total
    model = Gpt(job.recipe.model, job.recipe.context)
    tensors = training_rows.parameters(job.workload_id, theta)
    model.load_state_dict({name: torch.from_numpy(tensor.copy()) for name, tensor in tensors.items()})
    return {
        "samples_wrong": wrong,
        "replay_agrees": agrees,
        "is_over": faults.is_over,
        "loss": held_out_loss(model, Windows(faults.floor.corpus, job.recipe.context, held_out=True)),
        "rounds": job.commits.version,
        "seconds": time.monotonic() - begun_s,
        "seconds_with_faults": faulty_s,
    }


if __name__ == "__main__":
    sys.exit(main())
