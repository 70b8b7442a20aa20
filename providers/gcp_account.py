"""
Signing in at Google Cloud with the key of a service account.

Source: https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests (a JWT signed with
RS256 is exchanged for a bearer token that lives an hour).
"""

from __future__ import annotations

import base64
import json
import threading
import time
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from providers import fields, http
from providers.base import ProviderError, Reason, Rejected

BASE_URL = "https://oauth2.googleapis.com"
AUDIENCE = f"{BASE_URL}/token"  # Never the key's own `token_uri`: what a customer hands over names no host to ask.
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFETIME_S = 3600  # The longest that Google allows.
EARLY_S = 300  # A token is renewed before it ends, so that no request sets out with one that ends on the way.


class ServiceAccount:
    """Who asks: an e-mail address, a private key, and the project that the key was made in."""

    def __init__(self, text: str, *, base_url: str = BASE_URL) -> None:
        """text: the JSON of the key. Raises Rejected when it is none."""
        try:
            key = fields.record(http.loads(text))
            self.email = fields.text(key["client_email"])
            self.project = fields.text(key.get("project_id"), "")
            private = serialization.load_pem_private_key(str(key["private_key"]).encode(), password=None)
        except (ValueError, KeyError, TypeError, UnsupportedAlgorithm):
            private = None  # The error's own words could hold a piece of the key.
        if not isinstance(private, rsa.RSAPrivateKey):
            raise Rejected("gcp: service_account is not the JSON of a service account's key", reason=Reason.AUTH)
        self._private = private
        self._client = http.Client(provider="gcp", base_url=base_url, identity=self.email, explain=_refused)
        self._headers: dict[str, str] = {}
        self._until = 0.0
        self._lock = threading.Lock()

    def headers(self) -> dict[str, str]:
        """Return the headers that authorize a request. Raises ProviderError when no token is to be had."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._renew()
            return self._headers

    def _renew(self) -> None:
        asked_at = time.monotonic()
        form = {"grant_type": GRANT, "assertion": self._assertion(int(time.time()))}
        answer = self._client.call("POST", "/token", form=form, again=True)
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise Rejected("gcp: an answer without a token", reason=Reason.AUTH)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._until = asked_at + (fields.positive(answer.get("expires_in")) or LIFETIME_S) - EARLY_S

    def _assertion(self, now_s: int) -> str:
        claims = {"iss": self.email, "scope": SCOPE, "aud": AUDIENCE, "iat": now_s, "exp": now_s + LIFETIME_S}
        head = f"{_encoded({'alg': 'RS256', 'typ': 'JWT'})}.{_encoded(claims)}"
        signature = self._private.sign(head.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{head}.{_base64(signature)}"


def _refused(status: int, body: Any) -> ProviderError | None:
    return Rejected("", reason=Reason.AUTH) if status in (400, 401, 403) else None


def _encoded(part: dict[str, Any]) -> str:
    return _base64(json.dumps(part, separators=(",", ":")).encode())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
