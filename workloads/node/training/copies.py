"""The cache of datasets on this machine: copies that are fetched, resumed, checked, shared by processes and evicted.

There is a directory for each version of each address, named by a hash of the address and of what the store lists
there (names, sizes, versions). So a changed dataset is another directory, and a half file in one can go on.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from .sources import DatasetChanged, DatasetError, DatasetUnreachable, Entry, NoRanges, NoSuchDataset, Source, shown

BLOCK_BYTES, BLOCK_BYTES_MIN = 32 << 20, 64 << 10
WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # Between tries that brought nothing; any progress starts them anew.
SPARE_BYTES = 256 << 20  # Left free on the disk.
BLOCKS_BEFORE_LARGER = 16
ANOTHER_PLACE = "GPUYARD_DATA_CACHE names another place"
ONE_VERSION = "a run needs one version from its beginning to its end"
_held: dict[Path, int] = {}  # The copies this process uses: nobody evicts them while it lives.
Answer = TypeVar("Answer")


class HashDiffers(DatasetError):
    """A file does not have the SHA-256 that was announced for it."""


class CacheFull(DatasetError):
    """There is no room for the dataset, on the disk or within GPUYARD_DATA_CACHE_GIB."""


class Copy:
    """One version of what an address holds, in this machine's cache. Its files come when they are asked for."""

    def __init__(self, address: str) -> None:
        """Ask the store what is there and keep that version from eviction. Raises as `fetch`."""
        self.source = Source(address)
        self.entries = _retried(self.source.entries)
        self.one_file = self.source.one_file
        listing = [[entry.name, entry.size, entry.version] for entry in self.entries]
        key = hashlib.sha256(json.dumps([address, listing]).encode()).hexdigest()[:32]
        self._root = cache_root() / key
        self.data = self._root / "data"
        _hold(self._root)
        self.data.mkdir(parents=True, exist_ok=True)

    def bring(self, entry: Entry, wanted: str | None) -> Path:
        """The path of a file of the copy, fetched unless it is there; its hash is `wanted`. Raises as `fetch`."""
        with self.using(entry, wanted) as path:
            return path

    @contextmanager
    def using(self, entry: Entry, wanted: str | None) -> Iterator[Path]:
        """As `bring`; within the block no process evicts the file."""
        path = self.data / entry.name
        with self._lock(entry) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            while not path.exists():
                # Changing a lock is not atomic (flock(2)), so what holds is looked at again after each change.
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not path.exists():
                    self._download(entry, path, wanted)
                fcntl.flock(lock, fcntl.LOCK_SH)
            known = self._hash_file(entry).read_text()
            if wanted and known != wanted:
                raise HashDiffers(differs(entry.name, known, wanted))
            used = time.time_ns()  # The kernel's own "now" is too coarse to order uses by.
            os.utime(lock.name, ns=(used, used))
            yield path

    def present(self) -> list[Entry]:
        """The entries whose files are here."""
        return [entry for entry in self.entries if (self.data / entry.name).exists()]

    def shrink(self, to_bytes: int, *, keep: Sequence[str] = ()) -> None:
        """Remove the files that were not used for longest until the rest fits; not those in use or named in `keep`."""
        here = [entry for entry in self.present() if entry.name not in keep]
        here.sort(key=lambda entry: self._lock_file(entry).stat().st_mtime)
        total = sum(entry.size or 0 for entry in here)
        for entry in here:
            if total <= to_bytes:
                return
            with self._lock(entry) as lock:
                if _locked_at_once(lock):
                    (self.data / entry.name).unlink(missing_ok=True)
                    total -= entry.size or 0

    def make_room(self, entries: Sequence[Entry]) -> None:
        """See that the disk takes what is missing of `entries`, evicting other copies. Raises CacheFull."""
        missing = [entry for entry in entries if not (self.data / entry.name).exists()]
        parts = [self._part(entry) for entry in missing]
        there = sum(part.stat().st_size for part in parts if part.exists())
        _make_room(sum(entry.size or 0 for entry in missing) - there, what=shown(self.source.address))

    def _download(self, entry: Entry, path: Path, wanted: str | None) -> None:
        part, wanted = self._part(entry), wanted or entry.sha256
        part.parent.mkdir(parents=True, exist_ok=True)
        if not (wanted or entry.version):  # Nothing says that the half file and the rest would be of one version.
            part.unlink(missing_ok=True)
        try:
            _pull(self.source, entry, part)
            digest = digest_of(part)
            if digest != wanted:
                _retried(lambda: _same(self.source, entry))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise CacheFull(f"the disk of {cache_root()} is full; {ANOTHER_PLACE}") from error
            raise
        except DatasetChanged:
            part.unlink(missing_ok=True)
            raise
        if wanted and digest != wanted:
            part.unlink()
            raise HashDiffers(differs(entry.name, digest, wanted))
        for directory in (path.parent, self._hash_file(entry).parent):
            directory.mkdir(parents=True, exist_ok=True)
        self._hash_file(entry).write_text(digest)
        part.replace(path)

    def _part(self, entry: Entry) -> Path:
        return self._root / "parts" / entry.name

    def _hash_file(self, entry: Entry) -> Path:
        return self._root / "hashes" / entry.name

    def _lock_file(self, entry: Entry) -> Path:
        return self._root / "locks" / hashlib.sha256(entry.name.encode()).hexdigest()

    def _lock(self, entry: Entry) -> IO[bytes]:
        file = self._lock_file(entry)
        file.parent.mkdir(exist_ok=True)
        return file.open("ab")


def cache_root() -> Path:
    """GPUYARD_DATA_CACHE, which a host's owner sets; else in the lease's directory, which ends with the lease; else
    the user's cache directory."""
    if named := os.environ.get("GPUYARD_DATA_CACHE"):
        return Path(named).expanduser().absolute()
    if lease := os.environ.get("GPUYARD_LEASE_DIR"):
        return Path(lease) / "datasets"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpuyard" / "datasets"


def _pull(source: Source, entry: Entry, part: Path) -> None:
    """Bring `part` to the file's size from wherever it is: smaller requests after a cut, larger ones as they succeed.

    Raises DatasetChanged, and as Source.entries.
    """
    block_bytes, waits, ranges = BLOCK_BYTES, list(WAITS_S), entry.size is not None
    while (have := part.stat().st_size if part.exists() else -1) != entry.size:
        try:
            if not ranges or have > (entry.size or 0):
                source.whole(entry, part)
                if entry.size not in (None, part.stat().st_size):
                    raise DatasetChanged(
                        f"{shown(source.address)}: {entry.name} is not {entry.size} bytes; {ONE_VERSION}"
                    )
                return
            with part.open("ab") as sink:
                for number, block in enumerate(source.blocks(entry, start=max(0, have), block_bytes=block_bytes)):
                    sink.write(block)
                    if block_bytes < BLOCK_BYTES and number == BLOCKS_BEFORE_LARGER:
                        block_bytes *= 2
                        break
        except NoRanges:
            ranges = False
        except (DatasetUnreachable, NoSuchDataset):
            with contextlib.suppress(DatasetUnreachable):
                _same(source, entry)
            if ranges and part.exists() and part.stat().st_size > have:
                waits = list(WAITS_S)
            elif not ranges or block_bytes == BLOCK_BYTES_MIN:
                if not waits:
                    raise
                time.sleep(waits.pop(0))
            block_bytes = max(BLOCK_BYTES_MIN, block_bytes // 8)


def _same(source: Source, entry: Entry) -> None:
    """Ask the store once whether the file is what it was. Raises DatasetChanged, and as Source.entries."""
    try:
        now = source.now(entry)
    except NoSuchDataset as gone:
        raise DatasetChanged(f"{shown(source.address)}: {entry.name} was there and is gone; {ONE_VERSION}") from gone
    if (now.version, now.size) != (entry.version, entry.size):
        raise DatasetChanged(
            f"{shown(source.address)}: {entry.name} changed while it was read, from {_version(entry)} to "
            f"{_version(now)}; {ONE_VERSION}"
        )


def _retried(ask: Callable[[], Answer]) -> Answer:
    """What `ask` answers, asked again while the store is away. Raises as `ask`."""
    for wait_s in WAITS_S:
        try:
            return ask()
        except DatasetUnreachable:
            time.sleep(wait_s)
    return ask()


def _make_room(needed_bytes: int, *, what: str) -> None:
    """Evict the copies that were not used for longest and that nobody uses. Raises CacheFull."""
    root = cache_root()
    limit_gib = os.environ.get("GPUYARD_DATA_CACHE_GIB")
    locks = sorted(root.glob("*.lock"), key=lambda lock: lock.stat().st_mtime)
    while needed_bytes > 0:
        room = shutil.disk_usage(root).free - SPARE_BYTES
        if limit_gib:
            held = sum(file.stat().st_size for file in root.rglob("*") if file.is_file())
            room = min(room, int(float(limit_gib) * 2**30) - held)
        if needed_bytes <= room:
            return
        if not locks:
            raise CacheFull(
                f"{what} needs {needed_bytes / 2**30:.2f} GiB more, {root} has room for {max(0, room) / 2**30:.2f}; "
                f"{ANOTHER_PLACE}"
            )
        with locks.pop(0).open("ab") as lock:
            if _locked_at_once(lock):
                shutil.rmtree(Path(lock.name).with_suffix(""), ignore_errors=True)


def _hold(copy: Path) -> None:
    """Keep a copy from eviction while this process lives, and note that it was used now."""
    lock = copy.with_suffix(".lock")
    if copy not in _held:
        lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _held[copy] = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(_held[copy], fcntl.LOCK_SH)
    os.utime(lock)


def _locked_at_once(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def digest_of(path: Path) -> str:
    """A file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differs(name: str, digest: str, wanted: str) -> str:
    """What HashDiffers says."""
    return f"{name} has the SHA-256 {digest}, announced was {wanted}: it is damaged or another file"


def _version(entry: Entry) -> str:
    return f"{entry.size} bytes, version {entry.version or 'unknown'}"
