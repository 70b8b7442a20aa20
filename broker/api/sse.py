"""
Server-Sent Events: an answer that goes on while there is something to tell.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html. Every event has an id; a reader that comes back
with `Last-Event-ID`, or `?after=`, goes on from there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from django.http import HttpRequest, StreamingHttpResponse

from broker.api.errors import Refused

SIGN_OF_LIFE_S = 15.0  # Proxies close what is silent for a minute.
LONGEST_S = 3600.0  # Then the reader comes back by itself, and its key is looked at again.


def told_before(request: HttpRequest) -> str:
    """Return the id of the last event that the reader has; empty: none. Raises Refused."""
    if request.method != "GET":
        raise Refused(405, "method_not_allowed", "this address only tells", "GET it")
    return request.headers.get("Last-Event-ID") or request.GET.get("after", "")


def unknown(start: str) -> Refused:
    """Return the error of an id that no event had."""
    return Refused(422, "invalid", f"Last-Event-ID: {start[:40]!r} is none of ours", "leave it out")


def opening(what: str) -> str:
    """Return what a stream begins with: a comment, and after how many ms a reader that was cut off comes back."""
    return f": GPUYard, {what}\nretry: 2000\n\n"


def event(kind: str, data: str, place: object) -> str:
    """Return one event; data: one line, JSON."""
    return f"event: {kind}\nid: {place}\ndata: {data}\n\n"


def sign_of_life(place: object) -> str:
    """Return what says that the line is open."""
    return f": still here\nid: {place}\n\n"


def answer(events: AsyncIterator[str]) -> StreamingHttpResponse:
    """Return the events as they come, past every buffer on the way."""
    streaming = StreamingHttpResponse(events, content_type="text/event-stream")
    streaming["Cache-Control"] = "no-cache"
    streaming["X-Accel-Buffering"] = "no"
    return streaming
