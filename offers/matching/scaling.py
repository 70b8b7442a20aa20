"""
What is left of the speed when accelerators work together: in a node, over the nodes of a site, and over sites.

In a site every step ends in an all-reduce of the gradients; its cost is that of a ring, 2 (n - 1) / n of the bytes
through each link (Patarasuk and Yuan 2009, J. Parallel Distrib. Comput. 69(2)), inside the node first and over the
nodes with what each accelerator then holds. FSDP moves the parameters twice and the gradients once, half as much again
(Rajbhandari et al. 2020, ZeRO, arXiv 1910.02054, section 7). Sites meet only once in so many steps, and train on
while they exchange (docs/training.md): a site stands only when its exchange takes longer than its round.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from offers.matching import chips, facts
from offers.matching.book import COMMUNITY, Floats, Ints
from offers.matching.need import Need
from offers.matching.profile import Profile
from offers.matching.sites import Fills

Amount = float | Floats  # One, or an array of them.

# Shares of a link's rate that collectives reach: NCCL about 80 % of NVLink's and of InfiniBand's
# (github.com/NVIDIA/nccl-tests, doc/PERFORMANCE.md explains the bus bandwidth that is compared).
LINK_SHARE = 0.8
FSDP_FACTOR = 1.5
# Bytes of a parameter in a contribution and in an update: int8 and its scales (workloads/node/training/quantise.py).
ROUND_BYTES = 8.125 / 8
STATE_BYTES = 4.0  # Of a parameter in a checkpoint: float32.
# Steps between rounds: so many that the exchange takes this share of a round, within bounds (workloads/pace.py).
STEPS_MIN, STEPS_MAX, LATE_SHARE = 50, 500, 0.1
# Of a step's time, for which the exchange of gradients inside a site may run beside the backward pass: buckets are sent
# as they are ready (Li et al. 2020, PyTorch Distributed, arXiv 2006.15704).
HIDDEN = 2 / 3
# Asking for samples, offering, waiting for the commit, fetching it: each takes there and back.
EXCHANGES = 4


@dataclass(frozen=True, slots=True)
class Link:
    """What joins accelerators: GB/s of each in one direction, and the seconds until the first byte is there."""

    gb_per_s: Amount
    latency_s: Amount


# Between nodes, for each accelerator: InfiniBand with a port of 400 Gbit/s (NDR, as in a DGX H100:
# docs.nvidia.com/dgx/dgxh100-user-guide) or 200 (HDR) for each; Ethernet is shared by the 8 of a node.
INFINIBAND_NDR = Link(50.0, 5e-6)
INFINIBAND_HDR = Link(25.0, 5e-6)
ETHERNET_100_GBIT = Link(12.5 / 8, 3e-5)
ETHERNET_10_GBIT = Link(1.25 / 8, 5e-5)
# AWS' p4d has 400 Gbit/s for 8, the oldest that trains over EFA: aws.amazon.com/ec2/instance-types/p4.
EFA = Link(50.0 / 8, 1.5e-5)
# Inside a node: PCIe 4.0 with 16 lanes where no sheet says; latencies are guesses.
PCIE = Link(32.0, 1e-5)
NVLINK_LATENCY_S = 2e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Equal nodes at one place, each with as many accelerators."""

    nodes: Amount
    accelerators_per_node: Amount
    inside: Link
    between: Link


@dataclass(frozen=True, slots=True, eq=False)
class Rounds:
    """How each fill of a site takes part in rounds. Arrays: [fills]."""

    step_s: Floats  # The exchange inside the site included.
    away_s: Floats  # Of each round: its contribution up, the update down, and the asking.

    def efficiency(self, members: Ints, *, weights: Floats) -> Floats:
        """
        Return the share of the speed that is left to plans, with as many steps between rounds as the middle site wants.

        members: fills, [sites, plans]. weights: the speed of each fill.
        """
        step_s, away_s = self.step_s[members], self.away_s[members]
        steps = np.sort(steps_for(away_s, step_s=step_s), axis=0)[len(members) // 2]
        return round_efficiency(away_s, steps=steps, step_s=step_s, weights=weights[members])


def of_fills(fills: Fills, *, profile: Profile | None, samples_per_s: Floats) -> Floats:
    """
    Return the efficiency of each fill: [fills]; 1 where nobody says what a step is made of.

    samples_per_s: of one accelerator alone. Of machines of several sizes the mean size counts, and the slowest link.
    """
    if profile is None:
        return np.ones(len(fills))
    inside, between = _links(fills)
    return np.asarray(
        site_efficiency(
            Site(
                nodes=fills.machines.astype(np.float64),
                accelerators_per_node=fills.accelerators / fills.machines,
                inside=inside,
                between=between,
            ),
            step_s=profile.batch_size / samples_per_s,
            gradient_bytes=profile.trainable * profile.parameter_bytes / profile.parameters,
            hidden=HIDDEN,
        )
    )


def rounds(need: Need, fills: Fills, *, profile: Profile | None, samples_per_s: Floats) -> Rounds | None:
    """
    Return how each fill takes part in rounds; None where nobody says how much they carry.

    samples_per_s: of the whole fill. Without a profile STEPS_MAX steps are taken to last facts.ROUND_S.
    """
    if profile is not None:
        size_bytes = profile.trainable * ROUND_BYTES
        step_s = profile.batch_size * fills.accelerators / samples_per_s
    elif need.checkpoint_gib:
        size_bytes = need.checkpoint_gib * 2**30 * ROUND_BYTES / STATE_BYTES
        step_s = np.full(len(fills), facts.ROUND_S / STEPS_MAX)
    else:
        return None
    return Rounds(step_s=step_s, away_s=np.asarray(round_s(size_bytes, mbit_per_s=fills.internet_mbit_per_s)))


def all_reduce_s(size_bytes: Amount, *, accelerators: Amount, link: Link) -> Amount:
    """Return the seconds of a ring all-reduce over so many accelerators; 0 for one alone."""
    turns = 2 * (accelerators - 1)
    return turns / accelerators * size_bytes / (link.gb_per_s * 1e9 * LINK_SHARE) + turns * link.latency_s


def site_efficiency(
    site: Site, *, step_s: Amount, gradient_bytes: float, hidden: float = 0.0, sharded: bool = False
) -> Amount:
    """
    Return the samples/s of a site, divided by those of one accelerator times their number.

    step_s: of one accelerator alone. hidden: share of the step that the exchange may run beside. sharded: FSDP.
    """
    exchange_s = all_reduce_s(gradient_bytes, accelerators=site.accelerators_per_node, link=site.inside)
    part = gradient_bytes / site.accelerators_per_node
    exchange_s += all_reduce_s(part, accelerators=site.nodes, link=site.between)
    exchange_s *= FSDP_FACTOR if sharded else 1.0
    return step_s / (step_s + np.maximum(0.0, exchange_s - hidden * step_s))


def round_s(size_bytes: float, *, mbit_per_s: Amount) -> Amount:
    """Return the seconds that a site's round is on the way, through a link that is as fast up as down."""
    return 2 * 8 * size_bytes / (mbit_per_s * 1e6) + EXCHANGES * facts.ROUND_TRIP_S


def round_efficiency(away_s: Floats, *, steps: Amount, step_s: Floats, weights: Floats) -> Floats:
    """
    Return the share of the sites' speed that is left, when each may be a round ahead of its exchange: [plans].

    away_s, step_s, weights: of each site, [sites, plans]: of a round and of a step, the exchange inside the site
    included, and the site's speed. steps: of a round.
    """
    trained_s = steps * step_s
    return np.asarray((weights * trained_s / np.maximum(trained_s, away_s)).sum(axis=0) / weights.sum(axis=0))


def steps_for(away_s: Floats, *, step_s: Floats) -> Floats:
    """Return the fewest steps between rounds of which the exchange takes LATE_SHARE at most, within their bounds."""
    return np.clip(np.ceil(away_s / (LATE_SHARE * step_s)), STEPS_MIN, STEPS_MAX)


def _links(fills: Fills) -> tuple[Link, Link]:
    """Return the slowest links of each fill: inside its nodes and between them."""
    book = fills.book
    words = book.words["interconnect"].things
    inside = [[_inside(chip, word) for word in words] for chip in book.words["accelerator"].things]
    strangers = (book.tier == COMMUNITY).astype(np.int64)
    between = [[_between(word, stranger=stranger) for word in words] for stranger in (False, True)]
    return (
        _slowest(fills, inside, book.accelerator, book.interconnect),
        _slowest(fills, between, strangers, book.interconnect),
    )


def _slowest(fills: Fills, links: list[list[Link]], first: Ints, second: Ints) -> Link:
    """Return the slowest link of each fill. links: by what first and second say of each row of the book."""
    first, second = first[fills.row], second[fills.row]
    gb_per_s = np.array([[one.gb_per_s for one in of] for of in links], np.float64)[first, second]
    latency_s = np.array([[one.latency_s for one in of] for of in links], np.float64)[first, second]
    return Link(np.minimum.reduceat(gb_per_s, fills.starts), np.maximum.reduceat(latency_s, fills.starts))


@cache
def _inside(accelerator: str, interconnect: str) -> Link:
    chip = chips.find(accelerator)
    if chip is None or (chip.link != "pcie" and "pcie" in interconnect.casefold()):
        return PCIE
    return Link(chip.link_gb_per_s, PCIE.latency_s if chip.link == "pcie" else NVLINK_LATENCY_S)


def _between(interconnect: str, *, stranger: bool) -> Link:
    """Return the link between machines; where nobody says, Ethernet as clouds have it or as people do."""
    words = interconnect.casefold()
    if "infiniband" in words:
        return INFINIBAND_HDR
    if "efa" in words:
        return EFA
    return ETHERNET_10_GBIT if stranger else ETHERNET_100_GBIT
