"""
A service principal at Azure: how it signs in, what ARM's errors mean, and what it may do.

Sources: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow,
https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors,
https://learn.microsoft.com/azure/virtual-machines/error-codes-spot,
https://learn.microsoft.com/rest/api/authorization/permissions.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from providers import fields, http
from providers.azure_signals import graph, pages
from providers.base import BAD_ROW, NoCapacity, Permission, ProviderError, Reason, Rejected, Unreachable

AUTHORIZATION = "2022-04-01"  # api-version
TOKEN_SPARE_S = 300  # A token is renewed so long before it ends.
SOLD_OUT = {
    "SkuNotAvailable", "AllocationFailed", "ZonalAllocationFailed", "OverconstrainedAllocationRequest",
    "OverconstrainedZonalAllocationRequest", "SpotEviction",
}  # fmt: skip
NOT_NOW = {"AnotherOperationInProgress", "ReferencedResourceNotProvisioned", "RetryableError", "OperationPreempted"}
NO_MONEY = {"ReadOnlyDisabledSubscription", "SubscriptionDisabled"}
NO_ENTRY = {"InvalidAuthenticationToken", "ExpiredAuthenticationToken", "AuthorizationFailed", "AuthenticationFailed"}
IN_GROUP = (
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.Compute/virtualMachines/write",
    "Microsoft.Compute/virtualMachines/delete",
    "Microsoft.Compute/disks/write",
    "Microsoft.Compute/disks/delete",
    "Microsoft.Network/networkInterfaces/read",
    "Microsoft.Network/networkInterfaces/write",
    "Microsoft.Network/networkInterfaces/delete",
    "Microsoft.Network/networkInterfaces/join/action",
    "Microsoft.Network/publicIPAddresses/read",
    "Microsoft.Network/publicIPAddresses/write",
    "Microsoft.Network/publicIPAddresses/delete",
    "Microsoft.Network/publicIPAddresses/join/action",
)
ON_NETWORK = ("Microsoft.Network/virtualNetworks/read", "Microsoft.Network/virtualNetworks/write")
ON_SUBNET = ("Microsoft.Network/virtualNetworks/subnets/join/action",)
IN_SUBSCRIPTION = (
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.Compute/skus/read",
    "Microsoft.Compute/locations/placementScores/generate/action",
)


class Account:
    """Signs in with a client secret and keeps the token until shortly before it ends. `arm` speaks to ARM."""

    def __init__(
        self, *, tenant_id: str, client_id: str, client_secret: str, base_url: str, login_url: str, provider: str
    ) -> None:
        self._login = http.Client(provider=provider, base_url=login_url, explain=_login_error)
        self._login_path = f"/{quote(tenant_id, safe='')}/oauth2/v2.0/token"
        self._form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": client_secret,
            "scope": "https://management.azure.com/.default",  # Of the public cloud, whatever base_url a test uses.
        }
        self._token, self._until = "", 0.0
        self.arm = http.Client(
            provider=provider, base_url=base_url, identity=client_id, authorize=self._authorize, explain=self._explain
        )

    def _authorize(self) -> dict[str, str]:
        if time.monotonic() >= self._until:
            answer = self._login.call("POST", self._login_path, form=self._form, again=True)
            token = answer.get("access_token") if isinstance(answer, dict) else None
            if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
                raise Rejected("azure: the sign-in gave no token", reason=Reason.AUTH)
            lasts_s = fields.positive(answer.get("expires_in")) or 0.0
            self._token, self._until = token, time.monotonic() + lasts_s - TOKEN_SPARE_S
        return {"Authorization": f"Bearer {self._token}"}

    def _explain(self, status: int, body: Any) -> ProviderError | None:
        if status == 401:
            self._until = 0.0  # Revoked before its time: the next request signs in again.
        error = body.get("error") if isinstance(body, dict) else None
        if not isinstance(error, dict):
            return None
        return meaning(str(error.get("code")), str(error.get("message") or ""))


def meaning(code: str, message: str) -> ProviderError | None:
    """Return what an ARM error code means, or None where its HTTP status says it all."""
    said = f"{code}: {message}"
    if code in SOLD_OUT:
        return NoCapacity(said, reason=Reason.SOLD_OUT)
    if "Quota" in code or code.endswith("LimitReached") or (code == "OperationNotAllowed" and "quota" in said.lower()):
        return NoCapacity(said, reason=Reason.QUOTA)
    if code == "SpotPriceGreaterThanProvidedMaxPrice":
        return Rejected(said, reason=Reason.PRICE)
    if code in NO_MONEY:
        return Rejected(said, reason=Reason.MONEY)
    if code in NO_ENTRY:
        return Rejected(said, reason=Reason.AUTH)
    if code in NOT_NOW:
        return Unreachable(said, reason=Reason.OUTAGE)
    if code == "TooManyRequests":
        return Unreachable(said, reason=Reason.RATE_LIMIT)
    return None


def _login_error(status: int, body: Any) -> ProviderError | None:
    """Entra ID answers 400 as well as 401 to a wrong tenant, client or secret; AADSTS... says which."""
    if status >= 500 or status == 429 or not isinstance(body, dict):
        return None
    return Rejected(str(body.get("error_description") or body.get("error") or ""), reason=Reason.AUTH)


def permissions(arm: http.Client, subscription: str, group: str, subnet_id: str) -> list[Permission]:
    """Say of every action that the verbs need whether it is granted. Raises Unreachable."""
    network = () if subnet_id else ON_NETWORK + ON_SUBNET
    found = _granted(arm, group, IN_GROUP + network, "the resource group")
    if subnet_id:
        found += _granted(arm, subnet_id, ON_SUBNET, "the subnet")
    found += _granted(arm, subscription, IN_SUBSCRIPTION, "the subscription")
    try:
        next(graph(arm, "SpotResources | project id | limit 1"), None)
        found.append(Permission(name="Resource Graph: SpotResources", granted=True))
    except Unreachable:
        raise
    except ProviderError as error:
        found.append(Permission(name="Resource Graph: SpotResources", granted=False, why=str(error)))
    return found


def _granted(arm: http.Client, scope: str, actions: Iterable[str], where: str) -> list[Permission]:
    path = f"{scope}/providers/Microsoft.Authorization/permissions"
    try:
        roles = list(pages(arm, path, api_version=AUTHORIZATION))
    except Unreachable:
        raise
    except ProviderError as error:
        # 403: only this question is forbidden. Anything else (no such group, no sign-in) forbids the actions too.
        granted = None if error.status == 403 else False
        return [Permission(name=action, granted=granted, why=str(error)) for action in actions]
    return [
        Permission(name=action, granted=True)
        if _allows(roles, action)
        else Permission(name=action, granted=False, why=f"no role of the service principal grants it on {where}")
        for action in actions
    ]


def _allows(roles: Iterable[Any], action: str) -> bool:
    """Whether a role grants it: a `notActions` takes away from its own role only, not from the others."""
    return any(_named(role, "actions", action) and not _named(role, "notActions", action) for role in roles)


def _named(role: Any, kind: str, action: str) -> bool:
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in _patterns(role, kind))


def _patterns(role: Any, kind: str) -> Iterator[str]:
    try:
        yield from (fields.text(pattern) for pattern in role.get(kind) or ())
    except BAD_ROW:
        return
