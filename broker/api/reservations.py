"""Reserved capacity that a team has paid for: told, shown with its use, taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from broker.api import reservation_shapes as shapes
from broker.api.errors import Refused
from offers import reservations
from offers.models import Reservation
from providers import registry
from workloads.queries import reserved_in_use


class Reservations(APIView):
    """What the caller's team has reserved."""

    scopes = {"GET": "read", "POST": "run"}

    @extend_schema(operation_id="list_reservations", responses=shapes.ReservationShape(many=True))
    def get(self, request: Request) -> Response:
        """List what is reserved and not over, and how many machines of it are in use."""
        return Response({"results": _shown(request, _lasting(request))})

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
        if given["until"] <= timezone.now():
            raise Refused(422, "invalid", f"until: {given['until']:%Y-%m-%dT%H:%M:%SZ} is over", "name a later instant")
        try:
            made = reservations.add(
                owner_id=request.user.pk, offer_id=given["offer"], machines=given["machines"], until=given["until"]
            )
        except reservations.NotReservable as error:
            hint = "`yard offers --market on_demand` lists the offers with their ids"
            raise Refused(422, "invalid", f"offer: {error}", hint) from None
        except reservations.OwnAccountMissing as error:
            raise Refused(422, "own_account_needed", f"offer: {error}", _hint(error.provider)) from None
        (shown,) = (one for one in _shown(request, _lasting(request)) if one["id"] == made.pk)
        return Response(shown, status=201)


class OneReservation(APIView):
    """One reservation."""

    scopes = {"DELETE": "run"}

    @extend_schema(operation_id="remove_reservation", responses={200: shapes.ReservationShape})
    def delete(self, request: Request, pk: int) -> Response:
        """Forget it. What runs on its machines keeps its price; what comes after pays."""
        before = {one["id"]: one for one in _shown(request, _lasting(request))}
        try:
            gone = reservations.remove(owner_id=request.user.pk, reservation_id=pk)
        except reservations.ReservationMissing:
            raise Refused(
                404, "not_found", f"there is no reservation {pk} of yours", "`yard reserved` lists them"
            ) from None
        return Response(before[pk] if pk in before else _shown(request, [gone])[0])


def _lasting(request: Request) -> Sequence[Reservation]:
    return list(reservations.lasting(owner_id=request.user.pk, now=timezone.now()))


def _shown(request: Request, rows: Sequence[Reservation]) -> list[dict[str, Any]]:
    used = reservations.in_use(rows, reserved_in_use(request.user.pk))
    return [{**shapes.ReservationShape(_counted(one, used[one.pk])).data} for one in rows]


def _hint(provider: str) -> str:
    if provider in registry.PROVIDERS:
        return f"`yard providers add {provider}` hands your account over"
    return "`yard providers list` names the clouds at which you can have an account"
