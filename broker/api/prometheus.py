"""`/metrics`, for Prometheus: read from Postgres at each scrape, so any number of processes tell the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from rest_framework.request import Request
from rest_framework.views import APIView

from offers.queries import offers_by_freshness
from workloads import figures
from workloads.figures import SiteFigures, WorkloadFigures

# Names as https://prometheus.io/docs/practices/naming has it: base units, last in the name; _total counts up for ever.
WORKLOAD_GAUGES: list[tuple[str, str, Callable[[WorkloadFigures], float | None]]] = [
    ("version", "Version of the parameters that all sites share.", lambda one: one.version),
    ("samples", "Samples to train on, all passes over the data together.", lambda one: one.samples),
    ("loss", "Mean loss that sites reported over the last round, by samples.", lambda one: one.loss),
    ("last_round_contributors", "Sites that were merged in the last round.", lambda one: len(one.sites)),
    ("last_round_seconds", "From the opening of the last round to its closing.", lambda one: one.last_round_s),
    ("last_update_bytes", "Update of the last round, as each site fetches it.", lambda one: one.last_update_bytes),
]
WORKLOAD_COUNTERS: list[tuple[str, str, Callable[[WorkloadFigures], float]]] = [
    ("rounds_closed", "Rounds that were merged.", lambda one: one.rounds),
    ("update_bytes", "Updates made, each counted once.", lambda one: one.update_bytes),
    ("contribution_bytes", "Contributions that sites sent, merged or not.", lambda one: one.contribution_bytes),
    ("samples_merged", "Samples whose training is in the parameters.", lambda one: one.samples_merged),
]
SITE_GAUGES: list[tuple[str, str, Callable[[SiteFigures], float | None]]] = [
    ("share_ratio", "Weight of its contribution in the last round.", lambda one: one.share),
    ("contribution_norm", "Euclidean norm of its contribution.", lambda one: one.norm),
    ("contribution_cosine", "Cosine of its contribution with the mean of the others.", lambda one: one.cosine),
    ("loss", "Mean loss over its part of the last round.", lambda one: one.loss),
    ("samples_per_second", "Samples in the last round over its time for them.", lambda one: one.samples_per_s),
    ("stall_ratio", "Share of its time for the last round in which it took no step.", lambda one: one.stall_share),
    ("put_seconds", "To send its contribution to the last round.", lambda one: one.put_s),
    ("fetch_seconds", "To get and apply the update before.", lambda one: one.fetch_s),
    ("utilisation_ratio", "How busy its accelerators are, or processors without any.", lambda one: one.utilisation),
]


class Metrics(APIView):
    """What is measured of this broker and of the workloads that run, without names of people or programs."""

    scopes = {"GET": "observe"}

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        """Tell all figures, in Prometheus' text format or OpenMetrics'."""
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return HttpResponse(encode(Figures()), content_type=content_type)


class Figures(Collector):
    """The figures of this moment."""

    def collect(self) -> Iterator[Metric]:
        """Read and tell them."""
        yield from _of_the_broker()
        found = figures.of_workloads()
        yield from _of_workloads(found)
        yield from _of_sites(found)


def _of_the_broker() -> Iterator[Metric]:
    offers = GaugeMetricFamily("gpuyard_offers", "Offers in the book.", labels=["provider", "leasable", "fresh"])
    for (provider, leasable, fresh), count in sorted(offers_by_freshness(now=timezone.now()).items()):
        offers.add_metric([provider, str(leasable).lower(), str(fresh).lower()], count)
    yield offers
    for kind, states in figures.by_state().items():
        family = GaugeMetricFamily(f"gpuyard_{kind}s", f"Each {kind} there ever was, by its state.", labels=["state"])
        for state, count in states.items():
            family.add_metric([state], count)
        yield family


def _of_workloads(found: list[WorkloadFigures]) -> Iterator[Metric]:
    label = ["workload"]
    for name, about, figure in WORKLOAD_GAUGES:
        gauge = GaugeMetricFamily(f"gpuyard_workload_{name}", about, labels=label)
        yield _filled(gauge, [([str(one.workload)], figure(one)) for one in found])
    for name, about, count in WORKLOAD_COUNTERS:
        counter = CounterMetricFamily(f"gpuyard_workload_{name}", about, labels=label)
        yield _filled(counter, [([str(one.workload)], count(one)) for one in found])
    rounds = SummaryMetricFamily("gpuyard_workload_round_seconds", "Rounds, from opening to closing.", labels=label)
    for one in found:
        rounds.add_metric([str(one.workload)], count_value=one.rounds, sum_value=one.rounds_s)
    yield rounds
    given = CounterMetricFamily("gpuyard_workload_contributions", "What sites handed in.", labels=[*label, "status"])
    rows = [([str(one.workload), status], n) for one in found for status, n in sorted(one.contributions.items())]
    yield _filled(given, rows)


def _of_sites(found: list[WorkloadFigures]) -> Iterator[Metric]:
    for name, about, figure in SITE_GAUGES:
        gauge = GaugeMetricFamily(f"gpuyard_site_{name}", about, labels=["workload", "site", "placement"])
        rows = [([str(one.workload), at.site, str(at.placement)], figure(at)) for one in found for at in one.sites]
        yield _filled(gauge, rows)


def _filled(family: Any, rows: list[tuple[list[str], float | None]]) -> Metric:
    """Add what is known; a series that is not there says that nothing is."""
    for labels, value in rows:
        if value is not None:
            family.add_metric(labels, value)
    filled: Metric = family
    return filled
