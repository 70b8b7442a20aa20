"""Every error a caller can get: a code, what was wrong, and what to do next."""

from __future__ import annotations

import logging
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.db import InterfaceError, OperationalError
from django.http import Http404, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response

logger = logging.getLogger(__name__)


class Refused(Exception):
    """A request that gets a clear no."""

    def __init__(self, status: int, code: str, message: str, hint: str = "", **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"code": code, "message": message, "hint": hint, "fields": fields}}


CSRF_HINT = "send the cookie csrftoken's value as `X-CSRFToken`"
HINTS = {
    401: ("no_key", "sign in, or send `Authorization: Bearer yk_...`; `yard login` stores a key"),
    403: ("scope_missing", "use a key with this scope, or ask an owner of the team"),
    404: ("not_found", "it does not exist, or it is not yours; lists show what is"),
    405: ("method_not_allowed", "see /v1/schema for what this address takes"),
    415: ("wrong_media_type", "send JSON with `Content-Type: application/json`"),
}


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """Turn what a view raised into our shape of error; None lets a bug surface as a 500."""
    if isinstance(error, Refused):
        return Response(error.body, status=error.status)
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    if isinstance(error, exceptions.ValidationError):
        return Response(_invalid(error).body, status=422)
    if isinstance(error, exceptions.APIException):
        code, hint = HINTS.get(error.status_code, ("bad_request", ""))
        codes = error.get_codes()
        code = codes if isinstance(codes, str) and codes in ("bad_key", "scope_missing") else code
        headers = {"WWW-Authenticate": "Bearer"} if error.status_code == 401 else None
        return Response(
            Refused(error.status_code, code, str(error.detail), hint).body, status=error.status_code, headers=headers
        )
    return None


def _invalid(error: exceptions.ValidationError) -> Refused:
    fields = error.detail if isinstance(error.detail, dict) else {"body": error.detail}
    name, what = next(iter(fields.items()))
    while isinstance(what, list | dict):
        what = next(iter(what if isinstance(what, list) else what.values()), "")
    return Refused(422, "invalid", f"{name}: {what}", "correct the field and send it again", **fields)


def plain(error: Refused) -> JsonResponse:
    """Return the error from a view that is not DRF's."""
    return JsonResponse(error.body, status=error.status)


class DatabaseAway:
    """Middleware: while the database restarts, callers are told to ask again, not that we are broken."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        """Pass the request on."""
        return self.get_response(request)

    def process_exception(self, request: Any, error: Exception) -> JsonResponse | None:
        """Turn a lost or refused connection into a 503."""
        if not isinstance(error, OperationalError | InterfaceError):
            return None
        logger.warning("api.database-away path=%s error=%s", request.path, type(error).__name__)
        answer = plain(Refused(503, "database_away", "the broker's database is restarting", "ask again in a second"))
        answer["Retry-After"] = "1"
        return answer


def page_missing(request: Any, exception: Exception | None = None) -> JsonResponse:
    """Return the 404 of an address that we do not have."""
    return plain(Refused(404, "not_found", f"there is nothing at {request.path}", "see /v1/schema"))


def broken(request: Any) -> JsonResponse:
    """Return the 500 of a bug of ours."""
    return plain(Refused(500, "broken", "this is a fault of ours; it was logged", "try again; nothing was lost"))


def forged(request: Any, reason: str = "") -> JsonResponse:
    """Return the 403 of a browser's request that no page of ours sent."""
    return plain(Refused(403, "csrf_failed", f"CSRF Failed: {reason}", CSRF_HINT))
