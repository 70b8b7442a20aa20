"""Where sockets may live: a Unix socket's path holds 107 bytes, a checkout's path may be longer."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from urllib.parse import quote

# sun_path is char[108] with a closing zero: unix(7), "Address format".
SOCKET_PATH_BYTES = 107


class SocketDirectoryUnsafe(Exception):
    """A directory that others could have prepared stands where our sockets should be."""


def socket_directory(*, wanted: Path, longest_name: str) -> Path:
    """Return a directory that only we can enter, short enough for a socket called `longest_name`.

    It is `wanted` itself, or a directory in the temporary place that is the same at every call for the same `wanted`.
    """
    if _fits(wanted, longest_name):
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
        wanted.chmod(0o700)
        return wanted
    digest = hashlib.sha256(os.fsencode(wanted.absolute())).hexdigest()[:12]
    candidates = (Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp"), Path(tempfile.gettempdir()), Path("/tmp"))
    for base in candidates:
        short = base / f"gpuyard-{os.geteuid()}-{digest}"
        if base.is_dir() and _fits(short, longest_name):
            return _private(short)
    raise SocketDirectoryUnsafe(f"No directory is short enough for the socket {longest_name}: tried {candidates}.")


def _fits(directory: Path, name: str) -> bool:
    """Ask whether the socket's path is short and stands in a URL as it is: not every URL parser unquotes a path."""
    path = str(directory.absolute() / name)
    return len(os.fsencode(path)) <= SOCKET_PATH_BYTES and quote(path) == path


def _private(directory: Path) -> Path:
    """Make the directory, or accept the one that is there only when nobody else can have made it."""
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        found = directory.lstat()
        # Root passes the directory to the user that Postgres runs as, so root accepts any owner of a closed directory.
        ours = found.st_uid == os.geteuid() or os.geteuid() == 0
        if not stat.S_ISDIR(found.st_mode) or not ours or stat.S_IMODE(found.st_mode) != 0o700:
            raise SocketDirectoryUnsafe(
                f"{directory} exists and is not a private directory of ours; remove it and start again."
            ) from None
    return directory
