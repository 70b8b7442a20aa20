"""
Verda's log-in: OAuth 2 client credentials (RFC 6749, section 4.4), and a token that is kept until it ends.

Source: https://api.verda.com/v1/docs (POST /oauth2/token).
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from typing import Any

from providers import fields, http
from providers.base import ProviderError, Reason, Rejected, Unreachable

EARLY_S = 60  # A token is renewed this long before it ends.
LIFE_S = 3600  # Of a token whose answer does not tell it.


class Login:
    """Headers for one client's requests. Safe between threads."""

    def __init__(self, *, client_id: str, client_secret: str, base_url: str, identity: str) -> None:
        self._credentials = {"client_id": client_id, "client_secret": client_secret}
        self._client = http.Client(provider="verda", base_url=base_url, identity=identity, explain=_explain)
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0

    def headers(self) -> Mapping[str, str]:
        """Return the header that names us, with a new token where the old one has ended. Raises ProviderError."""
        with self._lock:
            if not self._token or time.monotonic() > self._until:
                self._token, life_s = self._new()
                self._until = time.monotonic() + life_s - EARLY_S
            return {"Authorization": f"Bearer {self._token}"}

    def forget(self) -> bool:
        """Give up the token, and say whether there was one."""
        with self._lock:
            had, self._token = bool(self._token), ""
            return had

    def _new(self) -> tuple[str, float]:
        body = {"grant_type": "client_credentials"} | self._credentials
        answer = self._client.call("POST", "/oauth2/token", body=body, again=True)
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise Unreachable("verda: a log-in without a token", reason=Reason.OUTAGE)
        return token, fields.positive(answer.get("expires_in")) or LIFE_S


def _explain(status: int, body: Any) -> ProviderError | None:
    # A wrong secret is a bad request in OAuth's words.
    return Rejected(reason=Reason.AUTH) if status in (400, 401, 403) else None
