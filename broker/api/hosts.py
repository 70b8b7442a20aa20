"""A supplier's machines."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing import accounts
from billing.queries import balance_usd, daily_earnings, earned_usd
from broker.api import host_shapes as shapes
from broker.api import openapi, paging
from broker.api.errors import Refused
from broker.api.shapes import listed, paged
from offers import marketplace, operations, queries
from offers.models import Host

NOTICE_MAX_S = 24 * 3600
EARNINGS_DAYS, EARNINGS_DAYS_MAX = 30, 366


class Hosts(APIView):
    """Register machines and list them."""

    scopes = {"GET": "supply", "POST": "supply"}

    @extend_schema(operation_id="list_hosts", parameters=openapi.CURSOR, responses=paged(shapes.HostShape))
    def get(self, request: Request) -> Response:
        """List your hosts."""
        rows = queries.hosts_of(request.auth.team.pk)
        return Response(paging.keyset(request, rows, sort="id", show=host_json))

    @extend_schema(operation_id="add_host", request=shapes.NewHostShape, responses={201: shapes.HostShape})
    def post(self, request: Request) -> Response:
        """Register a host; the answer has the token that enrols its agent, this once."""
        shape = shapes.NewHostShape(data=request.data)
        shape.is_valid(raise_exception=True)
        if shape.validated_data["usd_per_hour"] <= 0:
            raise Refused(422, "invalid", "usd_per_hour: a positive price is needed", "state what an hour costs")
        try:
            host, token = operations.add_host(
                supplier_id=request.auth.team.pk, now=timezone.now(), **shape.validated_data
            )
        except operations.HostNameTaken as error:
            raise Refused(409, "host_name_taken", f"you already have a host {error}", "choose another name") from None
        return Response({**host_json(host), "enrol_token": token}, status=201)


class Earnings(APIView):
    """What a host earns."""

    scopes = {"GET": "supply"}

    @extend_schema(
        operation_id="list_earnings",
        parameters=[OpenApiParameter("days", int, description=f"So many days back; {EARNINGS_DAYS} if left out.")],
        responses=listed(shapes.EarningsShape),
    )
    def get(self, request: Request, pk: int) -> Response:
        """Return its earnings and the time that it was rented, day by day (UTC), today last; booked or not."""
        days = paging.whole(request, "days", EARNINGS_DAYS)
        if not 0 < days <= EARNINGS_DAYS_MAX:
            raise Refused(422, "invalid", f"days: 1 to {EARNINGS_DAYS_MAX} are needed", "such as days=30")
        rows = daily_earnings(host_of(request, pk), days=days, now=timezone.now())
        return Response({"results": shapes.EarningsShape(rows, many=True).data})


class Supplier(APIView):
    """The caller as a supplier."""

    scopes = {"GET": "supply"}

    @extend_schema(operation_id="me_as_supplier", responses=shapes.SupplierShape)
    def get(self, request: Request) -> Response:
        """Show how many hosts you have, how they are used and what is owed to you."""
        now = timezone.now()
        states = [marketplace.state_of(host, now) for host in queries.hosts_of(request.auth.team.pk)]
        body = {
            "id": request.auth.team.pk,
            "username": request.user.username,
            "hosts": len(states),
            "hosts_offered": states.count("offered"),
            "hosts_rented": states.count("rented"),
            "owed_usd": balance_usd(accounts.supplier(request.auth.team.pk)),
        }
        return Response(shapes.SupplierShape(body).data)


class ReclaimShape(serializers.Serializer[Any]):
    """When the host is wanted back."""

    notice_s = serializers.IntegerField(min_value=0, max_value=NOTICE_MAX_S, default=0)


class Token(APIView):
    """The token that enrols a host's agent."""

    scopes = {"POST": "supply"}

    @extend_schema(operation_id="renew_host_token", request=None, responses={201: shapes.HostShape})
    def post(self, request: Request, pk: int) -> Response:
        """Make a new one for a host whose agent did not come yet, shown this once; the one before is dead."""
        host = host_of(request, pk)
        try:
            token = operations.renew_token(host=host, now=timezone.now())
        except operations.EnrolRefused as error:
            hint = "start the agent on its machine with the --state that it had"
            raise Refused(409, error.code, str(error), hint) from None
        return Response({**host_json(host), "enrol_token": token}, status=201)


class Reclaim(APIView):
    """Take a host back."""

    scopes = {"POST": "supply"}

    @extend_schema(operation_id="reclaim_host", request=ReclaimShape, responses={202: shapes.HostShape})
    def post(self, request: Request, pk: int) -> Response:
        """Take it back after `notice_s` seconds; 0 is at once."""
        shape = ReclaimShape(data=request.data)
        shape.is_valid(raise_exception=True)
        host = host_of(request, pk)
        notice = timedelta(seconds=shape.validated_data["notice_s"])
        operations.reclaim(host=host, notice=notice, now=timezone.now())
        return Response(host_json(host), status=202)


class Return(APIView):
    """Offer a host again."""

    scopes = {"POST": "supply"}

    @extend_schema(operation_id="return_host", request=None, responses={202: shapes.HostShape})
    def post(self, request: Request, pk: int) -> Response:
        """Offer it again after a reclaim."""
        host = host_of(request, pk)
        operations.return_host(host=host, now=timezone.now())
        return Response(host_json(host), status=202)


def host_of(request: Request, pk: int) -> Host:
    """Return the caller's host. Raises Refused."""
    host = queries.hosts_of(request.auth.team.pk).filter(pk=pk).first()
    if host is None:
        raise Refused(404, "not_found", f"there is no host {pk} of yours", "`yard host list` lists them")
    return host


def host_json(host: Host) -> Any:
    """Return a host as the API shows it."""
    rental = host.rentals.filter(ended_at=None).first()
    body = {
        **{field: getattr(host, field) for field in _PLAIN},
        "state": marketplace.state_of(host, timezone.now()),
        "why": host.barred_why,
        "earned_usd": earned_usd(host),
        "lease": int(rental.key.removeprefix("lease-")) if rental else None,
        "rented_at": rental.began_at if rental else None,
    }
    return shapes.HostShape(body).data


_PLAIN = ("id", "name", "region", "country", "usd_per_hour", "hardware", "address", "seen_at", "reclaim_at")
