"""Who asks: API keys of people and programs, keys of agents, secrets of sites."""

from __future__ import annotations

import hmac
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication, exceptions, permissions
from rest_framework.request import Request

from broker.api.errors import Refused
from broker.identity.models import ApiKey, User
from broker.identity.operations import KeyRefused, check_key
from offers.models import Host
from offers.operations import hashed
from workloads.models import Placement


class ApiKeyAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer yk_<prefix>_<secret>`."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        """Return the user and the key, or None when there is no such header."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            found = check_key(key=key.strip(), now=timezone.now())
        except KeyRefused as error:
            raise exceptions.AuthenticationFailed(str(error), code="bad_key") from None
        return found.user, found

    def authenticate_header(self, request: Request) -> str:
        """Tell a caller without a key how to bring one."""
        return "Bearer"


def reader_of(request: HttpRequest) -> User:
    """Return who asks, outside DRF's views. Raises Refused."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Refused(401, "no_key", "no API key was sent", "send `Authorization: Bearer yk_...`")
    try:
        found = check_key(key=key.strip(), now=timezone.now())
    except KeyRefused as error:
        raise Refused(401, "bad_key", str(error), "`yard login` stores a key") from None
    if "read" not in found.scopes:
        raise Refused(403, "scope_missing", "this key lacks the scope 'read'", "use a key with this scope")
    return found.user


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """How the schema describes API keys."""

    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return OpenAPI's words for a bearer key."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "yk_<prefix>_<secret>"}


class HasScope(permissions.BasePermission):
    """A view names the scope that each of its methods needs in `scopes`."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Whether the key has the scope."""
        if not isinstance(request.auth, ApiKey):
            raise exceptions.NotAuthenticated("no API key was sent")
        needed = view.scopes.get(request.method, "read")
        if needed not in request.auth.scopes:
            raise exceptions.PermissionDenied(f"this key lacks the scope {needed!r}", code="scope_missing")
        return True


def calling_host(request: HttpRequest) -> Host:
    """Return the host whose agent asks: `Authorization: Agent <host id>.<secret>`. Raises Refused."""
    number, secret = _parts(request, "agent")
    host = Host.objects.filter(pk=number).exclude(key_sha256="").first()
    if host is None or not hmac.compare_digest(host.key_sha256, hashed(secret)):
        raise Refused(401, "bad_key", "this agent's key is not known here", "enrol the host again: `yard host add`")
    return host


def calling_site(request: HttpRequest) -> Placement:
    """Return the placement whose leader asks: `Authorization: Site <placement id>.<secret>`. Raises Refused."""
    number, secret = _parts(request, "site")
    placement = Placement.objects.select_related("workload").filter(pk=number).first()
    if placement is None or not hmac.compare_digest(placement.site_secret, secret):
        raise Refused(401, "bad_key", "this site's secret is not known here", "only the agent hands it out")
    return placement


def _parts(request: HttpRequest, wanted: str) -> tuple[int, str]:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    number, _, secret = value.strip().partition(".")
    if scheme.lower() != wanted or not number.isdigit() or len(number) > 18 or not secret:
        raise Refused(401, "no_key", f"no `Authorization: {wanted.title()} <id>.<secret>` was sent")
    return int(number), secret
