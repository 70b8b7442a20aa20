"""The customer's program: fetched, checked against its hash, unpacked inside its directory and nowhere else."""

import errno
import hashlib
import os
import shutil
import tarfile
import zlib
from pathlib import Path

from .link import Link, Refused, Unreachable


class ProgramUnavailable(Exception):
    """The program could not be had, or is not what the order says."""


def fetch(*, link: Link, url: str, sha256: str, size_bytes: int, to: Path) -> None:
    """Download `url` to the file `to`. Raises ProgramUnavailable, Unreachable (ask again), OSError (disk full)."""
    digest, received = hashlib.sha256(), 0
    try:
        with to.open("wb") as file:
            for chunk in link.chunks(url):
                received += len(chunk)
                if received > size_bytes:
                    raise ProgramUnavailable(f"the program is larger than the {size_bytes} bytes it should have")
                digest.update(chunk)
                file.write(chunk)
    except Refused as refused:
        raise ProgramUnavailable(f"the broker refused the program: {refused}") from refused
    if received < size_bytes:
        raise Unreachable(f"{received} of {size_bytes} bytes of the program arrived")
    if digest.hexdigest() != sha256:
        raise ProgramUnavailable(f"the program's SHA-256 is {digest.hexdigest()}, the order says {sha256}")


def unpack(*, archive: Path, into: Path, script: str) -> None:
    """Unpack the .tar.gz and see that `script` is in it. Raises ProgramUnavailable, OSError (disk full)."""
    into.mkdir()
    try:
        with tarfile.open(archive, "r:gz") as tar:
            members = tar.getmembers()
            _need_room(sum(member.size for member in members), into=into)
            # "data" refuses absolute names, ways out of the directory, devices and set-uid bits (PEP 706).
            tar.extractall(into, members=members, filter="data")
    except (tarfile.TarError, zlib.error, EOFError) as broken:
        raise ProgramUnavailable(f"the program can not be unpacked: {broken}") from broken
    root, path = into.resolve(), (into / script).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        names = ", ".join(sorted(member.name for member in members if member.name.endswith((".py", ".ipynb")))[:10])
        raise ProgramUnavailable(f"there is no {script} in the program; its scripts: {names or 'none'}")


def _need_room(size_bytes: int, *, into: Path) -> None:
    if size_bytes > shutil.disk_usage(into).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(into))
