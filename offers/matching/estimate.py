"""
From what is known of a workload to its speed on a chip, with how sure that is.

Best known first: what its own runs measured on that chip; what a probe measured there; a measurement on another chip,
scaled by the roofline of the workload's profile; the roofline alone. The truth is taken to be lognormal around each.

`yard probe` takes this module along, so it imports its neighbours by their place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, log, sqrt
from typing import TYPE_CHECKING

from .. import gpus
from . import chips, roofline
from .profile import Profile
from .roofline import Machine

if TYPE_CHECKING:
    from .need import Need

# Several sites against one of the same total: the share of time that rounds leave for training, where link and size of
# a round are not known; `scaling.round_efficiency` where they are.
MULTI_SITE_EFFICIENCY = 0.95
# Standard deviation of the logarithm of the speed, by where it comes from. Hosts of one chip differ by 3 % (H100-SXM,
# 40 of them, github.com/lambdal/deeplearning-benchmark, pytorch-train-throughput-v2-fp16.csv), a probe sees a minute of
# it. The others are what tests/benchmarks/matching_speed.py finds on published steps: 0.25 where a speed is predicted
# (and more here, for published programs are tuned ones), 0.28 where it is scaled from another chip, 0.15 from one like
# it, and 0.38 where nothing is known of the work.
MEASURED_SIGMA = 0.05
PROBED_SIGMA = 0.10
STATED_SIGMA = 0.10
BENCHMARKED_SIGMA = 0.20  # Predicted for a host that measured itself.
SCALED_SIGMA = 0.28
PREDICTED_SIGMA = 0.30
BLIND_SIGMA = 0.38
CPU_SIGMA = 0.40  # "CPU" is any processor with any number of cores.


@dataclass(frozen=True, slots=True)
class Rate:
    """Samples per second of one accelerator: the median, and `sigma`, the standard deviation of its logarithm."""

    samples_per_s: float
    sigma: float
    source: str  # measured, stated, probed, scaled, predicted.

    def quantile(self, normal: float) -> float:
        """Return the speed `normal` standard deviations from the median: -1.2816 is p10, 1.2816 p90."""
        return self.samples_per_s * exp(normal * self.sigma)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What is known of a workload's speed, per accelerator; `anywhere` where the chip does not matter."""

    source: str  # measured, stated, probed, predicted, unknown: the best that is known of any chip.
    by_accelerator: Mapping[str, float]
    anywhere: float | None = None
    profile: Profile | None = None
    machines: Mapping[str, Machine] = field(default_factory=dict)  # Hosts' benchmarks, by accelerator.

    def of(self, accelerator: str) -> float | None:
        """Return samples/s, the median of `rate`; None when unknown."""
        rate = self.rate(accelerator)
        return None if rate is None else rate.samples_per_s

    def sigma(self, accelerator: str) -> float | None:
        """Return the standard deviation of the speed's logarithm; None when the speed is unknown."""
        rate = self.rate(accelerator)
        return None if rate is None else rate.sigma

    def rate(self, accelerator: str) -> Rate | None:
        """Return the best that is known of this chip; None when nothing is."""
        if accelerator in self.by_accelerator:
            stated = self.source == "stated"
            sigma = STATED_SIGMA if stated else MEASURED_SIGMA
            return Rate(self.by_accelerator[accelerator], sigma, "stated" if stated else "measured")
        if accelerator in (probed := self._probed()):
            return Rate(probed[accelerator], CPU_SIGMA if accelerator == "CPU" else PROBED_SIGMA, "probed")
        if self.anywhere is not None:
            return Rate(self.anywhere, STATED_SIGMA, "stated")
        return self._scaled(accelerator) or self._predicted(accelerator)

    def _probed(self) -> dict[str, float]:
        """Samples/s where the probe ran, which is one chip at most."""
        if self.profile is None or self.profile.accelerator is None or self.profile.samples_per_s is None:
            return {}
        return {gpus.named(self.profile.accelerator): self.profile.samples_per_s}

    def _scaled(self, accelerator: str) -> Rate | None:
        """From the chip with the least difference in predicted speed, of those that were measured or probed."""
        known = {name: (rate, PROBED_SIGMA) for name, rate in self._probed().items()}
        known |= {name: (rate, MEASURED_SIGMA) for name, rate in self.by_accelerator.items()}
        scaled = []
        known.pop("CPU", None)  # Any processor with any number of cores: no measure for others.
        for name, (samples_per_s, sigma) in sorted(known.items()):
            if ratio := self._ratio(accelerator, name):
                factor, own = ratio
                scaled.append(Rate(samples_per_s * factor, sqrt(sigma**2 + own**2), "scaled"))
        return min(scaled, key=lambda rate: rate.sigma, default=None)

    def _ratio(self, wanted: str, known: str) -> tuple[float, float] | None:
        """How much faster `wanted` is than `known`, and the sigma of that; a chip much like the other is surer."""
        here, there = self._machine(known), self._machine(wanted)
        if self.profile is not None and here is not None and there is not None:
            factor = there.samples_per_s(self.profile) / here.samples_per_s(self.profile)
            return factor, SCALED_SIGMA * min(1.0, 0.5 + abs(log(factor)))
        first, second = chips.find(known), chips.find(wanted)
        if first is None or second is None:
            return _by_peak(gpus.find(wanted), gpus.find(known))
        arithmetic = log(second.peak_tflops("bf16") / first.peak_tflops("bf16"))
        memory = log(second.memory_gb_per_s / first.memory_gb_per_s)
        return exp((arithmetic + memory) / 2), max(BLIND_SIGMA, abs(arithmetic - memory) / 2)

    def _predicted(self, accelerator: str) -> Rate | None:
        machine = self._machine(accelerator)
        if self.profile is None or machine is None:
            return None
        sigma = BENCHMARKED_SIGMA if accelerator in self.machines else PREDICTED_SIGMA
        return Rate(machine.samples_per_s(self.profile), sigma, "predicted")

    def _machine(self, accelerator: str) -> Machine | None:
        if accelerator in self.machines:
            return self.machines[accelerator]
        chip = chips.find(accelerator)
        if chip is None or self.profile is None:
            return None
        return roofline.by_sheet(chip, self.profile.precision)


UNKNOWN = Speed(source="unknown", by_accelerator={})


def speed_for(
    need: Need,
    *,
    measured: Mapping[str, float],
    profile: Profile | None = None,
    machines: Mapping[str, Machine] | None = None,
) -> Speed:
    """
    Prefer what the researcher states, then what earlier runs of the same program measured, then its probe.

    measured: samples/s by accelerator. machines: what hosts of an accelerator measured themselves to be.
    """
    if need.samples_per_s is not None:
        if need.wishes:
            names = [name for wish in need.wishes for name in gpus.meant_by(wish)]
            return Speed(source="stated", by_accelerator=dict.fromkeys(names, need.samples_per_s))
        return Speed(source="stated", by_accelerator={}, anywhere=need.samples_per_s)
    if not measured and profile is None:
        return UNKNOWN
    probed = profile is not None and profile.samples_per_s is not None
    return Speed(
        source="measured" if measured else "probed" if probed else "predicted",
        by_accelerator=measured,
        profile=profile,
        machines=machines or {},
    )


def _by_peak(wanted: gpus.Accelerator | None, known: gpus.Accelerator | None) -> tuple[float, float] | None:
    """A chip outside the table of sheets: by its peak, which is half the truth at best."""
    if wanted is None or known is None or not wanted.tflops or not known.tflops:
        return None
    return wanted.tflops / known.tflops, 2 * BLIND_SIGMA
