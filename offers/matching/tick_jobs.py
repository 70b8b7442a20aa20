"""
What a tick is asked: offers with their stock, waiting jobs, and workloads that run.

Costs are expectations, so floats: what is paid is settled where a lease is bought.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
# Machines by offer of one gang, or of a whole job: ((offer, machines), ...), offers by their row.
Machines = tuple[tuple[int, int], ...]

UNLIMITED = -1  # In `Offers.free`: no number is known, so the market counts as deep.


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What can be bought now, one row an offer; every field is [offers]."""

    site: Ints  # Which (provider, region).
    chip: Ints  # Which kind of accelerator.
    chips: Ints  # In one machine.
    usd_per_hour: Floats  # Expected for one machine, interruptions included where they count.
    free: Ints  # Machines; UNLIMITED where no number is known.


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """
    A workload that waits: a gang of one kind of chip at each of `sites` distinct sites, in whole machines.

    A site does an equal share of the work and is given back when that is done, so what it costs is its own hours. What
    a start now is worth is a budget: pass the smaller of the two.
    """

    id: int
    team: str
    priority: int  # The larger is served first.
    waiting_since: datetime
    accelerators: int  # At each site.
    hours: Mapping[int, float]  # To finish a site's share, by kind of chip; a kind that is missing is not allowed.
    sites: int = 1
    allowed: Bools | None = None  # [offers]: places, markets, memory, tiers. None: all.
    fixed_usd: Mapping[int, float] = field(default_factory=dict)  # By site, such as moving data there.
    budget_usd: float | None = None  # Most that one site may cost to finish.
    max_usd_per_hour: float | None = None  # Most that the machines of one site may cost.


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """
    A workload that runs and may be drained for one of higher priority.

    `priority` is what it counted when it was placed, age included: a job that waited long is not drained at once.
    """

    id: int
    priority: int
    machines: Machines
    gpu_s_lost: float  # By draining it: since its last checkpoint, and to start again.
