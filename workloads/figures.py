"""How the workloads that train fare, in numbers: of all of them at once, whatever their number. Nothing here writes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum

from workloads.models import Contribution, Lease, Node, Round, SampleRange, Training, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFigures:
    """What a site brought to the last round that closed; None: it did not say, or nothing is known."""

    placement: int
    site: str
    share: float | None
    norm: float | None
    cosine: float | None
    loss: float | None
    samples_per_s: float | None
    stall_share: float | None  # Of its time, without a step.
    put_s: float | None
    fetch_s: float | None
    utilisation: float | None  # Of its accelerators now, or of the processors of hosts without any; 0 to 1.


@dataclass(slots=True, kw_only=True)
class WorkloadFigures:
    """A workload that trains. rounds: closed ones; rounds_s, update_bytes: of all of them; last_*: of the newest."""

    workload: int
    version: int
    samples: int
    samples_merged: int = 0
    loss: float | None = None  # Mean over the last round, by samples: to look for the last metric costs 0.1 s a run.
    rounds: int = 0
    rounds_s: float = 0.0
    update_bytes: int = 0
    last_round_s: float | None = None
    last_update_bytes: int | None = None
    contributions: dict[str, int] = field(default_factory=dict)  # {status: how many}
    contribution_bytes: int = 0  # Of all of them.
    sites: list[SiteFigures] = field(default_factory=list)


def of_workloads() -> list[WorkloadFigures]:
    """Return the figures of each workload that trains and has not ended, oldest first: seven questions in all."""
    alive = Training.objects.filter(version__isnull=False).exclude(workload__state__in=Workload.FINAL)
    rows = alive.order_by("pk").values_list("pk", "version", "total_samples", "merged_before")
    found = {
        pk: WorkloadFigures(workload=pk, version=version, samples=samples, samples_merged=before)
        for pk, version, samples, before in rows
    }
    _add_rounds(found)
    _add_contributions(found)
    merged = SampleRange.objects.filter(workload__in=found, merged_version__isnull=False)
    for row in merged.values("workload").annotate(samples=Sum(F("end") - F("start"))):
        found[row["workload"]].samples_merged += row["samples"]
    return list(found.values())


def _add_rounds(found: dict[int, WorkloadFigures]) -> None:
    closed = Round.objects.filter(workload__in=found, state=Round.State.CLOSED)
    took = Sum(F("closed_at") - F("opened_at"))
    for row in closed.values("workload").annotate(rounds=Count("id"), took=took, bytes=Sum("update_bytes")):
        one = found[row["workload"]]
        one.rounds, one.rounds_s, one.update_bytes = row["rounds"], _seconds(row["took"]), row["bytes"]
    for round_ in closed.filter(_IS_LAST):
        one = found[round_.workload_id]
        one.last_round_s = _seconds(round_.closed_at - round_.opened_at)  # type: ignore[operator]
        one.last_update_bytes = round_.update_bytes


def _add_contributions(found: dict[int, WorkloadFigures]) -> None:
    given = Contribution.objects.filter(round__workload__in=found)
    for row in given.values("round__workload", "status").annotate(count=Count("id"), bytes=Sum("size_bytes")):
        one = found[row["round__workload"]]
        one.contributions[row["status"]] = row["count"]
        one.contribution_bytes += row["bytes"]
    last = Round.objects.filter(_IS_LAST, workload__in=found, state=Round.State.CLOSED)
    merged = given.filter(round__in=last, status="merged").select_related("placement", "round")
    lost: dict[int, list[tuple[int, float]]] = defaultdict(list)
    busy = _utilisation(last)
    for each in merged.order_by("placement_id"):
        seconds = each.train_s or _seconds(each.received_at - each.round.opened_at)
        site = SiteFigures(
            placement=each.placement_id,
            site=each.placement.site,
            share=each.share,
            norm=each.norm,
            cosine=each.cosine,
            loss=each.loss,
            samples_per_s=each.samples / seconds if seconds > 0 else None,
            stall_share=each.stall_s / each.train_s if each.train_s and each.stall_s is not None else None,
            put_s=each.put_s,
            fetch_s=each.fetch_s,
            utilisation=busy.get(each.placement_id),
        )
        found[each.round.workload_id].sites.append(site)
        if each.loss is not None:
            lost[each.round.workload_id].append((each.samples, each.loss))
    for workload, losses in lost.items():
        found[workload].loss = sum(samples * loss for samples, loss in losses) / sum(samples for samples, _ in losses)


def _utilisation(rounds: QuerySet[Round]) -> dict[int, float]:
    """Return {placement: utilisation} of those that were merged in these rounds."""
    here = Q(lease__placement__contribution__round__in=rounds, lease__placement__contribution__status="merged")
    nodes = Node.objects.filter(here, lease__closed_at=None, usage__isnull=False).distinct()
    seen: dict[int, list[float]] = defaultdict(list)
    for placement, usage in nodes.values_list("lease__placement", "usage"):
        seen[placement] += _busy(usage)
    return {placement: sum(each) / len(each) / 100 for placement, each in seen.items() if each}


def _busy(usage: Any) -> list[float]:
    """Agents are others' programs, so what they say may be anything."""
    try:
        told = [chip["utilisation_percent"] for chip in usage["accelerators"]] or [usage["cpu_percent"]]
        return [min(max(float(each), 0.0), 100.0) for each in told]
    except (KeyError, TypeError, ValueError):
        return []


_IS_LAST = Q(version=F("workload__training__version") - 1)  # A round of version v leads to v + 1.


def by_state() -> dict[str, dict[str, int]]:
    """Return {workload, lease: {state: how many}}, each state named, zeros too."""
    counted: dict[str, dict[str, int]] = defaultdict(dict)
    models: tuple[tuple[str, Any], ...] = (("workload", Workload), ("lease", Lease))
    for name, model in models:
        rows = dict(model.objects.order_by().values_list("state").annotate(count=Count("id")))
        counted[name] = {state: rows.get(state, 0) for state in model.State.values}
    return dict(counted)


def _seconds(span: timedelta) -> float:
    return span.total_seconds()
