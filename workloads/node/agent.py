"""The agent of a host: it beats, and makes the leases on this host be what the answer says, no more and no less."""

import logging
import platform
import threading
import uuid
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from .benchmark import Benchmark
from .hardware import discover, usage
from .lease import Lease, Report, Setting, forget, leftovers
from .link import Backoff, Link, Refused, Unreachable
from .notices import SIGTERM, Notice, Watcher

log = logging.getLogger(__name__)

BARRED_S = 60.0
SHORTEST_BEAT_S = 0.2
HASTE_S = 1.0  # With a notice to pass on, the longest wait for a broker that is away.
LAST_WORD_S = 2.0  # A container cloud kills five seconds after SIGTERM: most of them are for the leases.


@dataclass(frozen=True)
class Host:
    """Where the agent runs and as whom."""

    broker: str
    authorization: str
    state: Path
    address: str
    accelerators: str | None


class Agent:
    """Beats until `stop` is set, then ends every lease of the host."""

    def __init__(self, *, host: Host, stop: threading.Event) -> None:
        self._host, self._stop = host, stop
        self._boot_id = uuid.uuid4().hex
        self._news = threading.Event()
        self._leases: dict[int, Lease] = {}
        self._ending: dict[int, threading.Thread] = {}
        self._ended: dict[int, Report] = {}
        self._notices = Watcher(heard=self.wake)
        self._accelerators: list[dict[str, Any]] = self._hardware()["accelerators"]  # As last told.
        self._benchmark = Benchmark(state=host.state, shares=len(self._accelerators) or 1)
        self._setting = Setting(
            state=host.state, broker=host.broker, address=host.address, connect=self._connect, news=self._news
        )

    def run(self) -> None:
        """Work until asked to stop; returns when no lease has a process left."""
        self._ended = {report["lease"]: report for report in leftovers(self._host.state)}
        self._notices.start()
        link, backoff = self._connect(), Backoff(cap_s=15.0)
        while not self._stop.is_set():
            self._news.clear()
            try:
                answer = link.call("POST", "/v1/agent/beat", self._beat(), timeout_s=10.0)
            except Unreachable as unreachable:
                log.warning("agent.unreachable why=%s", unreachable)
                pause_s = backoff.next_s()
                self._stop.wait(min(pause_s, HASTE_S) if self._notices.notice else pause_s)
                continue
            except Refused as refused:
                self._explain(refused)
                self._stop.wait(BARRED_S)
                continue
            try:
                orders, next_beat_s = list(answer["nodes"]), float(answer["next_beat_s"])
            except (KeyError, TypeError, ValueError) as garbled:  # Not the broker, or not one of our version.
                log.error("agent.answer_not_understood why=%r", garbled)
                self._stop.wait(backoff.next_s())
                continue
            backoff.reset()
            self.reconcile(orders)
            self._benchmark.go_on(self._accelerators, leased=bool(orders or self._leases))
            # A lease that changed is told at once: the customer waits for it.
            self._stop.wait(SHORTEST_BEAT_S)
            self._news.wait(max(0.0, next_beat_s - SHORTEST_BEAT_S))
        self._benchmark.stop()
        self._say_goodbye(link)
        link.close()
        self._end_all()

    def wake(self) -> None:
        """Stop waiting for the next beat's time."""
        self._news.set()

    def reconcile(self, orders: list[dict[str, Any]]) -> None:
        """Make the host's leases those of `orders`: start the new, pass on wishes, clean up what is not named."""
        wanted = {int(order["lease"]): order for order in orders}
        for lease in [lease for lease in self._ended if lease not in wanted]:
            del self._ended[lease]
            forget(self._host.state, lease)
        self._ending = {lease: thread for lease, thread in self._ending.items() if thread.is_alive()}
        for lease in [lease for lease in list(self._leases) if lease not in self._ending]:
            if lease not in wanted:
                self._end(lease)
        for lease, order in wanted.items():
            if lease in self._ending or lease in self._ended:
                continue
            if lease not in self._leases:
                self._start(order)
            if lease in self._leases:
                self._leases[lease].obey(order)

    def _say_goodbye(self, link: Link) -> None:
        """One last beat: a cloud that takes a container away gives no other word than the signal."""
        try:
            link.call("POST", "/v1/agent/beat", self._beat(Notice(SIGTERM, None, "agent")), timeout_s=LAST_WORD_S)
        except (Unreachable, Refused) as unheard:
            log.warning("agent.goodbye_unheard why=%s", unheard)

    def _beat(self, notice: Notice | None = None) -> dict[str, Any]:
        reports = [lease.report() for lease in list(self._leases.values())]
        notice = notice or self._notices.notice
        hardware = self._hardware()
        self._accelerators = hardware["accelerators"]
        return {
            "boot_id": self._boot_id,
            "version": _version(),
            "address": self._host.address,
            "hardware": {**hardware, "benchmarks": self._benchmark.measured(self._accelerators)},
            "usage": usage(),
            "notice": notice.as_json() if notice else None,
            "nodes": reports + list(self._ended.values()),
        }

    def _hardware(self) -> dict[str, Any]:
        return discover(state=self._host.state, accelerators=self._host.accelerators)

    def _start(self, order: dict[str, Any]) -> None:
        lease = int(order["lease"])
        try:
            self._leases[lease] = Lease(order=order, setting=self._setting)
        except OSError as broken:  # Not even its directory could be made.
            error = {"code": "disk_full", "message": str(broken)}
            self._ended[lease] = {"lease": lease, "phase": "failed", "exit_code": None, "error": error}
            return
        self._leases[lease].start()
        log.info("agent.lease_started lease=%s role=%s", lease, order["role"])

    def _end(self, lease: int) -> None:
        def end() -> None:
            self._leases[lease].end()
            del self._leases[lease]
            log.info("agent.lease_gone lease=%s", lease)
            self._news.set()

        self._ending[lease] = threading.Thread(target=end, name=f"end-{lease}", daemon=True)
        self._ending[lease].start()

    def _end_all(self) -> None:
        """The broker may still order these leases when the agent is back: it must then say that they failed."""

        def end(lease: Lease) -> None:
            report = lease.report()
            if report["phase"] not in ("exited", "failed"):
                error = {"code": "agent_restarted", "message": "the host's agent was stopped while the lease ran"}
                report = {"lease": lease.id, "phase": "failed", "exit_code": None, "error": error}
            lease.end(tombstone=report)

        running = [lease for lease in list(self._leases.values()) if lease.id not in self._ending]
        threads = [threading.Thread(target=end, args=(lease,)) for lease in running]
        for thread in threads:
            thread.start()
        for thread in [*threads, *self._ending.values()]:
            thread.join()
        log.info("agent.stopped leases_ended=%d", len(threads))

    def _connect(self) -> Link:
        return Link(broker=self._host.broker, authorization=self._host.authorization)

    def _explain(self, refused: Refused) -> None:
        if refused.status == 401:
            log.error(
                "agent.barred why=%s: the broker does not accept this host's key (any more). "
                "Trying again every %d s; a new start with another --state and a new --token enrols it anew",
                refused,
                BARRED_S,
            )
        else:
            log.error("agent.beat_refused status=%s code=%s why=%s", refused.status, refused.code, refused)


def _version() -> str:
    """The version of the wheel this agent came in, or that it runs from its source."""
    try:
        return metadata.version("gpuyard")
    except metadata.PackageNotFoundError:
        return f"source (Python {platform.python_version()})"
