"""Accounts at clouds: a team hands its credentials over, has them checked, and takes them back."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from broker.api import provider_shapes as shapes
from broker.api.errors import Refused
from broker.api.shapes import listed
from offers import accounts, queries
from offers.sealing import CredentialsSealedWithAnotherKey
from providers import registry
from providers.base import ProviderError
from workloads.queries import leases_with_account

BROKERS = [OpenApiParameter("broker", bool, description="The broker's own account instead of yours: scope `operate`.")]


class _OfAnAccount(APIView):
    """What is done with the caller's own account, or, with the scope `operate`, with the broker's."""

    @property
    def scopes(self) -> dict[str, str]:
        """The scope that each method needs."""
        if self.of_the_broker:
            return dict.fromkeys(("GET", "PUT", "POST", "DELETE"), "operate")
        return {"GET": "read", "PUT": "run", "POST": "run", "DELETE": "run"}

    @property
    def of_the_broker(self) -> bool:
        """Whether `?broker=true` was asked for. Raises Refused."""
        value = self.request.query_params.get("broker", "false")
        if value not in ("true", "false"):
            raise Refused(422, "invalid", f"broker: {value[:40]!r} is neither true nor false", "write true or false")
        return value == "true"

    @property
    def owner_id(self) -> int | None:
        """Whose account is meant; None is the broker's."""
        return None if self.of_the_broker else self.request.auth.team.pk


class Providers(_OfAnAccount):
    """The clouds that machines can be rented at."""

    @extend_schema(operation_id="list_providers", parameters=BROKERS, responses=listed(shapes.ProviderShape))
    def get(self, request: Request) -> Response:
        """List every cloud, the credentials that it takes, and whose account is used for it."""
        return Response({"results": _shown(self.owner_id)})


class OneProvider(_OfAnAccount):
    """One account at one cloud."""

    @extend_schema(
        operation_id="add_account",
        parameters=BROKERS,
        request=shapes.NewAccountShape,
        responses=shapes.ProviderShape,
    )
    def put(self, request: Request, provider: str) -> Response:
        """Keep credentials, encrypted, in place of those that were kept before."""
        body = request.data if isinstance(request.data, dict) else {}
        given = body.get("credentials")
        if not isinstance(given, dict):
            raise Refused(422, "invalid", "credentials: an object of names and texts is needed", "see /v1/schema")
        _known(provider)
        if self.owner_id is not None and accounts.holder(provider, self.owner_id) is None:
            _refuse_while_in_use(provider, self.owner_id, "its machines stand in the broker's account")
        try:
            accounts.add(owner_id=self.owner_id, provider=provider, credentials=given, now=timezone.now())
        except accounts.CredentialsInvalid as error:
            raise Refused(422, "invalid", f"credentials: {error}", f"see docs/providers/{provider}.md") from None
        return Response(_shown(self.owner_id, provider)[0])

    @extend_schema(operation_id="remove_account", parameters=BROKERS, responses={200: shapes.ProviderShape})
    def delete(self, request: Request, provider: str) -> Response:
        """Forget the credentials."""
        _known(provider)
        if provider not in accounts.accounts_of(self.owner_id):
            raise _missing(provider, self.owner_id)
        _refuse_while_in_use(provider, self.owner_id, "nobody could end its machines any more")
        accounts.remove(owner_id=self.owner_id, provider=provider, now=timezone.now())
        return Response(_shown(self.owner_id, provider)[0])


class Check(_OfAnAccount):
    """What an account may do."""

    @extend_schema(operation_id="check_account", parameters=BROKERS, request=None, responses={200: shapes.CheckShape})
    def post(self, request: Request, provider: str) -> Response:
        """Ask the cloud for every permission that renting needs. Nothing is rented."""
        _known(provider)
        now = timezone.now()
        try:
            found = accounts.check(owner_id=self.owner_id, provider=provider, now=now)
        except accounts.AccountMissing:
            raise _missing(provider, self.owner_id) from None
        except CredentialsSealedWithAnotherKey as error:
            raise Refused(409, "credentials_sealed", str(error), f"`yard providers add {provider}`") from None
        except ProviderError as error:
            raise Refused(
                424, "provider_failed", f"{provider} could not be asked: {error}", "try again later"
            ) from None
        return Response(shapes.CheckShape({"provider": provider, "checked_at": now, "permissions": found}).data)


def _known(provider: str) -> None:
    if provider not in registry.PROVIDERS:
        raise Refused(404, "not_found", str(accounts.ProviderUnknown(provider)), "`yard providers list` lists them")


def _missing(provider: str, owner_id: int | None) -> Refused:
    who, more = ("the broker has", " --broker") if owner_id is None else ("you have", "")
    return Refused(404, "not_found", f"{who} no account at {provider}", f"`yard providers add {provider}{more}`")


def _refuse_while_in_use(provider: str, owner_id: int | None, why: str) -> None:
    count = leases_with_account(provider, owner_id).count()
    if count:
        message = f"{count} lease{'s' if count > 1 else ''} at {provider} would change hands: {why}"
        raise Refused(409, "account_in_use", message, "`yard ps` shows what runs; stop it first")


def _shown(owner_id: int | None, name: str | None = None) -> list[dict[str, Any]]:
    """One provider or all of them. Of the broker's account only the broker's own view shows more than that it is."""
    mine = accounts.accounts_of(owner_id)
    usable = accounts.usable_by(owner_id)
    polled = {row["provider"]: row for row in queries.sources(now=timezone.now())}
    rows = []
    for one in [name] if name else sorted(registry.PROVIDERS):
        account = mine.get(one)
        own = "own" if account and owner_id is not None else None
        rows.append(
            {
                "name": one,
                "credentials": registry.credentials_of(one),
                "connected": own or ("broker" if one in usable else None),
                "hint": account.hint if account else "",
                "checked_at": account.checked_at if account else None,
                "denied": account.denied if account else [],
                "source": polled.get(one),
            }
        )
    return list(shapes.ProviderShape(rows, many=True).data)
