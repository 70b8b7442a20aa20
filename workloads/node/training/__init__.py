"""Training across sites: the researcher's `session` and datasets, and (without torch) the merge and the wire format."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .datasets import Lines, TokenWindows
    from .fetching import fetch, fingerprint
    from .run import session
    from .shards import Shards
    from .sources import DatasetError

__all__ = ["DatasetError", "Lines", "Shards", "TokenWindows", "fetch", "fingerprint", "session"]
_HOMES = {
    "DatasetError": "sources",
    "Lines": "datasets",
    "Shards": "shards",
    "TokenWindows": "datasets",
    "fetch": "fetching",
    "fingerprint": "fetching",
    "session": "run",
}


def __getattr__(name: str) -> Any:
    # The hub imports .outer and .codec from here and has no torch: only asking for `session` may bring torch in, and
    # only asking for a dataset fsspec.
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
