"""
The only door to Nebius' SDK's channel: credentials, timeouts, the pace and what its errors mean.

Source: nebius 0.6.29 (aio/idempotency.py: the header; aio/request.py: timeouts and retries; common/v1/error.proto:
ServiceError), https://grpc.io/docs/guides/status-codes, google/rpc/code.proto for the matching HTTP statuses.
"""

from __future__ import annotations

import functools
import os
import random
import time
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from google.protobuf.message import DecodeError
from grpc import RpcError, StatusCode
from nebius.aio.idempotency import HEADER
from nebius.aio.operation import OperationError
from nebius.aio.service_error import RequestError, RequestStatusExtended
from nebius.api.nebius.common.v1 import GetByNameRequest
from nebius.base.error import SDKError
from nebius.base.options import INSECURE
from nebius.base.resolver import Constant
from nebius.base.service_account.service_account import ServiceAccount
from nebius.base.service_account.static import Reader
from nebius.sdk import SDK

from providers import http
from providers.base import NoCapacity, ProviderError, Reason, Rejected, Unreachable

PREFIX = "gpuyard-"  # Of the names that bear our keys.
PAGE, PAGES_MAX = 500, 50
POLLS, POLL_EVERY_S = 5, 1.0  # A launch without capacity fails within seconds; the rest is told by machines().
TIMEOUT_S = 30.0  # For a call with everything that belongs to it, a new token too.
EVERY_S = 0.05  # Ours: no limit is published.
ACCOUNTS_MAX = 64  # Each has a thread of its own.
SPACE = uuid.UUID("b5a5d1f6-5b7e-4c0c-9d6b-6f4b8e2d7a11")  # Any fixed one: a key of ours always makes the same UUID.

MEANINGS: dict[StatusCode, tuple[type[ProviderError], Reason, int]] = {
    StatusCode.UNAUTHENTICATED: (Rejected, Reason.AUTH, 401),
    StatusCode.PERMISSION_DENIED: (Rejected, Reason.AUTH, 403),
    StatusCode.NOT_FOUND: (Rejected, Reason.BAD_REQUEST, 404),
    StatusCode.ALREADY_EXISTS: (Rejected, Reason.BAD_REQUEST, 409),
    StatusCode.INVALID_ARGUMENT: (Rejected, Reason.BAD_REQUEST, 400),
    StatusCode.FAILED_PRECONDITION: (Rejected, Reason.BAD_REQUEST, 400),
    StatusCode.OUT_OF_RANGE: (Rejected, Reason.BAD_REQUEST, 400),
    StatusCode.UNIMPLEMENTED: (Rejected, Reason.BAD_REQUEST, 501),
    StatusCode.RESOURCE_EXHAUSTED: (Unreachable, Reason.RATE_LIMIT, 429),
}
DETAILS: dict[str, tuple[type[ProviderError], Reason]] = {
    "not_enough_resources": (NoCapacity, Reason.SOLD_OUT),
    "quota_failure": (NoCapacity, Reason.QUOTA),
    "too_many_requests": (Unreachable, Reason.RATE_LIMIT),
    "operation_aborted": (Unreachable, Reason.OUTAGE),  # Another operation was at work: worth asking again.
    "operation_conflict": (Unreachable, Reason.OUTAGE),
}


class Account(NamedTuple):
    """Where to call, and as whom."""

    base_url: str
    parent_id: str
    token: str
    service_account_id: str
    public_key_id: str
    private_key: str

    def __repr__(self) -> str:
        return f"Account({self.parent_id!r})"  # The rest is secret.


class Calls:
    """The calls of one account."""

    def __init__(self, account: Account) -> None:
        self._account, self.parent_id = account, account.parent_id

    def do(self, client: type[Any], method: str, request: Any, *, key: str = "") -> Any:
        """
        Make one call, again when it may have been lost: what we read or delete may be repeated, and `key` makes that
        true of what we create. Raises ProviderError.

        An error's status is the HTTP status that belongs to its code: 404 for NOT_FOUND, 409 for ALREADY_EXISTS.
        """
        what = f"{client.__name__.removesuffix('Client')}/{method}"
        metadata = [(HEADER, str(uuid.uuid5(SPACE, f"{self.parent_id}/{what}/{key}")))] if key else None
        sdk = _sdk(os.getpid(), self._account)  # A channel does not outlive a fork.
        for attempt in range(1, http.TRIES + 1):
            http.pace("nebius", self.parent_id, EVERY_S).wait()
            try:
                with _errors_named(what):
                    # The SDK would repeat without a pause.
                    answer = getattr(client(sdk), method)(
                        request, metadata=metadata, timeout=TIMEOUT_S, auth_timeout=TIMEOUT_S, retries=0
                    ).wait()
                if answer is None:  # So the SDK says that it could not read it.
                    raise Unreachable(f"{what}: an answer that cannot be read", reason=Reason.OUTAGE)
                return answer
            except Unreachable:
                if attempt == http.TRIES:
                    raise
            time.sleep(random.uniform(0, http.FIRST_PAUSE_S * 2**attempt))
        raise AssertionError("unreachable")

    def named(self, client: type[Any], key: str) -> Any:
        """Return the project's resource that bears a key of ours, or None. Raises ProviderError."""
        try:
            return self.do(client, "get_by_name", GetByNameRequest(parent_id=self.parent_id, name=PREFIX + key))
        except Rejected as error:
            if error.status == 404:
                return None
            raise

    def pages(self, client: type[Any], request: type[Any], method: str = "list", **query: Any) -> Iterator[Any]:
        """Yield the items of every page. Raises ProviderError."""
        for _ in range(PAGES_MAX):
            answer = self.do(client, method, request(page_size=PAGE, **query))
            yield from answer.items
            if not answer.next_page_token:
                return
            query["page_token"] = answer.next_page_token
        raise Unreachable(f"{client.__name__}: the list has no end", reason=Reason.OUTAGE)

    def finish(self, operation: Any) -> None:
        """Watch an operation for a short while. Raises ProviderError when it ends badly."""
        for _ in range(POLLS):
            with _errors_named("OperationService/get"):
                if not operation.done():
                    operation.sync_update(timeout=TIMEOUT_S, auth_timeout=TIMEOUT_S, retries=0)
                if operation.done():
                    if not operation.successful():
                        raise OperationError(operation)
                    return
            time.sleep(POLL_EVERY_S)


class _errors_named:
    """Turns the SDK's errors into the four, without a trace of its own: it may hold a token."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, RequestError):
            raise meaning(self.what, error.status) from None
        if isinstance(error, SDKError | RpcError | DecodeError | TimeoutError | OSError | ValueError | RuntimeError):
            raise Unreachable(f"{self.what}: {type(error).__name__}", reason=Reason.OUTAGE) from None


def meaning(what: str, status: RequestStatusExtended) -> ProviderError:
    """Return what a status of a call or an operation means to us."""
    kind, reason, number = MEANINGS.get(status.code, (Unreachable, Reason.OUTAGE, 503))
    for error in status.service_errors:
        kind, reason = DETAILS.get(str(error.WhichOneof("details")), (kind, reason))
    said = http.redacted(status.message or "")
    return kind(f"{what}: {status.code.name} {said}".strip(), reason=reason, status=number)


@functools.lru_cache(maxsize=ACCOUNTS_MAX)
def _sdk(_process: int, account: Account) -> SDK:
    """Return the channel of an account in this process. Raises Rejected when the key cannot be read."""
    options: dict[str, Any] = {"user_agent_prefix": "gpuyard", "parent_id": account.parent_id}
    scheme, _, address = account.base_url.partition("://")
    if scheme == "http":  # A fake on loopback.
        options |= {"resolver": Constant(address), "options": [(INSECURE, True)]}
    else:
        options["domain"] = address
    if account.token:
        return SDK(credentials=account.token, **options)
    try:
        key = load_pem_private_key(account.private_key.replace("\\n", "\n").encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise Rejected("nebius: a token or a service account's private key is needed", reason=Reason.AUTH)
    return SDK(credentials=Reader(ServiceAccount(key, account.public_key_id, account.service_account_id)), **options)
