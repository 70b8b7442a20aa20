"""A cloud of our own making for tests: real HTTP on loopback, or no network at all, and answers that can be spoilt."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

JUNK = (
    None,
    True,
    False,
    0,
    -1,
    1e308,
    10**30,
    "",
    "NaN",
    "\x00",
    "x" * 400,
    "ひ",
    [],
    {},
    [None],
    {"": {}},
    "1e999",
    -0.5,
)


@dataclass
class Request:
    """What a caller sent: `body` is decoded JSON, or the raw bytes where it is none."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]  # Names in lower case.
    body: Any


@dataclass
class Reply:
    """What the cloud answers: `body` is sent as JSON, bytes and str as they are."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def raw(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        return b"" if self.body is None else json.dumps(self.body).encode()


LOSE_THE_ANSWER = "lose the answer"  # A reply of this: the request is carried out, and the connection then breaks.


class Cloud:
    """
    Routes are methods `answer(method, path, query, body)`; a subclass returns a Reply, or None for a 404.

    `trouble` holds (method, path pattern, Reply or LOSE_THE_ANSWER): each is used up by the first request that fits.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.trouble: list[tuple[str, str, Reply | str]] = []
        self.spoil: Callable[[Any], Any] | None = None
        self._server: ThreadingHTTPServer | None = None
        self.url = "http://cloud.invalid"

    def answer(self, request: Request) -> Reply | None:
        raise NotImplementedError

    def handle(self, method: str, url: str, headers: dict[str, str], raw: bytes) -> Reply | str:
        parts = urlsplit(url)
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw
        lowered = {name.lower(): value for name, value in headers.items()}
        request = Request(method, parts.path, parse_qs(parts.query, keep_blank_values=True), lowered, body)
        self.requests.append(request)
        for index, (verb, pattern, reply) in enumerate(self.trouble):
            if verb == method and re.search(pattern, parts.path):
                del self.trouble[index]
                if reply == LOSE_THE_ANSWER:
                    self.answer(request)
                return reply
        return self.answer(request) or Reply({"error": "not found"}, 404)

    def __enter__(self):
        """Serve on a free port of loopback."""
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _do(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                reply = cloud.handle(self.command, self.path, dict(self.headers.items()), raw)
                if isinstance(reply, str):
                    self.close_connection = True
                    self.connection.close()
                    return
                sent = reply.raw()
                self.send_response(reply.status)
                self.send_header("Content-Length", str(len(sent)))
                if isinstance(reply.body, dict | list):
                    self.send_header("Content-Type", "application/json")
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(sent)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _do

            def log_message(self, *_args: Any) -> None:
                pass

            def finish(self) -> None:
                try:
                    super().finish()
                except (OSError, ValueError):
                    pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def session(self) -> requests.Session:
        """Return a session that asks this cloud without a network, with `spoil` at work on every JSON answer."""
        session = requests.Session()
        session.trust_env = False
        for scheme in ("http://", "https://"):
            session.mount(scheme, _WithoutNetwork(self))
        return session


class _WithoutNetwork(requests.adapters.BaseAdapter):
    def __init__(self, cloud: Cloud) -> None:
        super().__init__()
        self.cloud = cloud

    def send(self, request: Any, **_options: Any) -> requests.Response:
        raw = request.body or b""
        reply = self.cloud.handle(
            request.method, request.url, dict(request.headers), raw.encode() if isinstance(raw, str) else raw
        )
        if isinstance(reply, str):
            raise requests.ConnectionError("lost")
        body = reply.body
        if self.cloud.spoil is not None and isinstance(body, dict | list):
            body = self.cloud.spoil(body)
        response = requests.Response()
        response.status_code = reply.status
        response.headers.update(reply.headers)
        response.raw = io.BytesIO(Reply(body).raw())
        response.url, response.request = request.url, request
        return response

    def close(self) -> None:
        pass


def spoilt(value: Any, random: Random) -> Any:
    """Return a copy of JSON with one to three places changed: made junk, left out, doubled, or of another kind."""
    copy = json.loads(json.dumps(value))
    for _ in range(random.choice((1, 1, 2, 3))):
        copy = _spoil(copy, random)
    return copy


def _spoil(value: Any, random: Random) -> Any:
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(list(value))
        if random.random() < 0.1:
            del value[key]
        else:
            value[key] = _spoil(value[key], random)
        return value
    if isinstance(value, list) and value and random.random() < 0.9:
        at = random.randrange(len(value))
        if random.random() < 0.1:
            value.append(value[at])
        elif random.random() < 0.1:
            value = {str(index): one for index, one in enumerate(value)}  # A map where a list was.
        else:
            value[at] = _spoil(value[at], random)
        return value
    return deepcopy(random.choice(JUNK))
