"""
Whether a workload that runs is where it should be: the policy's question, asked every few minutes of what is known now.

What comes out is an Event with its figures (`yard explain`), and, where something is to change, a site that is assigned
beside or in place of another: the old one leaves when the new one trains.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from django.conf import settings

from offers.matching.policy import open_end
from workloads import timed
from workloads.machine import Nap
from workloads.models import Workload
from workloads.vantage import Vantage, Verdict, sites_of


def is_due(workload: Workload, now: datetime) -> bool:
    """Whether it is time to look at a workload again."""
    last = workload.judged_at or workload.started_at
    return last is None or now - last >= timedelta(seconds=settings.POLICY_EVERY_S)


def judge(workload: Workload, now: datetime) -> Nap:
    """Look at a workload, and note what was decided."""
    verdict = _verdict(workload, now)
    if verdict is None:
        return Nap(seconds=2, set={"judged_at": now})
    news = {"judged_at": now, **verdict.set}
    return Nap(seconds=2, why=verdict.why, figures=verdict.figures, then=verdict.act, set=news)


def _verdict(workload: Workload, now: datetime) -> Verdict | None:
    """Decide for a workload; None while it changes, or while nobody knows what is left to do and how fast it is."""
    sites = sites_of(workload)
    if sites is None:
        return None
    seen = Vantage(workload, sites, now)
    if not seen.is_clear:
        return None
    if seen.need.deadline_hours is not None:
        return timed.verdict(seen) if seen.places or sites else None
    if not sites:
        return None
    options = seen.options()
    decision = open_end.decide(
        [seen.held(site) for site in sites],
        [option for _, option in options],
        samples=seen.work / len(sites),
        move_usd=seen.move_usd,
    )
    if decision.held is None or decision.to is None:
        return Verdict(why="stay", figures=decision.figures)
    site, (way, option) = sites[decision.held], options[decision.to]
    why = f"move from {site.placement.site} to {option.name}, {decision.figures['gain_usd']} USD less to finish"
    act = partial(seen.assign, [(way, site.placement.pk)])
    return Verdict(why=why, figures=decision.figures, act=act)
