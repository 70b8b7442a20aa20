"""API keys, made and revoked by people."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from broker.api import paging
from broker.api import people_shapes as shapes
from broker.api.errors import Refused
from broker.identity import operations, teams
from broker.identity.askers import Asker
from broker.identity.models import ApiKey, Membership, Role

CURSOR = [OpenApiParameter("cursor", str, description="`next` of the page before."), OpenApiParameter("limit", int)]


def person_of(request: Request) -> Asker:
    """Return who is signed in. Raises Refused when a program asks: with a stolen key nobody makes more of them."""
    asker: Asker = request.auth
    if asker.key is not None:
        where = f"{settings.PUBLIC_URL}/account#{'keys' if request.path.startswith('/v1/keys') else 'team'}"
        raise Refused(403, "sign_in_needed", "no API key can do this", f"a person does it, signed in: {where}")
    return asker


class Keys(APIView):
    """The team's API keys: an owner sees all of them, others see their own."""

    scopes = {"GET": "read", "POST": "read"}

    @extend_schema(operation_id="list_keys", parameters=CURSOR, responses=shapes.KeyPageShape)
    def get(self, request: Request) -> Response:
        """List keys, newest first, with those that were revoked."""
        show = lambda row: shapes.KeyShape(row).data  # noqa: E731
        return Response(paging.keyset(request, _keys(request.auth), sort="-id", show=show))

    @extend_schema(operation_id="make_key", request=shapes.NewKeyShape, responses={201: shapes.MadeKeyShape})
    def post(self, request: Request) -> Response:
        """Make a key for the team, with scopes that you have yourself; `key` is shown this once."""
        person, now = person_of(request), timezone.now()
        shape = shapes.NewKeyShape(data=request.data)
        shape.is_valid(raise_exception=True)
        given = shape.validated_data
        if given["expires_at"] is not None and given["expires_at"] <= now:
            raise Refused(422, "invalid", "expires_at: that is over already", "name a later instant, or none")
        try:
            row, key = operations.make_key(
                membership=_membership(person),
                name=given["name"],
                scopes=tuple(dict.fromkeys(given["scopes"])),
                expires_at=given["expires_at"],
                now=now,
            )
        except operations.ScopesBeyondTheRole as beyond:
            hint = f"you have {', '.join(person.scopes)}"
            message = f"scopes: a {person.role} of {person.team.name} cannot give {beyond}"
            raise Refused(403, "scope_missing", message, hint) from None
        return Response({**shapes.KeyShape(row).data, "key": key}, status=201)


class OneKey(APIView):
    """One API key."""

    scopes = {"DELETE": "read"}

    @extend_schema(operation_id="revoke_key", responses={200: shapes.KeyShape})
    def delete(self, request: Request, pk: int) -> Response:
        """Revoke it: from now on nobody gets in with it."""
        row = _keys(person_of(request)).filter(pk=pk).first()
        if row is None:
            raise Refused(404, "not_found", f"there is no key {pk} of yours", "`GET /v1/keys` lists them")
        operations.revoke_key(key_id=row.pk, now=timezone.now())
        row.refresh_from_db()
        return Response(shapes.KeyShape(row).data)


def _keys(asker: Asker) -> QuerySet[Any]:
    rows = ApiKey.objects.select_related("membership__user").filter(membership__team=asker.team).order_by("-id")
    return rows if asker.role == Role.OWNER else rows.filter(membership__user=asker.user)


def _membership(person: Asker) -> Membership:
    membership = teams.membership_of(user=person.user, team_id=person.team.pk)
    if membership is None:  # It ended a moment ago.
        raise Refused(403, "not_a_member", f"you are in no team {person.team.pk} any more", "see `GET /v1/me`")
    return membership
