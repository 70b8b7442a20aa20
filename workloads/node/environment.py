"""The Python a lease's program runs in: the agent's own packages, and over them what the program asks for."""

import fcntl
import hashlib
import os
import shutil
import site
import sys
import sysconfig
import threading
import venv
from collections.abc import Callable
from pathlib import Path
from typing import IO

KEPT = 4  # Environments with requirements that stay for the next lease; each may hold gigabytes.
_making = threading.Lock()  # pip runs are heavy: one at a time on a host.


class RequirementsFailed(Exception):
    """pip could not install requirements.txt; the message holds pip's last lines."""


def own(*, directory: Path) -> Path:
    """Make an environment without packages of its own in `directory`. Returns its python. Raises OSError."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(directory)
    python = directory / "bin" / "python"
    library = Path(sysconfig.get_path("purelib", vars={"base": str(directory), "platbase": str(directory)}))
    # addsitedir, not plain lines: it also reads the .pth files in there, by which editable installs are found.
    lines = [f"import site; site.addsitedir({str(path)!r})\n" for path in _visible()]
    (library / "gpuyard.pth").write_text("".join(lines))
    return python


def with_requirements(
    *,
    requirements: Path,
    program_sha256: str,
    cache: Path,
    install: Callable[[list[str]], int],
    output: Callable[[], str],
) -> Path:
    """The environment for this requirements.txt, made once per content and kept in `cache`. Returns its python.

    Where the file points to others, it is made once per program. `install` runs a command to its end and returns its
    exit code; `output` gives what it printed.
    Raises RequirementsFailed, OSError, and what `install` raises.
    """
    wanted = requirements.read_bytes()
    beside = program_sha256 if _points_to_files(wanted.decode(errors="replace")) else ""
    key = hashlib.sha256(wanted + repr((beside, sys.version, _visible())).encode()).hexdigest()[:32]
    directory = cache / key
    cache.mkdir(parents=True, exist_ok=True)
    with _making:
        complete = directory / "complete"
        if not complete.exists():
            shutil.rmtree(directory, ignore_errors=True)
            python = own(directory=directory)
            command = [
                sys.executable,
                "-m",
                "pip",
                "--python",
                str(python),
                "--disable-pip-version-check",
                "--no-input",
            ]
            if install([*command, "install", "--progress-bar", "off", "-r", str(requirements)]) != 0:
                shutil.rmtree(directory, ignore_errors=True)
                raise RequirementsFailed(_last_lines(output()))
            complete.touch()
        complete.touch()  # Its time says when it was last wanted.
        _forget_the_oldest(cache)
    return directory / "bin" / "python"


def hold(python: Path) -> IO[bytes] | None:
    """Keep a cached environment from being forgotten while the returned file is open. None if it is no cached one."""
    complete = python.parents[1] / "complete"
    if not complete.exists():
        return None
    file = complete.open("rb")
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def _visible() -> list[str]:
    """Where the agent finds its packages, and where it is itself found (the same, unless run from its source)."""
    package_root = Path(__file__).parents[len((__package__ or "").split("."))]
    places = [*site.getsitepackages(), str(package_root)]
    if site.ENABLE_USER_SITE:
        places.append(site.getusersitepackages())
    return [place for place in dict.fromkeys(places) if os.path.isdir(place)]


def _points_to_files(requirements: str) -> bool:
    """Whether the meaning of the file depends on other files of the program."""
    lines = (line.strip() for line in requirements.splitlines())
    signs = (".", "/", "-r", "-c", "-e", "--requirement", "--constraint", "--editable", "--find-links", "-f", "file:")
    return any(line.startswith(signs) or "file:" in line or line.endswith(".whl") for line in lines)


def _last_lines(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("WARNING")]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    return "; ".join(errors[-3:])[:1000] or "pip ended without saying why"


def _forget_the_oldest(cache: Path) -> None:
    marks = sorted(cache.glob("*/complete"), key=lambda mark: mark.stat().st_mtime, reverse=True)
    for mark in marks[KEPT:]:
        with mark.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # A running lease holds it.
                continue
            mark.unlink()
            shutil.rmtree(mark.parent, ignore_errors=True)
