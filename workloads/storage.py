"""Objects by their hash, in a local directory or any store that fsspec speaks to. The only importer of fsspec."""

from __future__ import annotations

import posixpath
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import file_digest, sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fsspec
from django.conf import settings
from fsspec.implementations.local import LocalFileSystem

CHUNK_BYTES = 1 << 20


class HashMismatch(Exception):
    """The bytes that came are not the bytes that were announced; nothing was kept."""


class ObjectMissing(Exception):
    """The store has no object of that hash."""


class StoreFull(Exception):
    """The store would not take the bytes; nothing was kept."""


def put(digest: str, chunks: Iterable[bytes]) -> int:
    """
    Keep bytes whose SHA-256 is `digest` and return their count. The same object twice is once.

    Raises HashMismatch, StoreFull.
    """
    store, path = _locate(digest)
    temporary = f"{path}.{uuid.uuid4().hex}.part"
    seen, size = sha256(), 0
    try:
        store.makedirs(posixpath.dirname(path), exist_ok=True)
        with store.open(temporary, "wb") as sink:
            for chunk in chunks:
                seen.update(chunk)
                size += len(chunk)
                sink.write(chunk)
        if seen.hexdigest() != digest:
            raise HashMismatch(f"announced {digest[:12]}, got {size} bytes with {seen.hexdigest()[:12]}")
        store.mv(temporary, path)
    except OSError as error:
        raise StoreFull(f"{type(error).__name__}: {error.strerror or error}") from error
    finally:
        if store.exists(temporary):
            store.rm(temporary)
    return size


def put_bytes(raw: bytes) -> str:
    """Keep bytes and return their SHA-256. Raises StoreFull."""
    digest = sha256(raw).hexdigest()
    if not exists(digest):
        put(digest, [raw])
    return digest


def put_file(path: Path) -> str:
    """Keep a file's bytes, read them back, and return their SHA-256. Raises StoreFull, HashMismatch."""
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
        file.seek(0)
        if not exists(digest):
            put(digest, iter(lambda: file.read(CHUNK_BYTES), b""))
    verify(digest)
    return digest


def verify(digest: str) -> None:
    """Read an object through. Raises ObjectMissing, HashMismatch."""
    seen = sha256()
    for chunk in read(digest):
        seen.update(chunk)
    if seen.hexdigest() != digest:
        raise HashMismatch(f"the store's object {digest[:12]} does not have that hash")


@contextmanager
def local(digest: str) -> Iterator[Path]:
    """Give an object as a file of this machine, for as long as it is needed. Raises ObjectMissing, HashMismatch."""
    store, path = _locate(digest)
    if isinstance(store, LocalFileSystem):
        verify(digest)
        yield Path(path)
        return
    with TemporaryDirectory(prefix="gpuyard-") as directory:
        copy = Path(directory) / digest
        with copy.open("wb") as file:
            for chunk in read(digest):
                file.write(chunk)
        with copy.open("rb") as file:
            if file_digest(file, "sha256").hexdigest() != digest:
                raise HashMismatch(f"the store's object {digest[:12]} does not have that hash")
        yield copy


def get(digest: str) -> bytes:
    """Return an object whole, verified. Raises ObjectMissing, HashMismatch."""
    raw = b"".join(read(digest))
    if sha256(raw).hexdigest() != digest:
        raise HashMismatch(f"the store's object {digest[:12]} does not have that hash")
    return raw


def read(digest: str, start: int = 0) -> Iterator[bytes]:
    """Yield an object's bytes from `start`. Raises ObjectMissing."""
    store, path = _locate(digest)
    try:
        source = store.open(path, "rb")
    except FileNotFoundError:
        raise ObjectMissing(digest) from None
    with source:
        source.seek(start)
        while chunk := source.read(CHUNK_BYTES):
            yield chunk


def size(digest: str) -> int:
    """Return an object's bytes. Raises ObjectMissing."""
    store, path = _locate(digest)
    try:
        return int(store.size(path))
    except FileNotFoundError:
        raise ObjectMissing(digest) from None


def delete(digest: str) -> None:
    """Forget an object. Forgetting what is not there is not an error."""
    store, path = _locate(digest)
    if store.exists(path):
        store.rm(path)


def exists(digest: str) -> bool:
    """Whether the store has it."""
    store, path = _locate(digest)
    return bool(store.exists(path))


def _locate(digest: str) -> tuple[Any, str]:
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise HashMismatch(f"{digest[:80]!r} is not a SHA-256 in lower-case hex")
    store, root = fsspec.core.url_to_fs(settings.OBJECTS_URL)
    return store, f"{root}/{digest[:2]}/{digest}"
