"""Where a dataset's bytes come from: addresses as files with versions. The only importer of fsspec in the node."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec

# What fsspec needs beside itself to speak a protocol.
PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "hf": "huggingface_hub",
}
# Ranges are of the bytes as they lie there; a server that compresses on the way would count others.
# trust_env: by the machine's HTTPS_PROXY, as requests and botocore go without being told.
_WEB = {"headers": {"Accept-Encoding": "identity"}, "client_kwargs": {"trust_env": True}}
OPTIONS: dict[str, dict[str, Any]] = {"http": _WEB, "https": _WEB}
# How the stores name a file's version, the surest first. A time alone may differ between mirrors; a hash does not.
VERSIONS = ("ETag", "etag", "blob_id", "md5Hash", "generation", "Last-Modified", "LastModified", "updated")


class DatasetError(Exception):
    """A dataset can not be had, or is not what it was said to be; the message says what to do."""


class NoSuchDataset(DatasetError):
    """There is nothing at the address."""


class DatasetForbidden(DatasetError):
    """The store wants other credentials than it was shown (401 or 403), or any at all."""


class DatasetUnreachable(DatasetError):
    """The store did not answer, answered with an error of its own, or cut the connection."""


class DatasetChanged(DatasetError):
    """What is at the address is no longer what was first seen there."""


class NoRanges(DatasetError):
    """The store gives this file only from its beginning."""


class PackageMissing(DatasetError):
    """Reading this kind of dataset needs a package that is not installed."""


@dataclass(frozen=True)
class Entry:
    """A file at an address. `size` is in bytes, None where the store does not say."""

    name: str  # Relative to the address, with /; for an address of one file its last part.
    path: str  # As the file system wants it.
    size: int | None
    version: str  # What the store says that changes with the content; "" where it says nothing.
    sha256: str | None  # Where the store knows it (large files of the Hugging Face hub).


def is_local(address: str) -> bool:
    """Whether the address is a path of this machine, plain or file://."""
    return "://" not in address or address.startswith("file://")


def local_path(address: str) -> Path:
    """The path of a local address, absolute; a relative one starts at the working directory."""
    plain = unquote(urlsplit(address).path) if address.startswith("file://") else address
    return Path(plain).expanduser().absolute()


def shown(address: str) -> str:
    """The address as messages and logs may show it: without a password and without a signature in its query."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.scheme else address


class Source:
    """A remote address: what is there, and its bytes by ranges."""

    def __init__(self, address: str) -> None:
        """Open no connection yet. Raises PackageMissing, DatasetError for a protocol that nobody knows."""
        self.address, self.one_file = address, False
        self._asking = threading.Lock()  # What a file system remembers is dropped and learnt again by one thread.
        protocol = address.partition("://")[0]
        try:
            self._files, self._root = fsspec.core.url_to_fs(address, **OPTIONS.get(protocol, {}))
        except ImportError as missing:
            package = PACKAGES.get(protocol, protocol)
            raise PackageMissing(
                f"{protocol}:// needs the package {package}: pip install {package}, or name it in the run's "
                "requirements.txt"
            ) from missing
        except ValueError as unknown:
            raise DatasetError(f"{shown(address)}: {unknown}") from unknown

    def entries(self) -> list[Entry]:
        """What the store has at the address now, by name: one file (`one_file` is true), or all that are below it.

        Raises NoSuchDataset, DatasetForbidden, DatasetUnreachable.
        """
        with self._translated():
            self._files.invalidate_cache()
            if self._lists_links():
                found = [self._files.info(path) for path in self._files.find(self._root) if "?" not in path]
            else:
                info = self._files.info(self._root)
                self.one_file = info["type"] == "file"
                if self.one_file:
                    return [self._entry(info, name=_last_part(self._root))]
                found = list(self._files.find(self._root, detail=True).values())
        below = [info for info in found if info["type"] == "file" and not info["name"].endswith("/")]
        if not below:
            raise NoSuchDataset(f"{shown(self.address)} has no files")
        return sorted((self._entry(info, name=self._relative(info["name"])) for info in below), key=lambda e: e.name)

    def now(self, entry: Entry) -> Entry:
        """The entry as the store has it now. Raises as `entries`."""
        with self._asking, self._translated():
            self._files.invalidate_cache()
            return self._entry(self._files.info(entry.path), name=entry.name)

    def blocks(self, entry: Entry, *, start: int, block_bytes: int) -> Iterator[bytes]:
        """The bytes of a file of known size from `start` to its end, `block_bytes` a request.

        Raises NoRanges, and as `entries`.
        """
        with self._translated(), self._files.open(entry.path, "rb", cache_type="none", size=entry.size) as file:
            file.seek(start)
            while start < (entry.size or 0):
                try:
                    block = file.read(block_bytes)
                except ValueError as refused:  # HTTPFile's word for a server that answers 200 to a Range.
                    raise NoRanges(f"{shown(self.address)}: the server gives no ranges of {entry.name}") from refused
                if not block:
                    raise DatasetUnreachable(f"{shown(self.address)}: {entry.name} ended after {start} bytes")
                start += len(block)
                yield block

    def whole(self, entry: Entry, path: Path) -> None:
        """Write a file by one request, for stores that give no ranges or no size. Raises as `entries`."""
        with self._translated():
            self._files.get_file(entry.path, str(path))

    def _lists_links(self) -> bool:
        """A directory on a web server is a page of links, told from a file by the slash at the address's end."""
        return self._root.startswith(("http://", "https://")) and self._root.endswith("/")

    def _entry(self, info: dict[str, Any], *, name: str) -> Entry:
        version = next((str(info[key]) for key in VERSIONS if info.get(key)), "")
        large = info.get("lfs")
        return Entry(name, info["name"], info.get("size"), version, large["sha256"] if large else None)

    def _relative(self, path: str) -> str:
        name = path.removeprefix(self._files._strip_protocol(self._root)).removeprefix(self._root).strip("/")
        name = unquote(name) if self._lists_links() else name
        if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
            raise DatasetError(f"{shown(self.address)}: the file name {name!r} leads out of the dataset")
        return name

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DatasetError:
            raise
        except Exception as raised:
            if (kind := _kind(_chain(raised))) is None:
                raise
            raise kind(f"{shown(self.address)}: {_SAID[kind]} ({_last_words(raised)})") from raised


_SAID = {
    NoSuchDataset: "there is nothing at this address",
    DatasetForbidden: "the store refuses access; check the credentials in the run's environment",
    DatasetUnreachable: "the store can not be reached or fails",
}


def _kind(raised: Sequence[BaseException]) -> type[DatasetError] | None:
    """What an error of a file system means; None for a defect. The libraries wrap one another, so all causes count."""
    if any(isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT) for error in raised):
        return None
    statuses = [status for error in raised if isinstance(status := _status(error), int)]
    names = {type(error).__name__ for error in raised}
    if any(status in (401, 403) for status in statuses) or names & {"NoCredentialsError", "PermissionError"}:
        return DatasetForbidden
    if any(status in (404, 410) for status in statuses):
        return NoSuchDataset
    network = (ConnectionError, TimeoutError)
    libraries = {"aiohttp", "botocore", "httpx2", "httpx", "requests"}
    if any(isinstance(error, network) or type(error).__module__.split(".")[0] in libraries for error in raised):
        return DatasetUnreachable
    if any(isinstance(error, FileNotFoundError) for error in raised):
        return NoSuchDataset
    return DatasetUnreachable if any(isinstance(error, OSError) for error in raised) else None


def _chain(raised: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while raised and raised not in chain:
        chain.append(raised)
        raised = raised.__cause__ or raised.__context__
    return chain


def _status(error: BaseException) -> Any:
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):  # botocore's.
        return answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return getattr(error, "status", None) or getattr(answer, "status_code", None)


def _last_words(raised: BaseException) -> str:
    """The innermost error in one line, without addresses: their queries may hold signatures."""
    inner = _chain(raised)[-1]
    words = [word for word in str(inner).split() if "://" not in word and "?" not in word]
    return f"{type(inner).__name__}: {' '.join(words)}"[:200]


def _last_part(path: str) -> str:
    name = unquote(os.path.basename(urlsplit(path).path if "://" in path else path))
    return name if name not in ("", ".", "..") else "data"
