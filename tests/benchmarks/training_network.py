"""
The wide-area network of the benchmarks of training across sites: a star of namespaces, or the loopback interface.

../shared/tools/wanemu.py (GPUYARD_WANEMU names another place) makes a namespace for each place, with a rate, a delay
and a NAT that lets no connection in, and can swallow all packets of one. It needs root.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks import parts

EMULATOR = Path(os.environ.get("GPUYARD_WANEMU") or parts.ROOT.parent / "shared" / "tools" / "wanemu.py")
BROKER, SITES = "broker", ("one", "two", "three")
BROKER_MBIT = 1000  # A broker stands in a data centre; what is slow are the sites' lines.
START_S = 20.0


class NoNamespaces(Exception):
    """This process may not make network namespaces, or the emulator is not there; the text says which."""


class Loopback:
    """All places are this machine; no link has a rate, and none can be cut."""

    isolated = False

    def inside(self, place: str) -> list[str]:
        """Return the words before a command that is to run at a place."""
        return []

    def address(self, place: str) -> str:
        """Return where a place is reached."""
        return "127.0.0.1"

    def device(self, place: str) -> str:
        """Return the network interface of a place; empty when it has none of its own."""
        return ""

    def close(self) -> None:
        """Nothing is to be removed."""


class Network:
    """The namespaces. A context manager's work is done by `close`, which may be called twice."""

    isolated = True

    def __init__(self, directory: Path) -> None:
        """Raises NoNamespaces."""
        if os.geteuid() != 0 or not Path("/dev/net/tun").exists():
            raise NoNamespaces("network namespaces need root and /dev/net/tun")
        if not EMULATOR.exists():
            raise NoNamespaces(f"there is no {EMULATOR.name} (GPUYARD_WANEMU names its place)")
        self._prefix = f"yard{os.getpid()}-"
        places = (BROKER, *SITES)
        self._addresses = {place: f"10.88.0.{number}" for number, place in enumerate(places, 1)}
        self._control, answers = directory / "wan", directory / "wan-answers"
        command = [sys.executable, str(EMULATOR), "--prefix", self._prefix, "--ctl", str(self._control)]
        for place in places:
            command += ["--site", f"{place},{self._addresses[place]}"]
        self._errors = (directory / "wan.log").open("w+b")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._errors)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(answers))
        self._socket.settimeout(5.0)
        ready, _, _ = select.select([self._process.stdout], [], [], START_S)
        if not ready or not os.read(self._process.stdout.fileno(), 5):  # type: ignore[union-attr]
            self.close()
            raise NoNamespaces(f"{EMULATOR.name} does not start: {self._said()}")

    def inside(self, place: str) -> list[str]:
        """Return the words before a command that is to run at a place; the process keeps its id."""
        return ["ip", "netns", "exec", self._prefix + place]

    def address(self, place: str) -> str:
        """Return where a place is reached."""
        return self._addresses[place]

    def device(self, place: str) -> str:
        """Return the network interface of a place, as the emulator names it."""
        return f"t{place}"[:12]

    def shape(self, *, mbit_per_s: float, rtt_ms: float, nat: bool) -> None:
        """Give all sites such lines; rtt_ms: between any two places. Nothing reaches a site behind NAT unasked."""
        for place in (BROKER, *SITES):
            rate = BROKER_MBIT if place == BROKER else mbit_per_s
            wanted = {"up": rate, "down": rate, "delay": rtt_ms / 4, "nat": nat and place != BROKER}
            self._tell(cmd="set", site=place, **wanted)

    def cut(self, place: str, on: bool) -> float:
        """Swallow all packets of a place, or no longer; return the time.monotonic() of that moment."""
        self._tell(cmd="blackhole", site=place, on=on)
        return time.monotonic()

    def close(self) -> None:
        """End the emulator and remove every namespace."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._socket.close()
        for place in (BROKER, *SITES):
            subprocess.run(["ip", "netns", "del", self._prefix + place], stderr=subprocess.DEVNULL, check=False)

    def _tell(self, **words: object) -> None:
        self._socket.sendto(json.dumps(words).encode(), str(self._control))
        self._socket.recv(65536)

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-300:].strip() or "it says nothing"
