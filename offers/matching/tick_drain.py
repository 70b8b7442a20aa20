"""Which running workloads to drain so that one job fits: fewest GPU-seconds lost, then the cheapest machines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from offers.matching.tick_fill import Gang, Pairs
from offers.matching.tick_jobs import Ints, Running


def fewest(
    pairs: Pairs, which: Ints, sites: int, running: Sequence[Running], left: Ints
) -> tuple[list[Running], list[Gang]] | None:
    """
    Return whom of `running` to drain and the job's gangs then; None: not even draining all makes room.

    which: the job's pairs. One exact integer programme over machines of each entry, then a yes or no for each pair,
    then one for each workload.
    """
    entries = np.flatnonzero(np.isin(pairs.entry_pair, which))
    held = machines_held(running, len(left))
    fixed_usd = pairs.fixed_usd[which]
    most_usd = float(pairs.entry_usd[entries].max() * pairs.chips_wanted[which[0]] + fixed_usd.max())
    # Seconds are whole and each drain is one more, so that none is for nothing; what machines cost only breaks ties.
    tie = 0.5 / (1 + sites * most_usd)
    lost = np.ceil([one.gpu_s_lost for one in running]) + 1
    costs = np.concatenate([pairs.entry_usd[entries] * tie, fixed_usd * tie, lost])
    able = (left + held.sum(axis=1))[pairs.entry_offer[entries]]
    most = np.minimum(able, pairs.chips_wanted[which[0]])
    found = milp(
        costs,
        constraints=_limits(pairs, which, entries, sites, held, left),
        integrality=np.ones(len(costs)),
        bounds=Bounds(0, np.concatenate([most, np.ones(len(which) + len(running))])),
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        return None
    chosen, drained = np.split(found.x[len(entries) :] > 0.5, [len(which)])
    gangs = pairs.fills(which[chosen], pairs.entry_usd, left + held[:, drained].sum(axis=1))
    victims = [one for one, goes in zip(running, drained, strict=True) if goes]
    return victims, [gang for gang in gangs if gang is not None]


def machines_held(running: Sequence[Running], offers: int) -> Ints:
    """Return [offers, running]: the machines that each workload holds."""
    held = np.zeros((offers, len(running)), dtype=np.int64)
    for at, one in enumerate(running):
        for offer, machines in one.machines:
            held[offer, at] += machines
    return held


def _limits(pairs: Pairs, which: Ints, entries: Ints, sites: int, held: Ints, left: Ints) -> list[LinearConstraint]:
    """Return: enough chips, within the limit, none but what is left or drained, a site once, so many sites."""
    offers = pairs.entry_offer[entries]
    of = np.searchsorted(np.sort(which), pairs.entry_pair[entries])
    order = np.argsort(which)
    of_pair = sparse.csr_matrix((np.ones(len(entries)), (order[of], np.arange(len(entries)))))
    nobody = sparse.csr_matrix((len(which), held.shape[1]))
    chips = of_pair @ sparse.diags(pairs.offers.chips[offers].astype(np.float64))
    enough = sparse.hstack([chips, -sparse.diags(pairs.chips_wanted[which].astype(np.float64)), nobody])
    limited = np.isfinite(pairs.limit_usd[which])
    usable = np.where(limited, pairs.limit_usd[which] - pairs.fixed_usd[which], 0.0)
    within = sparse.hstack([of_pair @ sparse.diags(pairs.entry_usd[entries]), -sparse.diags(usable), nobody]).tocsr()
    no_pairs = sparse.csr_matrix((len(entries), len(which)))
    there = sparse.hstack([sparse.identity(len(entries)), no_pairs, -sparse.csr_matrix(held[offers])])
    names, place = np.unique(pairs.site[which], return_inverse=True)
    at_site = sparse.csr_matrix((np.ones(len(which)), (place, np.arange(len(which)) + len(entries))),
                                shape=(len(names), len(entries) + len(which) + held.shape[1]))  # fmt: skip
    limits = [
        LinearConstraint(enough, 0, np.inf),
        LinearConstraint(there, -np.inf, left[offers]),
        LinearConstraint(at_site, -np.inf, 1),
        LinearConstraint(sparse.csr_matrix(at_site.sum(axis=0)), sites, sites),
    ]
    return [*limits, LinearConstraint(within[limited], -np.inf, 0.0)] if limited.any() else limits
