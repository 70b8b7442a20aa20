"""What this host really reaches, measured once while nothing is leased and told with every beat. Leases come first."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

IDLE_S = 20.0  # So long must a host be without a lease: a new host is mostly rented at once.
WITHIN_S = 120.0
NICE = 19


class Benchmark:
    """The benchmark of one host: kept in its state directory, and measured anew when the host is another one."""

    def __init__(self, *, state: Path, shares: int, clock: Callable[[], float] = time.monotonic) -> None:
        """shares: accelerators that a host without GPUs offers; each is measured with its share of the cores."""
        self._path, self._clock = state / "benchmark.json", clock
        self._threads = max(1, len(os.sched_getaffinity(0)) // shares)
        self._measurer: subprocess.Popen[bytes] | None = None
        self._idle_since: float | None = None
        self._is_over = False

    def measured(self, accelerators: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What was measured of these accelerators, a dict for each precision; empty while nothing was."""
        try:
            kept = json.loads(self._path.read_text())
            return list(kept["measured"]) if kept["of"] == self._of(accelerators) else []
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def go_on(self, accelerators: list[dict[str, Any]], *, leased: bool) -> None:
        """Take the next step, if there is one: called with every beat, which no trouble here may end."""
        try:
            self._step(accelerators, leased=leased)
        except (OSError, ValueError) as trouble:
            log.warning("benchmark.failed why=%s", trouble)
            self.stop()
            self._is_over = True

    def _step(self, accelerators: list[dict[str, Any]], *, leased: bool) -> None:
        if leased:
            self.stop()
        elif self._measurer is not None:
            self._look(accelerators, self._measurer)
        elif not self._is_over and not self.measured(accelerators):
            self._idle_since = self._idle_since or self._clock()
            if self._clock() - self._idle_since >= IDLE_S:
                self._start()

    def stop(self) -> None:
        """End a measurement; it is begun again when the host is idle again."""
        self._idle_since = None
        if self._measurer is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._measurer.pid, signal.SIGKILL)
            self._measurer.communicate()
            self._measurer = None

    def _start(self) -> None:
        package = str(__package__)
        command = [sys.executable, "-m", f"{package}.training.yardstick", "--threads", str(self._threads)]
        self._measurer = subprocess.Popen(
            command,
            cwd=Path(__file__).parents[len(package.split("."))],  # Where the package is found.
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.setpriority(os.PRIO_PROCESS, self._measurer.pid, NICE)

    def _look(self, accelerators: list[dict[str, Any]], measurer: subprocess.Popen[bytes]) -> None:
        assert self._idle_since is not None
        if measurer.poll() is None:
            if self._clock() - self._idle_since > IDLE_S + WITHIN_S:
                log.warning("benchmark.too_slow seconds=%d", WITHIN_S)
                self.stop()
                self._is_over = True
            return
        self._is_over, self._measurer = True, None  # Whatever came of it: not twice in one run of the agent.
        said, _ = measurer.communicate()
        if measurer.returncode != 0:
            log.warning("benchmark.failed exit_code=%d", measurer.returncode)
            return
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps({"of": self._of(accelerators), "measured": json.loads(said)}))
        draft.replace(self._path)
        log.info("benchmark.measured")

    def _of(self, accelerators: list[dict[str, Any]]) -> list[Any]:
        return [self._threads, *sorted(chip["kind"] for chip in accelerators)]
