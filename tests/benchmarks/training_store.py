"""The object store of a benchmark's broker, which can be made to fail: as root a full disk, else a locked directory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOM = "size=4g"
TRIES = 20


class Store:
    """A directory for objects. `close` may be called at any time; what `fail` did, `mend` undoes."""

    def __init__(self, directory: Path, *, can_fail: bool) -> None:
        directory.mkdir()
        self._directory, self._is_mounted = directory, False
        if not can_fail:
            return
        mount = ["mount", "-t", "tmpfs", "-o", ROOM, "gpuyard-bench", str(directory)]
        self._is_mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0

    def fail(self) -> None:
        """Take nothing more in."""
        if not self._is_mounted:
            self._allow(0o500)
            return
        for _ in range(TRIES):  # Somebody may write between the question and the order.
            told = os.statvfs(self._directory)
            used = (told.f_blocks - told.f_bfree) * told.f_frsize
            if self._remount(f"size={used}"):
                return

    def mend(self) -> None:
        """Be as before."""
        if self._is_mounted:
            self._remount(ROOM)
        else:
            self._allow(0o700)

    def close(self) -> None:
        """Unmount."""
        if self._is_mounted:
            subprocess.run(["umount", "--lazy", str(self._directory)], check=False)
            self._is_mounted = False
        else:
            self._allow(0o700)

    def _remount(self, option: str) -> bool:
        order = ["mount", "-o", f"remount,{option}", str(self._directory)]
        return subprocess.run(order, capture_output=True, check=False).returncode == 0

    def _allow(self, mode: int) -> None:
        for path in (self._directory, *self._directory.iterdir()):
            path.chmod(mode)
