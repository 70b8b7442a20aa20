"""Packed programs: is it one, and does it hold the script?"""

from __future__ import annotations

import io
import tarfile
import zlib
from hashlib import sha256
from pathlib import PurePosixPath

from workloads import storage
from workloads.models import Program
from workloads.node import notebook

SCRIPTS = (".py", ".ipynb")
UNPACKED_BYTES_MAX = 2 << 30


class NotAProgram(Exception):
    """Not a .tar.gz of plain files below one directory, or without the script."""


class _Hashed:
    """A file that keeps nothing of what is written but its hash: an archive unpacks to more than fits into memory."""

    def __init__(self) -> None:
        self.hash = sha256()

    def write(self, content: bytes) -> int:
        self.hash.update(content)
        return len(content)


def tar_sha256(digest: str) -> str:
    """
    Return what a stored program is, however it was packed: the SHA-256 of the .tar that its files make.

    They are sorted, 0644, owned by nobody, dated 1970: gzip writes the same in many ways, and a browser knows no modes.
    """
    plain = _Hashed()
    with (
        tarfile.open(fileobj=io.BytesIO(storage.get(digest)), mode="r:gz") as packed,
        tarfile.open(fileobj=plain, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        files = {str(PurePosixPath(member.name)): member for member in packed.getmembers() if member.isfile()}
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = files[name].size
            archive.addfile(entry, packed.extractfile(files[name]))
    return plain.hash.hexdigest()


def check(digest: str) -> list[str]:
    """Return the names of the files in a stored program. Raises NotAProgram, storage.ObjectMissing."""
    try:
        with tarfile.open(fileobj=io.BytesIO(storage.get(digest)), mode="r:gz") as packed:
            members = packed.getmembers()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise NotAProgram(f"not a readable .tar.gz: {error}") from None
    for member in members:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
            raise NotAProgram(f"{member.name!r}: only plain files and directories below the program are taken")
    if sum(member.size for member in members) > UNPACKED_BYTES_MAX:
        raise NotAProgram(f"it unpacks to more than {UNPACKED_BYTES_MAX >> 30} GiB: larger data is read where it lies")
    return [str(PurePosixPath(member.name)) for member in members if member.isfile()]


def check_script(digest: str, script: str) -> None:
    """Raises NotAProgram when the program has no such script or notebook, or the notebook is one no host can run."""
    names = check(digest)
    if not script.endswith(SCRIPTS) or str(PurePosixPath(script)) not in names:
        scripts = [name for name in names if name.endswith(SCRIPTS)]
        raise NotAProgram(f"{script!r} is not in the program; it has {', '.join(scripts[:10]) or 'no script'}")
    if script.endswith(".ipynb"):
        _check_notebook(digest, script)


def _check_notebook(digest: str, script: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(storage.get(digest)), mode="r:gz") as packed:
        (member,) = [one for one in packed.getmembers() if PurePosixPath(one.name) == PurePosixPath(script)][-1:]
        file = packed.extractfile(member)
        raw = file.read() if file else b""
    try:
        notebook.read(raw.decode("utf-8"), name=script)
    except (notebook.NotebookUnfit, UnicodeDecodeError) as error:
        raise NotAProgram(str(error)) from None


def find(*, owner_id: int, sha256: str) -> Program | None:
    """Return the owner's program of that hash, or None."""
    return Program.objects.filter(owner_id=owner_id, sha256=sha256).first()
