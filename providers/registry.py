"""Name -> class. A provider that is not in this table does not exist."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from providers.base import PriceList, Provider

PROVIDERS = {
    "fake": "providers.fake.Fake",
}
PRICE_LISTS = {
    "vultr": "providers.vultr.Vultr",
    "lium": "providers.lium.Lium",
}


def connect(name: str, **credentials: Any) -> Provider:
    """Return the adapter at which machines can be rented. Raises KeyError."""
    provider: Provider = _load(PROVIDERS[name])(**credentials)
    return provider


def price_list(name: str, **settings: Any) -> PriceList:
    """Return the keyless feed of that name. Raises KeyError."""
    feed: PriceList = _load(PRICE_LISTS[name])(**settings)
    return feed


def _load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)
