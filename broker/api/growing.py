"""What grows while a workload runs: events, metrics, log lines, rounds."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from broker.api import openapi, paging
from broker.api import workload_shapes as shapes
from broker.api.runs import workload_of
from broker.api.shapes import listed, paged
from offers.queries import host_names
from workloads import queries
from workloads.models import Event, Lease, LogLine, Metric, Round, Workload


class Grown(APIView):
    """What grows while a workload runs; `?after=` the last id that you have."""

    scopes = {"GET": "read"}
    rows: Any = None
    shape: Any = None

    def get(self, request: Request, pk: int) -> Response:
        """Return the rows after `?after=`, oldest first."""
        rows = type(self).rows(workload_of(request, pk))
        return Response(paging.grown(request, rows, lambda row: type(self).shape(row).data))


@extend_schema_view(
    get=extend_schema(operation_id="list_events", parameters=openapi.AFTER, responses=listed(shapes.EventShape))
)
class Events(Grown):
    """Moves of the workload and of all that it has."""

    @staticmethod
    def rows(workload: Workload) -> QuerySet[Any]:
        """Return its events."""
        return workload.events.all()

    shape = shapes.EventShape


@extend_schema_view(
    get=extend_schema(operation_id="list_decisions", parameters=openapi.AFTER, responses=listed(shapes.EventShape))
)
class Decisions(Grown):
    """What was decided for it, and the figures that it was decided on."""

    @staticmethod
    def rows(workload: Workload) -> QuerySet[Any]:
        """Return its events that have figures."""
        return workload.events.filter(figures__isnull=False)

    shape = shapes.EventShape


@extend_schema_view(
    get=extend_schema(operation_id="list_metrics", parameters=openapi.AFTER, responses=listed(shapes.MetricShape))
)
class Metrics(Grown):
    """What the sessions reported."""

    @staticmethod
    def rows(workload: Workload) -> QuerySet[Metric]:
        """Return its metric rows."""
        return workload.metrics.select_related("placement")

    shape = shapes.MetricShape


@extend_schema_view(
    get=extend_schema(operation_id="list_logs", parameters=openapi.AFTER, responses=listed(shapes.LogLineShape))
)
class Logs(Grown):
    """What the scripts wrote."""

    @staticmethod
    def rows(workload: Workload) -> QuerySet[LogLine]:
        """Return its log lines."""
        return workload.log_lines.select_related("lease__placement")

    def get(self, request: Request, pk: int) -> Response:
        """Return the lines after `?after=`, oldest first, with the host's name."""
        workload = workload_of(request, pk)
        show = partial(log_json, names_of_hosts(workload.pk))
        return Response(paging.grown(request, self.rows(workload), show))


class Rounds(APIView):
    """The outer synchronisations."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="list_rounds", responses=paged(shapes.RoundShape))
    def get(self, request: Request, pk: int) -> Response:
        """List the rounds, oldest first."""
        rows = queries.rounds_of(workload_of(request, pk).pk)
        return Response({"results": [round_json(row) for row in rows], "next": None})


def names_of_hosts(workload_id: int) -> dict[str, str]:
    """Return {lease key: host name} of all machines that a workload had."""
    leases = Lease.objects.filter(placement__workload_id=workload_id).values_list("pk", flat=True)
    return host_names([f"lease-{pk}" for pk in leases])


def event_json(row: Event) -> Any:
    """Return an event as the API shows it."""
    return shapes.EventShape(row).data


def metric_json(row: Metric) -> Any:
    """Return a row of metrics as the API shows it."""
    return shapes.MetricShape(row).data


def log_json(names: dict[str, str], line: LogLine) -> Any:
    """Return a log line as the API shows it; names: of hosts, by the key of their lease."""
    line.host = names.get(line.lease.key)  # type: ignore[attr-defined]
    return shapes.LogLineShape(line).data


def round_json(row: Round) -> Any:
    """Return a round as the API shows it."""
    given = list(row.contributions.all())
    return shapes.RoundShape(
        {
            "version": row.version,
            "opened_at": row.opened_at,
            "called_at": row.called_at,
            "closed_at": row.closed_at,
            "merge_s": row.merge_s,
            "contributors": given,
            "samples": sum(one.samples for one in given if one.status == "merged"),
            "update_sha256": row.update_sha256,
            "update_bytes": row.update_bytes,
            "codec": row.codec,
            "fingerprint": row.fingerprint,
        }
    ).data
