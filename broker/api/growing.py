"""What grows while a workload runs: events, metrics, log lines, rounds."""

from __future__ import annotations

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
from workloads.models import Lease, LogLine, Metric, Round, Workload


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
        keys = [f"lease-{n}" for n in Lease.objects.filter(placement__workload=workload).values_list("pk", flat=True)]
        names = host_names(keys)

        def show(line: LogLine) -> Any:
            line.host = names.get(line.lease.key)  # type: ignore[attr-defined]
            return shapes.LogLineShape(line).data

        return Response(paging.grown(request, self.rows(workload), show))


class Rounds(APIView):
    """The outer synchronisations."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="list_rounds", responses=paged(shapes.RoundShape))
    def get(self, request: Request, pk: int) -> Response:
        """List the rounds, oldest first."""
        rows = queries.rounds_of(workload_of(request, pk).pk)
        return Response({"results": [_round_json(row) for row in rows], "next": None})


def _round_json(row: Round) -> Any:
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
