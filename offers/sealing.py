"""
Credentials as they lie in the database: encrypted and signed with Fernet, whose key is not in the database.

Source: https://cryptography.io/en/latest/fernet/ (MultiFernet: the first key seals, every key opens).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from providers.base import Rejected

KEY_BYTES = 32  # Of a Fernet key.


class CredentialsSealedWithAnotherKey(Rejected):
    """None of our keys opens them."""


def seal(credentials: Mapping[str, str]) -> bytes:
    """Return credentials encrypted with the first key."""
    return _box().encrypt(json.dumps(dict(credentials)).encode())


def opened(sealed: bytes | memoryview, *, whose: str) -> dict[str, str]:
    """Return what was sealed; `whose` names it for people. Raises CredentialsSealedWithAnotherKey."""
    try:
        credentials: dict[str, str] = json.loads(_box().decrypt(bytes(sealed)))
    except InvalidToken:
        raise _another_key(whose) from None
    return credentials


def resealed(sealed: bytes | memoryview, *, whose: str) -> bytes:
    """Return the same credentials encrypted with the first key. Raises CredentialsSealedWithAnotherKey."""
    try:
        return _box().rotate(bytes(sealed))
    except InvalidToken:
        raise _another_key(whose) from None


def _another_key(whose: str) -> CredentialsSealedWithAnotherKey:
    return CredentialsSealedWithAnotherKey(
        f"the credentials of {whose} were sealed with a key that is not in GPUYARD_CREDENTIAL_KEYS:"
        " put the key back, or hand the credentials over again"
    )


def _box() -> MultiFernet:
    return _keyring(tuple(settings.CREDENTIAL_KEYS), settings.SECRET_KEY)


@lru_cache(maxsize=4)
def _keyring(keys: tuple[str, ...], secret_key: str) -> MultiFernet:
    """Return the keys in their order; last the one from SECRET_KEY, which sealed while no other was set."""
    kdf = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"gpuyard credentials")
    derived = base64.urlsafe_b64encode(kdf.derive(secret_key.encode())).decode()
    return MultiFernet([Fernet(key) for key in (*keys, derived)])
