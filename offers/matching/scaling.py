"""
What is left of the speed when accelerators work together: in a node, over the nodes of a site, and over sites.

In a site every step ends in an all-reduce of the gradients; its cost is that of a ring, 2 (n - 1) / n of the bytes
through each link (Patarasuk and Yuan 2009, J. Parallel Distrib. Comput. 69(2)), inside the node first and over the
nodes with what each accelerator then holds. FSDP moves the parameters twice and the gradients once, half as much again
(Rajbhandari et al. 2020, ZeRO, arXiv 1910.02054, section 7). Sites meet only once in so many steps
(docs/architecture.md, Training across sites).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

# Shares of a link's rate that collectives reach: NCCL about 80 % of NVLink's and of InfiniBand's
# (github.com/NVIDIA/nccl-tests, doc/PERFORMANCE.md explains the bus bandwidth that is compared).
LINK_SHARE = 0.8
FSDP_FACTOR = 1.5
# Bytes of a parameter in a contribution and in an update: float32, as workloads/node/training/codec.py writes them.
ROUND_BYTES = 4.0
# Asking for samples, offering, waiting for the commit, fetching it: each takes there and back.
EXCHANGES = 4


@dataclass(frozen=True, slots=True)
class Link:
    """What joins accelerators: GB/s of each in one direction, and the seconds until the first byte is there."""

    gb_per_s: float
    latency_s: float


# Between nodes, for each accelerator: InfiniBand with a port of 400 Gbit/s (NDR, as in a DGX H100:
# docs.nvidia.com/dgx/dgxh100-user-guide) or 200 (HDR) for each; Ethernet is shared by the 8 of a node.
INFINIBAND_NDR = Link(50.0, 5e-6)
INFINIBAND_HDR = Link(25.0, 5e-6)
ETHERNET_100_GBIT = Link(12.5 / 8, 3e-5)
ETHERNET_10_GBIT = Link(1.25 / 8, 5e-5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Equal nodes at one place, each with as many accelerators."""

    nodes: int
    accelerators_per_node: int
    inside: Link
    between: Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Wide:
    """A site's way to the hub, as measured."""

    up_mbit_per_s: float
    down_mbit_per_s: float
    round_trip_s: float


def all_reduce_s(size_bytes: float, *, accelerators: int, link: Link) -> float:
    """Return the seconds of a ring all-reduce over so many accelerators; 0 for one alone."""
    if accelerators < 2:
        return 0.0
    turns = 2 * (accelerators - 1)
    return turns / accelerators * size_bytes / (link.gb_per_s * 1e9 * LINK_SHARE) + turns * link.latency_s


def site_efficiency(
    site: Site, *, step_s: float, gradient_bytes: float, hidden: float = 0.0, sharded: bool = False
) -> float:
    """
    Return the samples/s of a site, divided by those of one accelerator times their number.

    step_s: of one accelerator alone. hidden: share of the step that the exchange may run beside; 0 as our loop has it
    (one all-reduce after the backward pass), 2/3 for buckets sent while the backward pass goes on (Li et al. 2020,
    PyTorch Distributed, arXiv 2006.15704). sharded: FSDP.
    """
    exchange_s = all_reduce_s(gradient_bytes, accelerators=site.accelerators_per_node, link=site.inside)
    part = gradient_bytes / site.accelerators_per_node
    exchange_s += all_reduce_s(part, accelerators=site.nodes, link=site.between)
    exchange_s *= FSDP_FACTOR if sharded else 1.0
    return step_s / (step_s + max(0.0, exchange_s - hidden * step_s))


def round_s(size_bytes: float, *, wide: Wide) -> float:
    """Return the seconds that a site's round is on the way: its contribution up, the update down, and the asking."""
    up_s, down_s = 8 * size_bytes / (wide.up_mbit_per_s * 1e6), 8 * size_bytes / (wide.down_mbit_per_s * 1e6)
    return up_s + down_s + EXCHANGES * wide.round_trip_s


def round_efficiency(size_bytes: float, *, steps: int, steps_s: Sequence[float], wides: Sequence[Wide]) -> float:
    """
    Return the share of the sites' time that is training, when all wait for the slowest; 1 for one site alone.

    size_bytes: of a contribution, parameters x ROUND_BYTES. steps: of a round, at every site. steps_s: seconds of a
    step at each site, the exchange inside it included.
    """
    if len(steps_s) < 2:
        return 1.0
    trained = [steps * seconds for seconds in steps_s]
    whole_s = max(work_s + round_s(size_bytes, wide=wide) for work_s, wide in zip(trained, wides, strict=True))
    return sum(trained) / (len(trained) * whole_s)


def steps_for(size_bytes: float, *, share: float, step_s: float, wide: Wide) -> int:
    """Return the fewest steps between rounds that keep the exchange under this share of the time."""
    return max(1, ceil(round_s(size_bytes, wide=wide) * (1 - share) / (share * step_s)))
