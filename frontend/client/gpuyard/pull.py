"""Bring what a broker keeps home: resumed where it broke off, verified, and only then under its name."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpuyard import objects
from gpuyard.errors import BrokerUnreachable, GpuyardError, HashMismatch, InvalidRequest, NotFound

if TYPE_CHECKING:
    from gpuyard.client import Client
    from gpuyard.transport import Content

Progress = Callable[[int, int], None]
PATIENCE_S = (0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Download:
    """Bytes that a broker keeps. `content`: an offset -> the bytes from there on."""

    what: str  # For people: "artifact 9".
    sha256: str
    size_bytes: int
    content: "Callable[[int], Content]"


def silent(done: int, total: int) -> None:
    """Tell nobody."""


def choose(artifacts: Sequence[objects.Artifact], *, workload_id: int) -> objects.Artifact:
    """The newest model, else the newest checkpoint, of a list that is newest first. Raises: NotFound."""
    for kind in ("model", "checkpoint"):
        for artifact in artifacts:
            if artifact["kind"] == kind:
                return artifact
    raise NotFound(
        f"workload {workload_id} has left no model and no checkpoint",
        code="no_artifact",
        hint=f"`yard show {workload_id}` tells how it fares; the script must call run.save(model)",
    )


def destination(artifact: objects.Artifact, *, wanted: Path | None) -> Path:
    """Where it goes: the wanted file, or the artifact's own name in the wanted folder or here."""
    own_name = Path(artifact["name"].replace("\\", "/")).name.lstrip(".") or f"artifact-{artifact['id']}"
    if wanted is None:
        return Path(own_name)
    return wanted / own_name if wanted.is_dir() else wanted


def pull(
    client: "Client",
    artifact: objects.Artifact,
    *,
    to: Path,
    progress: Progress = silent,
    patience_s: Sequence[float] = PATIENCE_S,
) -> Path:
    """Download an artifact to `to` (see `bring`). Raises: HashMismatch, GpuyardError."""
    wanted = Download(
        f"artifact {artifact['id']}",
        artifact["sha256"],
        artifact["size_bytes"],
        lambda start: client.artifact_content(artifact["id"], start=start),
    )
    return bring(wanted, to=to, progress=progress, patience_s=patience_s)


def bring(wanted: Download, *, to: Path, progress: Progress = silent, patience_s: Sequence[float] = PATIENCE_S) -> Path:
    """Download to `to`, by way of `to`.part, which a later call goes on with. `to` is replaced at the very end.

    `patience_s`: the waits after cuts in a row that brought nothing new. `progress(done, total)` is told bytes.
    Raises: HashMismatch (nothing is kept), GpuyardError (the .part stays).
    """
    if to.is_file() and digest_of(to) == wanted.sha256:
        return to
    part = to.with_name(f"{to.name}.part")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        resumed = fetch(wanted, part=part, progress=progress, patience_s=patience_s)
        if resumed and digest_of(part) != wanted.sha256:
            # The old part was of something else: once more, from the start.
            part.unlink()
            fetch(wanted, part=part, progress=progress, patience_s=patience_s)
        if (arrived := digest_of(part)) != wanted.sha256:
            part.unlink()
            raise HashMismatch(f"{wanted.what} should be {wanted.sha256}, but {arrived} arrived")
        os.replace(part, to)
    except OSError as error:
        raise not_writable(error, to) from error
    return to


def not_writable(error: OSError, to: Path) -> GpuyardError:
    """What to tell when this machine's disk does not take it."""
    return GpuyardError(
        f"cannot write {error.filename or to}: {error.strerror}",
        code="not_writable",
        hint="what had arrived is kept; free some space or name another place",
    )


def fetch(wanted: Download, *, part: Path, progress: Progress, patience_s: Sequence[float]) -> bool:
    """Fill the part file; whether bytes of an earlier call are in it. Raises: GpuyardError, OSError."""
    total = wanted.size_bytes
    held = part.stat().st_size if part.is_file() else 0
    if held > total:
        part.unlink()
        held = 0
    resumed = held > 0
    waits = list(patience_s)
    while held < total or not part.is_file():
        try:
            start = receive(wanted, part=part, held=held, progress=progress)
            resumed = resumed and start > 0
        except BrokerUnreachable:
            now = part.stat().st_size if part.is_file() else 0
            waits = list(patience_s) if now > held else waits
            if not waits:
                raise
            time.sleep(waits.pop(0))
        except InvalidRequest as error:
            if error.status != 416 or held == 0:
                raise
            part.unlink()  # The broker has no such range: what we hold is of something else.
            if not resumed:
                raise HashMismatch(f"{wanted.what} should be {total} bytes, but {held} arrived") from error
            resumed = False
        held = part.stat().st_size if part.is_file() else 0
        if held > total:
            part.unlink()
            raise HashMismatch(f"{wanted.what} should be {total} bytes, but more arrived")
    return resumed


def receive(wanted: Download, *, part: Path, held: int, progress: Progress) -> int:
    """One answer appended to the part file; the offset it began at. Raises: GpuyardError, OSError."""
    total = wanted.size_bytes
    with wanted.content(held) as content:
        if content.start not in (0, held):
            raise HashMismatch(f"{wanted.what}: bytes from {held} were asked, from {content.start} came")
        done = content.start
        with part.open("ab" if done else "wb") as file:
            for chunk in content.chunks():
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
                if done > total:
                    break
            file.flush()
            os.fsync(file.fileno())
        if done < total:
            raise BrokerUnreachable(f"{wanted.what} broke off after {done} of {total} bytes")
        return content.start


def digest_of(path: Path) -> str:
    """The file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
