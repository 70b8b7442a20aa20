"""
From fills of sites to whole plans: one site, and several together, with what each is expected to cost.

In closed form. A site spends a share of its paid time on changeovers and on work that a loss undid, and a share of the
clock waiting for a machine; what is left, at the speed that gives the mean time, is its pace. Work W at paces q from
heads b (the time until the first step) ends at T = (W / e + sum q b) / sum q, where rounds leave e of the speed
(`scaling`); the cost is paid time x price, and what carrying data costs. `outcome` draws futures of the few best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from statistics import NormalDist

import numpy as np

from offers.matching import facts, scaling, survival
from offers.matching.book import MICRO, Flags, Floats, Ints
from offers.matching.estimate import MULTI_SITE_EFFICIENCY
from offers.matching.need import Need
from offers.matching.profile import Profile
from offers.matching.sites import Fills

PAIRED_MAX = 120  # So many fills are combined to pairs,
TRIPLED_MAX = 48  # and so many to threes; with more sites, those that a sweep over prices of speed finds.
SWEEP = 24
COMPARED_MAX = 400  # Before that, so many are compared with one another.
FOREIGN_USD = 1e6  # What an accelerator of others weighs where the team's own come first.


@dataclass(frozen=True, slots=True, eq=False)
class Paces:
    """What each fill does and costs. Arrays: [fills]; hours are of the clock unless they are paid hours."""

    fills: Fills
    work: Floats | None  # Samples an hour, all told; None: the work or the speeds are not known.
    full: Floats  # Samples an hour while nothing goes wrong; NaN where the speed is not known.
    rounds: scaling.Rounds | None  # None: nobody says how much a round carries.
    sigma: Floats  # Of the logarithm of the speed.
    losses_per_h: Floats
    head_h: Floats  # Until the first step.
    paid_share: Floats  # Of the clock.
    usd_per_h: Floats  # What it costs as long as it runs, storage and the state that it hands in included.
    fixed_usd: Floats  # And once.
    egress_per_h: Floats
    egress_fixed: Floats
    kg_per_h: Floats  # CO2e.
    kwh_per_h: Floats
    weight: Floats  # USD that are not paid but count when plans are ranked: FOREIGN_USD.


def paces(
    need: Need,
    fills: Fills,
    *,
    samples_per_s: Floats,
    sigma: Floats,
    watts: Floats,
    pue: Floats,
    profile: Profile | None,
) -> Paces:
    """
    Return what each fill does and costs. samples_per_s, sigma, watts: by accelerator; pue: by provider.

    profile: None: accelerators are taken to work together without a loss.
    """
    book, chip = fills.book, fills.book.accelerator[fills.first]
    efficiency = scaling.of_fills(fills, profile=profile, samples_per_s=samples_per_s[chip])
    full = samples_per_s[chip] * fills.accelerators * efficiency * 3600.0
    head_h = fills.boot_s / 3600
    if need.samples is None or np.isnan(full).all():
        work, hours = None, np.full(len(fills), facts.DAY_H)
    else:
        work, hours = full, need.samples / full + head_h
    lost = _losses_per_h(fills.losses_per_hour, np.minimum(hours, 1e6))
    useful = 1 / (1 + lost * (head_h + facts.REDONE_S / 3600))
    paid = 1 / (1 + lost * facts.WAIT_S / 3600)
    data, state = need.data_gib or 0.0, need.checkpoint_gib or 0.0
    out_per_h = (
        fills.egress_usd_per_gib * state * 3600 / facts.ROUND_S * paid
        + lost * paid * data * facts.STORE_EGRESS_USD_PER_GIB
    )
    out_once = fills.egress_usd_per_gib * state + data * facts.STORE_EGRESS_USD_PER_GIB
    storage = (data + state) * facts.STORAGE_USD_PER_GIB_MONTH / facts.HOURS_PER_MONTH
    usd = fills.micro_usd / MICRO
    kwh = watts[chip] / 1000 * fills.accelerators * paid * pue[book.provider[fills.first]]
    grid = np.nan_to_num(book.gco2_per_kwh[fills.first], nan=facts.WORLD_GCO2)
    return Paces(
        fills=fills,
        work=None if work is None else work * useful * paid * np.exp(-(sigma[chip] ** 2) / 2),
        full=full,
        rounds=scaling.rounds(need, fills, profile=profile, samples_per_s=full / 3600),
        sigma=sigma[chip],
        losses_per_h=lost * paid,
        head_h=head_h,
        paid_share=paid,
        usd_per_h=usd * paid + out_per_h + storage,
        fixed_usd=out_once + usd * (1 - paid) * head_h,
        egress_per_h=out_per_h,
        egress_fixed=out_once,
        kg_per_h=kwh * grid / 1000,
        kwh_per_h=kwh,
        weight=fills.others * FOREIGN_USD if need.prefer_own else np.zeros(len(fills)),
    )


def _losses_per_h(by_age: Floats, hours: Floats) -> Floats:
    """
    Return losses an hour of a site over so many hours, when every lost machine is replaced by a new one.

    The chance of a loss within that time over the mean time lived of it: exact for a constant hazard and in the long
    run, a third too few where young machines are lost most and the time is a few lives.
    """
    started, until_s = np.zeros(len(hours)), hours * 3600
    lost = 1 - survival.survival(by_age, started, until_s)
    return np.asarray(lost * 3600 / survival.life_s(by_age, started, until_s))


@dataclass(frozen=True, slots=True, eq=False)
class Plans:
    """
    Candidate plans. `members: [plans, sites]` are fills, -1 where a plan has fewer sites; other arrays: [plans].

    meets: {field of the need: flags}. Where the work or the speeds are unknown, hours is
    None and usd an hour's.
    """

    paces: Paces
    members: Ints
    usd: Floats
    ranked_usd: Floats  # With what counts though it is not paid.
    hours: Floats | None
    efficiency: Floats  # Of several sites: the share of their speed that rounds leave.
    late_hours: Floats  # By then it is done with the chance that is wanted.
    kg: Floats
    losses: Floats
    meets: dict[str, Flags]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.usd)

    def allowed(self, *, but: Iterable[str] = ()) -> Flags:
        """Return which plans break no constraint; but: fields that are left aside."""
        flags = np.ones(len(self), np.bool_)
        for name, met in self.meets.items():
            if name not in but:
                flags &= met
        return flags


def candidates(need: Need, paces: Paces) -> Plans:
    """Return every plan that can be the best of its kind; the cheapest is always among them."""
    worth = _Worth(need, paces)
    parts = [_evaluated(need, paces, members) for size in need.sizes for members in _members(need, paces, size, worth)]
    if not parts:
        return _evaluated(need, paces, np.empty((0, 1), np.int64))
    return parts[0] if len(parts) == 1 else _joined(parts)


def _members(need: Need, paces: Paces, size: int, worth: _Worth) -> Iterable[Ints]:
    """Yield the fills of plans with so many sites: all distinct, a row each."""
    if size == 1:
        yield np.arange(len(paces.fills))[:, None]
        return
    if size > 3:
        yield np.array(_swept(paces, worth.groups, size), np.int64).reshape(-1, size)
        return
    pool = worth.pool(size)
    chosen = pool[_combinations(len(pool), size)]
    of = worth.groups[chosen]
    apart = of[:, 0] != of[:, 1]
    if size == 3:
        apart &= (of[:, 0] != of[:, 2]) & (of[:, 1] != of[:, 2])
    yield chosen[apart]


@lru_cache(maxsize=256)
def _combinations(many: int, size: int) -> Ints:
    return np.array(list(combinations(range(many), size)), np.int64).reshape(-1, size)


def _groups(need: Need, fills: Fills) -> Ints:
    """Return what no two sites of a plan may share."""
    columns = {"provider": fills.book.provider, "region": fills.book.region, "country": fills.book.country}
    return columns.get(need.spread or "", fills.book.site)[fills.first]


def _keys(need: Need, paces: Paces) -> list[Floats]:
    """Return what a plan may be chosen for, of each fill alone; the smaller the better, the cost to finish first."""
    own = paces.weight
    price = paces.fills.micro_usd / MICRO
    if paces.work is None or need.samples is None:
        return [price + own, paces.kg_per_h + own, paces.losses_per_h + own]
    hours = need.samples / paces.work
    if paces.rounds is not None:  # As if the others were like it.
        hours = hours / paces.rounds.efficiency(np.arange(len(hours))[None], weights=paces.full)
    cost = paces.usd_per_h * (hours + paces.head_h) + paces.fixed_usd + own
    return [cost, hours + own, price + own, paces.kg_per_h * hours + own, paces.losses_per_h * hours + own]


class _Worth:
    """Which fills are worth combining with others."""

    def __init__(self, need: Need, paces: Paces) -> None:
        """groups: what no two sites of a plan may share."""
        self.groups = _groups(need, paces.fills)
        ranks = [_ranks(key) for key in _keys(need, paces)]
        rank = np.minimum(ranks[0] // 2, np.minimum.reduce(ranks))
        self.by_cost = np.argsort(ranks[0], kind="stable")
        self.order = np.argsort(rank, kind="stable")
        self.compared = self.order[:COMPARED_MAX]
        self.beats = _beats(_costs(need, paces)[self.compared]) if len(self.order) > TRIPLED_MAX else None

    def pool(self, size: int) -> Ints:
        """
        Return the fills that are combined: none that as many other sites do better in everything that counts.

        The first half are the best of their places, so that places are never lacking; the others the best at something.
        """
        most, order = PAIRED_MAX if size == 2 else TRIPLED_MAX, self.order
        if len(order) > most and self.beats is not None:
            order = self.compared[_band(self.beats, self.groups[self.compared], size)]
        if len(order) <= most:
            return order
        leaders = self.by_cost[np.sort(np.unique(self.groups[self.by_cost], return_index=True)[1])][: most // 2]
        rest = order[~np.isin(order, leaders)][: most - len(leaders)]
        return np.concatenate([leaders, rest])


def _ranks(key: Floats) -> Ints:
    ranks = np.empty(len(key), np.int64)
    ranks[np.argsort(key, kind="stable")] = np.arange(len(key))
    return ranks


def _costs(need: Need, paces: Paces) -> Floats:
    """Return all that makes a fill worse in a plan, whatever the others are: [fills, kinds], the smaller the better."""
    fills = paces.fills
    columns = [paces.usd_per_h, paces.fixed_usd, paces.head_h, -(fills.accelerators * 1.0)]
    if paces.work is not None:
        columns[-1] = -paces.work
    if paces.rounds is not None:
        columns += [paces.rounds.step_s, paces.rounds.away_s, -(fills.accelerators * 1.0)]
    elif need.accelerators is not None:
        columns.append(-(fills.accelerators * 1.0))
    if need.max_spot_share is not None:
        columns.append(fills.spot - need.max_spot_share * fills.accelerators)
    if need.max_egress_usd is not None:
        columns += [paces.egress_per_h, paces.egress_fixed]
    if need.max_usd_per_hour is not None or paces.work is None:
        columns.append(fills.micro_usd)
    if need.prefer_own:
        columns.append(paces.weight)
    return np.stack(columns, axis=1)


def _beats(costs: Floats) -> Flags:
    """Return which rows are not worse in anything than which others: [better, worse]; of equals the first."""
    no_worse = np.ones((len(costs), len(costs)), np.bool_)
    for kind in costs.T:
        no_worse &= kind[:, None] <= kind[None, :]
    return np.asarray(no_worse & (~no_worse.T | np.triu(no_worse, 1)))


def _band(beats: Flags, groups: Ints, depth: int) -> Ints:
    """
    Return the rows that are beaten neither by one of their own group, nor by those of `depth` groups.

    A plan of `depth` sites leaves one of the better groups unused, so the row can be replaced: no best plan has it.
    """
    beaten = (beats & (groups[:, None] == groups[None, :])).any(axis=0)
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    better_groups = np.logical_or.reduceat(beats[order], starts, axis=0).sum(axis=0)
    return np.flatnonzero(~beaten & (better_groups < depth))


def _swept(paces: Paces, groups: Ints, size: int) -> list[list[int]]:
    """Return the best sites at many prices of speed, from none to any: for plans of more sites than are enumerated."""
    work = paces.work if paces.work is not None else paces.fills.accelerators * 1.0
    usd = paces.usd_per_h + paces.weight
    ratio = usd / work
    positive = ratio[ratio > 0]
    top = float(positive.max(initial=1e-9)) * 2
    bottom = float(positive.min(initial=top)) / 2
    found: dict[tuple[int, ...], None] = {}
    for price in [0.0, *np.geomspace(bottom, top, SWEEP)]:
        order = np.argsort(usd - price * work, kind="stable")
        first = np.sort(np.unique(groups[order], return_index=True)[1])[:size]
        if len(first) == size:
            found[tuple(np.sort(order[first]).tolist())] = None
    return [list(members) for members in found]


def _evaluated(need: Need, paces: Paces, members: Ints) -> Plans:
    """Add up the sites of each plan."""
    fills = paces.fills
    columns = [members[:, site] for site in range(members.shape[1])]

    def total(values: Floats | Ints) -> Floats:
        added = values[columns[0]].astype(np.float64)
        for column in columns[1:]:
            added += values[column]
        return np.asarray(added)

    def least(values: Floats) -> Floats:
        return np.asarray(np.minimum.reduce([values[column] for column in columns]))

    price = total(fills.micro_usd) / MICRO
    fixed, weight = total(paces.fixed_usd), total(paces.weight)
    losses, kg, egress = total(paces.losses_per_h), total(paces.kg_per_h), total(paces.egress_fixed)
    efficiency = _efficiency(paces, members)
    if paces.work is None or need.samples is None:
        hours, late, usd = None, np.zeros(len(members)), price
    else:
        pace = total(paces.work)
        hours = (need.samples / efficiency + total(paces.work * paces.head_h)) / pace
        lost_h = paces.head_h + (facts.REDONE_S + facts.WAIT_S) / 3600
        shaken = total(paces.work**2 * paces.losses_per_h * 2 * lost_h**2) / pace**2
        sigma = total(paces.work * paces.sigma) / pace
        spread = np.sqrt(sigma**2 + np.log1p(shaken / hours))
        late = hours * np.exp(NormalDist().inv_cdf(need.wanted_chance) * spread - spread**2 / 2)
        usd = total(paces.usd_per_h) * hours + fixed
        losses, kg, egress = losses * hours, kg * hours, egress + total(paces.egress_per_h) * hours
    return Plans(
        paces=paces,
        members=members,
        usd=usd,
        ranked_usd=usd + weight,
        hours=hours,
        efficiency=efficiency,
        late_hours=late,
        kg=kg,
        losses=losses,
        meets=dict(_meets(need, fills, total, least, price=price, usd=usd, late=late, egress=egress)),
    )


def _efficiency(paces: Paces, members: Ints) -> Floats:
    """Return the share of their sites' speed that rounds leave to plans of one size."""
    if members.shape[1] == 1:
        return np.ones(len(members))
    if paces.rounds is None:
        return np.full(len(members), MULTI_SITE_EFFICIENCY)
    return paces.rounds.efficiency(members.T, weights=paces.full)


def _meets(
    need: Need,
    fills: Fills,
    total: Callable[[Floats | Ints], Floats],
    least: Callable[[Floats], Floats],
    *,
    price: Floats,
    usd: Floats,
    late: Floats,
    egress: Floats,
) -> Iterable[tuple[str, Flags]]:
    """Yield which plans meet each constraint on whole plans."""
    if need.accelerators is not None:
        spare = fills.spare if need.sites is not None else np.minimum(fills.spare, fills.accelerators)
        beyond = total(fills.accelerators) - need.accelerators  # As few as whole machines allow.
        yield "accelerators", (beyond >= 0) & (beyond < least(spare))
    if need.max_spot_share is not None:
        yield "max_spot_share", total(fills.spot) <= need.max_spot_share * total(fills.accelerators) + 1e-9
    if need.max_usd_per_hour is not None:
        yield "max_usd_per_hour", price <= float(need.max_usd_per_hour) + 1e-9
    if need.max_egress_usd is not None:
        yield "max_egress_usd", egress <= float(need.max_egress_usd) + 1e-9
    if need.samples is not None and need.deadline_hours is not None:
        yield "deadline_hours", late <= need.deadline_hours
    if need.samples is not None and need.budget_usd is not None:
        yield "budget_usd", usd <= float(need.budget_usd)


def _joined(parts: list[Plans]) -> Plans:
    """Return plans of several sizes as one."""
    most = max(part.members.shape[1] for part in parts)

    def padded(members: Ints) -> Ints:
        return np.pad(members, ((0, 0), (0, most - members.shape[1])), constant_values=-1)

    first = parts[0]
    return replace(
        first,
        members=np.concatenate([padded(part.members) for part in parts]),
        usd=np.concatenate([part.usd for part in parts]),
        ranked_usd=np.concatenate([part.ranked_usd for part in parts]),
        hours=None if first.hours is None else np.concatenate([part.hours for part in parts if part.hours is not None]),
        efficiency=np.concatenate([part.efficiency for part in parts]),
        late_hours=np.concatenate([part.late_hours for part in parts]),
        kg=np.concatenate([part.kg for part in parts]),
        losses=np.concatenate([part.losses for part in parts]),
        meets={name: np.concatenate([part.meets[name] for part in parts]) for name in first.meets},
    )
