"""The only door to the network: timeouts, retries and error names in one place."""

from __future__ import annotations

from typing import Any

import requests

from providers.base import NoCapacity, Rejected, Unreachable

TIMEOUT_S = (5, 20)  # To connect, to answer.


def call(method: str, url: str, *, token: str = "", params: dict[str, Any] | None = None, json: Any = None) -> Any:
    """
    Send one request and return its decoded JSON.

    Raises NoCapacity (409), Rejected (other 4xx, or an answer that is no JSON),
    Unreachable (timeouts, refused connections, 429, 5xx).
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        response = requests.request(method, url, params=params, json=json, headers=headers, timeout=TIMEOUT_S)
    except requests.RequestException as error:
        raise Unreachable(f"{method} {url}: {type(error).__name__}") from error
    if response.status_code == 409:
        raise NoCapacity(f"{method} {url}: 409")
    if response.status_code >= 500 or response.status_code == 429:
        raise Unreachable(f"{method} {url}: {response.status_code}")
    if response.status_code >= 400:
        raise Rejected(f"{method} {url}: {response.status_code}")
    try:
        return response.json()
    except requests.JSONDecodeError as error:
        raise Rejected(f"{method} {url}: the answer is not JSON") from error
