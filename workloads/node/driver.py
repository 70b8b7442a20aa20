"""
The site's driver, on the head: one group of workers after another, on the nodes that there are. Only importer of ray.

A group is one process on each accelerator, and a process group of torch between them. When a node dies or another comes
the next group begins: the script runs from its start, and its session joins the run at the newest version. A group that
lost a node had not handed in all: those samples are free and trained anew. One that is to grow hands in before it ends.
"""

import json
import logging
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from .worker import DRAINED, Outcome, Worker

JOIN_WITHIN_S = 600.0
WATCH_EVERY_S = 0.3
DEATH_WITHIN_S = 3.0  # So soon Ray knows that a worker has died.
LOST_WITHIN_S = 8.0  # Ray knows of a node's death after three seconds, on a busy machine later.
Node = dict[str, Any]


class Driver:
    """Runs the script of `site` on all its nodes until it ends. `joined` is called when the first group runs."""

    def __init__(self, site: dict[str, Any], *, joined: Callable[[], None], started_s: float) -> None:
        self._site, self._joined, self._started_s = site, joined, started_s
        self._directory = Path(site["directory"])
        self._head = site["ray"]["head_address"]
        self._groups, self._has_joined = 0, False

    def run(self) -> Outcome:
        """Return the outcome of the script, or of the wait for the nodes."""
        ray.init(
            address=f"{self._head}:{self._site['ray']['head_port']}",
            _node_ip_address=self._site["address"],
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        signal.signal(signal.SIGTERM, self._drain)
        late_s, wanted = time.monotonic() + JOIN_WITHIN_S, int(self._site["ray"]["nodes"])
        while len(nodes := self._alive()) < wanted:
            if time.monotonic() > late_s:
                here = ", ".join(_addresses(nodes))
                return _failed(f"{len(nodes)} of {wanted} nodes joined in {JOIN_WITHIN_S:.0f} s: {here}")
            time.sleep(0.2)
        while True:
            self._groups += 1
            outcome = self._trained(nodes)
            if not self._goes_on(outcome, nodes):
                return outcome
            if self._is_drained():
                return {"exit_code": DRAINED, "error": None}
            before, nodes = nodes, self._usable()
            changes = [f"without {one}" for one in _addresses(before) if one not in _addresses(nodes)]
            changes += [f"with {one}" for one in _addresses(nodes) if one not in _addresses(before)]
            _say(f"the site goes on {', '.join(changes)}: the script starts anew on {len(nodes)} node(s)")

    def _drain(self, number: int, frame: FrameType | None) -> None:
        (self._directory / "drain").touch()

    def _is_drained(self) -> bool:
        return (self._directory / "drain").exists()

    def _alive(self) -> list[Node]:
        """The nodes, the head first, so that rank 0 is where the driver is."""
        nodes = [node for node in ray.nodes() if node["Alive"]]
        return sorted(nodes, key=lambda node: (node["NodeManagerAddress"] != self._head, node["NodeManagerAddress"]))

    def _usable(self) -> list[Node]:
        """Those that are not about to be taken away."""
        file = self._directory / "without.json"
        without = json.loads(file.read_text()) if file.exists() else []
        return [node for node in self._alive() if node["NodeManagerAddress"] not in without]

    def _trained(self, nodes: list[Node]) -> Outcome:
        """Run the script on these nodes, and end what is left of the group."""
        actors = self._start_workers(nodes)
        try:
            meet_at = (self._head, ray.get(actors[0].listen.remote(address=self._head))) if len(actors) > 1 else None
            if not self._has_joined:
                self._has_joined = True
                self._joined()
                _say(f"{len(nodes)} node(s) joined in {time.monotonic() - self._started_s:.1f} s")
            _say(f"running {self._site['script']} on {len(actors)} worker(s)")
            how = {"script": self._site["script"], "args": self._site["args"], "meet_at": meet_at, "cuda": self._cuda}
            return self._outcome([actor.run.remote(**how) for actor in actors], nodes)
        except RayError as lost:
            return _lost(0, lost)
        finally:
            for actor in actors:
                ray.kill(actor)

    @property
    def _cuda(self) -> bool:
        return bool(self._site["ray"]["accelerators"]["kind"] != "CPU")

    @property
    def _leave_file(self) -> Path:
        """What tells the group's leader to hand in and leave: the drain file of this group alone."""
        return self._directory / f"leave-{self._groups}"

    def _start_workers(self, nodes: list[Node]) -> list[Any]:
        """One actor per accelerator, each pinned to its node. The cluster is this lease's alone: nothing competes."""
        resource = "GPU" if self._cuda else "CPU"
        places = [node["NodeID"] for node in nodes for _ in range(int(node["Resources"].get(resource, 0)))]
        actor = ray.remote(num_cpus=1, num_gpus=int(self._cuda), max_restarts=0)(Worker)
        return [
            actor.options(scheduling_strategy=NodeAffinitySchedulingStrategy(place, soft=False)).remote(
                rank=rank, world=len(places), drain_file=str(self._leave_file)
            )
            for rank, place in enumerate(places)
        ]

    def _outcome(self, runs: list[Any], nodes: list[Node]) -> Outcome:
        """The first failure ends the group (the others would wait for that worker for ever); else all have ended."""
        waiting, drained, here = {run: rank for rank, run in enumerate(runs)}, None, _ids(nodes)
        while waiting:
            ready, _ = ray.wait(list(waiting), timeout=WATCH_EVERY_S)
            if not self._leave_file.exists() and (self._is_drained() or _ids(self._usable()) != here):
                self._leave_file.touch()
            for run in ready:
                outcome = _outcome_of(run, rank=waiting.pop(run))
                if outcome["exit_code"] == DRAINED:
                    drained = outcome
                elif outcome["exit_code"] != 0:
                    return outcome if _is_death(outcome) else self._death(waiting) or outcome
        return drained or {"exit_code": 0, "error": None}

    def _death(self, waiting: dict[Any, int]) -> Outcome | None:
        """A worker that died, if one did: the others' scripts may have failed of it before it was known."""
        late_s = time.monotonic() + DEATH_WITHIN_S
        while waiting and time.monotonic() < late_s:
            for run in ray.wait(list(waiting), timeout=WATCH_EVERY_S)[0]:
                outcome = _outcome_of(run, rank=waiting.pop(run))
                if _is_death(outcome):
                    return outcome
        return None

    def _goes_on(self, outcome: Outcome, nodes: list[Node]) -> bool:
        """Whether another group is to follow: this one left to make room for it, or failed because a node died."""
        if outcome["exit_code"] in (0, DRAINED):
            return outcome["exit_code"] == DRAINED and self._leave_file.exists()
        # The scripts on the other nodes may fail before the death of that node is known.
        late_s = time.monotonic() + LOST_WITHIN_S
        while len(nodes) > 1 and time.monotonic() < late_s:
            if _ids(nodes) - _ids(self._alive()):
                return True
            time.sleep(0.1)
        return False


def _addresses(nodes: list[Node]) -> list[str]:
    return [node["NodeManagerAddress"] for node in nodes]


def _ids(nodes: list[Node]) -> set[str]:
    return {node["NodeID"] for node in nodes}


def _outcome_of(run: Any, *, rank: int) -> Outcome:
    try:
        return dict(ray.get(run))
    except RayError as lost:
        return _lost(rank, lost)


def _is_death(outcome: Outcome) -> bool:
    return bool(outcome["error"] and outcome["error"]["code"] == "ray_failed")


def _lost(rank: int, lost: RayError) -> Outcome:
    why = str(lost).strip().splitlines()[0]
    sys.stderr.write(f"{lost}\n")
    return _failed(f"worker {rank} died (machine lost, killed, out of memory, or a crash): {why}")


def _failed(why: str) -> Outcome:
    """Not the script's doing as far as can be seen from here: the site is worth another try elsewhere."""
    _say(why)
    return {"exit_code": 1, "error": {"code": "ray_failed", "message": why[:1000]}}


def _say(line: str) -> None:
    sys.stderr.write(f"gpuyard: {line}\n")
