"""What a placed session does between the steps of the loop: samples in, work out, new versions taken, at all ranks."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING, Any

import torch

from . import data, group, sharding
from .loop import Steps
from .work import Work

if TYPE_CHECKING:
    from ..link import Link
    from .rounds import Leader

AHEAD_S = 1.0  # Samples for so long are at hand, so that the loop waits for none.
STEPLESS = 2000  # Batches without a step are no accumulation of gradients.
AHEAD_STEPS = 2  # Before the first step's time is known.
NEWS, LEAVE, HAND_IN = 1, 2, 4  # Rank 0's word to all ranks.


class NoSteps(RuntimeError):
    """The loop has trained on samples without a step of its optimizer."""


class RanksDiffer(ValueError):
    """The workers of one site do not train on the same data."""


class Placed:
    """
    Deals out the samples of a placed site.

    What changes parameters or needs samples happens at all ranks after the same step; handing in is rank 0's affair.
    """

    def __init__(self, *, model: torch.nn.Module, steps: Steps, rank: int, world: int, overlap: bool) -> None:
        self._model, self._steps, self._rank, self._world = model, steps, rank, world
        self._parameters = sharding.seen(model)
        self._leader: Leader | None = None
        if rank == 0:
            from .rounds import Leader

            drain_file = os.environ.get("GPUYARD_DRAIN_FILE")
            self._leader = Leader(parameters=self._parameters, connect=connect, drain_file=drain_file, overlap=overlap)
        self._queue: data.Ranges = []  # Leased, the next to be handed out.
        self._is_last = False  # There is nothing to be leased now: a short step is better than none.
        self._is_done = False
        self._fetched: deque[tuple[data.Ranges, int]] = deque()  # Handed out, not yet trained; and how many count.
        self._out: data.Ranges = []  # Trained, without a step since.
        self._work = Work()
        self._steps_seen = self._handed = 0
        self._since_s = self._noted_s = time.monotonic()
        self._per_step = 0  # Until the first is dealt.
        self.progress = 0.0  # The same at all ranks.

    @property
    def version(self) -> int:
        """Of the shared parameters that this site trains from; 0 at other ranks than the first."""
        return self._leader.version if self._leader else 0

    @property
    def evaluates(self) -> bool:
        """Whether this worker would evaluate now."""
        return self._leader is not None and self._leader.evaluates

    @property
    def leader(self) -> Leader | None:
        """At rank 0."""
        return self._leader

    def close(self, *, failed: bool) -> None:
        """End the threads. Of a loop that was left by a `break` what it did counts; of one that failed, nothing."""
        if self._per_step and not failed:
            if self._leader:
                self._note()
            if self._is_done:
                self._end_as_theta()
            else:
                self._leave()
        if self._leader:
            self._leader.close()

    def note_loss(self, loss: Any) -> None:
        """Note a loss of this step."""
        if self._leader:
            self._work.loss_sum = self._work.loss_sum + loss
            self._work.losses += 1

    @contextmanager
    def evaluation(self) -> Iterator[bool]:
        """Whether this worker is to evaluate; then the model is the shared one meanwhile, and no round waits for it."""
        leader, together = self._leader, self._parameters.is_sharded
        is_mine = leader is not None and leader.evaluates
        if together:
            is_mine = group.told(is_mine)
        if not is_mine:
            yield False
            return
        self._parameters.gather()
        if leader:
            self._note()
            if leader.is_due(self._work, is_out=True):
                self._hand_in()
            leader.is_away = True
        restore = sharding.apart(self._model)
        if leader:
            self._parameters.load(leader.theta)
        if together:
            self._parameters.spread()
        try:
            yield True
        finally:
            if leader:
                leader.is_away = False
            restore()

    def deal(self, hello: Mapping[str, Any], *, batch_size: int, fetches_ahead: bool = False) -> Iterator[list[int]]:
        """
        Deal this rank's positions of each step.

        What the plain loop took is trained when it asks for more. Who fetches ahead says so with `begun` and `trained`;
        where nothing can be had while it holds what is not trained it is dealt no positions: it must train them first.
        Raises SessionRefused, Drained, PlacementClosed, StateDiffers, RanksDiffer, NoSteps.
        """
        per_step = batch_size * self._world
        if (first := group.told(dict(hello))) != hello:
            named = ", ".join(name for name in hello if hello[name] != first.get(name))
            raise RanksDiffer(f"{named}: worker {self._rank} has not what the site's first worker has")
        self._parameters.gather()
        if self._leader:
            self._leader.join(dict(hello))
            self._work = Work(base=self._leader.version)
            self._leader.leases.want(AHEAD_STEPS * per_step)
        self._parameters.spread()
        self._per_step = per_step
        while (step := self._next_step()) is not None:
            mine: list[int] = []
            if step:
                mine, counted = data.share(data.positions(step), rank=self._rank, batch_size=batch_size)
                self._fetched.append((step, counted))
                self._handed += data.count(step)
                if not fetches_ahead:
                    self.begun()
                    self._take_first()
            yield mine
            if not fetches_ahead:
                self.between()
        if not self._steps.total and self._handed >= hello["total_samples"]:
            raise _no_steps(self._handed)

    def begun(self) -> None:
        """The batch fetched first is the one that the next backward is of."""
        step, counted = self._fetched[0]
        self._parameters.hand_out(counted=counted, of=data.count(step))
        if averaging := self._steps.averaging:
            averaging.hand_out(counted=counted, of=data.count(step))
            averaging.said = self._word()

    def trained(self) -> None:
        """The batch fetched first is trained; do what that leads to. Raises as `deal`."""
        self._take_first()
        self.between()

    @property
    def has_fetched(self) -> bool:
        """Whether a batch is fetched and not trained."""
        return bool(self._fetched)

    def deal_again(self) -> None:
        """What was fetched and is not trained is dealt again, first."""
        self._queue = [each for step, _ in self._fetched for each in step] + self._queue
        self._fetched.clear()

    def _take_first(self) -> None:
        step, _ = self._fetched.popleft()
        if self._leader:
            self._out += step

    def _next_step(self) -> data.Ranges | None:
        """The positions of the whole site's next step; none while what is fetched must be trained; None at the end."""
        started = time.monotonic()
        word = None
        while data.count(self._queue) < self._per_step and not (self._queue and self._is_last) and not self._is_done:
            word, ranges, self.progress = group.told(self._gathered() if self._leader else None)
            if word == "train":
                break
            self._act(word)
            self._queue += ranges
            self._is_last, self._is_done = word == "last", word == "done"
        if self._leader:
            self._work.stall_s += time.monotonic() - started
        if word == "train":
            return []
        step, self._queue = data.cut(self._queue, self._per_step)
        self._is_last = False
        return step or None

    def _gathered(self) -> tuple[Any, data.Ranges, float]:
        """Rank 0 waits for samples, or for what else is to happen first: (word, ranges, progress of the run)."""
        assert self._leader is not None
        word, ranges = self._waited(self._leader)
        return word, ranges, self._leader.leases.progress

    def _waited(self, leader: Leader) -> tuple[Any, data.Ranges]:
        leases = leader.leases
        while True:
            if ranges := leases.take():
                return 0, ranges
            if leader.has_news():
                return NEWS, []
            if leader.drain_wanted():
                return LEAVE, []
            if leases.done_version is not None and leader.version >= leases.done_version:
                return "done", []
            if leases.is_dry and self._queue:
                return "last", []
            if leases.is_dry and self._fetched:
                return "train", []
            if leases.is_dry:
                self._count_what_is_out()
            if leader.is_due(self._work, is_out=leases.is_dry):
                return HAND_IN, []
            leader.wait(lambda: leases.has_any() or leader.has_news() or leader.drain_wanted(), timeout_s=0.2)

    def _word(self) -> int:
        if self._leader is None:
            return 0
        word = NEWS * self._leader.has_news() | LEAVE * self._leader.drain_wanted()
        return word | HAND_IN * self._leader.is_due(self._work, is_out=False)

    def between(self) -> None:
        """What a step leads to. Raises as `deal`."""
        started = time.monotonic()
        if self._leader:
            self._note()
        if self._parameters.is_sharded:
            word = group.told(self._word())
        elif averaging := self._steps.averaging:
            word, averaging.heard = averaging.heard, 0
        else:
            word = self._word()
        self._act(word)
        if self._leader:
            self._stand(self._leader)
            if not self._parameters.is_sharded and self._leader.is_due(self._work, is_out=False):
                self._hand_in()
                self._stand(self._leader)
            self._work.stall_s += time.monotonic() - started

    def _stand(self, leader: Leader) -> None:
        """Wait as long as the loop may not go on without a new version."""
        if leader.must_wait(self._work):
            leader.wait(lambda: not leader.must_wait(self._work) or leader.drain_wanted())
            if self._world == 1:
                self._act(self._word())

    def _note(self) -> None:
        """Count the steps that were taken since the last look; the samples before them are in them."""
        assert self._leader is not None
        taken, self._steps_seen = self._steps.total - self._steps_seen, self._steps.total
        if taken:
            self._work.ranges = data.joined([*self._work.ranges, *self._out])
            self._work.steps += taken
            self._leader.is_away = False
            self._out = []
            now_s = time.monotonic()
            step_s, self._noted_s = (now_s - self._noted_s) / taken, now_s  # Of the last: the first takes longer.
            ahead = min(max(AHEAD_STEPS, ceil(AHEAD_S / step_s)), max(AHEAD_STEPS, self._leader.sync_every_steps))
            self._leader.leases.want(ahead * self._per_step)
        elif self._steps.total == 0 and data.count(self._out) >= STEPLESS * self._per_step:
            raise _no_steps(data.count(self._out))

    def _count_what_is_out(self) -> None:
        """The data is at its end: samples whose gradients wait for more of them, in vain, are used as well."""
        if self._out:
            self._work.ranges = data.joined([*self._work.ranges, *self._out])
            self._work.steps = max(1, self._work.steps)
            self._out = []

    def _act(self, word: Any) -> None:
        if not isinstance(word, int):
            return
        if word & LEAVE:
            self._leave()
            group.told(None)  # Nobody leaves before the leader has handed in: the driver ends a site that falls apart.
            from .rounds import Drained

            raise Drained
        if word & NEWS:
            if self._leader:
                self._work, again = self._leader.take(self._work)
                self._queue = again + self._queue
            self._parameters.spread()
            self._queue = group.told(self._queue)
        if word & HAND_IN:
            self._parameters.gather()
            if self._leader and self._leader.is_due(self._work, is_out=True):
                self._hand_in()

    def _leave(self) -> None:
        is_changed = False
        if self._leader:
            self._measure()
            self._work, is_changed = self._leader.settle(self._work)
        if self._parameters.is_sharded and group.told(is_changed):
            self._parameters.spread()
        self._parameters.gather()
        if self._leader:
            self._leader.leave(self._work)

    def _end_as_theta(self) -> None:
        """Steps that are not merged were on samples that meanwhile were taken from this site: others' work."""
        is_in_vain = self._leader is not None and self._work.steps > 0
        if self._leader and is_in_vain:
            self._parameters.load(self._leader.theta)
        if self._parameters.is_sharded and group.told(is_in_vain):
            self._parameters.spread()

    def _hand_in(self) -> None:
        assert self._leader is not None
        self._measure()
        self._leader.hand_in(self._work)
        self._work = Work(base=self._leader.version)

    def _measure(self) -> None:
        now_s = time.monotonic()
        self._work.train_s += now_s - self._since_s
        self._since_s = now_s


def _no_steps(samples: int) -> NoSteps:
    return NoSteps(
        f"{samples} samples went by without optimizer.step(): call step() of the optimizer that was given to session()"
    )


def connect(headers: Mapping[str, str] | None = None) -> Link:
    """Return a way to the broker with this placement's key."""
    from ..link import Link

    key = f"Site {os.environ['GPUYARD_SITE_KEY']}"
    return Link(broker=os.environ["GPUYARD_SITE_URL"], authorization=key, headers=headers)
