"""
Chips that a catalog prices apart from their hosts, as SkyPilot's list of Google's does: a machine costs the sum.

Which hosts carry which chips: https://cloud.google.com/compute/docs/gpus. The A2, A3, A4 and G2 families come with
theirs; T4, P4, P100 and V100 are attached to N1. A TPU slice's price is that of its VM.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

FAMILIES = {
    "A100": {1: ["a2-highgpu-1g"], 2: ["a2-highgpu-2g"], 4: ["a2-highgpu-4g"], 8: ["a2-highgpu-8g"],
             16: ["a2-megagpu-16g"]},
    "A100-80GB": {count: [f"a2-ultragpu-{count}g"] for count in (1, 2, 4, 8)},
    "H100": {count: [f"a3-highgpu-{count}g"] for count in (1, 2, 4, 8)},
    "H100-MEGA": {8: ["a3-megagpu-8g"]},
    "H200": {8: ["a3-ultragpu-8g"]},
    "B200": {8: ["a4-highgpu-8g"]},
    "L4": {1: [f"g2-standard-{vcpus}" for vcpus in (4, 8, 12, 16, 32)], 2: ["g2-standard-24"],
           4: ["g2-standard-48"], 8: ["g2-standard-96"]},
}  # fmt: skip
ATTACHED = ("T4", "P4", "P100", "V100")
ATTACHED_TO = {1: "n1-standard-4", 2: "n1-standard-8", 4: "n1-standard-32", 8: "n1-standard-32"}
CARRIERS = {host for counts in FAMILIES.values() for hosts in counts.values() for host in hosts} | {
    *ATTACHED_TO.values()
}
SLICE = re.compile(r"tpu-v\d")
Prices = tuple[Decimal | None, Decimal | None]  # On demand, spot.


class Hosts:
    """The hosts of one catalog that can carry chips, with their prices and shapes."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, str], tuple[Prices, str, str]] = {}

    def note(self, machine_type: str, region: str, zone: str, prices: Prices, vcpus: str, ram_gib: str) -> None:
        """Remember a host's row, if it can carry chips."""
        if machine_type in CARRIERS:
            self._seen[machine_type, region, zone] = (prices, vcpus, ram_gib)

    def machines(
        self, label: str, count: int, region: str, zone: str, prices: Prices
    ) -> Iterator[tuple[str, Prices, str, str]]:
        """Yield (machine type, prices of the whole machine, vCPUs, GiB of RAM) for each host that carries them."""
        if SLICE.match(label):
            yield label, prices, "", ""
            return
        attached = label in ATTACHED
        names = [ATTACHED_TO[count]] if attached and count in ATTACHED_TO else FAMILIES.get(label, {}).get(count, [])
        for name in names:
            if found := self._seen.get((name, region, zone)):
                own, vcpus, ram_gib = found
                whole = (_sum(own[0], prices[0]), _sum(own[1], prices[1]))
                if any(whole):
                    yield f"{name}+nvidia-tesla-{label.lower()}x{count}" if attached else name, whole, vcpus, ram_gib


def _sum(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or other is None else one + other
