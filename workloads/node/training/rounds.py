"""
The site's leader: it hands in what the loop learnt and brings what all sites made of it, while the loop trains on.

The loop asks at its step boundaries and is never waited for by the threads here; what they have for it lies under one
condition, `changed`. The rule of the overlap: when version v+1 comes, the loop's parameters p become
theta_(v+1) + (p - p_h), where p_h is what they were when the site handed in to round v; or, when it did not, what
theta_v was. So steps taken meanwhile are kept and are in the next contribution.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..link import Link, Refused
from . import codec, data, outer, quantise, weights, wire
from .layout import Floats, Layout, Tensors
from .leases import Leases
from .line import Closing, Line, Mood, say
from .sharding import Whole
from .theta import Theta
from .work import Work

DRAINED = 75  # EX_TEMPFAIL, sysexits.h: not finished, and worth another try elsewhere.
FEEDBACK = ("int4", "top2")  # With 8 bits and more, what is left unsaid is not worth a vector's memory.
POLL_S, POLL_CALLED_S = 4.0, 1.0  # The hub gives up a site that knows of the call and is silent for 4 s.
LEAVE_WITHIN_S = 8.0  # A host's notice may be 30 s.


class Drained(SystemExit):
    """This site leaves early, its partial round handed in. A SystemExit, so that `except Exception` lets it pass."""

    def __init__(self) -> None:
        super().__init__(DRAINED)


class SessionRefused(ValueError):
    """The broker does not let this session join the run; the message says why."""


@dataclass(slots=True)
class Sent:
    """A contribution on its way, or handed in and not yet merged. delta: theta - the parameters, once it is known."""

    work: Work
    theta: Theta
    held: weights.Held | None
    partial: bool
    delta: Floats | None = None
    sha256: str = ""
    status: str = ""  # The broker's answer.
    unsaid: Floats | None = None  # What its bits could not say, once it is merged.


@dataclass(frozen=True, slots=True)
class News:
    """
    A version that the loop has not taken.

    shift: what it is to add to its parameters, [layout.size], None where only the version itself is known; staged: the
    same beside them. merged: whether what was sent last is in it.
    """

    shift: Floats | None
    staged: weights.Staged | None
    merged: bool


class Leader:
    """Rank 0 of a placed site. `connect` makes a Link with the placement's key and these headers."""

    def __init__(
        self, *, parameters: Whole, connect: Callable[..., Link], drain_file: str | None, overlap: bool = True
    ) -> None:
        self._spec, self._parameters = parameters.described(), parameters
        self._drain_file, self._overlap = drain_file, overlap
        # A later incarnation fences an earlier one of the same placement, so it must grow: milliseconds since 1970.
        self._incarnation = time.time_ns() // 1_000_000
        self._mood, self.changed = Mood(), threading.Condition()
        self._connect = lambda: connect({"Gpuyard-Incarnation": str(self._incarnation)})
        self._line = self._new_line()
        self._layout = Layout(self._spec)
        self._theta = self._at = Theta.unknown(self._layout)  # The newest, and the one that the loop took.
        self._news: News | None = None  # From the one to the other.
        self._sent: Sent | None = None
        self._unsaid: Floats | None = None  # What the bits of the contributions so far could not say.
        self._codec, self.sync_every_steps = "", 1
        self._called, self._fetch_s = -1, 0.0
        self.evaluates = False  # Whether this site is the one to do so.
        self.is_away = True  # The loop is not at its steps, not yet or not now: rounds need not wait for it.
        self._failure: BaseException | None = None
        self.leases = Leases(self._new_line(), self._mood, self.changed, self._fail)

    @property
    def version(self) -> int:
        """Of the shared parameters that the loop took."""
        return self._at.version

    def close(self) -> None:
        """End the threads and give the sockets back."""
        self._mood.closing.set()
        with self.changed:
            self.changed.notify_all()
        self._line.close()

    def join(self, hello: dict[str, Any]) -> None:
        """Say hello and start from the run's state, or give it this model's. Raises SessionRefused."""
        body = {"incarnation": self._incarnation, "tensors": self._spec, **hello}
        try:
            answer = self._line.ask("POST", "/v1/site/hello", body)
            self.evaluates = bool(answer["evaluates"])
            if answer["state"] is None:
                sha256 = _put(self._line, codec.encode(self._parameters.taken()))
                answer = self._line.ask("POST", "/v1/site/initial", {"sha256": sha256})
        except Refused as refused:
            raise SessionRefused(str(refused)) from refused
        self._theta, _ = self._theta.follow(answer["state"], self._line.fetch)
        self._at = self._theta
        self._read_pace(answer["state"])
        self._parameters.load(self._layout.named(self._theta.vector))
        threading.Thread(target=self._watched, args=(self._listen,), name="rounds", daemon=True).start()
        self.leases.start()

    def stop(self, why: str) -> None:
        """Ask the broker to end the run early."""
        self._line.ask("POST", "/v1/site/stop", {"why": why})

    def drain_wanted(self) -> bool:
        """Whether the host's agent, or the broker, was told that this site must leave."""
        return self.leases.is_drained or (self._drain_file is not None and os.path.exists(self._drain_file))

    def has_news(self) -> bool:
        """Whether there is a version that the loop has not taken. Raises what ended a thread."""
        if self._failure is not None:
            raise self._failure
        return self._news is not None or (self._sent is not None and self._sent.status == "refused")

    def take(self, work: Work) -> tuple[Work, data.Ranges]:
        """
        Load the newest version into the model, the steps since kept; work: those steps.

        Return the work that is not merged now, and positions to train on again: of steps that were too old or refused.
        """
        with self.changed:
            news, sent = self._news, self._sent
            refused = sent is not None and sent.status == "refused"
            merged = news is not None and news.merged
            self._at, self._news = self._theta, None
            if sent is not None and (news or refused):
                self._sent = None
                self._unsaid = sent.unsaid if merged else None if refused else self._unsaid
        if sent is not None and news and not merged and not refused:
            work = sent.work.before(work)  # It came too late: the work of both is in the next.
        too_old = self._at.version - work.base > outer.STALE_MAX and not merged
        if refused or too_old or not work.steps or news is None or news.staged is None:
            self._parameters.load(self.theta)
            return Work(base=self._at.version), work.ranges
        self._parameters.add(news.staged)
        if merged:
            work.base = self._at.version
        return work, []

    def is_due(self, work: Work, *, is_out: bool) -> bool:
        """Whether this work is to be handed in now; is_out: the loop has no samples at hand."""
        if not work.steps or self._sent is not None or self._news:
            return False
        return is_out or work.steps >= self.sync_every_steps or self._called == self._at.version

    @property
    def theta(self) -> Tensors:
        """The shared parameters that the loop took, by name."""
        return self._layout.named(self._at.vector)

    def must_wait(self, work: Work) -> bool:
        """Whether the loop has trained as far ahead as it may."""
        is_under_way = self._sent is not None and self._sent.status != "refused" and not self._news
        return is_under_way and (work.steps >= self.sync_every_steps or not self._overlap)

    def hand_in(self, work: Work, *, partial: bool = False) -> None:
        """Send what the model learnt since the shared version, from a thread; `work` says of what it is made."""
        sent = Sent(work, self._at, self._parameters.held(), partial)
        with self.changed:
            self._sent = sent
        args = (lambda: self._send(sent),)
        threading.Thread(target=self._watched, args=args, name="contribution", daemon=True).start()

    def wait(self, until: Callable[[], bool], *, timeout_s: float | None = None) -> bool:
        """Wait until something is so, a thread has failed, or the time is over; return whether it is so."""
        with self.changed:
            # Nothing tells of the drain file, so it is looked for now and then.
            end = math.inf if timeout_s is None else time.monotonic() + timeout_s
            while not until() and self._failure is None and time.monotonic() < end:
                self.changed.wait(min(0.2, max(0.0, end - time.monotonic())))
        if self._failure is not None:
            raise self._failure
        return until()

    def is_settled(self) -> bool:
        """Whether nothing is under way: what was sent is merged, or has not come to be."""
        return self._sent is None or self._news is not None or self._sent.status == "refused"

    def settle(self, work: Work) -> tuple[Work, bool]:
        """Before this site leaves, take what is under way; return the work, and whether the model has changed."""
        self.wait(lambda: self.is_settled(), timeout_s=LEAVE_WITHIN_S)
        if not self.has_news():
            return work, False
        work, _ = self.take(work)
        return work, True

    def leave(self, work: Work) -> None:
        """Hand in what is there and wait until the broker has it: this site leaves."""
        if self._sent is None and work.steps:
            self.hand_in(work, partial=True)
            self.wait(lambda: self._sent is None or bool(self._sent.status), timeout_s=LEAVE_WITHIN_S)

    def hand_over(self, *, name: str, raw: bytes, metrics: dict[str, float], kind: str = "model") -> None:
        """Record `raw` as an artifact of the run, a model or results; after `close`, too."""
        line = Line(self._connect(), Mood())
        try:
            body = {"kind": kind, "name": name, "sha256": _put(line, raw), "metrics": metrics}
            line.ask("POST", "/v1/site/artifacts", body)
        finally:
            line.close()

    def _listen(self) -> None:
        """Hear of calls and new versions until the session ends."""
        line = self._new_line()
        try:
            while not self._mood.closing.is_set():
                version, called = self._theta.version, self._called == self._theta.version
                wait_s = POLL_CALLED_S if called else POLL_S
                path = f"/v1/site/rounds/{version}?wait_s={wait_s:g}&called={int(called)}"
                answer = line.ask("GET", path)
                self.evaluates = bool(answer["evaluates"])
                if answer["status"] == "called":
                    if self.is_away:
                        nothing = {"version": version, "samples": 0, "steps": 0, "ranges": []}
                        line.ask("POST", "/v1/site/contributions", nothing)
                    with self.changed:
                        self._called = version
                        self.changed.notify_all()
                elif answer["status"] == "closed":
                    self._move(answer, line)
        finally:
            line.close()

    def _move(self, answer: dict[str, Any], line: Line) -> None:
        started = time.monotonic()
        theta, moved = self._theta.follow(answer["state"], line.fetch)
        self._fetch_s = time.monotonic() - started
        is_told = False
        while not is_told:
            sent, before = self._sent, self._news
            news = self._news_of(moved, before, sent, answer["merged"])
            with self.changed:
                if is_told := self._news is before:  # Else the loop has taken what came before.
                    self._theta, self._news = theta, news
                    self._read_pace(answer["state"])
                    self.changed.notify_all()

    def _news_of(self, moved: Floats | None, before: News | None, sent: Sent | None, merged_sha256: str | None) -> News:
        """Add up what the loop is to take: `before` is not taken yet, so nothing was sent since."""
        if before is not None:
            merged, other = before.merged, before.shift
        else:
            merged = sent is not None and bool(sent.sha256) and merged_sha256 == sent.sha256
            other = sent.delta if merged and sent is not None else np.zeros(1, np.float32)
        shift = None if moved is None or other is None else moved + other
        staged = None if shift is None else self._parameters.staged(self._layout.named(shift))
        return News(shift, staged, merged)

    def _read_pace(self, state: dict[str, Any]) -> None:
        self._codec, self.sync_every_steps = state["codec"], max(1, int(state["sync_every_steps"]))

    def _send(self, sent: Sent) -> None:
        line, started = self._new_line(), time.monotonic()
        try:
            with TemporaryDirectory(prefix="gpuyard-") as directory:
                path = Path(directory) / "contribution"
                assert sent.held is not None
                sent.delta, sent.held = sent.held.missing(sent.theta.vector, self._layout), None
                sent.unsaid = self._pack(sent.delta, path)
                sent.sha256 = line.put(path)
            put_s, work = time.monotonic() - started, sent.work
            loss = float(work.loss_sum) / work.losses if work.losses else None
            body = {
                "version": sent.theta.version,
                "base": work.base,
                "sha256": sent.sha256,
                "samples": work.samples,
                "steps": work.steps,
                "ranges": work.ranges,
                "partial": sent.partial,
                "loss": loss if loss is None or math.isfinite(loss) else None,
                "train_s": work.train_s,
                "stall_s": work.stall_s,
                "put_s": put_s,
                "fetch_s": self._fetch_s,
            }
            answer = line.ask("POST", "/v1/site/contributions", body)
        finally:
            line.close()
        if answer["status"] == "refused":
            say(f"the contribution to version {sent.theta.version} was refused: {answer['why']}")
        with self.changed:
            sent.status = answer["status"]
            self.changed.notify_all()

    def _pack(self, delta: Floats, path: Path) -> Floats | None:
        """Write a contribution as it travels; with few bits, return what they can not say: a later one says it."""
        if self._unsaid is not None:
            delta = delta + self._unsaid
        name = self._codec
        parts = wire.create(path, codec=name, size=len(delta))
        outer.packed(delta, name, parts)
        return delta - quantise.decode(parts, name, size=len(delta)) if name in FEEDBACK else None

    def _new_line(self) -> Line:
        return Line(self._connect(), self._mood)

    def _watched(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Closing:
            pass
        except BaseException as failure:
            self._fail(failure)

    def _fail(self, failure: BaseException) -> None:
        with self.changed:
            self._failure = self._failure or failure
            self.changed.notify_all()


def _put(line: Line, raw: bytes) -> str:
    with TemporaryDirectory(prefix="gpuyard-") as directory:
        path = Path(directory) / "object"
        path.write_bytes(raw)
        return line.put(path)
