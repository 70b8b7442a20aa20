"""A person at the dashboard: a browser with cookies that speaks to allauth's addresses and to ours."""

from __future__ import annotations

import base64
import hmac
import json
import re
import struct
import time
from typing import Any
from urllib.parse import unquote

from django.test import Client

PASSWORD = "a-long-enough-secret"


class Person:
    def __init__(self) -> None:
        self.client = Client(enforce_csrf_checks=True)
        self.auth("GET", "config")  # As the dashboard does first: it brings the CSRF cookie.

    def call(self, method: str, path: str, body: Any = None, *, csrf: bool = True, **headers: str) -> Any:
        sent = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        if csrf and "csrftoken" in self.client.cookies:
            sent["HTTP_X_CSRFTOKEN"] = self.client.cookies["csrftoken"].value
        data = json.dumps(body) if body is not None else b""
        return self.client.generic(method, path, data, content_type="application/json", **sent)

    def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        answer = self.call(method, path, body, **more)
        assert answer.status_code < 300, (answer.status_code, answer.content)
        return answer.json() if answer.content else None

    def refused(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, str]:
        answer = self.call(method, path, body, **more)
        assert answer.status_code >= 400, answer.content
        return answer.status_code, answer.json()["error"]["code"]

    def auth(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Ask allauth."""
        return self.call(method, f"/_allauth/browser/v1/{path}", body, **headers)

    def sign_up(self, email: str, password: str = PASSWORD) -> Any:
        return self.auth("POST", "auth/signup", {"email": email, "password": password})

    def sign_in(self, password: str = PASSWORD, **who: str) -> Any:
        return self.auth("POST", "auth/login", {**who, "password": password})

    def me(self, **headers: str) -> Any:
        return self.ok("GET", "/v1/me", **headers)


def signed_up(email: str) -> Person:
    """Return somebody who has just made an account."""
    person = Person()
    answer = person.sign_up(email)
    assert answer.status_code == 200, answer.content
    return person


def totp(secret: str) -> str:
    """Return the code of this moment. Source: RFC 6238 over RFC 4226, with SHA-1, 30 s and six digits."""
    key = base64.b32decode(secret)
    digest = hmac.digest(key, struct.pack(">Q", int(time.time()) // 30), "sha1")
    start = digest[-1] & 15
    number = struct.unpack(">I", digest[start : start + 4])[0] & 0x7FFFFFFF
    return f"{number % 10**6:06d}"


def link_in(mail: Any, path: str) -> str:
    """Return what follows an address of the dashboard in a mail's text."""
    found = re.search(rf"https?://\S+{path}(\S+)", mail.body)
    assert found is not None, mail.body
    return unquote(found[1])
