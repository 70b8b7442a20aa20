"""The lines a lease prints, carried to the broker in order, each counted once, across any outage.

The files the processes write are the buffer: a line is read when the one before it has been sent, and what was read is
given back to the disk by punching a hole (fallocate(2)), so writers never notice and nothing is copied. When more than
`limit_bytes` wait, the oldest are passed over and a line says how many.
"""

import ctypes
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .link import Backoff, Link, Refused, Unreachable

log = logging.getLogger(__name__)

LIMIT_BYTES = 50 << 20
BATCH_LINES = 500
LINE_BYTES = 8 << 10
READ_BYTES = 256 << 10
PUNCH_BYTES = 4 << 20
POLL_S = 0.4
PUNCH_HOLE_KEEP_SIZE = 0x01 | 0x02  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, linux/falloc.h

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


@dataclass
class Followed:
    """One growing file: what was read of it, and the piece of a line that has no end yet."""

    path: Path
    stream: str
    prefix: str
    offset: int = 0
    punched: int = 0
    partial: bytes = b""

    def unread_bytes(self) -> int:
        try:
            return self.path.stat().st_size - self.offset
        except FileNotFoundError:
            return 0

    def read(self, size: int) -> bytes:
        """The next at most `size` bytes."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            raw = file.read(size)
            self.offset += len(raw)
        if self.offset - self.punched >= PUNCH_BYTES:
            self._punch()
        return raw

    def _punch(self) -> None:
        with self.path.open("r+b") as file:  # Where the file system can not do it, the space comes back with the lease.
            _libc.fallocate(file.fileno(), PUNCH_HOLE_KEEP_SIZE, 0, self.offset)
        self.punched = self.offset


class Shipper(threading.Thread):
    """Follows `<directory>/<source>.<stream>` and posts the lines of lease `lease` to /v1/agent/logs."""

    def __init__(
        self, *, connect: Callable[[], Link], lease: int, directory: Path, limit_bytes: int = LIMIT_BYTES
    ) -> None:
        super().__init__(name=f"logs-{lease}", daemon=True)
        self._connect, self._lease, self._directory, self._limit_bytes = connect, lease, directory, limit_bytes
        self._files: dict[str, Followed] = {}
        self._waiting: deque[dict[str, str]] = deque()
        self._batch: list[dict[str, str]] = []
        self._next_seq = 0
        self._closing = threading.Event()
        self._deadline_s = float("inf")

    def finish(self, *, timeout_s: float) -> bool:
        """Send what is there and stop, within about `timeout_s`. True when everything got through."""
        self._deadline_s = time.monotonic() + timeout_s
        self._closing.set()
        if self.ident is not None:
            self.join(timeout_s)
        return not (self._batch or self._waiting)

    def run(self) -> None:
        """Read and send until finish() was called and nothing is left, or its time is up."""
        link, backoff, not_before_s = self._connect(), Backoff(cap_s=10.0), 0.0
        try:
            while time.monotonic() < self._deadline_s:
                closing = self._closing.is_set()
                self._collect(final=closing)
                if time.monotonic() >= not_before_s:
                    try:
                        sent = self._send(link)
                        backoff.reset()
                    except Unreachable:
                        sent, not_before_s = False, time.monotonic() + backoff.next_s()
                    except Refused as refused:
                        log.warning("logs.refused lease=%s why=%s", self._lease, refused)
                        self._batch.clear()
                        self._waiting.clear()
                        return
                    if sent:
                        continue
                if closing and not self._batch and not self._waiting:
                    return
                self._closing.wait(POLL_S) if not closing else time.sleep(0.1)
        finally:
            link.close()

    def _send(self, link: Link) -> bool:
        """Post one batch. A batch whose answer was lost keeps its lines and numbers until an answer comes."""
        if not self._batch:
            self._batch = [self._waiting.popleft() for _ in range(min(BATCH_LINES, len(self._waiting)))]
        if not self._batch:
            return False
        body: dict[str, Any] = {"lease": self._lease, "first_seq": self._next_seq, "lines": self._batch}
        link.call("POST", "/v1/agent/logs", body, timeout_s=10.0)
        self._next_seq += len(self._batch)
        self._batch = []
        return True

    def _collect(self, *, final: bool) -> None:
        self._find_files()
        self._pass_over_the_oldest()
        for file in self._files.values():
            while len(self._waiting) < 4 * BATCH_LINES and file.unread_bytes() > 0:
                self._take_lines(file, file.read(READ_BYTES))
            if final and file.partial and file.unread_bytes() <= 0:
                self._take_lines(file, b"\n")

    def _find_files(self) -> None:
        for path in sorted(self._directory.glob("*.std*")):
            if path.name not in self._files:
                source = path.stem
                # The first worker and the driver speak for the site; others say who they are.
                prefix = f"[{source}] " if source.startswith("rank") and source != "rank0" else ""
                self._files[path.name] = Followed(path=path, stream=path.suffix[1:], prefix=prefix)

    def _take_lines(self, file: Followed, raw: bytes) -> None:
        *lines, file.partial = (file.partial + raw).split(b"\n")
        if len(file.partial) > LINE_BYTES:  # A line without end (a progress bar) must not grow in memory.
            lines.append(file.partial)
            file.partial = b""
        at = datetime.now(UTC).isoformat()
        for line in lines:
            # Of a line that was drawn over with carriage returns, the last drawing is what a reader would see.
            shown = line.rstrip(b"\r").rsplit(b"\r", 1)[-1][:LINE_BYTES].decode(errors="replace").replace("\0", "")
            self._waiting.append({"at": at, "stream": file.stream, "text": file.prefix + shown})

    def _pass_over_the_oldest(self) -> None:
        for file in self._files.values():
            excess = file.unread_bytes() - self._limit_bytes
            if excess <= 0:
                continue
            # A little more than needed, so that this is rare; up to the end of a line, so that none is cut.
            target, dropped, raw = file.offset + excess + self._limit_bytes // 10, 0, b""
            while file.offset < target:
                raw = file.read(min(READ_BYTES, target - file.offset))
                dropped += raw.count(b"\n")
            while raw and not raw.endswith(b"\n"):
                raw = file.read(1)
                dropped += raw == b"\n"
            file.partial = b""
            text = f"gpuyard: {dropped} older log lines were dropped here, the broker could not be reached in time"
            self._waiting.append({"at": datetime.now(UTC).isoformat(), "stream": "stderr", "text": text})


def open_for(directory: Path, source: str, stream: str) -> Any:
    """The file, open for appending bytes, in which `source` ("driver", "rank0", "pip") writes its `stream`."""
    directory.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(directory / f"{source}.{stream}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb")
