"""A program as one .tar.gz: the same content is always the same bytes, so its SHA-256 is its name here."""

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpuyard.errors import InvalidProgram

LIMIT_BYTES = 200_000_000
REQUIREMENTS = "requirements.txt"
SCRIPTS = frozenset({".py", ".ipynb"})
# What tools make again by themselves. Names that begin with a dot (.git, .venv, .env, caches) stay out anyway.
LEFT_OUT = frozenset({"__pycache__", "venv", "env", "node_modules"})


@dataclass(frozen=True)
class Program:
    """A packed program: `script` is the path inside it, `left_out` the paths of the folder that were not taken.

    `tar_sha256` is of its files, however they are packed: what a need calls `program`.
    """

    sha256: str
    content: bytes
    script: str
    files: tuple[str, ...]
    left_out: tuple[str, ...]
    tar_sha256: str

    @property
    def size_bytes(self) -> int:
        """Size of the .tar.gz."""
        return len(self.content)


def pack(*, script: Path, workdir: Path | None = None, requirements: Path | None = None) -> Program:
    """Pack the script alone or, with `workdir`, that folder; `requirements` goes to the top as requirements.txt.

    Of a folder these stay out: names that begin with a dot, __pycache__, venv, env, node_modules, *.pyc, and links to
    folders. Links to files are packed as what they point at.

    Raises: InvalidProgram (a missing file, a script outside the folder, more than 200 MB).
    """
    if script.suffix not in SCRIPTS:
        raise InvalidProgram(f"{script} is not a Python script or notebook", hint="name a *.py or *.ipynb file")
    files: dict[str, Path] = {}
    left_out: list[str] = []
    if workdir is None:
        inside = script.name
        files[inside] = existing(script, what="script")
    else:
        if not workdir.is_dir():
            raise InvalidProgram(f"the folder {workdir} does not exist", hint="--workdir takes an existing folder")
        files, left_out = collect(workdir)
        inside = path_inside(script, workdir=workdir, files=files)
    if script.suffix == ".ipynb":
        check_notebook(files[inside])
    return of_files(files, script=inside, left_out=left_out, requirements=requirements)


def of_files(
    files: Mapping[str, Path], *, script: str, left_out: Sequence[str] = (), requirements: Path | None = None
) -> Program:
    """Pack these files, by their paths inside. Raises: InvalidProgram (a missing file, more than 200 MB)."""
    files = dict(files)
    if requirements is not None:
        files[REQUIREMENTS] = existing(requirements, what="requirements file")
    check_size(files)
    content, tar_sha256 = archive(files)
    digest = hashlib.sha256(content).hexdigest()
    return Program(digest, content, script, tuple(sorted(files)), tuple(sorted(left_out)), tar_sha256)


def check_notebook(path: Path) -> None:
    """Raises: InvalidProgram for a notebook that a host could not run."""
    from gpuyard.node import notebook

    try:
        notebook.read(path.read_text("utf-8"), name=path.name)
    except (notebook.NotebookUnfit, UnicodeDecodeError) as error:
        raise InvalidProgram(str(error)) from None


def existing(path: Path, *, what: str) -> Path:
    """The path itself. Raises: InvalidProgram when no file is there."""
    if not path.is_file():
        raise InvalidProgram(f"the {what} {path} does not exist", hint="a path counts from the current folder")
    return path


def collect(workdir: Path) -> tuple[dict[str, Path], list[str]]:
    """The files of a folder by their path inside it, and what was left out."""
    files: dict[str, Path] = {}
    left_out: list[str] = []
    for folder, folders, names in os.walk(workdir):
        here = Path(folder)
        kept = [name for name in folders if is_wanted(name) and not (here / name).is_symlink()]
        left_out += [f"{(here / name).relative_to(workdir).as_posix()}/" for name in folders if name not in kept]
        folders[:] = kept
        for name in names:
            path = here / name
            inside = path.relative_to(workdir).as_posix()
            if is_wanted(name) and path.is_file():
                files[inside] = path
            else:
                left_out.append(inside)
    return files, left_out


def is_wanted(name: str) -> bool:
    """Whether a file or folder of this name belongs to the program."""
    return not name.startswith(".") and name not in LEFT_OUT and not name.endswith(".pyc")


def path_inside(script: Path, *, workdir: Path, files: dict[str, Path]) -> str:
    """The script's path inside the folder; a script named relative to the folder is found there too."""
    for candidate in (script, workdir / script):
        if candidate.is_file() and candidate.resolve().is_relative_to(workdir.resolve()):
            inside = candidate.resolve().relative_to(workdir.resolve()).as_posix()
            if inside not in files:
                raise InvalidProgram(f"{inside} is among what is left out of {workdir}", hint="move or rename it")
            return inside
    existing(script, what="script")
    raise InvalidProgram(f"{script} is not inside {workdir}", hint="the script must lie in the folder of --workdir")


def check_size(files: dict[str, Path]) -> None:
    """Raises: InvalidProgram, naming the largest files, when they are more than 200 MB together."""
    sizes = {inside: path.stat().st_size for inside, path in files.items()}
    total = sum(sizes.values())
    if total > LIMIT_BYTES:
        largest = sorted(sizes, key=lambda inside: -sizes[inside])[:3]
        named = ", ".join(f"{inside} ({sizes[inside] / 1e6:.0f} MB)" for inside in largest)
        raise InvalidProgram(
            f"the program is {total / 1e6:.0f} MB, more than {LIMIT_BYTES / 1e6:.0f} MB; largest: {named}",
            code="program_too_large",
            hint="keep data and weights out of the folder; let the script fetch them",
        )


def archive(files: dict[str, Path]) -> tuple[bytes, str]:
    """The .tar.gz: sorted, owned by nobody, dated 1970, so that only content and the executable bit count.

    And the SHA-256 of the .tar without that bit, which a browser does not know.
    """
    packed, bare = io.BytesIO(), io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0, compresslevel=6) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        tarfile.open(fileobj=bare, mode="w", format=tarfile.PAX_FORMAT) as plain,
    ):
        for inside in sorted(files):
            try:
                content = files[inside].read_bytes()
            except OSError as error:
                raise InvalidProgram(f"{files[inside]} cannot be read: {error.strerror}") from error
            entry = tarfile.TarInfo(inside)
            entry.size = len(content)
            plain.addfile(entry, io.BytesIO(content))
            entry.mode = 0o755 if files[inside].stat().st_mode & 0o100 else 0o644
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue(), hashlib.sha256(bare.getbuffer()).hexdigest()
