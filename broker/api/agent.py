"""The agents' way in. Plain JSON, no schema: agent and broker are of one version. See docs/protocol.md, part 2."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.csrf import csrf_exempt

from broker.api import bodies
from broker.api.errors import Refused, plain
from broker.api.keys import calling_host
from offers import benchmarks
from offers import operations as market
from workloads import nodes

LINES_MAX = 2000


def door(method: str) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """Let one HTTP method in and turn Refused, and bodies that lack a field, into our shape of error."""

    def wrap(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @csrf_exempt
        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.method != method:
                return plain(Refused(405, "method_not_allowed", f"{request.method} is not taken here, {method} is"))
            try:
                return view(request, *args, **kwargs)
            except Refused as error:
                return plain(error)
            except nodes.ReportInvalid as error:
                return plain(Refused(422, "invalid", str(error)))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                return plain(Refused(422, "invalid", f"the body is not as docs/protocol.md says: {error!r}"[:300]))

        return answer

    return wrap


def body_of(request: HttpRequest) -> dict[str, Any]:
    """Return the JSON object that was sent. Raises Refused."""
    try:
        body = json.loads(request.body or b"{}")
    except ValueError:
        raise Refused(422, "invalid", "the body is not JSON") from None
    if not isinstance(body, dict):
        raise Refused(422, "invalid", "the body is not a JSON object")
    return body


@door("POST")
def enrol(request: HttpRequest) -> HttpResponse:
    """Let an agent in with the one-time token."""
    body = body_of(request)
    if re.fullmatch("[0-9a-f]{64}", str(body["key_sha256"])) is None:
        raise Refused(422, "invalid", "key_sha256: 64 hex digits are needed")
    try:
        host = market.enrol(
            token=str(body["token"]),
            key_sha256=body["key_sha256"],
            address=str(body["address"])[:64],
            hardware=_hardware(body),
            now=timezone.now(),
        )
    except market.EnrolRefused as error:
        raise Refused(403, error.code, str(error), "register the host again for a new token: `yard host add`") from None
    if host.barred_why:
        raise Refused(422, "hardware_refused", f"{host.name} {host.barred_why}", "offer what the machine has")
    nodes.arrive(host=host, now=timezone.now())
    return JsonResponse({"host": host.pk, "name": host.name, "region": host.region})


@door("POST")
def beat(request: HttpRequest) -> HttpResponse:
    """Hear an agent and give it its orders."""
    host = calling_host(request)
    body = body_of(request)
    said = nodes.Beat(
        address=str(body["address"])[:64],
        hardware=_hardware(body),
        usage=_usage(body.get("usage")),
        nodes=list(body.get("nodes", [])),
        notice=_notice(body.get("notice")),
    )
    orders = nodes.beat(host=host, said=said, now=timezone.now())
    return JsonResponse(
        {
            "next_beat_s": nodes.BEAT_S if orders else nodes.IDLE_BEAT_S,
            "reclaim_at": host.reclaim_at.isoformat() if host.reclaim_at else None,
            "nodes": orders,
        }
    )


@door("POST")
def logs(request: HttpRequest) -> HttpResponse:
    """Take log lines in, once each."""
    host = calling_host(request)
    body = body_of(request)
    lines = [{**line, "at": parse_datetime(line["at"]) or timezone.now()} for line in body["lines"][:LINES_MAX]]
    return JsonResponse(
        {
            "next_seq": nodes.keep_logs(
                host=host, lease_id=int(body["lease"]), first_seq=int(body["first_seq"]), lines=lines
            )
        }
    )


@door("GET")
def program(request: HttpRequest, digest: str) -> HttpResponse:
    """Hand a program to the host that is to run it."""
    host = calling_host(request)
    if not nodes.may_read_program(host=host, sha256=digest):
        raise Refused(404, "not_found", "this program is not for this host")
    return bodies.send(request, digest)


def _hardware(body: dict[str, Any]) -> dict[str, Any]:
    said = body["hardware"]
    chips = [
        {
            "kind": str(chip["kind"])[:64],
            "memory_gib": _number(chip.get("memory_gib")),
            "uuid": str(chip.get("uuid"))[:64],
        }
        for chip in said["accelerators"][:64]
    ]
    numbers = {name: _number(said.get(name)) for name in ("vcpus", "ram_gib", "disk_free_gib")}
    texts = {name: str(said.get(name, ""))[:80] for name in ("hostname", "os", "python")}
    return {**numbers, **texts, "accelerators": chips, "benchmarks": benchmarks.readable(said.get("benchmarks"))}


def _usage(said: Any) -> dict[str, Any] | None:
    if not isinstance(said, dict):
        return None
    names = ("utilisation_percent", "memory_used_gib")
    chips = [{name: _number(chip.get(name)) for name in names} for chip in list(said.get("accelerators") or [])[:64]]
    return {**{name: _number(said.get(name)) for name in ("cpu_percent", "ram_used_gib")}, "accelerators": chips}


def _notice(said: Any) -> nodes.Notice | None:
    if said is None:
        return None
    if said["kind"] not in nodes.NOTICES:
        raise nodes.ReportInvalid(f"notice {said['kind']!r} is none of {', '.join(nodes.NOTICES)}")
    at = parse_datetime(said["at"]) if said.get("at") else None
    if at is not None and at.tzinfo is None:
        raise nodes.ReportInvalid(f"notice at {said['at']}: a time with its offset from UTC is needed")
    return nodes.Notice(kind=said["kind"], at=at, source=str(said.get("source"))[:16])


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e9 else None
