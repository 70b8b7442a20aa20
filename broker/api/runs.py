"""Workloads and everything that hangs on one workload."""

from __future__ import annotations

import json
from decimal import Decimal
from hashlib import sha256
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing import queries as money
from billing.operations import CreditExhausted
from broker import orders
from broker.api import bodies, paging, resuming, shapes
from broker.api.errors import Refused
from broker.api.market import quote_of
from offers.models import Quote
from offers.queries import host_names
from workloads import operations, programs, queries
from workloads.models import Artifact, Lease, LogLine, Metric, Placement, Round, Training, Workload

BUDGET_LEAST = Decimal("0.01")  # Of a run on what is paid for already: something must be set aside.
AFTER = [OpenApiParameter("after", int), OpenApiParameter("limit", int)]


class Workloads(APIView):
    """What the caller runs."""

    scopes = {"GET": "read", "POST": "run"}

    @extend_schema(operation_id="list_workloads", responses=shapes.WorkloadShape(many=True))
    def get(self, request: Request) -> Response:
        """List your workloads, newest first."""
        rows = Workload.objects.filter(owner=request.user).order_by("-id")
        if state := request.query_params.get("state"):
            rows = rows.filter(state=state)
        return Response(paging.keyset(request, rows, sort="-id", show=workload_json))

    @extend_schema(operation_id="order", request=shapes.OrderShape, responses={201: shapes.WorkloadShape})
    def post(self, request: Request) -> Response:
        """Order a quote. The same Idempotency-Key with the same body orders once."""
        shape = shapes.OrderShape(data=request.data)
        shape.is_valid(raise_exception=True)
        quote = quote_of(request, shape.validated_data["quote"])
        workload, made = _accept(request, quote, shape.validated_data)
        return Response(workload_json(workload), status=201 if made else 200)


def _accept(request: Request, quote: Quote, body: dict[str, Any]) -> tuple[Workload, bool]:
    try:
        return orders.accept(order=_order(request, quote, body), now=timezone.now())
    except operations.QuoteExpired:
        raise Refused(
            409, "quote_expired", f"quote {quote.pk} expired at {quote.expires_at:%H:%M:%S} UTC", "ask for a new quote"
        ) from None
    except operations.QuoteTaken:
        raise Refused(409, "quote_taken", f"quote {quote.pk} was ordered already", "ask for a new quote") from None
    except orders.IdempotencyConflict:
        hint = "use a new key for a new order"
        raise Refused(409, "idempotency_conflict", "this Idempotency-Key ordered something else", hint) from None
    except CreditExhausted as error:
        hint = "lower the budget, or add credit"
        message = (
            f"the budget of {error.wanted_usd} USD is more than your available credit of {error.available_usd} USD"
        )
        raise Refused(402, "credit_exhausted", message, hint, available_usd=str(error.available_usd)) from None


def _order(request: Request, quote: Quote, body: dict[str, Any]) -> operations.Order:
    program = programs.find(owner_id=request.user.pk, sha256=body["program"])
    if program is None:
        raise Refused(422, "program_unknown", f"no program {body['program'][:12]} was uploaded", "PUT it first")
    try:
        programs.check_script(body["program"], body["script"])
    except programs.NotAProgram as error:
        raise Refused(422, "script_missing", str(error), "name a .py or .ipynb file in the program") from None
    if body["priority"] > 0 and "operate" not in request.auth.scopes:
        hint = "order at 0, or below to let others go first"
        raise Refused(403, "scope_missing", "a priority above 0 needs the scope 'operate'", hint)
    budget = _budget(quote, body.get("budget_usd"))
    if quote.cost_usd is not None and budget < quote.cost_usd:
        message = f"quote {quote.pk} costs {quote.cost_usd} USD to finish, the budget is {budget} USD"
        raise Refused(422, "budget_below_cheapest", message, "raise the budget or take a cheaper quote")
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 0 < len(key) <= 255:
        raise Refused(422, "invalid", "Idempotency-Key: 1 to 255 characters", "shorten it")
    digest = sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()
    return operations.Order(
        quote=quote,
        program=program,
        script=body["script"],
        args=tuple(body["args"]),
        name=body["name"] or body["script"],
        budget_usd=budget,
        priority=body["priority"],
        resumes=resuming.resumed(request.user.pk, body["resume"]),
        idempotency_key=key,
        body_sha256=digest,
    )


def _budget(quote: Quote, stated: Decimal | None) -> Decimal:
    if stated is not None:
        budget = stated
    elif quote.need.get("budget_usd"):
        budget = Decimal(quote.need["budget_usd"])
    elif quote.cost_usd is not None:
        budget = max((quote.cost_usd * 2).quantize(Decimal("0.000001")), BUDGET_LEAST)
    else:
        hint = "state budget_usd; or samples and a speed, so that the cost is known"
        raise Refused(422, "budget_needed", "nobody knows yet what this run costs to finish", hint)
    if budget <= 0:
        raise Refused(422, "invalid", "budget_usd: a positive amount is needed", "state a budget")
    return budget


class OneWorkload(APIView):
    """One workload."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="get_workload", responses=shapes.WorkloadShape)
    def get(self, request: Request, pk: int) -> Response:
        """Show a workload."""
        return Response(workload_json(workload_of(request, pk)))


class Stop(APIView):
    """Stop a workload."""

    scopes = {"POST": "run"}

    @extend_schema(operation_id="stop_workload", request=None, responses={202: shapes.WorkloadShape})
    def post(self, request: Request, pk: int) -> Response:
        """Ask it to hand in what it has, keep a checkpoint and end."""
        workload = workload_of(request, pk)
        operations.request_stop(workload_id=workload.pk, reason="asked", why="its owner asked", now=timezone.now())
        workload.refresh_from_db()
        return Response(workload_json(workload), status=202)


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
    get=extend_schema(operation_id="list_events", parameters=AFTER, responses=shapes.EventShape(many=True))
)
class Events(Grown):
    """Moves of the workload and of all that it has."""

    @staticmethod
    def rows(workload: Workload) -> QuerySet[Any]:
        """Return its events."""
        return workload.events.all()

    shape = shapes.EventShape


@extend_schema_view(
    get=extend_schema(operation_id="list_decisions", parameters=AFTER, responses=shapes.EventShape(many=True))
)
class Decisions(Grown):
    """What was decided for it, and the figures that it was decided on."""

    @staticmethod
    def rows(workload: Workload) -> QuerySet[Any]:
        """Return its events that have figures."""
        return workload.events.filter(figures__isnull=False)

    shape = shapes.EventShape


@extend_schema_view(
    get=extend_schema(operation_id="list_metrics", parameters=AFTER, responses=shapes.MetricShape(many=True))
)
class Metrics(Grown):
    """What the sessions reported."""

    @staticmethod
    def rows(workload: Workload) -> QuerySet[Metric]:
        """Return its metric rows."""
        return workload.metrics.select_related("placement")

    shape = shapes.MetricShape


@extend_schema_view(
    get=extend_schema(operation_id="list_logs", parameters=AFTER, responses=shapes.LogLineShape(many=True))
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

    @extend_schema(operation_id="list_rounds", responses=shapes.RoundShape(many=True))
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


class Artifacts(APIView):
    """Models and checkpoints."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="list_artifacts", responses=shapes.ArtifactShape(many=True))
    def get(self, request: Request, pk: int) -> Response:
        """List them, newest first."""
        rows = workload_of(request, pk).artifacts.order_by("-id")
        return Response(paging.keyset(request, rows, sort="-id", show=lambda row: shapes.ArtifactShape(row).data))


class OneArtifact(APIView):
    """A model or a checkpoint."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="get_artifact", responses=shapes.ArtifactShape)
    def get(self, request: Request, pk: int) -> Response:
        """Show it."""
        return Response(shapes.ArtifactShape(_artifact_of(request, pk)).data)


class Content(APIView):
    """An artifact's bytes."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="download_artifact", responses={200: bytes})
    def get(self, request: Request, pk: int) -> Any:
        """Download; `Range: bytes=N-` resumes."""
        artifact = _artifact_of(request, pk)
        return bodies.send(request, artifact.sha256, filename=artifact.name)


def _artifact_of(request: Request, pk: int) -> Artifact:
    artifact = Artifact.objects.filter(pk=pk, workload__owner=request.user).first()
    if artifact is None:
        raise Refused(404, "not_found", f"there is no artifact {pk} of yours", "list a workload's artifacts")
    return artifact


class Bill(APIView):
    """What a workload costs."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="get_bill", responses=shapes.BillShape)
    def get(self, request: Request, pk: int) -> Response:
        """Show the bill line by line."""
        bill = money.bill(workload_id=workload_of(request, pk).pk, now=timezone.now())
        return Response(shapes.BillShape(bill).data)


def workload_of(request: Request, pk: int) -> Workload:
    """Return the caller's workload. Raises Refused."""
    workload = Workload.objects.filter(pk=pk, owner=request.user).first()
    if workload is None:
        raise Refused(404, "not_found", f"there is no workload {pk} of yours", "`yard ps` lists them")
    return workload


def workload_json(workload: Workload) -> Any:
    """Return a workload as the API shows it."""
    training = Training.objects.filter(pk=workload.pk).first()
    loss, step = queries.last_metric(workload.pk, "loss")
    sites = list(queries.placements(workload.pk))
    names = host_names(lease.key for site in sites for lease in site.leases.all())
    body = {
        **{field: getattr(workload, field) for field in _PLAIN},
        "end_reason": workload.end_reason or None,
        "program": workload.program.sha256,
        "quote": workload.quote_id,
        "need": workload.quote.need,
        "resumes": {"workload": workload.resumes_id, "version": workload.resumes_version}
        if workload.resumes_id
        else None,
        "hold_usd": workload.budget_usd,
        "spent_usd": money.spent_usd(workload_id=workload.pk, now=timezone.now()),
        "version": training.version if training else None,
        "samples": queries.samples(workload.pk),
        "loss": loss if isinstance(loss, float) else None,
        "step": step,
        "sites": [_site_json(site, names) for site in sites],
        "artifact": queries.newest_artifact(workload.pk) if workload.state in Workload.FINAL else _model(workload),
    }
    return shapes.WorkloadShape(body).data


_PLAIN = (
    "id",
    "name",
    "state",
    "why",
    "created_at",
    "started_at",
    "first_step_at",
    "ended_at",
    "script",
    "args",
    "budget_usd",
    "priority",
    "sites_wanted",
)


def _model(workload: Workload) -> Artifact | None:
    return workload.artifacts.filter(kind="model").first()


def _site_json(site: Placement, names: dict[str, str]) -> dict[str, Any]:
    return {
        "placement": site.pk,
        "site": site.site,
        "provider": site.provider,
        "region": site.region,
        "state": site.state,
        "why": site.why,
        "nodes": [_node_json(lease, names) for lease in sorted(site.leases.all(), key=lambda lease: lease.pk)],
    }


def _node_json(lease: Lease, names: dict[str, str]) -> dict[str, Any]:
    node = getattr(lease, "node", None)
    return {
        "lease": lease.pk,
        "state": lease.state,
        "host": names.get(lease.key),
        "address": node.address if node else None,
        "accelerator": lease.offer.accelerator,
        "accelerators": lease.accelerators,
        "usd_per_hour": lease.sell_usd_per_hour,
        "opened_at": lease.opened_at,
        "closed_at": lease.closed_at,
        "phase": node.phase if node else "",
        "usage": node.usage if node else None,
    }
