"""Agents call home: what they say of their leases, and the orders that they find in the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from offers import operations as market
from offers.models import Host
from offers.queries import rental_of
from workloads import bell
from workloads.models import Event, Lease, LogLine, Metric, Node, Placement, Workload

BEAT_S = 1.0  # With a lease.
IDLE_BEAT_S = 1.0  # Without one: also the longest that an order waits for its host.
AT_ANY_MOMENT = timedelta(seconds=5)  # What container clouds give between SIGTERM and the end.
NOTICES = ("interruption", "rebalance", "sigterm")
PHASES = ("preparing", "starting", "running", "exited", "failed")
ORDERED_IN = (Placement.State.JOINING, Placement.State.TRAINING, Placement.State.DRAINING)
USERS_FAULTS = ("script_error", "requirements_failed")  # Errors of a node that are the script's, not the machine's.
LINE_MAX = 4000
METRIC_MAX = 64


class ReportInvalid(Exception):
    """An agent or a session said something that means nothing; the argument says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """That the machine is about to be taken away, as its cloud told the agent. `at` None: at any moment."""

    kind: str
    at: datetime | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What an agent says at a heartbeat."""

    address: str
    hardware: dict[str, Any]
    usage: dict[str, Any] | None
    nodes: list[dict[str, Any]]
    notice: Notice | None = None


def arrive(*, host: Host, now: datetime) -> None:
    """An agent was let in: whoever waits for its machine looks at once."""
    rental = host.rentals.filter(ended_at=None).first()
    lease = _lease(rental.key) if rental else None
    if lease is not None:
        bell.wake("lease", lease.pk, now)


def beat(*, host: Host, said: Beat, now: datetime) -> list[dict[str, Any]]:
    """Hear a host: note what it says of its leases, return the orders for those that it should hold."""
    market.hear(host=host, address=said.address, hardware=said.hardware, now=now)
    for report in said.nodes:
        _note(host, report, said.usage, now)
    rental = host.rentals.filter(ended_at=None).first()
    lease = _lease(rental.key) if rental else None
    if said.notice:
        _heed(host, lease, said.notice, now)
    if lease is None or lease.state != Lease.State.HELD or lease.placement.state not in ORDERED_IN:
        return []
    return [_order(lease)]


def _heed(host: Host, lease: Lease | None, notice: Notice, now: datetime) -> None:
    """Treat an interruption as a reclaim with notice; only write down what need not come true."""
    if notice.kind == "rebalance":
        _write_down(lease, f"{notice.source} recommends to leave this machine: it may be interrupted soon", now)
        return
    if notice.kind == "sigterm" and host.supplier_id is not None:
        return  # Its owner restarts the agent: that is no reason to offer the host no more.
    at = max(now, notice.at or now + AT_ANY_MOMENT)
    if host.reclaim_at is None or at < host.reclaim_at:
        market.reclaim(host=host, notice=at - now, now=now)
        if lease is not None:
            bell.wake("lease", lease.pk, now)


def _write_down(lease: Lease | None, why: str, now: datetime) -> None:
    if lease is None:
        return
    same = {"subject_type": "lease", "subject_id": lease.pk, "why": why}
    if not Event.objects.filter(workload_id=lease.workload_of(), **same).exists():
        states = {"from_state": lease.state, "to_state": lease.state}
        Event.objects.create(workload_id=lease.workload_of(), at=now, **same, **states)


def _lease(key: str) -> Lease | None:
    number = key.removeprefix("lease-")
    leases = Lease.objects.select_related("placement__workload__program", "offer", "node")
    return leases.filter(pk=int(number)).first() if number.isdigit() else None


def _note(host: Host, report: dict[str, Any], usage: dict[str, Any] | None, now: datetime) -> None:
    """Take in what an agent says of one lease, if that lease is on its host."""
    if report.get("phase") not in PHASES:
        raise ReportInvalid(f"phase {report.get('phase')!r} is none of {', '.join(PHASES)}")
    rental = rental_of(f"lease-{report['lease']}")
    if rental is None or rental.host_id != host.pk or rental.ended_at is not None:
        return
    error = report.get("error") or None
    if error is not None:
        error = {"code": str(error.get("code", ""))[:40], "message": str(error.get("message", ""))[:400]}
    node = Node.objects.select_related("lease").filter(lease_id=report["lease"]).first()
    if node is None:
        return
    Node.objects.filter(pk=node.pk).update(
        phase=report["phase"],
        phase_at=node.phase_at if node.phase == report["phase"] else now,
        exit_code=report.get("exit_code"),
        error=error,
        usage=usage,
        seen_at=now,
    )
    if error is not None and error["code"] == "accelerators_missing":
        market.bar(host=host, why=error["message"], now=now)
    if node.phase != report["phase"]:
        bell.wake("placement", node.lease.placement_id, now)


def _order(lease: Lease) -> dict[str, Any]:
    placement = lease.placement
    leases = list(placement.leases.select_related("node").order_by("id"))
    head = leases[0]
    workload = placement.workload
    return {
        "lease": lease.pk,
        "workload": workload.pk,
        "placement": placement.pk,
        "role": "head" if lease.pk == head.pk else "worker",
        "ray": {
            "token": placement.ray_token,
            "head_address": head.node.address,
            "head_port": placement.ray_port,
            "nodes": sum(one.state not in Lease.DEAD for one in leases),
            "without": [one.node.address for one in leases[1:] if one.taken_at and one.state == Lease.State.HELD],
            "accelerators": {"kind": lease.offer.accelerator, "count": lease.accelerators},
        },
        "program": {
            "sha256": workload.program.sha256,
            "size_bytes": workload.program.size_bytes,
            "url": f"/v1/agent/programs/{workload.program.sha256}",
        },
        "script": workload.script,
        "args": workload.args,
        "env": {},
        "site": {"name": placement.site, "secret": placement.site_secret},
        "drain": placement.drain_requested_at is not None,
    }


def may_read_program(*, host: Host, sha256: str) -> bool:
    """Whether the program is that of the host's lease."""
    rental = host.rentals.filter(ended_at=None).first()
    lease = _lease(rental.key) if rental else None
    return lease is not None and lease.placement.workload.program.sha256 == sha256


def keep_logs(*, host: Host, lease_id: int, first_seq: int, lines: list[dict[str, Any]]) -> int:
    """Keep log lines once each; return the next number expected. Raises ReportInvalid."""
    rental = rental_of(f"lease-{lease_id}")
    lease = Lease.objects.select_related("placement").filter(pk=lease_id).first()
    if rental is None or rental.host_id != host.pk or lease is None:
        raise ReportInvalid(f"lease {lease_id} is not on this host")
    rows = [
        LogLine(
            workload_id=lease.placement.workload_id,
            lease=lease,
            seq=first_seq + offset,
            at=line["at"],
            stream=str(line.get("stream", ""))[:8],
            text=str(line["text"])[:LINE_MAX].replace("\x00", ""),
        )
        for offset, line in enumerate(lines)
    ]
    LogLine.objects.bulk_create(rows, ignore_conflicts=True)
    return first_seq + len(rows)


@transaction.atomic
def keep_metrics(*, placement: Placement, rows: list[dict[str, Any]], now: datetime) -> None:
    """Keep what a session reported, once each; not-a-number is kept as the text "nan". Raises ReportInvalid."""
    kept = []
    for row in rows:
        values = row["values"]
        if not isinstance(values, dict) or len(values) > METRIC_MAX:
            raise ReportInvalid(f"a metric row is a mapping of at most {METRIC_MAX} names")
        clean = {str(name)[:80]: _plain(value) for name, value in values.items()}
        kept.append(
            Metric(
                workload_id=placement.workload_id,
                placement=placement,
                seq=row["seq"],
                at=row["at"],
                step=row["step"],
                version=row.get("version") or 0,
                values=clean,
            )
        )
    Metric.objects.bulk_create(kept, ignore_conflicts=True)
    if kept:
        workload = Workload.objects.filter(pk=placement.workload_id)
        workload.update(reported_at=now)
        workload.filter(first_step_at=None).update(first_step_at=min(row.at for row in kept))


def _plain(value: Any) -> Any:
    if isinstance(value, bool | str):
        return value if not isinstance(value, str) else value[:200]
    if isinstance(value, int | float):
        return value if math.isfinite(value) else str(value)
    raise ReportInvalid(f"a metric is a number or a short text, not {type(value).__name__}")
