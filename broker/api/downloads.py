"""The wheel of this broker's own version, for people and nodes."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

from broker.api.errors import Refused, plain


def index(request: HttpRequest) -> HttpResponse:
    """Say which wheel there is."""
    wheel = _wheel()
    if wheel is None:
        return plain(Refused(404, "no_wheel", "this broker was started without its wheel", "run `make wheel`"))
    digest = sha256(wheel.read_bytes()).hexdigest()
    return JsonResponse({"wheel": f"/dl/{wheel.name}", "version": settings.VERSION, "sha256": digest})


def wheel(request: HttpRequest, name: str) -> HttpResponse:
    """Hand the wheel out."""
    found = _wheel()
    if found is None or found.name != name:
        return plain(Refused(404, "not_found", f"there is no {name} here", "see /dl/"))
    return HttpResponse(found.read_bytes(), content_type="application/octet-stream")


def _wheel() -> Path | None:
    wheels = sorted(Path(settings.WHEEL_DIR).glob(f"gpuyard-{settings.VERSION}-*.whl"))
    return wheels[-1] if wheels else None
