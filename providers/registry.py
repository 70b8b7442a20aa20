"""Name -> class. A provider that is not in this table does not exist."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from providers.base import PriceList, Provider

PROVIDERS = {
    "fake": "providers.fake.Fake",
}
PRICE_LISTS = {
    "lium": "providers.lium.Lium",
    "vultr": "providers.vultr.Vultr",
}


def connect(name: str, **credentials: Any) -> Provider:
    """Return the adapter at which machines can be rented. Raises KeyError."""
    provider: Provider = _load(PROVIDERS[name])(**credentials)
    return provider


def price_list(name: str, **settings: Any) -> PriceList:
    """Return the feed of that name, at which nothing can be rented. Raises KeyError."""
    feed: PriceList = _load(PRICE_LISTS[name])(**settings)
    return feed


def credentials_of(name: str) -> dict[str, bool]:
    """Return {credential's name: whether it must be given} of a provider. Raises KeyError."""
    fields: dict[str, bool] = _load(PROVIDERS[name]).credentials
    return fields


def _load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)
