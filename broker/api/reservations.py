"""Reserved capacity that a team has paid for: told, shown with its use, taken back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from broker.api import reservation_shapes as shapes
from broker.api.errors import Refused
from broker.api.shapes import listed
from offers import reservations
from providers import registry
from workloads.queries import reserved_in_use


class Reservations(APIView):
    """What the caller's team has reserved."""

    scopes = {"GET": "read", "POST": "run"}

    @extend_schema(operation_id="list_reservations", responses=listed(shapes.ReservationShape))
    def get(self, request: Request) -> Response:
        """List what is reserved and not over, and how many machines of it are in use."""
        return Response({"results": list(_lasting(request, timezone.now()).values())})

    @extend_schema(
        operation_id="add_reservation",
        request=shapes.NewReservationShape,
        responses={201: shapes.ReservationShape},
    )
    def post(self, request: Request) -> Response:
        """Tell of machines that are paid for in your own account: from now on they cost nothing in your quotes."""
        shape = shapes.NewReservationShape(data=request.data)
        shape.is_valid(raise_exception=True)
        given = shape.validated_data
        now = timezone.now()
        if given["until"] <= now:
            raise Refused(422, "invalid", f"until: {given['until']:%Y-%m-%dT%H:%M:%SZ} is over", "name a later instant")
        try:
            made = reservations.add(
                owner_id=request.auth.team.pk, offer_id=given["offer"], machines=given["machines"], until=given["until"]
            )
        except reservations.NotReservable as error:
            hint = "`yard offers --market on_demand` lists the offers with their ids"
            raise Refused(422, "invalid", f"offer: {error}", hint) from None
        except reservations.OwnAccountMissing as error:
            raise Refused(422, "own_account_needed", f"offer: {error}", _hint(error.provider)) from None
        return Response(_lasting(request, now)[made.pk], status=201)


class OneReservation(APIView):
    """One reservation."""

    scopes = {"DELETE": "run"}

    @extend_schema(operation_id="remove_reservation", responses={200: shapes.ReservationShape})
    def delete(self, request: Request, pk: int) -> Response:
        """Forget it. What runs on its machines keeps its price; what comes after pays."""
        mine = _lasting(request, timezone.now())
        if pk not in mine:
            raise Refused(404, "not_found", f"there is no reservation {pk} of yours", "`yard reserved` lists them")
        reservations.remove(owner_id=request.auth.team.pk, reservation_id=pk)
        return Response(mine[pk])


def _lasting(request: Request, now: datetime) -> dict[int, Any]:
    """Return {id: reservation} of the caller's that are not over, as the API shows them."""
    rows = list(reservations.lasting(owner_id=request.auth.team.pk, now=now))
    used = reservations.in_use(rows, reserved_in_use(request.auth.team.pk))
    named = ("id", "offer_id", "offer", "machines", "until")
    bodies = [{**{name: getattr(one, name) for name in named}, "in_use": used[one.pk]} for one in rows]
    return {body["id"]: shapes.ReservationShape(body).data for body in bodies}


def _hint(provider: str) -> str:
    if provider in registry.PROVIDERS:
        return f"`yard providers add {provider}` hands your account over"
    return "`yard providers list` names the clouds at which you can have an account"
