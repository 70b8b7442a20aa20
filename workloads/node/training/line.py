"""One thread's conversation with the broker: asked until answered, files checked by their hash."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ..link import Link, Refused, Unreachable, insist

Answer = TypeVar("Answer")
PAUSE_S = 0.2


class PlacementClosed(RuntimeError):
    """The broker no longer takes this site for a part of the run."""


class Closing(Exception):
    """This side wants no answer any more."""


class Mood:
    """What the threads of one site say of the broker, once for all of them."""

    def __init__(self) -> None:
        self.closing = threading.Event()
        self._lock, self._complained = threading.Lock(), False

    def complain(self, unreachable: Unreachable) -> None:
        """Say that the broker is away."""
        with self._lock:
            if not self._complained:
                say(f"the broker can not be reached, asking again until it is back ({unreachable})")
            self._complained = True

    def praise(self) -> None:
        """Say that it is back, if it was away."""
        if self._complained:
            with self._lock:
                if self._complained:
                    say("the broker answers again")
                self._complained = False


class Line:
    """Asks the same thing until there is an answer. Raises PlacementClosed, Closing; Refused is the answer no."""

    def __init__(self, link: Link, mood: Mood) -> None:
        self._link, self._mood = link, mood
        self.leave = lambda: False  # Whether waiting for an answer has become pointless; then ask raises Closing.

    def close(self) -> None:
        """Give the sockets back."""
        self._link.close()

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Ask with JSON."""
        return self._until_answered(lambda: self._link.call(method, path, body))

    def put(self, path: Path) -> str:
        """Hand a file to the store; return its SHA-256."""
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()

        def put() -> None:
            try:
                with path.open("rb") as file:
                    self._link.put(f"/v1/site/objects/{sha256}", file)
            except Refused as refused:
                if refused.code == "hash_mismatch":  # Damaged on the way: send it again.
                    raise Unreachable(str(refused)) from refused
                raise

        self._until_answered(put)
        return sha256

    def fetch(self, sha256: str, into: Path) -> None:
        """Get a file from the store."""

        def get() -> None:
            digest = hashlib.sha256()
            with into.open("wb") as file:
                for chunk in self._link.chunks(f"/v1/site/objects/{sha256}"):
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != sha256:
                raise Unreachable(f"object {sha256} was damaged on the way")

        self._until_answered(get)

    def _until_answered(self, ask: Callable[[], Answer]) -> Answer:
        try:
            answer = insist(ask, pause=self._pause, trouble=self._mood.complain)
        except Refused as refused:
            if refused.status in (401, 403, 410) or refused.code == "site_gone":
                raise PlacementClosed(f"the broker closed this placement: {refused}") from refused
            raise
        self._mood.praise()
        return answer

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._mood.closing.wait(min(left, PAUSE_S)) or self.leave():
                raise Closing


def say(line: str) -> None:
    """Tell the researcher."""
    sys.stderr.write(f"gpuyard: {line}\n")
    sys.stderr.flush()
