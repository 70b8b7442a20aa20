"""Name -> class. A provider that is not in this table does not exist."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from providers.base import PriceList, Provider

PROVIDERS = {
    "aws": "providers.aws.Aws",
    "azure": "providers.azure.Azure",
    "gcp": "providers.gcp.Gcp",
    "lambda": "providers.lambdalabs.Lambda",
    "nebius": "providers.nebius.Nebius",
    "prime": "providers.prime.Prime",
    "runpod": "providers.runpod.Runpod",
    "shadeform": "providers.shadeform.Shadeform",
    "vast": "providers.vast.Vast",
    "verda": "providers.verda.Verda",
}
PRICE_LISTS = {
    "digitalocean": "providers.digitalocean.DigitalOcean",
    "gpuhunt": "providers.gpuhunt_feed.GpuHunt",
    "lium": "providers.lium.Lium",
    "oci": "providers.oci.Oci",
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


def keeps_price_history(name: str) -> bool:
    """Return whether a provider publishes what its prices were. Raises KeyError."""
    return bool(_load(PROVIDERS[name]).keeps_price_history)


def _load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)
