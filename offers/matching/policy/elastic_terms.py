"""What the elastic policy is told and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """
    What does not change while a workload runs. Prices are per node and hour, work is in seconds of one node.

    on_demand_usd: [zones]. egress_usd: [zones, zones], one copy of the state. changeover_s: paid and useless, at every
    start of a node. tick_s: between two decisions, and the unit of billing. nodes_max: of all zones together.
    """

    zones: tuple[str, ...]
    on_demand_usd: tuple[float, ...]
    egress_usd: tuple[tuple[float, ...], ...]
    tick_s: float
    work_node_s: float
    deadline_s: float
    changeover_s: float
    nodes_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """
    What is seen at one tick.

    available, spot_usd: [zones], spot nodes that could be held, ours included, and their price per hour.
    spot_left_s, on_demand_left_s: per zone one number a node held, the seconds of changeover it still has to do.
    elapsed_s: since the start of the workload, of which `progress_node_s` became work.
    """

    elapsed_s: float
    available: tuple[int, ...]
    spot_usd: tuple[float, ...]
    spot_left_s: tuple[tuple[float, ...], ...]
    on_demand_left_s: tuple[tuple[float, ...], ...]
    progress_node_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """
    Nodes to hold from now on, [zones] each, a word per zone, and the figures the decision was made on.

    The words: stay, grow, shrink, move (grow with nodes another zone gives up), buy_on_demand, wait (hold nothing).
    Nodes that stay keep their changeover and their progress; where a zone shrinks, those with most changeover left go.
    """

    spot_target: tuple[int, ...]
    on_demand_target: tuple[int, ...]
    actions: tuple[str, ...]
    figures: Mapping[str, float | tuple[float, ...]]
