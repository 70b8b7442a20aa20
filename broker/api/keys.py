"""Who asks: programs with API keys, people with a browser's session, agents with keys, sites with secrets."""

from __future__ import annotations

import hmac
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication, exceptions, permissions
from rest_framework.request import Request

from broker.api.errors import CSRF_HINT, Refused
from broker.identity import askers
from broker.identity.askers import Asker
from broker.identity.models import User
from broker.identity.operations import KeyRefused
from offers.models import Host
from offers.operations import hashed
from workloads.models import Placement

ANYBODY = ""  # As the scope of a method: no key and no session are needed.


class ApiKeyAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer yk_<prefix>_<secret>`."""

    def authenticate(self, request: Request) -> tuple[User, Asker] | None:
        """Return the key's maker and who asks, or None when there is no such header."""
        key = _bearer(request)
        if key is None:
            return None
        try:
            asker = askers.with_key(key, now=timezone.now())
        except KeyRefused as error:
            raise exceptions.AuthenticationFailed(str(error), code="bad_key") from None
        return asker.user, asker

    def authenticate_header(self, request: Request) -> str:
        """Tell a caller without a key how to bring one."""
        return "Bearer"


class SessionAuthentication(authentication.SessionAuthentication):
    """A browser's session; what changes something needs `X-CSRFToken`. `X-Team` names a team, else it is the first."""

    def authenticate(self, request: Request) -> tuple[User, Asker] | None:
        """Return the user and who asks, or None when nobody is signed in. Raises Refused."""
        user = getattr(request._request, "user", None)
        if user is None or not user.is_active:
            return None
        self.enforce_csrf(request)
        asker = _in_browser(user, request.headers.get("X-Team"))
        return asker.user, asker

    def enforce_csrf(self, request: Request) -> None:
        """Refuse a request that no page of ours sent. Raises Refused."""
        try:
            super().enforce_csrf(request)
        except exceptions.PermissionDenied as error:
            raise Refused(403, "csrf_failed", str(error.detail), CSRF_HINT) from None


def _bearer(request: Any) -> str | None:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def _in_browser(user: User, team: str | None) -> Asker:
    try:
        return askers.in_browser(user, team=team, now=timezone.now())
    except askers.NotAMember as error:
        hint = "`GET /v1/me` without `X-Team` lists your teams"
        raise Refused(403, "not_a_member", f"you are in no team {error}", hint) from None


def reader_of(request: HttpRequest) -> Asker:
    """Return who asks outside DRF's views, also for `?team=`: an EventSource cannot set `X-Team`. Raises Refused."""
    user = getattr(request, "user", None)
    if (key := _bearer(request)) is not None:
        try:
            asker = askers.with_key(key, now=timezone.now())
        except KeyRefused as error:
            raise Refused(401, "bad_key", str(error), "`yard login` stores a key") from None
    elif user is not None and user.is_active:
        asker = _in_browser(user, request.headers.get("X-Team") or request.GET.get("team"))
    else:
        raise Refused(401, "no_key", "no API key was sent", "sign in, or send `Authorization: Bearer yk_...`")
    if "read" not in asker.scopes:
        raise Refused(403, "scope_missing", "this key lacks the scope 'read'", "use a key with this scope")
    return asker


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """How the schema describes API keys."""

    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return OpenAPI's words for a bearer key."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "yk_<prefix>_<secret>"}


class SessionScheme(OpenApiAuthenticationExtension):
    """How the schema describes who is signed in."""

    target_class = SessionAuthentication
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return OpenAPI's words for the session's cookie."""
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}


class HasScope(permissions.BasePermission):
    """A view names the scope that each of its methods needs in `scopes`."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Whether the key, or the role of who is signed in, has the scope."""
        needed = view.scopes.get(request.method, "read")
        if needed == ANYBODY:
            return True
        if not isinstance(request.auth, Asker):
            raise exceptions.NotAuthenticated("no API key was sent")
        if needed not in request.auth.scopes:
            lacks = "this key lacks" if request.auth.key else f"a {request.auth.role} of this team lacks"
            raise exceptions.PermissionDenied(f"{lacks} the scope {needed!r}", code="scope_missing")
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
