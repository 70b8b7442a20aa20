"""The only door to the network: timeouts, retries, rate limits, redaction and error names in one place."""

from __future__ import annotations

import contextlib
import json
import math
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from providers.base import ProviderError, Reason, Rejected, Unreachable

TIMEOUT_S = (5.0, 20.0)  # To connect, between two bytes.
WHOLE_S = 120.0  # For one answer from the first byte to the last: a server that drips holds nobody up.
TRIES = 3
FIRST_PAUSE_S = 0.5
PAUSE_MAX_S = 20.0  # A provider that wants more time is left alone; the poll comes back later.
ANSWER_BYTES_MAX = 512 << 20
CHUNK_BYTES = 1 << 16
IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}  # RFC 9110, section 9.2.2.
SECRETS = re.compile(r"(?i)((?:bearer|basic|token|key|secret|password)[\"'\s:=]+)[^\s\"',}&]{6,}")
NO_SECRETS = {"accept", "content-type", "user-agent"}
SECRET_LENGTH_MIN = 8
Explain = Callable[[int, Any], ProviderError | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer: its status, its headers, its body as JSON with every decimal number a Decimal, or as text."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Pace:
    """At most one request in so many seconds; who comes early waits for a turn. Safe between threads."""

    def __init__(self, every_s: float) -> None:
        self.every_s = every_s
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when it is our turn."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self.every_s
        if turn > now:
            time.sleep(turn - now)


_paces: dict[tuple[str, str, float], Pace] = {}
_paces_lock = threading.Lock()
_local = threading.local()


def pace(provider: str, identity: str, every_s: float) -> Pace:
    """Return the pace that all clients of one account at one provider share in this process."""
    with _paces_lock:
        return _paces.setdefault((provider, identity, every_s), Pace(every_s))


@dataclass(kw_only=True)
class Client:
    """
    One account at one provider's HTTP API.

    headers: sent with every request, credentials among them. authorize: returns more headers for one request, for
    tokens that expire. every_s: the shortest time between two requests. explain: reads an error answer (status, body)
    and returns what it means, or None for the usual meaning of its status.
    """

    provider: str
    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    authorize: Callable[[], Mapping[str, str]] | None = None
    identity: str = ""  # Tells accounts apart for the rate limit; never a secret.
    every_s: float = 0.0
    explain: Explain | None = None
    timeout_s: tuple[float, float] = TIMEOUT_S

    def get(self, path: str, **query: Any) -> Any:
        """Return the body of a GET. Raises ProviderError."""
        return self.call("GET", path, params={name: value for name, value in query.items() if value is not None})

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Return the body of the answer. Options and errors as `ask`."""
        return self.ask(method, path, **options).body

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Any = None,
        body: Any = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        again: bool | None = None,
        every_s: float | None = None,
        text: bool = False,
    ) -> Answer:
        """
        Send one request; `path` is below base_url, or a whole URL on the same host.

        body: sent as JSON. again: whether it may be sent again when no answer came; by default when the method is
        idempotent. every_s: a pace of its own for this kind of request. text: the answer is text, not JSON.
        Raises NoCapacity, Rejected (4xx; an answer that is no JSON), Unreachable (no answer, 408, 425, 429, 5xx).
        """
        url = self._url(path)
        again = method in IDEMPOTENT if again is None else again
        sent: dict[str, Any] = {"params": params, "data": form}
        if body is not None:
            sent = {"params": params, "data": json.dumps(body, default=_number).encode()}
        for attempt in range(1, TRIES + 1):
            for turn in (self._pace(self.every_s), self._pace(every_s, f"{method} {path}")):
                if turn is not None:
                    turn.wait()
            try:
                return self._once(method, url, sent, headers, body is not None, text)
            except Unreachable as error:
                # Who says 429 has done nothing, so that is safe to repeat whatever the method.
                if attempt == TRIES or not (again or error.status == 429):
                    raise
                pause_s = _pause_s(attempt, error.retry_after_s)
                if pause_s > PAUSE_MAX_S:
                    raise
            time.sleep(pause_s)
        raise AssertionError("unreachable")

    def _once(
        self,
        method: str,
        url: str,
        sent: dict[str, Any],
        headers: Mapping[str, str] | None,
        is_json: bool,
        text: bool,
    ) -> Answer:
        what = f"{method} {_bare(url)}"
        own = dict(self.headers) | (dict(self.authorize()) if self.authorize else {}) | dict(headers or {})
        if is_json:
            own.setdefault("Content-Type", "application/json")
        with contextlib.ExitStack() as stack:
            try:
                # A redirect could carry the key to another host, and a ~/.netrc could replace it.
                response = stack.enter_context(
                    _session(self.provider).request(
                        method, url, headers=own, timeout=self.timeout_s, allow_redirects=False, stream=True,
                        auth=_leave_alone, **sent,
                    )
                )  # fmt: skip
                raw = _read(response)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                raise Unreachable(f"{what}: {type(error).__name__}", reason=Reason.OUTAGE) from None
        if response.status_code >= 300:
            raise self._error(what, response, _decoded(raw), own)
        if text or not raw:
            return Answer(response.status_code, response.headers, raw.decode("utf-8", "replace") if text else None)
        try:
            return Answer(response.status_code, response.headers, loads(raw))
        except ValueError:
            raise Rejected(f"{what}: the answer is not JSON", status=response.status_code) from None

    def _error(self, what: str, response: requests.Response, body: Any, own: Mapping[str, str]) -> ProviderError:
        status = response.status_code
        told = self.explain(status, body) if self.explain else None
        kind, reason = _meaning(status)
        error = told or kind("", reason=reason)
        said = redacted(_without(own, str(error) or _words(body)))
        return type(error)(
            f"{what}: {status}" + (f" {said}" if said else ""),
            reason=error.reason,
            status=status,
            body=body,
            retry_after_s=_retry_after_s(response.headers.get("Retry-After")),
        )

    def _pace(self, every_s: float | None, kind: str = "") -> Pace | None:
        return pace(self.provider, f"{self.identity} {kind}", every_s) if every_s else None

    def _url(self, path: str) -> str:
        if path.startswith(("/", "?")) or not path:
            return self.base_url.rstrip("/") + path
        with contextlib.suppress(ValueError):
            if _origin(path) == _origin(self.base_url):
                return path
        # A page link that leads elsewhere would take the key along; so would "@elsewhere" behind our host.
        raise Rejected(f"{self.provider}: a link leads to another host: {redacted(path.partition('?')[0], 80)}")


def call(method: str, url: str, *, provider: str = "", **options: Any) -> Any:
    """Send one request without an account. Options, answer and errors as `Client.ask`."""
    parts = urlsplit(url)
    return Client(provider=provider or parts.netloc, base_url=f"{parts.scheme}://{parts.netloc}").call(
        method, url, **options
    )


def loads(raw: bytes | str) -> Any:
    """Decode JSON with every decimal number as a Decimal: no price is ever a float. Raises ValueError."""
    try:
        return json.loads(raw, parse_float=Decimal, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def by_words(meanings: Iterable[tuple[str, type[ProviderError], Reason]]) -> Explain:
    """
    Return an `explain` for APIs without codes: the first (pattern, error, reason) that fits what a 4xx says is meant.

    A status that says enough by itself (401, 402, 403, 408, 425, 429, 5xx) keeps its usual meaning.
    """
    known = [(re.compile(pattern, re.IGNORECASE), kind, reason) for pattern, kind, reason in meanings]

    def explain(status: int, body: Any) -> ProviderError | None:
        if _meaning(status)[1] is not Reason.BAD_REQUEST:
            return None
        said = " ".join(str(value) for value in body.values()) if isinstance(body, dict) else str(body)
        meant = ((kind, reason) for pattern, kind, reason in known if pattern.search(said))
        return next((kind(redacted(said), reason=reason) for kind, reason in meant), None)

    return explain


def redacted(text: str, length: int = 300) -> str:
    """Return a provider's words on one line, cut short, without what looks like a credential."""
    return SECRETS.sub(r"\1***", " ".join(text.split()))[:length]


def _without(own: Mapping[str, str], text: str) -> str:
    """Return a text without what we sent in our headers: some providers say the key back."""
    for name, value in own.items():
        for part in value.split() if name.lower() not in NO_SECRETS else ():
            if len(part) >= SECRET_LENGTH_MIN:
                text = text.replace(part, "***")
    return text


def _meaning(status: int) -> tuple[type[ProviderError], Reason]:
    if status >= 500:
        return Unreachable, Reason.OUTAGE
    if status in (408, 425, 429):
        return Unreachable, Reason.RATE_LIMIT
    if status in (401, 403):
        return Rejected, Reason.AUTH
    if status == 402:
        return Rejected, Reason.MONEY
    return Rejected, Reason.BAD_REQUEST


def _session(provider: str) -> requests.Session:
    """Return this thread's connections to a provider. They hold no credentials and no cookies."""
    sessions = _local.__dict__.setdefault("sessions", {})
    if provider not in sessions:
        session = sessions[provider] = requests.Session()
        session.cookies.set_policy(_NoCookies())
        session.headers["User-Agent"] = "gpuyard"
    found: requests.Session = sessions[provider]
    return found


class _NoCookies(requests.cookies.cookielib.DefaultCookiePolicy):  # type: ignore[name-defined,misc]
    def set_ok(self, cookie: Any, request: Any) -> bool:
        return False


def _leave_alone(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _read(response: requests.Response) -> bytes:
    """Read the whole body. Raises OSError when it takes too long or is too large."""
    until, parts, size = time.monotonic() + WHOLE_S, [], 0
    for chunk in _chunks(response):
        parts.append(chunk)
        size += len(chunk)
        if size > ANSWER_BYTES_MAX:
            raise OSError("the answer is too large")
        if time.monotonic() > until:
            raise OSError("the answer takes too long")
    return b"".join(parts)


def _chunks(response: requests.Response) -> Iterator[bytes]:
    if not isinstance(response.raw, urllib3.HTTPResponse):
        yield from response.iter_content(CHUNK_BYTES)  # No network.
        return
    # Whatever has come; iter_content would wait for a chunk to be full, and a server that drips would hold us up.
    while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
        yield chunk


def _decoded(raw: bytes) -> Any:
    try:
        return loads(raw)
    except ValueError:
        return raw.decode("utf-8", "replace")


def _words(body: Any) -> str:
    """Find what an error answer says in the places where APIs put it."""
    if isinstance(body, str):
        return re.sub(r"<[^>]*>", " ", body)
    if isinstance(body, dict):
        for name in ("error", "message", "msg", "detail", "title"):
            if body.get(name):
                return _words(body[name]) if isinstance(body[name], dict | list) else str(body[name])
        return str(body.get("code") or "")
    return _words(body[0]) if isinstance(body, list) and body else ""


def _retry_after_s(text: str | None) -> float | None:
    """Read Retry-After: seconds or a date (RFC 9110, section 10.2.3)."""
    if not text:
        return None
    with contextlib.suppress(ValueError):
        seconds = float(text)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    return None


def _pause_s(attempt: int, retry_after_s: float | None) -> float:
    """Full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015); never less than was asked for."""
    jitter_s = random.uniform(0, FIRST_PAUSE_S * 2 ** (attempt - 1))
    return retry_after_s + jitter_s if retry_after_s is not None else jitter_s


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Return (scheme, host, port), with the scheme's own port where none is named (RFC 6454, section 4)."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _bare(url: str) -> str:
    """Return the URL without what may be secret in it: user, query, fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _number(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(type(value).__name__)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
