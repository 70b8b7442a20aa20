"""Workloads: ordered, shown, stopped, and what they leave."""

from __future__ import annotations

import json
from decimal import Decimal
from hashlib import sha256
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing import queries as money
from billing.forecast import forecast
from billing.operations import CreditExhausted
from broker import orders
from broker.api import account_shapes, bodies, openapi, paging, resuming
from broker.api import workload_shapes as shapes
from broker.api.errors import Refused
from broker.api.market import place_json, quote_of
from broker.api.shapes import paged
from offers.models import Quote
from offers.queries import host_names
from workloads import operations, programs, queries
from workloads.models import Artifact, Lease, Placement, Training, Workload

BUDGET_LEAST = Decimal("0.01")  # Of a run on what is paid for already: something must be set aside.


class Workloads(APIView):
    """What the caller runs."""

    scopes = {"GET": "read", "POST": "run"}

    @extend_schema(
        operation_id="list_workloads",
        parameters=[OpenApiParameter("state", str, enum=Workload.State.values), *openapi.CURSOR],
        responses=paged(shapes.WorkloadShape),
    )
    def get(self, request: Request) -> Response:
        """List your workloads, newest first."""
        rows = Workload.objects.filter(owner=request.auth.team).order_by("-id")
        if state := request.query_params.get("state"):
            rows = rows.filter(state=state)
        return Response(paging.keyset(request, rows, sort="-id", show=workload_json))

    @extend_schema(
        operation_id="order",
        parameters=[OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER)],
        request=shapes.OrderShape,
        responses=dict.fromkeys((200, 201), shapes.WorkloadShape),
    )
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
    program = programs.find(owner_id=request.auth.team.pk, sha256=body["program"])
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
        resumes=resuming.resumed(request.auth.team.pk, body["resume"]),
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


class Artifacts(APIView):
    """Models and checkpoints."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="list_artifacts", parameters=openapi.CURSOR, responses=paged(shapes.ArtifactShape))
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

    @extend_schema(operation_id="download_artifact", responses=openapi.BYTES)
    def get(self, request: Request, pk: int) -> Any:
        """Download; `Range: bytes=N-` resumes."""
        artifact = _artifact_of(request, pk)
        return bodies.send(request, artifact.sha256, filename=artifact.name)


def _artifact_of(request: Request, pk: int) -> Artifact:
    artifact = Artifact.objects.filter(pk=pk, workload__owner=request.auth.team).first()
    if artifact is None:
        raise Refused(404, "not_found", f"there is no artifact {pk} of yours", "list a workload's artifacts")
    return artifact


class Bill(APIView):
    """What a workload costs."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="get_bill", responses=account_shapes.BillShape)
    def get(self, request: Request, pk: int) -> Response:
        """Show the bill line by line."""
        bill = money.bill(workload_id=workload_of(request, pk).pk, now=timezone.now())
        return Response(account_shapes.BillShape(bill).data)


def workload_of(request: Request, pk: int) -> Workload:
    """Return the caller's workload. Raises Refused."""
    workload = Workload.objects.filter(pk=pk, owner=request.auth.team).first()
    if workload is None:
        raise Refused(404, "not_found", f"there is no workload {pk} of yours", "`yard ps` lists them")
    return workload


def workload_json(workload: Workload) -> Any:
    """Return a workload as the API shows it."""
    training = Training.objects.filter(pk=workload.pk).first()
    loss, step = queries.last_metric(workload.pk, "loss")
    sites = list(queries.placements(workload.pk))
    names = host_names(lease.key for site in sites for lease in site.leases.all())
    samples, now = queries.samples(workload.pk), timezone.now()
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
        "spent_usd": money.spent_usd(workload_id=workload.pk, now=now),
        "forecast": forecast(workload, samples=samples, now=now),
        "version": training.version if training else None,
        "samples": samples,
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
    leases = sorted(site.leases.all(), key=lambda lease: lease.pk)
    return {
        **place_json(site.provider, site.region, leases[0].offer.country if leases else ""),
        "placement": site.pk,
        "site": site.site,
        "provider": site.provider,
        "region": site.region,
        "state": site.state,
        "why": site.why,
        "nodes": [_node_json(lease, names) for lease in leases],
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
        "market": lease.offer.market,
        "usd_per_hour": lease.sell_usd_per_hour,
        "opened_at": lease.opened_at,
        "closed_at": lease.closed_at,
        "phase": node.phase if node else "",
        "usage": node.usage if node else None,
    }
