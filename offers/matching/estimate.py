"""From a speed and machines to time and money to finish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from offers import gpus
from offers.matching.need import Need

CENT_OF_A_CENT = Decimal("0.000001")
# From the order to the first training step on registered hosts, at most; 10 to 12 s were measured on 2 cores.
START_S = 30.0
# Several sites against one of the same total: the share of time that rounds leave for training.
MULTI_SITE_EFFICIENCY = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Samples per second of one accelerator, by accelerator name; `anywhere` where the name is not listed."""

    source: str  # measured, stated, unknown
    by_accelerator: Mapping[str, float]
    anywhere: float | None = None

    def of(self, accelerator: str) -> float | None:
        """Return samples/s, scaled by peak bf16 from another chip where it must be; None when unknown."""
        if accelerator in self.by_accelerator:
            return self.by_accelerator[accelerator]
        wanted = gpus.find(accelerator)
        for name, rate in sorted(self.by_accelerator.items()):
            known = gpus.find(name)
            if wanted and known and wanted.tflops and known.tflops:
                return rate * wanted.tflops / known.tflops
        return self.anywhere


UNKNOWN = Speed(source="unknown", by_accelerator={})


def speed_for(need: Need, *, measured: Mapping[str, float]) -> Speed:
    """Prefer what the researcher states, then what earlier runs of the same program measured."""
    if need.samples_per_s is not None:
        if need.accelerator:
            return Speed(source="stated", by_accelerator={gpus.named(need.accelerator): need.samples_per_s})
        return Speed(source="stated", by_accelerator={}, anywhere=need.samples_per_s)
    if measured:
        return Speed(source="measured", by_accelerator=measured)
    return UNKNOWN


def finish_s(need: Need, *, rates: list[float | None], sites: int) -> float | None:
    """
    Return seconds from order to finish, or None when the work or a speed is unknown.

    rates: samples/s of each site.
    """
    if need.samples is None or any(rate is None for rate in rates):
        return None
    efficiency = MULTI_SITE_EFFICIENCY if sites > 1 else 1.0
    return START_S + need.samples / (sum(rate for rate in rates if rate) * efficiency)


def cost_usd(*, usd_per_hour: Decimal, seconds: float) -> Decimal:
    """Return the price of holding machines so long, to six places."""
    return (usd_per_hour * Decimal(str(round(seconds, 3))) / 3600).quantize(CENT_OF_A_CENT)
