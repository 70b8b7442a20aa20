"""Raw bytes in and out: uploads checked against their hash, downloads that resume."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation

from broker.api.errors import Refused
from workloads import storage

RANGE = re.compile(r"bytes=(\d{1,18})-$")
CHUNK_BYTES = 1 << 20


class OneForm(BaseContentNegotiation):
    """Everything has one form, JSON or the bytes as they are, whatever a caller's Accept header prefers."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        """Return the first parser, if the body is of its type."""
        return DefaultContentNegotiation().select_parser(request, parsers)

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        """Return the only renderer."""
        return renderers[0], renderers[0].media_type


def receive(request: HttpRequest, digest: str, *, bytes_max: int | None = None) -> tuple[int, bool]:
    """
    Keep the body under its hash; return its size and whether it is new.

    Raises Refused: hash_mismatch (a torn upload too), too_large, store_full. Nothing is kept then.
    """
    if re.fullmatch("[0-9a-f]{64}", digest) is None:
        raise Refused(422, "invalid", "the address must end with a SHA-256 in lower-case hex")
    if storage.exists(digest):
        return storage.size(digest), False
    try:
        return storage.put(digest, _chunks(request, bytes_max)), True
    except storage.HashMismatch as error:
        hint = "the upload was torn or changed on the way: send it again"
        raise Refused(422, "hash_mismatch", str(error), hint) from None
    except storage.StoreFull as error:
        raise Refused(507, "store_full", f"the broker's store took no more: {error}", "try again later") from None


def _chunks(request: HttpRequest, bytes_max: int | None) -> Iterator[bytes]:
    seen = 0
    while chunk := request.read(CHUNK_BYTES):
        seen += len(chunk)
        if bytes_max is not None and seen > bytes_max:
            raise Refused(413, "too_large", f"more than {bytes_max} bytes", "leave data out of the program")
        yield chunk


async def _awaited(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Read in a thread, so that a slow reader does not hold up the event loop."""
    while (chunk := await sync_to_async(next)(chunks, None)) is not None:
        yield chunk


def send(request: Any, digest: str, *, filename: str = "") -> HttpResponse | StreamingHttpResponse:
    """Stream an object; `Range: bytes=N-` resumes. Raises Refused."""
    try:
        size = storage.size(digest)
    except storage.ObjectMissing:
        raise Refused(404, "object_missing", f"the store has no object {digest[:12]}") from None
    start, status = 0, 200
    if matched := RANGE.match(request.headers.get("Range", "")):
        start, status = int(matched[1]), 206
        if start >= size:
            response = HttpResponse(status=416)
            response["Content-Range"] = f"bytes */{size}"
            return response
    chunks = storage.read(digest, start)
    bare = getattr(request, "_request", request)
    source = _awaited(chunks) if isinstance(bare, ASGIRequest) else chunks
    stream = StreamingHttpResponse(source, status=status, content_type="application/octet-stream")
    stream["Content-Length"] = str(size - start)
    stream["Accept-Ranges"] = "bytes"
    stream["ETag"] = f'"{digest}"'
    if status == 206:
        stream["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
    if filename:
        stream["Content-Disposition"] = f'attachment; filename="{filename}"'
    return stream
