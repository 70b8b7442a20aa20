"""The site's leader in conversation with the broker: what to train on, what came of it, what all sites made of it."""

from __future__ import annotations

import hashlib
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, TypeVar

import numpy as np
import torch

from ..link import Link, Refused, Unreachable, insist
from . import codec, outer, quantise, weights, wire
from .data import Ranges
from .layout import Floats, Layout

Answer = TypeVar("Answer")

DRAINED = 75  # EX_TEMPFAIL, sysexits.h: not finished, and worth another try elsewhere.
ASK_AGAIN_S = 0.3
FEEDBACK = ("int4", "top2")  # With 8 bits and more, what is left unsaid is not worth a vector's memory.
# A long poll this short lets the leader notice a drain within seconds; a host's notice may be 30 s.
LONG_POLL_S = 4


class Drained(SystemExit):
    """This site leaves early, its partial round handed in. A SystemExit, so that `except Exception` lets it pass."""

    def __init__(self) -> None:
        super().__init__(DRAINED)


class PlacementClosed(RuntimeError):
    """The broker no longer takes this site for a part of the run."""


class SessionRefused(ValueError):
    """The broker does not let this session join the run; the message says why."""


class StateDiffers(RuntimeError):
    """The updates did not lead this site to the parameters of the other sites; its memory or the way is damaged."""


class Leader:
    """Rank 0 of a placed site. `connect` makes a Link with the placement's key."""

    def __init__(self, *, model: torch.nn.Module, connect: Callable[[], Link], drain_file: str | None) -> None:
        self._model, self._link, self._drain_file = model, connect(), drain_file
        self._layout = Layout(weights.described(model))
        self._base = np.zeros(self._layout.size, np.float32)
        self._codec = ""
        self._unsaid: Floats | None = None  # What the bits of the contributions so far could not say.
        self._is_started = False  # Whether `_base` is the shared state at `version`.
        self._complained = False
        self.version = 0

    def close(self) -> None:
        """Give the sockets back."""
        self._link.close()

    def drain_wanted(self) -> bool:
        """Whether the host's agent was told that this site must leave."""
        return self._drain_file is not None and os.path.exists(self._drain_file)

    def join(self, hello: dict[str, Any]) -> None:
        """Say hello and start from the run's state, or give it this model's. Raises SessionRefused."""
        # A later incarnation fences an earlier one of the same placement, so it must grow: milliseconds since 1970.
        body = {"incarnation": time.time_ns() // 1_000_000, "tensors": weights.described(self._model), **hello}
        try:
            answer = self._ask("POST", "/v1/site/hello", body)
            if answer["state"] is None:
                sha256 = self._put(codec.encode(weights.taken(self._model)))
                answer = self._ask("POST", "/v1/site/initial", {"sha256": sha256})
        except Refused as refused:
            raise SessionRefused(str(refused)) from refused
        self._take(answer)

    def next_ranges(self, *, count: int) -> Ranges | None:
        """Lease about `count` positions of the newest version; None when the run is done. Raises Drained."""
        while True:
            self._leave_if_wanted()
            answer = self._ask("POST", "/v1/site/samples", {"version": self.version, "count": count}, leave=True)
            status = answer["status"]
            if status == "leased":
                return [(int(start), int(end)) for start, end in answer["ranges"]]
            if status == "drain":
                raise Drained
            if status in ("done", "stale"):
                self._take(answer)
            if status == "done":
                return None
            if status == "wait":
                time.sleep(ASK_AGAIN_S)

    def contribute(self, *, ranges: Ranges, samples: int, steps: int, partial: bool, loss: float | None) -> None:
        """Hand in what the site made of `ranges`; unless `partial`, wait for the commit and start from it."""
        sha256 = self._put(self._pack(weights.difference(self._base, self._model, self._layout)))
        answer = self._ask(
            "POST",
            "/v1/site/contributions",
            {
                "version": self.version,
                "sha256": sha256,
                "samples": samples,
                "steps": steps,
                "ranges": ranges,
                "partial": partial,
                "loss": loss if loss is None or math.isfinite(loss) else None,
            },
        )
        refused = answer["status"] == "refused"
        if refused:
            _say(f"the contribution to version {self.version} was refused: {answer['why']}")
            self._unsaid = None
        if partial:
            return
        while True:
            wait_s = 0 if refused else LONG_POLL_S
            answer = self._ask("GET", f"/v1/site/rounds/{self.version}?wait_s={wait_s}", leave=True)
            if answer["status"] == "closed" or refused:
                # A refused site has trained away from the shared state: back to it, even while the round is open.
                self._take(answer, again=refused)
                return
            self._leave_if_wanted()

    def hand_over(self, *, name: str, raw: bytes, metrics: dict[str, float]) -> None:
        """Record `raw` as an artifact of the run."""
        body = {"name": name, "sha256": self._put(raw), "metrics": metrics}
        self._ask("POST", "/v1/site/artifacts", body)

    def _take(self, answer: dict[str, Any], *, again: bool = False) -> None:
        """Come to the state the answer names, load it into the model, and count from its version."""
        state = answer["state"]
        self._codec = state["codec"]
        if not self._is_started or state["version"] != self.version:
            self._go_to(state)
            again = True
        if again:
            weights.load(self._model, self._layout.named(self._base))

    def _go_to(self, state: dict[str, Any]) -> None:
        """Bring the shared state to this version: by the updates since ours, or by a snapshot and those since it."""
        updates = list(state["updates"])
        follows = self._is_started and bool(updates) and updates[0]["version"] == self.version
        self._is_started = False  # Until it is whole again.
        if not follows:
            tensors = codec.decode(self._fetch(state["snapshot"]["sha256"]))
            codec.check(tensors, self._layout.named(self._base))
            self._base, self.version = self._layout.flat(tensors), int(state["snapshot"]["version"])
        for update in updates:
            if update["version"] >= self.version:
                self._follow(update)
        if self.version != state["version"]:
            raise StateDiffers(f"the way to version {state['version']} ends at {self.version}")
        self._is_started = True

    def _follow(self, update: dict[str, Any]) -> None:
        with NamedTemporaryFile(prefix="gpuyard-") as file:
            file.write(self._fetch(update["sha256"]))
            file.flush()
            name, parts = wire.read(Path(file.name), size=self._layout.size)
            fingerprint = outer.apply(self._base, parts, name)
        if fingerprint != update["fingerprint"]:
            raise StateDiffers(f"after update {update['version']} the parameters are not those of the other sites")
        self.version = int(update["version"]) + 1

    def _pack(self, delta: Floats) -> bytes:
        """Return a contribution as it travels; with few bits, what they can not say is said in a later one."""
        with_feedback = self._codec in FEEDBACK
        if with_feedback and self._unsaid is not None:
            delta += self._unsaid
        with NamedTemporaryFile(prefix="gpuyard-") as file:
            parts = wire.create(Path(file.name), codec=self._codec, size=len(delta))
            outer.packed(delta, self._codec, parts)
            if with_feedback:
                delta -= quantise.decode(parts, self._codec, size=len(delta))
                self._unsaid = delta
            return Path(file.name).read_bytes()

    def _put(self, raw: bytes) -> str:
        sha256 = hashlib.sha256(raw).hexdigest()

        def put() -> None:
            try:
                self._link.put(f"/v1/site/objects/{sha256}", raw)
            except Refused as refused:
                if refused.code == "hash_mismatch":  # Damaged on the way: send it again.
                    raise Unreachable(str(refused)) from refused
                raise

        self._until_answered(put)
        return sha256

    def _fetch(self, sha256: str) -> bytes:
        def get() -> bytes:
            raw = b"".join(self._link.chunks(f"/v1/site/objects/{sha256}"))
            if hashlib.sha256(raw).hexdigest() != sha256:
                raise Unreachable(f"object {sha256} was damaged on the way")
            return raw

        return self._until_answered(get)

    def _ask(self, method: str, path: str, body: Any = None, *, leave: bool = False) -> dict[str, Any]:
        return self._until_answered(lambda: self._link.call(method, path, body), leave=leave)

    def _until_answered(self, ask: Callable[[], Answer], *, leave: bool = False) -> Answer:
        """Ask the same thing until there is an answer. With `leave`, a drain ends the waiting: nothing is lost."""

        def pause(seconds: float) -> None:
            if leave:
                self._leave_if_wanted()
            time.sleep(seconds)

        try:
            answer = insist(ask, pause=pause, trouble=self._complain)
        except Refused as refused:
            if refused.status in (401, 403, 410):
                raise PlacementClosed(f"the broker closed this placement: {refused}") from refused
            raise
        if self._complained:
            _say("the broker answers again")
            self._complained = False
        return answer

    def _leave_if_wanted(self) -> None:
        if self.drain_wanted():
            raise Drained

    def _complain(self, unreachable: Unreachable) -> None:
        if not self._complained:
            _say(f"the broker can not be reached, asking again until it is back ({unreachable})")
            self._complained = True


def _say(line: str) -> None:
    sys.stderr.write(f"gpuyard: {line}\n")
    sys.stderr.flush()
