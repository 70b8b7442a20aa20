"""The dashboard: the files that were built from frontend/web, and its page at every address that it has."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings
from django.urls import Resolver404, resolve
from servestatic import ServeStaticASGI

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
PAGES = re.compile(r"/((offers|launch|workloads|hosts|account|invitations)(/.*)?)?")
# Styles in the page are React's and Radix's own; scripts are ours, from files.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Dashboard:
    """An ASGI application around another one, which answers what is no page and no file of the dashboard."""

    def __init__(self, app: App) -> None:
        self._files = ServeStaticASGI(
            app,
            root=settings.DASHBOARD_DIR,
            max_age=0,  # The page asks whether it is still the newest; what it names never changes.
            immutable_file_test=lambda path, url: url.startswith("/assets/"),
            add_headers_function=_guard,
        )

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer with a file, with the page, or as the application does."""
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            if PAGES.fullmatch(scope["path"]) or (_is_typed(scope) and self._is_nobodys(scope["path"])):
                scope = {**scope, "path": "/index.html"}
        await self._files(scope, receive, send)

    def _is_nobodys(self, path: str) -> bool:
        """Whether neither a file nor the broker answers there: the page says so better than the API does."""
        try:
            resolve(path)
        except Resolver404:
            return path not in self._files.files
        return False


def _is_typed(scope: Scope) -> bool:
    """Whether a browser goes there, as against a program or a page that fetches."""
    return (b"sec-fetch-mode", b"navigate") in scope["headers"]


def _guard(headers: Any, path: str, url: str) -> None:
    for name, value in HEADERS.items():
        headers[name] = value
