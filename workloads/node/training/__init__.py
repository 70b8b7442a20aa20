"""Training across sites: the researcher's `session` and datasets, and (without torch) the merge and the wire format."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .datasets import Lines, TokenWindows
    from .fetching import fetch, fingerprint
    from .huggingface import HuggingFaceCallback
    from .lightning import LightningCallback
    from .run import session
    from .sharding import shard
    from .shards import Shards
    from .sources import DatasetError

__all__ = [
    "DatasetError", "HuggingFaceCallback", "LightningCallback", "Lines", "Shards", "TokenWindows", "fetch",
    "fingerprint", "session", "shard",
]  # fmt: skip
_HOMES = {
    "DatasetError": "sources",
    "HuggingFaceCallback": "huggingface",
    "LightningCallback": "lightning",
    "Lines": "datasets",
    "Shards": "shards",
    "TokenWindows": "datasets",
    "fetch": "fetching",
    "fingerprint": "fetching",
    "session": "run",
    "shard": "sharding",
}


def __getattr__(name: str) -> Any:
    # The hub imports .outer and .codec from here and has no torch: only asking for `session` may bring torch in, and
    # only asking for a dataset fsspec, for a callback its framework.
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
