"""What shells complete: workloads, GPUs, providers, scripts. Never slow: a short wait, then what was known before."""

import glob
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpuyard.config import Config

WAIT_S = 0.3  # For the broker, all in all.
KEPT_S = {"workloads": 10.0, "gpus": 86400.0, "providers": 86400.0, "keys": 10.0, "hosts": 60.0}
ASKED = {
    "workloads": "/v1/workloads",
    "gpus": "/v1/offers?group_by=gpu",
    "providers": "/v1/offers?group_by=provider",
    "keys": "/v1/keys",
    "hosts": "/v1/hosts",
}
Choice = tuple[str, str]  # (value, help)


def workload_ids(incomplete: str) -> list[Choice]:
    """Numbers of workloads, newest first."""
    return starting(incomplete, choices("workloads"))


def gpus(incomplete: str) -> list[Choice]:
    """Names of accelerators that are offered."""
    return starting(incomplete, choices("gpus"))


def providers(incomplete: str) -> list[Choice]:
    """Names of clouds that offer something."""
    return starting(incomplete, choices("providers"))


def key_ids(incomplete: str) -> list[Choice]:
    """Numbers of API keys."""
    return starting(incomplete, choices("keys"))


def host_ids(incomplete: str) -> list[Choice]:
    """Numbers of one's own machines."""
    return starting(incomplete, choices("hosts"))


def scripts(incomplete: str) -> list[Choice]:
    """Python files and the folders on the way to them."""
    found = sorted(glob.glob(glob.escape(os.path.expanduser(incomplete)) + "*"))
    files = [path for path in found if path.endswith(".py") and os.path.isfile(path)]
    folders = [path + os.sep for path in found if os.path.isdir(path)]
    # One folder alone is left to the shell, which puts no blank behind it.
    return [] if not files and len(folders) == 1 else [(path, "") for path in [*files, *folders]]


def starting(incomplete: str, found: list[Choice]) -> list[Choice]:
    """Those that begin so."""
    return [each for each in found if each[0].startswith(incomplete)]


def choices(what: str) -> list[Choice]:
    """From the cache while it is fresh; else from the broker, or, if that takes too long, the cache as it is."""
    import time

    from gpuyard import config
    from gpuyard.errors import GpuyardError

    try:
        found = config.load()
    except GpuyardError:
        return []
    path = cache_path(found)
    kept = read_cache(path)
    mine = kept.get(what, {})
    if time.time() - float(mine.get("at", 0)) < KEPT_S[what]:
        return pairs(mine)
    rows = asked(found, ASKED[what])
    try:
        fresh = None if rows is None else [choice_of(what, row) for row in rows]
    except (KeyError, ValueError, TypeError):
        fresh = None  # Rows of a kind that we do not know: nothing is said between two keys.
    if fresh is None:
        return pairs(mine)
    kept[what] = {"at": time.time(), "choices": fresh}
    write_cache(path, kept)
    return pairs(kept[what])


def choice_of(what: str, row: dict[str, Any]) -> list[str]:
    """(value, help) of a row of the broker's."""
    if what in ("gpus", "providers"):
        name = str(row.get("gpu" if what == "gpus" else "provider") or "")
        return [name, f"from ${float(row['min_usd_per_gpu_hour']):.2f} per GPU-hour"]
    return [str(row["id"]), " ".join(str(row[name]) for name in ("name", "state") if row.get(name))]


def pairs(kept: dict[str, Any]) -> list[Choice]:
    """The choices of a cache entry."""
    return [(str(value), str(told)) for value, told in kept.get("choices", []) if value]


def asked(found: "Config", path: str) -> list[dict[str, Any]] | None:
    """The rows of a list, or None when they do not come in time. A thread, as nothing else bounds it all in all."""
    from threading import Thread

    rows: list[list[dict[str, Any]] | None] = []
    thread = Thread(target=lambda: rows.append(fetched(found, path)), daemon=True)
    thread.start()
    thread.join(wait_s())
    return rows[0] if rows else None


def wait_s() -> float:
    """Seconds that the broker is given: GPUYARD_COMPLETION_S, else WAIT_S."""
    try:
        return min(max(float(os.environ.get("GPUYARD_COMPLETION_S", WAIT_S)), 0.0), 60.0)
    except ValueError:
        return WAIT_S


def fetched(found: "Config", path: str) -> list[dict[str, Any]] | None:
    """The rows of a list, or None; without the SDK, which takes longer to load than to ask."""
    import http.client
    from urllib.parse import urlsplit

    parts = urlsplit(found.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    line = kind(parts.hostname or "", parts.port, timeout=wait_s())
    try:
        headers = {"Authorization": f"Bearer {found.api_key}", "Accept": "application/json"}
        line.request("GET", parts.path + path, headers=headers)
        answer = line.getresponse()
        body = answer.read()
        if answer.status != 200:
            return None
        return [row for row in json.loads(body)["results"] if isinstance(row, dict)]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return None
    finally:
        line.close()


def cache_path(found: "Config") -> Path:
    """The file of this broker and key; both are in its name as a hash only."""
    from hashlib import sha256

    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "gpuyard" / f"completion-{sha256(f'{found.url} {found.api_key}'.encode()).hexdigest()[:16]}.json"


def read_cache(path: Path) -> dict[str, Any]:
    """What was known; {} when it cannot be read."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def write_cache(path: Path, kept: dict[str, Any]) -> None:
    """Keep it for the next key press, for its owner only; where that cannot be, do without."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_suffix(f".{os.getpid()}")
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(kept, file)
        os.replace(part, path)
    except OSError:
        pass
