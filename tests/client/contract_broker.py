"""A small real HTTP server that plays the broker's side; tests say how it answers, and read what came."""

import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "yk_test_secret"


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        """The JSON body."""
        return json.loads(self.raw)


@dataclass(frozen=True)
class Reply:
    """One answer; `cut_at` breaks the connection after so many bytes of the body."""

    status: int = 200
    body: Any = None
    raw: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None

    @property
    def content(self) -> bytes:
        """The bytes to send."""
        return self.raw if self.raw is not None else json.dumps(self.body).encode()


Answer = Callable[[Asked], Reply]


def refusal(status: int, code: str, *, hint: str = "", fields: dict[str, Any] | None = None) -> Reply:
    """An error in the contract's shape."""
    error = {"code": code, "message": f"about {code}", "hint": hint, "fields": fields or {}}
    return Reply(status, {"error": error})


class ContractBroker:
    """Answers by (method, path pattern); `drop` = so many coming requests get no answer at all."""

    def __init__(self) -> None:
        self.routes: list[tuple[str, re.Pattern[str], Answer]] = []
        self.asked: list[Asked] = []
        self.drop = 0
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(self))
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def on(self, method: str, path: str, answer: Answer | Reply | Any) -> None:
        """Answer so from now on; the newest fitting route counts. Neither Reply nor function = the JSON of a 200."""
        if isinstance(answer, Reply):
            chosen: Answer = lambda asked: answer  # noqa: E731 - a route is a function
        elif callable(answer):
            chosen = answer
        else:
            chosen = lambda asked: Reply(200, answer)  # noqa: E731 - a route is a function
        self.routes.insert(0, (method, re.compile(path), chosen))

    def in_turn(self, method: str, path: str, *answers: Any) -> None:
        """Answer with one after the other; the last one stays."""
        left = list(answers)

        def next_one(asked: Asked) -> Reply:
            answer = left.pop(0) if len(left) > 1 else left[0]
            return answer if isinstance(answer, Reply) else Reply(200, answer)

        self.on(method, path, next_one)

    def answer(self, asked: Asked) -> Reply | None:
        """What to send; None = cut the line."""
        with self.lock:
            self.asked.append(asked)
            if self.drop > 0:
                self.drop -= 1
                return None
        if asked.headers.get("Authorization") != f"Bearer {KEY}":
            return refusal(401, "not_authenticated")
        for method, path, answer in self.routes:
            if method == asked.method and path.fullmatch(asked.path):
                return answer(asked)
        return refusal(404, "not_found")

    def calls(self, method: str, path: str) -> list[Asked]:
        """The requests that came for this path."""
        return [asked for asked in self.asked if asked.method == method and re.fullmatch(path, asked.path)]


def handler_for(broker: ContractBroker) -> type[BaseHTTPRequestHandler]:
    """The request handler of one broker."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_call(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            reply = broker.answer(Asked(self.command, parts.path, query, dict(self.headers.items()), raw))
            self.close_connection = True
            if reply is None:
                return
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(reply.content[: reply.cut_at])

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one_call  # noqa: N815 - names that http.server calls

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler


def sha256(content: bytes) -> str:
    """The content's name."""
    return hashlib.sha256(content).hexdigest()


def serving(content: bytes, *, cuts: list[int] | None = None, honours_range: bool = True) -> Answer:
    """Answers content calls with Range; each number of `cuts` breaks one answer off after so many bytes."""
    left = list(cuts or [])

    def answer(asked: Asked) -> Reply:
        start = 0
        if honours_range and (ranged := re.fullmatch(r"bytes=(\d+)-", asked.headers.get("Range", ""))):
            start = int(ranged[1])
            if start >= len(content):
                return refusal(416, "range_not_satisfiable")
        headers = {"ETag": f'"{sha256(content)}"', "Content-Type": "application/octet-stream"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return Reply(206 if start else 200, raw=content[start:], headers=headers, cut_at=left.pop(0) if left else None)

    return answer
