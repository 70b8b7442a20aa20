"""
DigitalOcean's GPU Droplets. Prices only; the list needs a key that may read sizes.

Source: https://docs.digitalocean.com/reference/api/reference/sizes/ (GET /v2/sizes: price_hourly is of the whole
machine, memory in MiB, gpu_info.vram of all its GPUs; a page names the next in links.pages.next). 250
requests a minute are allowed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from providers import fields, http
from providers.base import Listing, Market, Reason, Rejected, Stock, Unreachable, translated

EVERY_S = 60 / 250
PAGES_MAX = 50
GIB = {"mib": 1 / 1024, "gib": 1.0, "tib": 1024.0}


class DigitalOcean:
    """GPU Droplets of all regions; there is no spot market."""

    name = "digitalocean"
    credentials = {"api_key": True}

    def __init__(self, *, api_key: str = "", base_url: str = "https://api.digitalocean.com") -> None:
        """api_key: a token with the scopes sizes:read and regions:read."""
        self.has_key = bool(api_key)
        self.client = http.Client(
            provider=self.name,
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}"},
            identity=hashlib.sha256(api_key.encode()).hexdigest()[:12],
            every_s=EVERY_S,
        )
        self.skipped: Counter[str] = Counter()

    def listings(self) -> Iterable[Listing]:
        """Return a line per GPU size and region. Raises ProviderError."""
        if not self.has_key:
            raise Rejected("digitalocean: the list of sizes needs a key", reason=Reason.AUTH)
        self.skipped = Counter()
        now = datetime.now(UTC)
        lines = translated(self._sizes(), lambda size: _translate(size, now=now), self.skipped)
        return list({(line.machine_type, line.region): line for line in lines}.values())

    def _sizes(self) -> Iterator[Any]:
        path = "/v2/sizes?per_page=200"
        for _ in range(PAGES_MAX):
            answer = self.client.get(path)
            sizes = answer.get("sizes") if isinstance(answer, dict) else None
            if not isinstance(sizes, list | dict):
                raise Unreachable("digitalocean: sizes is not a list", reason=Reason.OUTAGE)
            yield from fields.records(sizes)
            path = _next(answer)
            if not path:
                return


def _next(answer: dict[str, Any]) -> str:
    """Return the address of the next page, or nothing on the last."""
    try:
        return fields.text(answer["links"]["pages"]["next"])
    except (KeyError, TypeError, ValueError):
        return ""


def _translate(size: dict[str, Any], *, now: datetime) -> Iterator[Listing]:
    if not size.get("gpu_info"):
        return  # A Droplet without GPUs.
    gpu = fields.record(size["gpu_info"])
    count, memory = fields.accelerators(gpu["count"]), _gib(gpu.get("vram"))
    disks = [one for one in fields.records(size.get("disk_info")) if one["type"] == "local"]
    disk = sum(_gib(one.get("size")) or 0 for one in disks) or fields.positive(size.get("disk"))
    ram = fields.positive(size.get("memory"))
    for region in fields.records(size["regions"]):
        yield Listing(
            provider="digitalocean",
            region=fields.text(region),
            machine_type=fields.text(size["slug"]),
            accelerator_label=_label(fields.text(gpu["model"])),
            accelerator_count=count,
            memory_gib=memory / count if memory else None,
            vcpus=fields.positive(size.get("vcpus")),
            ram_gib=ram / 1024 if ram else None,
            disk_gib=disk,
            market=Market.ON_DEMAND,
            usd_per_hour=fields.price(size["price_hourly"]),
            stock=Stock.NONE if size.get("available") is False else Stock.UNKNOWN,
            seen_at=now,
        )


def _label(model: str) -> str:
    """Return such as H100 for nvidia_h100 and RTX6000Ada for nvidia_rtx6000_ada."""
    maker, _, chip = model.partition("_")
    chip = chip if maker in ("nvidia", "amd") else model
    return "".join(part.capitalize() if part == "ada" else part.upper() for part in chip.split("_"))


def _gib(amount: Any) -> float | None:
    """Return {"amount": 640, "unit": "gib"} in GiB, None when it is not there. Raises ValueError."""
    if not amount:
        return None
    said = fields.record(amount)
    size = fields.positive(said["amount"])
    return size * GIB[fields.text(said["unit"]).lower()] if size else None
