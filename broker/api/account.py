"""Who asks and what money moved."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing import accounts, queries
from broker.api import account_shapes as shapes
from broker.api import openapi, paging, people_shapes
from broker.identity import teams


class Me(APIView):
    """Who asks."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="me", responses=people_shapes.MeShape)
    def get(self, request: Request) -> Response:
        """Show who asks, for which team, which others there are, and the team's credit."""
        asker = request.auth
        body = {
            **{field: getattr(asker.user, field) for field in ("id", "username", "email", "is_staff")},
            "scopes": asker.scopes,
            "team": asker,
            "teams": teams.seen_by(asker),
            "balance_usd": queries.balance_usd(accounts.customer(asker.team.pk)),
            "available_usd": queries.available_usd(team_id=asker.team.pk, now=timezone.now()),
        }
        return Response(people_shapes.MeShape(body).data)


class Ledger(APIView):
    """The double-entry ledger, as far as it touches the caller."""

    scopes = {"GET": "read"}

    @extend_schema(
        operation_id="list_ledger",
        parameters=[OpenApiParameter("workload", int, description="Only of this one."), *openapi.AFTER],
        responses=shapes.LedgerShape,
    )
    def get(self, request: Request) -> Response:
        """List entries after `?after=`; `sum_usd` is the sum of all accounts that they touch."""
        rows = queries.entries_of(request.auth.team.pk)
        if workload := request.query_params.get("workload"):
            rows = rows.filter(workload_id=int(workload) if workload.isdigit() else 0)
        body = paging.grown(request, rows, lambda row: shapes.EntryShape(row).data)
        return Response({**body, "sum_usd": f"{queries.ledger_sum_usd(rows):.6f}"})
