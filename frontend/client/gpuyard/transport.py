"""HTTP to a broker: the only file that imports requests. Timeouts, retries, and answers that turn into errors."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar
from urllib.parse import urlencode

import requests
from requests.auth import AuthBase

from gpuyard.config import checked_url
from gpuyard.errors import (
    BrokerFailed,
    BrokerUnreachable,
    GpuyardError,
    InvalidRequest,
    error_class,
)

CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 60.0
BACKOFF_S = (0.5, 1.0, 2.0)
CHUNK_BYTES = 1 << 18
SECRETS = ("credentials", "key", "token")  # Fields of bodies that nobody is told.

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Call:
    """One call. `safe` = asking twice equals asking once, so it may be asked again when nobody answered."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    raw: bytes | None = None
    raw_type: str = "application/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    safe: bool = False
    answer_timeout_s: float = ANSWER_TIMEOUT_S


class BearerKey(AuthBase):
    """Puts the key into the header, so that a ~/.netrc entry cannot take its place."""

    def __init__(self, api_key: str) -> None:
        self.api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        request.headers["Authorization"] = f"Bearer {self.api_key}"
        return request


class Transport:
    """Sends calls to one broker with one key. Not for use by several threads at once."""

    def __init__(self, *, url: str, api_key: str, agent: str, backoff_s: Sequence[float] = BACKOFF_S) -> None:
        """`backoff_s`: the waits between attempts of a safe call; () = a single attempt. Raises: InvalidConfig."""
        self.url = checked_url(url)
        self.backoff_s = tuple(backoff_s)
        self.session = requests.Session()
        self.session.auth = BearerKey(api_key)
        self.session.headers.update({"User-Agent": agent, "Accept": "application/json"})
        self.said: Callable[[str], None] | None = None  # Hears of each call and its answer, for `yard --explain`.

    def json(self, call: Call) -> Any:
        """Send, and read the answer as JSON. Raises: GpuyardError of the kind that the answer means."""
        return self.patiently(call, read=read_json)

    def bytes(self, call: Call) -> bytes:
        """Send, and read the whole answer as it is. Raises: GpuyardError."""
        return self.patiently(call, read=lambda call, response: b"".join(chunks(call, response)))

    def content(self, call: Call) -> "Content":
        """Send, and return the answer while it still arrives; close it after use. Raises: GpuyardError."""
        return self.patiently(call, read=Content, keep_open=True)

    def patiently(
        self, call: Call, *, read: Callable[[Call, requests.Response], Answer], keep_open: bool = False
    ) -> Answer:
        """Send and read; a safe call is sent again when no answer comes or it breaks off. Raises: GpuyardError."""
        waits = list(self.backoff_s) if call.safe else []
        while True:
            try:
                response = self.attempt(call)
                if keep_open:
                    return read(call, response)
                with response:
                    return read(call, response)
            except BrokerUnreachable:
                if not waits:
                    raise
                time.sleep(waits.pop(0))

    def attempt(self, call: Call) -> requests.Response:
        """Send once. Raises: GpuyardError."""
        if self.said:
            self.said(f"> {asked(self.url, call)}")
        try:
            response = self.session.request(
                call.method,
                self.url + call.path,
                params={name: value for name, value in call.query.items() if value is not None},
                json=call.body,
                data=call.raw,
                headers={**({"Content-Type": call.raw_type} if call.raw is not None else {}), **call.headers},
                timeout=(CONNECT_TIMEOUT_S, call.answer_timeout_s),
                allow_redirects=False,
                stream=True,
            )
        except requests.exceptions.SSLError as error:
            raise GpuyardError(
                f"no trust in {self.url}: {error}", code="tls", hint="check the address and the certificate"
            ) from error
        except (requests.ConnectionError, requests.Timeout) as error:
            raise BrokerUnreachable(f"no answer from {self.url}: {cause(error)}") from error
        except requests.RequestException as error:
            raise InvalidRequest(f"{call.method} {call.path} cannot be sent: {error}", code="not_sendable") from error
        if self.said:
            self.said(f"< {response.status_code} after {response.elapsed.total_seconds():.3f} s")
        if response.status_code // 100 != 2:
            with response:
                raise failure(call, response)
        return response


def asked(url: str, call: Call) -> str:
    """A call as a person would write it down; the key is not in it."""
    query = urlencode({name: value for name, value in call.query.items() if value is not None})
    shown = {name: "..." for name in SECRETS if name in call.body} if isinstance(call.body, Mapping) else {}
    body = f" {json.dumps({**call.body, **shown} if shown else call.body)}" if call.body is not None else ""
    body = f" ({len(call.raw):,} bytes)" if call.raw else body
    return f"{call.method} {url}{call.path}{'?' if query else ''}{query}{body}"


class Content:
    """An answer that still arrives: `start` = the offset of its first byte (0 unless the broker honoured a Range)."""

    def __init__(self, call: Call, response: requests.Response) -> None:
        self.call = call
        self.response = response
        self.start = 0
        self.sha256 = response.headers.get("ETag", "").removeprefix("W/").strip('"')
        if response.status_code == 206:
            ranged = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            if not ranged:
                response.close()
                raise BrokerFailed(f"{call.path} came in part, without saying which", status=206)
            self.start = int(ranged[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()

    def chunks(self) -> Iterator[bytes]:
        """The bytes. Raises: BrokerUnreachable when they break off before the announced length."""
        return chunks(self.call, self.response)


def chunks(call: Call, response: requests.Response) -> Iterator[bytes]:
    """The bytes of an answer. Raises: BrokerUnreachable when they break off before the announced length."""
    try:
        yield from response.iter_content(CHUNK_BYTES)
    except requests.RequestException as error:
        raise BrokerUnreachable(f"the answer to {call.method} {call.path} broke off: {cause(error)}") from error


def read_json(call: Call, response: requests.Response) -> Any:
    """The answer as JSON. Raises: BrokerFailed when it is something else, BrokerUnreachable when it broke off."""
    body = b"".join(chunks(call, response))
    if response.status_code == 204:
        return None
    try:
        return json.loads(body)
    except ValueError as error:
        raise BrokerFailed(
            f"{call.method} {call.path} was answered, but not with JSON",
            code="not_json",
            status=response.status_code,
            hint="is this the address of a GPUYard broker?",
        ) from error


def failure(call: Call, response: requests.Response) -> GpuyardError:
    """The error that an answer means, in the broker's words where it gave any."""
    status = response.status_code
    if status // 100 == 3:
        target = response.headers.get("Location", "elsewhere")
        return InvalidRequest(
            f"the broker points to {target}", code="moved", status=status, hint="log in with that address"
        )
    try:
        told = json.loads(response.content)["error"]
        code, message = str(told["code"]), str(told["message"])
        hint, fields = told.get("hint"), told.get("fields")
    except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError):
        code, message, hint, fields = "", f"{call.method} {call.path} was answered with {status}", None, None
    kind = error_class(status=status, code=code)
    return kind(
        message,
        code=code or None,
        hint=str(hint) if hint else None,
        fields=fields if isinstance(fields, dict) else None,
        status=status,
    )


def cause(error: BaseException) -> str:
    """The innermost reason, without the layers of wrapping and object addresses around it."""
    seen = error
    while True:
        inner = getattr(seen, "reason", None) or next(
            (arg for arg in seen.args if isinstance(arg, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            break
        seen = inner
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    if isinstance(seen, requests.Timeout) or "timed out" in str(seen):
        return "timed out"
    last = str(seen).split(": ")[-1]
    return re.sub(r"^\[Errno \d+\] ", "", last) or type(seen).__name__
