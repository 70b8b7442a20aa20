"""A dataset from anywhere as files of this machine, checked, with a fingerprint that sites can compare."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .copies import Copy, HashDiffers, cache_root, differs, digest_of
from .sources import DatasetError, NoSuchDataset, is_local, local_path, shown

MANIFEST = "SHA256SUMS"  # As `sha256sum * > SHA256SUMS` writes it.
PARALLEL = 8  # Files of one dataset that are fetched at the same time.


def fetch(address: str | Path, *, sha256: str | None = None, manifest: str | None = None) -> Path:
    """The file or directory at `address` as a path of this machine, whole and checked.

    `address` is a path (used where it is), file://, s3://, gs://, https:// (a directory ends with a slash and is a page
    of links) or hf://. `sha256` is the announced hash of a file, in hex. `manifest` names a file of the directory in
    the format of sha256sum that must list all others; SHA256SUMS is taken where it is there. Without either, the store
    must name the same version after a file's download as before.

    Raises NoSuchDataset, DatasetForbidden, DatasetUnreachable, DatasetChanged, HashDiffers, CacheFull, PackageMissing.
    """
    address = str(address)
    if is_local(address):
        return _checked(local_path(address), sha256=sha256, manifest=manifest)
    copy = Copy(address)
    wanted = wanted_of(copy, sha256=sha256, manifest=manifest)
    _say(copy)
    copy.make_room(copy.entries)
    with ThreadPoolExecutor(PARALLEL) as pool:
        tasks = [pool.submit(copy.bring, entry, wanted.get(entry.name)) for entry in copy.entries]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return copy.data / copy.entries[0].name if copy.one_file else copy.data


def fingerprint(path: Path | str) -> str:
    """A SHA-256, in hex, of a file's or directory's content: the same at all sites that hold the same bytes.

    Of the names below a directory, the sizes and the hashes. Files that `fetch` brought were hashed then; others are
    read. Raises NoSuchDataset.
    """
    path = Path(path).absolute()
    if path.is_file():
        return of_files([("", path.stat().st_size, _hash_of(path))])
    files = _files_below(path)
    return of_files([(name, file.stat().st_size, _hash_of(file)) for name, file in files.items()])


def of_files(files: Sequence[tuple[str, int | None, str]]) -> str:
    """The fingerprint of files given as (name, size in bytes, hash or version)."""
    return hashlib.sha256(json.dumps(sorted(files)).encode()).hexdigest()


def state_of(path: Path) -> tuple[int, int, int] | None:
    """What is different once a local file was written to; None where there is none."""
    try:
        now = path.stat()
    except FileNotFoundError:
        return None
    return now.st_size, now.st_mtime_ns, now.st_ino


def wanted_of(copy: Copy, *, sha256: str | None, manifest: str | None) -> dict[str, str]:
    """The announced hashes of a copy's files by name. Fetches the manifest. Raises as `fetch`."""
    address = shown(copy.source.address)
    if sha256 and not copy.one_file:
        raise DatasetError(f"{address} is a directory: give manifest=, not sha256=")
    if sha256:
        return {copy.entries[0].name: sha256.lower()}
    named = {entry.name: entry for entry in copy.entries}
    name = manifest or MANIFEST
    if not copy.one_file and name in named:
        return _listed(copy.bring(named[name], None).read_text(), manifest=name, names=list(named))
    if manifest:
        raise NoSuchDataset(f"{address} has no {manifest}")
    return {}


def _say(copy: Copy) -> None:
    """Tell the person who waits for it, in the run's log, how much is on its way."""
    here = set(copy.present())
    if missing := [entry for entry in copy.entries if entry not in here]:
        gib = sum(entry.size or 0 for entry in missing) / 2**30
        sys.stderr.write(f"fetching {shown(copy.source.address)}: {len(missing)} files, {gib:.2f} GiB\n")


def _checked(path: Path, *, sha256: str | None, manifest: str | None) -> Path:
    """A local path, found as announced. Raises as `fetch`."""
    if not path.exists():
        raise NoSuchDataset(f"there is no {path}; a relative path starts at the program's directory")
    if path.is_file():
        if sha256 and (digest := digest_of(path)) != sha256.lower():
            raise HashDiffers(differs(path.name, digest, sha256))
        return path
    if sha256:
        raise DatasetError(f"{path} is a directory: give manifest=, not sha256=")
    files = _files_below(path)
    if manifest and manifest not in files:
        raise NoSuchDataset(f"{path} has no {manifest}")
    name = manifest or MANIFEST
    if name in files:
        for file, wanted in _listed(files[name].read_text(), manifest=name, names=list(files)).items():
            if (digest := digest_of(files[file])) != wanted:
                raise HashDiffers(differs(file, digest, wanted))
    return path


def _listed(text: str, *, manifest: str, names: Sequence[str]) -> dict[str, str]:
    """Name to hash of a file as sha256sum(1) writes it, which must list all `names` but itself."""
    wanted: dict[str, str] = {}
    for line in text.splitlines():
        digest, _, name = line.strip().partition(" ")
        if len(digest) == 64 and name:
            wanted[name.lstrip(" *").removeprefix("./")] = digest.lower()
    wanted.pop(manifest, None)
    if unlisted := [name for name in names if name not in wanted and name != manifest]:
        raise HashDiffers(f"{manifest} does not list {unlisted[0]} ({len(unlisted)} such files)")
    if gone := [name for name in wanted if name not in names]:
        raise NoSuchDataset(f"{manifest} lists {gone[0]}, which is not there ({len(gone)} such files)")
    return wanted


def _hash_of(file: Path) -> str:
    """The file's SHA-256: what was found when it was fetched, or by reading it."""
    root = cache_root()
    if file.is_relative_to(root):
        copy, kind, *name = file.relative_to(root).parts
        known = root.joinpath(copy, "hashes", *name)
        if kind == "data" and known.exists():
            return known.read_text()
    return digest_of(file)


def _files_below(path: Path) -> dict[str, Path]:
    files = {file.relative_to(path).as_posix(): file for file in sorted(path.rglob("*")) if file.is_file()}
    if not files:
        raise NoSuchDataset(f"there are no files in {path}")
    return files
