"""
Changes of the offer book as they come: Server-Sent Events.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html. Every event has an id; a reader that comes back
with `Last-Event-ID` misses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponseBase, QueryDict, StreamingHttpResponse
from django.utils import timezone

from broker.api.errors import Refused, plain
from broker.api.keys import reader_of
from offers import changes, search

LOOK_EVERY_S = 1.0
SIGN_OF_LIFE_S = 15.0  # Proxies close what is silent for a minute.
LONGEST_S = 3600.0  # Then the reader comes back by itself, and its key is looked at again.


async def offers(request: HttpRequest) -> HttpResponseBase:
    """`GET /v1/offers/stream`: events `offer` (new or changed) and `gone`, each with the offer as its data."""
    if request.method != "GET":
        return plain(Refused(405, "method_not_allowed", "this address only tells", "GET it"))
    wishes = _wishes(request.GET)
    start = request.headers.get("Last-Event-ID") or request.GET.get("after", "")
    after = changes.place(start) if start else None
    if start and after is None:
        return plain(Refused(422, "invalid", f"Last-Event-ID: {start[:40]!r} is none of ours", "leave it out"))
    try:
        await sync_to_async(reader_of)(request)
        told, after = await sync_to_async(_first)(after, wishes)
    except Refused as error:
        return plain(error)
    except search.SearchInvalid as wrong:
        return plain(Refused(422, "invalid", str(wrong), wrong.hint))
    answer = StreamingHttpResponse(_events(told, after, wishes), content_type="text/event-stream")
    answer["Cache-Control"] = "no-cache"
    answer["X-Accel-Buffering"] = "no"
    return answer


def _wishes(query: QueryDict) -> dict[str, str]:
    return {name: ",".join(query.getlist(name)) for name in query if name not in ("after", "team")}


def _first(after: changes.Place | None, wishes: dict[str, str]) -> tuple[list[changes.Change], changes.Place]:
    return changes.since(after or changes.horizon(), wishes, now=timezone.now())


async def _events(told: list[changes.Change], after: changes.Place, wishes: dict[str, str]) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    began = said = loop.time()
    yield f": GPUYard, from {after}\nretry: 2000\n\n"
    while loop.time() - began < LONGEST_S:
        for change in told:
            yield f"event: {'gone' if change.gone else 'offer'}\nid: {change.place}\ndata: {change.text}\n\n"
        if told:
            said = loop.time()
        if len(told) < changes.AT_ONCE:
            await asyncio.sleep(LOOK_EVERY_S)
        if loop.time() - said > SIGN_OF_LIFE_S:
            yield f": still here\nid: {after}\n\n"
            said = loop.time()
        told, after = await sync_to_async(_since)(after, wishes)


def _since(after: changes.Place, wishes: dict[str, str]) -> tuple[list[changes.Change], changes.Place]:
    try:
        return changes.since(after, wishes, now=timezone.now())
    finally:
        close_old_connections()  # A stream is open for an hour; its connection goes back to the pool between looks.
