"""
The only door to boto3: one account's calls to AWS, signed, paged, tried again, and their errors by our names.

Written from https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html and
https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/API_pricing_GetProducts.html.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError
from botocore.parsers import ResponseParserError

from providers import fields, http
from providers.base import BAD_ROW, NoCapacity, ProviderError, Reason, Rejected, Unreachable

HOME = "us-east-1"  # Has the price list of all regions, and answers for all of them.
PAGES_MAX = 1000
PRICING_EVERY_S = 0.1  # The price list is one service for all regions, and slow to forgive.
ROLE_S = 2700  # A role's credentials live for an hour; they are renewed well before.
HOW = Config(
    connect_timeout=http.TIMEOUT_S[0],
    read_timeout=http.TIMEOUT_S[1],
    retries={"mode": "standard", "total_max_attempts": http.TRIES},
    max_pool_connections=16,
    ignore_configured_endpoint_urls=True,  # AWS_ENDPOINT_URL is where the broker's own storage may be.
    user_agent_extra="gpuyard",
)
MEANINGS: dict[tuple[type[ProviderError], Reason], str] = {
    (NoCapacity, Reason.SOLD_OUT): "UnfulfillableCapacity",  # And whatever begins with "Insufficient".
    (NoCapacity, Reason.QUOTA): "MaxSpotInstanceCountExceeded",  # And whatever ends with "LimitExceeded".
    (Rejected, Reason.PRICE): "SpotMaxPriceTooLow",
    (Rejected, Reason.MONEY): "Blocked",
    (Rejected, Reason.AUTH): "UnauthorizedOperation AuthFailure InvalidClientTokenId UnrecognizedClientException "
    "ExpiredToken ExpiredTokenException RequestExpired AccessDenied AccessDeniedException SignatureDoesNotMatch "
    "InvalidSignatureException IncompleteSignature MissingAuthenticationToken OptInRequired PendingVerification",
    (Unreachable, Reason.RATE_LIMIT): "RequestLimitExceeded Throttling ThrottlingException RequestThrottled "
    "TooManyRequestsException EC2ThrottledException",
    (Unreachable, Reason.OUTAGE): "InternalError InternalFailure ServiceUnavailable Unavailable RequestTimeout "
    "IdempotentParameterMismatch",  # The token has bought a machine that the list does not show yet: look again.
}
BY_CODE = {code: meaning for meaning, codes in MEANINGS.items() for code in codes.split()}
_lock = threading.Lock()  # A session must not make two clients at once (boto3 guide, "Session").


@dataclass(frozen=True, slots=True)
class Account:
    """Credentials, and the role to take with them where there is one. endpoint_url: for tests."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    role_arn: str = ""
    endpoint_url: str | None = None

    def ask(self, region: str, verb: str, *, service: str = "ec2", **asked: Any) -> dict[str, Any]:
        """Return the answer of one call; `verb` as boto3 names it. Raises NoCapacity, Rejected, Unreachable."""
        if service == "pricing":
            http.pace("aws", f"{self.access_key_id} pricing", PRICING_EVERY_S).wait()
        try:
            answer = getattr(self.client(service, region), verb)(**asked)
        except ClientError as error:
            raise self._named(f"{service}:{verb} {region}", error) from None
        except (ConnectionError, HTTPClientError, ResponseParserError) as error:
            raise Unreachable(f"{service}:{verb} {region}: {type(error).__name__}", reason=Reason.OUTAGE) from None
        except BotoCoreError as error:
            # Its text may hold what was sent, and so the startup script.
            raise Rejected(f"{service}:{verb} {region}: {type(error).__name__}", reason=Reason.BAD_REQUEST) from None
        if not isinstance(answer, dict):
            raise Unreachable(f"{service}:{verb} {region}: no answer that can be read", reason=Reason.OUTAGE)
        return answer

    def pages(self, region: str, verb: str, rows: str, *, service: str = "ec2", **asked: Any) -> list[Any]:
        """Return the rows of every page. Raises Unreachable for a page that has none, not even an empty list."""
        found: list[Any] = []
        for _ in range(PAGES_MAX):
            answer = self.ask(region, verb, service=service, **asked)
            page = answer.get(rows)
            if not isinstance(page, list | dict):
                raise Unreachable(f"{service}:{verb} {region}: an answer without {rows}", reason=Reason.OUTAGE)
            found += fields.records(page)
            if not answer.get("NextToken"):
                return found
            asked["NextToken"] = answer["NextToken"]
        raise Unreachable(f"{service}:{verb} {region}: the list has no end", reason=Reason.OUTAGE)

    def products(self, region: str, **wanted: str) -> list[Any]:
        """Return the JSON texts of the EC2 products with these attributes in a region. Errors as `ask`."""
        filters = [
            {"Type": "TERM_MATCH", "Field": name, "Value": value}
            for name, value in {"regionCode": region, **wanted}.items()
        ]
        return self.pages(
            HOME, "get_products", "PriceList", service="pricing", ServiceCode="AmazonEC2", Filters=filters
        )

    def client(self, service: str, region: str) -> Any:
        """Return the client that all calls of this account to this service and region share, with its connections."""
        account = self
        if self.role_arn and service != "sts":
            account = _in_role(self, int(time.time() // ROLE_S))
        with _lock:
            return _client(account, service, region)

    def _named(self, what: str, error: ClientError) -> ProviderError:
        said = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code = str(said.get("Code"))
        kind, reason = _meaning(code, status or 0)
        words = self._without_secrets(str(said.get("Message") or ""))
        return kind(f"{what}: {code} {words}".rstrip(), reason=reason, status=status, body={"Code": code})

    def _without_secrets(self, text: str) -> str:
        for secret in (self.secret_access_key, self.session_token, self.access_key_id):
            text = text.replace(secret, "***") if secret else text
        return http.redacted(text)


def matching(name: str, *values: str) -> list[dict[str, Any]]:
    """Return a filter in EC2's form: the property `name` is one of the values; `*` stands for any text."""
    return [{"Name": name, "Values": list(values)}]


def code_of(error: ProviderError) -> str:
    """Return AWS's own code of an error, or an empty string where AWS said none."""
    return error.body["Code"] if isinstance(error.body, dict) else ""


def _meaning(code: str, status: int) -> tuple[type[ProviderError], Reason]:
    if code in BY_CODE:
        return BY_CODE[code]
    if code.startswith("Insufficient"):  # Even as a 500: InsufficientInstanceCapacity is no outage.
        return NoCapacity, Reason.SOLD_OUT
    if code.endswith("LimitExceeded"):
        return NoCapacity, Reason.QUOTA
    if status >= 500:
        return Unreachable, Reason.OUTAGE
    return (Rejected, Reason.AUTH) if status in (401, 403) else (Rejected, Reason.BAD_REQUEST)


@lru_cache(maxsize=64)
def _in_role(account: Account, _turn: int) -> Account:
    """Return the role's own credentials; asked anew every ROLE_S. Errors as `Account.ask`."""
    answer = account.ask(HOME, "assume_role", service="sts", RoleArn=account.role_arn, RoleSessionName="gpuyard")
    try:
        given = answer["Credentials"]
        return Account(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], "", account.endpoint_url)
    except BAD_ROW:
        raise Unreachable("sts:assume_role: no answer that can be read", reason=Reason.OUTAGE) from None


@lru_cache(maxsize=1)
def _session() -> boto3.session.Session:
    """Return the one session of this process: it holds the service models, which are large, and no credentials."""
    return boto3.session.Session()


@lru_cache(maxsize=512)
def _client(account: Account, service: str, region: str) -> Any:
    return _session().client(
        service,
        region_name=region,
        endpoint_url=account.endpoint_url,
        aws_access_key_id=account.access_key_id,
        aws_secret_access_key=account.secret_access_key,
        aws_session_token=account.session_token or None,
        config=HOW,
    )
