"""
What only browsers need: a policy for what pages may load, and sessions with their protection against forged requests.

A request that brings a key in `Authorization` has no use for a session, and no page elsewhere can make a browser send
that header: it passes by, without a look at cookies.
"""

from __future__ import annotations

from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware

# https://www.w3.org/TR/CSP3/: everything from ourselves; styles and small pictures also from within the page.
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)


class ContentPolicy:
    """Middleware: tell browsers to load nothing from elsewhere, and to show us in nobody's frame."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Add the header to the answer."""
        if iscoroutinefunction(self):
            return self._later(request)
        return _with_policy(self.get_response(request))

    async def _later(self, request: HttpRequest) -> Any:
        return _with_policy(await self.get_response(request))


def _with_policy(answer: Any) -> Any:
    answer.headers.setdefault("Content-Security-Policy", POLICY)
    return answer


class _WithoutKey:
    """Passes requests with a key on as they are, but for allauth's own addresses: they know sessions alone."""

    get_response: Any

    def __call__(self, request: HttpRequest) -> Any:
        if "Authorization" in request.headers and not request.path.startswith("/_allauth/"):
            return self.get_response(request)
        return super().__call__(request)  # type: ignore[misc]


class Sessions(_WithoutKey, SessionMiddleware):
    """`request.session`."""


class Csrf(_WithoutKey, CsrfViewMiddleware):
    """A request that changes something shows that one of our pages sent it."""


class SignedIn(_WithoutKey, AuthenticationMiddleware):
    """`request.user`."""
