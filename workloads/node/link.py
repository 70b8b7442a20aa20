"""The way out: JSON and bytes over HTTP(S) to a broker, and how long to wait before asking again.

The only importer of requests.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, TypeVar

import requests

CHUNK_BYTES = 1 << 20
Answer = TypeVar("Answer")
TRY_AGAIN = {408, 425, 429}  # RFC 9110 and RFC 6585: the request was fine, the moment was not.


class Unreachable(Exception):
    """The broker gave no usable answer (network, 5xx, garbled). Ask again with the same body."""


class Refused(Exception):
    """The broker answered no (4xx). Asking the same thing again will not help."""

    def __init__(self, *, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(" ".join(part for part in (message, hint) if part))
        self.status = status
        self.code = code


class Backoff:
    """Waiting times that double from `first_s` up to `cap_s`, with full jitter.

    Full jitter after "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    def __init__(self, *, first_s: float = 0.5, cap_s: float = 30.0) -> None:
        self._first_s, self._cap_s, self._tries = first_s, cap_s, 0

    def next_s(self) -> float:
        """Seconds to wait before the next try; a little more than nothing, so that no loop spins."""
        ceiling_s = min(self._cap_s, self._first_s * 2 ** min(self._tries, 16))
        self._tries += 1
        return max(0.1, random.uniform(0, ceiling_s))

    def reset(self) -> None:
        """The other side answered: start from the short wait again."""
        self._tries = 0


class _Key(requests.auth.AuthBase):
    """Sets the Authorization header itself, so that a ~/.netrc of the host can not replace it."""

    def __init__(self, authorization: str | None) -> None:
        self._authorization = authorization

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._authorization:
            request.headers["Authorization"] = self._authorization
        return request


class Link:
    """One broker, one key. Not shared between threads: each thread makes its own.

    `authorization` is the whole header value ("Agent 7.secret", "Site 3.secret"), or None before enrolment; `headers`
    go with every request.
    """

    def __init__(
        self,
        *,
        broker: str,
        authorization: str | None = None,
        timeout_s: float = 30.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._base = broker.rstrip("/")
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.auth = _Key(authorization)
        self._session.headers.update(headers or {})

    def close(self) -> None:
        """Give the sockets back."""
        self._session.close()

    def call(self, method: str, path: str, body: Any = None, *, timeout_s: float | None = None) -> dict[str, Any]:
        """Send JSON, return the JSON object of the answer. Raises Unreachable, Refused."""
        with self._send(method, path, json=body, timeout_s=timeout_s) as response:
            return self._object(response)

    def put(self, path: str, raw: bytes | BinaryIO) -> dict[str, Any]:
        """Send bytes, or a file as it is read; return the JSON object of the answer. Raises Unreachable, Refused."""
        with self._send("PUT", path, data=raw, headers={"Content-Type": "application/octet-stream"}) as response:
            return self._object(response)

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes at `path`, in pieces of at most 1 MiB. Raises Unreachable, Refused."""
        with self._send("GET", path, stream=True) as response:
            try:
                yield from response.iter_content(CHUNK_BYTES)
            except requests.RequestException as broken:
                raise Unreachable(f"the transfer of {path} broke off: {broken}") from broken

    @contextmanager
    def _send(
        self, method: str, path: str, *, timeout_s: float | None = None, **extra: Any
    ) -> Iterator[requests.Response]:
        try:
            response = self._session.request(
                method,
                self._base + path,
                timeout=timeout_s or self._timeout_s,
                # A redirect could carry the key to another host.
                allow_redirects=False,
                **extra,
            )
        except requests.RequestException as broken:
            raise Unreachable(f"{method} {self._base}{path}: {broken}") from broken
        try:
            if response.status_code >= 500 or response.status_code in TRY_AGAIN:
                raise Unreachable(f"{method} {self._base}{path} answered {response.status_code}")
            if response.status_code >= 300:
                raise _refusal(response)
            yield response
        finally:
            response.close()

    @staticmethod
    def _object(response: requests.Response) -> dict[str, Any]:
        try:
            answer = response.json()
        except (requests.RequestException, ValueError) as garbled:
            raise Unreachable(f"the answer of {response.url} is not JSON") from garbled
        if not isinstance(answer, dict):
            raise Unreachable(f"the answer of {response.url} is not a JSON object")
        return answer


def insist(
    ask: Callable[[], Answer],
    *,
    pause: Callable[[float], None] = time.sleep,
    trouble: Callable[[Unreachable], None] = lambda unreachable: None,
    cap_s: float = 15.0,
) -> Answer:
    """Ask until there is an answer, however long it takes. `pause` may raise to give up; a refusal is raised."""
    backoff = Backoff(cap_s=cap_s)
    while True:
        try:
            return ask()
        except Unreachable as unreachable:
            trouble(unreachable)
            pause(backoff.next_s())


def pause_until(stop: threading.Event, error: type[Exception]) -> Callable[[float], None]:
    """A pause for `insist` that raises `error` as soon as `stop` is set."""

    def pause(seconds: float) -> None:
        if stop.wait(seconds):
            raise error()

    return pause


def _refusal(response: requests.Response) -> Refused:
    try:
        error = response.json()["error"]
        return Refused(
            status=response.status_code,
            code=str(error["code"]),
            message=str(error["message"]),
            hint=str(error.get("hint") or ""),
        )
    except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError):
        return Refused(
            status=response.status_code,
            code="not_understood",
            message=f"{response.url} answered {response.status_code} {response.reason}",
        )
