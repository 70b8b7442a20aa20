"""
Answers of the last moment, given again to the same caller: before Django, so that it costs next to nothing.

Only for what many ask often and what a second does not change: the offer book. When an answer has grown old, one caller
waits for the new one and the others get the old one meanwhile, so it may be twice as old as it is kept; and a key that
is revoked, or a session that has ended, is heard for as long.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
PATHS = {  # And how many times as long as others an answer is kept.
    "/v1/offers": 1,
    "/v1/offers/groups": 1,
    "/v1/offers/history": 1,
    "/v1/offers/sources": 1,
    "/v1/offers/facets": 5,
}
KEPT_MAX = 1000
BYTES_MAX = 4 << 20


@dataclass(slots=True)
class Answer:
    """A whole answer: ASGI's messages, in their order."""

    at: float
    keep_s: float
    messages: list[Message] = field(default_factory=list)
    size: int = 0
    renewed_at: float | None = None  # Somebody asks for a newer one since then.


class Lately:
    """An ASGI application around another one. keep_s: how old an answer may be; 0 keeps none."""

    def __init__(self, app: App, *, keep_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.app, self.keep_s, self.clock = app, keep_s, clock
        self._kept: dict[bytes, Answer] = {}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer from what was just said, or ask and listen in."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] not in PATHS or not self.keep_s:
            await self.app(scope, receive, send)
            return
        name, now = _name(scope), self.clock()
        kept = self._kept.get(name)
        if kept is not None and self._will_do(kept, now):
            for message in kept.messages:
                await send(message)
            return
        answer = Answer(now, self.keep_s * PATHS[scope["path"]])

        async def listen_in(message: Message) -> None:
            answer.messages.append(message)
            answer.size += len(message.get("body", b""))
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self._keep(name, answer)

        await self.app(scope, receive, listen_in)

    def _will_do(self, kept: Answer, now: float) -> bool:
        if now - kept.at < kept.keep_s:
            return True
        if kept.renewed_at is not None and now - kept.at < 2 * kept.keep_s:
            return True
        kept.renewed_at = now
        return False

    def _keep(self, name: bytes, answer: Answer) -> None:
        begin = answer.messages[0]
        if begin.get("status") != 200 or answer.size > BYTES_MAX:
            return
        if any(header.lower() == b"set-cookie" for header, _ in begin.get("headers", ())):
            return  # A cookie is for one answer.
        if len(self._kept) >= KEPT_MAX:
            now = self.clock()
            self._kept = {name: kept for name, kept in self._kept.items() if kept.at > now - kept.keep_s}
            if len(self._kept) >= KEPT_MAX:
                self._kept.clear()
        self._kept[name] = answer


def _name(scope: MutableMapping[str, Any]) -> bytes:
    """Tell questions apart by who asks, what and how; a key is not kept, only its hash."""
    digest = sha256(scope["path"].encode() + b"?" + scope["query_string"])
    for header, value in scope["headers"]:
        if header in (b"authorization", b"cookie", b"x-team", b"accept", b"host"):
            digest.update(b"\n" + header + b":" + value)
    return digest.digest()
