"""Running a program as somebody other than root, because Postgres refuses root.

As root there are two ways. A user namespace maps root to an ordinary user: the program sees a user id that is not 0
while its files stay root's, and nothing on the machine changes. Where namespaces are refused (as in many containers),
the program runs as an existing account, `GPUYARD_POSTGRES_USER` or the first found of `gpuyard`, `postgres`, `nobody`.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ACCOUNT_VARIABLE = "GPUYARD_POSTGRES_USER"
_ACCOUNTS = ("gpuyard", "postgres", "nobody")


class NobodyToRunAs(Exception):
    """The program must not run as root and there is no other way on this machine."""


@dataclass(frozen=True)
class Way:
    """How to run a program as not-root: words to put before its command, and who owns what it writes."""

    prefix: tuple[str, ...]
    user_id: int | None  # None: files stay ours, nothing has to be handed over.
    group_id: int | None
    words: str

    def can(self, flag: str, path: Path) -> bool:
        """Ask as that user whether `test <flag> path` holds."""
        return _succeeds((*self.prefix, "test", flag, str(path)))

    def hand_over(self, path: Path) -> None:
        """Give a file or directory to that user."""
        if self.user_id is not None and self.group_id is not None:
            os.chown(path, self.user_id, self.group_id)


def choose(*, namespaces: bool = True) -> Way:
    """Return the best way for whoever we are; `namespaces=False` skips user namespaces."""
    if os.geteuid() != 0:
        return Way((), None, None, "as the current user")
    if namespaces and (way := _user_namespace()) is not None:
        return way
    return _account()


def _user_namespace() -> Way | None:
    # initdb looks its user id up in the password file, so the id that root is mapped to must have a line there.
    ordinary = next((entry for entry in pwd.getpwall() if entry.pw_uid != 0), None)
    if ordinary is None or shutil.which("unshare") is None:
        return None
    prefix = ("unshare", "--user", f"--map-user={ordinary.pw_uid}", f"--map-group={ordinary.pw_gid}")
    if not _succeeds((*prefix, "true")):
        return None
    return Way(prefix, None, None, f"in a user namespace, where root is {ordinary.pw_name}")


def _account() -> Way:
    wanted = os.environ.get(ACCOUNT_VARIABLE)
    for name in (wanted,) if wanted else _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        prefix = ("setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups")
        if entry.pw_uid != 0 and _succeeds((*prefix, "true")):
            return Way(prefix, entry.pw_uid, entry.pw_gid, f"as the account {name}, for namespaces are refused here")
    raise NobodyToRunAs(
        "Postgres does not run as root, user namespaces are refused here and no account can stand in "
        f"(tried {wanted or ', '.join(_ACCOUNTS)}). Start as an ordinary user, name an account in {ACCOUNT_VARIABLE}, "
        "or set DATABASE_URL to a Postgres server."
    )


def _succeeds(command: Sequence[str]) -> bool:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
