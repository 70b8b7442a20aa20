"""What can go wrong between a client and a broker; every error knows the exit code of the command that meets it."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from gpuyard import exits


class GpuyardError(Exception):
    """Anything the broker or this client refuses.

    `code` is for programs, `message` says what was wrong and where, `hint` what to do next ("" when nothing helps),
    `fields` names the wrong fields of a body, `status` is the HTTP status (None when no answer was involved).
    """

    exit_code: ClassVar[int] = exits.ERROR
    default_code: ClassVar[str] = "error"
    default_hint: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        fields: Mapping[str, Any] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.hint = self.default_hint if not hint else hint
        self.fields = dict(fields or {})
        self.status = status

    @property
    def details(self) -> dict[str, str]:
        """What `fields` say beyond the message, as text."""
        said = {name: wrong if isinstance(wrong, str) else json.dumps(wrong) for name, wrong in self.fields.items()}
        return {
            name: text for name, text in said.items() if text.removeprefix('["').removesuffix('"]') not in self.message
        }

    def as_dict(self) -> dict[str, Any]:
        """The error as a JSON object, in the broker's shape plus `status` and `exit_code`."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "fields": self.fields,
            "status": self.status,
            "exit_code": self.exit_code,
        }


class AuthError(GpuyardError):
    """No key, or one the broker does not know (401)."""

    exit_code = exits.AUTH
    default_code = "not_authenticated"
    default_hint = "run `yard login`, or set GPUYARD_URL and GPUYARD_API_KEY"


class ScopeMissing(AuthError):
    """The key is known, but may not do this (403)."""

    default_code = "scope_missing"
    default_hint = "use a key with that scope; `yard login` stores another one"


class SignInNeeded(AuthError):
    """No key can do this; a person can, signed in at the dashboard (403)."""

    default_code = "sign_in_needed"
    default_hint = "sign in at the dashboard"


class NotFound(GpuyardError):
    """Not there, or not yours (404)."""

    default_code = "not_found"


class Conflict(GpuyardError):
    """The thing is in a state that does not allow this (409)."""

    default_code = "conflict"


class QuoteExpired(Conflict):
    """The quote's promise is over."""

    default_code = "quote_expired"
    default_hint = "ask for a new quote"


class QuoteTaken(Conflict):
    """The quote was ordered before."""

    default_code = "quote_taken"
    default_hint = "ask for a new quote"


class IdempotencyConflict(Conflict):
    """The idempotency key was used before with another body."""

    default_code = "idempotency_conflict"


class NoCapacity(GpuyardError):
    """There is no machine for this."""

    exit_code = exits.NO_CAPACITY
    default_code = "no_capacity"


class NeedUnmet(NoCapacity):
    """No offer meets the need."""

    default_code = "need_unmet"
    default_hint = "loosen the constraint that excludes most offers"

    @property
    def details(self) -> dict[str, str]:
        """What would do instead, and how that is asked for; the message names what excludes most."""
        ways = self.fields.get("relaxations") or []
        return {way["change"]: _asked(way["field"], way.get("value")) for way in ways}


def _asked(field: str, value: Any) -> str:
    if value is None:
        return f"without {field}"
    if field == "accelerators_per_site":
        return f"--gpu KIND:{value}"
    text = ",".join(map(str, value)) if isinstance(value, list) else "true" if value is True else str(value)
    return f"-w {field}={text}"


class OverBudget(GpuyardError):
    """The money does not suffice (402 and its kin)."""

    exit_code = exits.OVER_BUDGET
    default_code = "over_budget"


class BudgetBelowCheapest(OverBudget):
    """Even the cheapest way costs more than the budget."""

    default_code = "budget_below_cheapest"
    default_hint = "raise --budget, or let it take longer"


class CreditExhausted(OverBudget):
    """The account's credit does not cover this (402)."""

    default_code = "credit_exhausted"
    default_hint = "add credit, or stop another workload"


class InvalidRequest(GpuyardError):
    """The broker does not understand or cannot take what was sent (400, 422 and other 4xx)."""

    default_code = "invalid_request"


class InvalidProgram(GpuyardError):
    """What was handed in cannot be packed into a program: a file is missing, outside, or too much. Nothing was sent."""

    exit_code = exits.USAGE
    default_code = "invalid_program"


class InvalidConfig(GpuyardError):
    """The stored address or key cannot be read."""

    exit_code = exits.USAGE
    default_code = "invalid_config"
    default_hint = "run `yard login` to write it anew"


class HashMismatch(GpuyardError):
    """Bytes arrived that are not the bytes that were promised. They were thrown away."""

    default_code = "hash_mismatch"
    default_hint = "ask again; if it stays, the copy at the broker is damaged"


class BrokerUnreachable(GpuyardError):
    """Nobody answered in time, or only a gateway did (502, 503, 504). Asking again may help."""

    default_code = "broker_unreachable"
    default_hint = "check the address and that the broker runs"


class BrokerFailed(GpuyardError):
    """The broker answered, but with a failure of its own (500), or not in the broker's language."""

    default_code = "broker_failed"
    default_hint = "the broker's log knows more; check also that the address is a broker's"


class PackageMissing(GpuyardError):
    """What was asked for needs a Python package that is not installed here. Nothing was fetched."""

    default_code = "package_missing"
    default_hint = "pip install 'gpuyard[train]'"


BY_CODE: dict[str, type[GpuyardError]] = {
    cls.default_code: cls
    for cls in (
        ScopeMissing,
        SignInNeeded,
        QuoteExpired,
        QuoteTaken,
        IdempotencyConflict,
        NoCapacity,
        NeedUnmet,
        BudgetBelowCheapest,
        CreditExhausted,
        HashMismatch,
    )
}
BY_STATUS: dict[int, type[GpuyardError]] = {
    401: AuthError,
    402: CreditExhausted,
    403: ScopeMissing,
    404: NotFound,
    409: Conflict,
    502: BrokerUnreachable,
    503: BrokerUnreachable,
    504: BrokerUnreachable,
}


def error_class(*, status: int, code: str) -> type[GpuyardError]:
    """The class that says what this answer means: by the broker's code first, then by the HTTP status."""
    if code in BY_CODE:
        return BY_CODE[code]
    return BY_STATUS.get(status, BrokerFailed if status >= 500 else InvalidRequest)
