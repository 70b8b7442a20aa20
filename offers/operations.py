"""The book's verbs: poll the world, promise a price, take hosts in and give them back."""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

from django.db import IntegrityError, transaction

from offers import marketplace, poll, queries
from offers.matching import estimate, solve
from offers.matching.need import Need
from offers.models import Host, Offer, Quote, QuoteLine
from providers import catalog

logger = logging.getLogger(__name__)
QUOTE_TTL = timedelta(minutes=10)
ENROL_TTL = timedelta(hours=1)


class NeedUnmet(Exception):
    """No offer, or no set of offers, satisfies the need; `answer` says which constraint excluded how many."""

    def __init__(self, answer: solve.Answer) -> None:
        super().__init__("no open offer meets the need")
        self.answer = answer


class BudgetBelowCheapest(Exception):
    """The cheapest way to finish costs more than the budget."""

    def __init__(self, cheapest_usd: Decimal) -> None:
        super().__init__(f"the cheapest way to finish costs {cheapest_usd} USD")
        self.cheapest_usd = cheapest_usd


class HostNameTaken(Exception):
    """The supplier already has a host of that name."""


class EnrolRefused(Exception):
    """The token is wrong, too old, or was used with another key. `code` tells which."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


def refresh_hosts(*, now: datetime) -> None:
    """Bring the offers of suppliers' hosts up to date."""
    marketplace.refresh_all(marketplace.supplied().exclude(key_sha256=""), now)


def import_catalog(*, provider: str, lines: Iterable[str], now: datetime) -> tuple[catalog.Report, poll.Page]:
    """Replace a provider's page by a price list in the SkyPilot schema; return what became of it. Raises Rejected."""
    report = catalog.Report()
    listings = catalog.read(lines, provider=provider, now=now, report=report)
    page = poll.record(listings, provider=provider, now=now, complete=True)
    logger.info("offers.catalog-imported provider=%s rows=%d loaded=%d", provider, report.rows, report.loaded)
    return report, page


@transaction.atomic
def quote(
    *, owner_id: int, need: Need, measured: Mapping[str, float], now: datetime
) -> tuple[list[Quote], solve.Answer]:
    """
    Promise the best plans for QUOTE_TTL, best first.

    measured: samples/s of one accelerator, by name, from earlier runs. Raises NeedUnmet, BudgetBelowCheapest.
    """
    speed = estimate.speed_for(need, measured=measured)
    answer = solve.solve(need, queries.open_offers(now=now, owner_id=owner_id), speed=speed)
    if not answer.plans:
        if answer.too_dear and answer.cheapest_usd is not None:
            raise BudgetBelowCheapest(answer.cheapest_usd)
        raise NeedUnmet(answer)
    quotes = []
    for rank, plan in enumerate(answer.plans, start=1):
        quotes.append(_promise(owner_id, need, plan, rank, speed, now))
    return quotes, answer


def _promise(owner_id: int, need: Need, plan: solve.Plan, rank: int, speed: estimate.Speed, now: datetime) -> Quote:
    each = {site.accelerator: speed.of(site.accelerator) for site in plan.sites}
    known = all(rate is not None for rate in each.values())
    rate = sum((each[site.accelerator] or 0) * site.accelerators for site in plan.sites) if known else None
    made = Quote.objects.create(
        owner_id=owner_id,
        need=need.as_json(),
        rank=rank,
        why=_why(plan, speed),
        cost_usd=plan.cost_usd,
        finish_s=plan.finish_s,
        speed={"source": speed.source if known else "unknown", "samples_per_s": rate, "per_accelerator": each},
        created_at=now,
        expires_at=now + QUOTE_TTL,
    )
    lines = [(index, offer, nodes) for index, site in enumerate(plan.sites) for offer, nodes in site.lines]
    costs = dict(Offer.objects.filter(pk__in=[o.id for _, o, _ in lines]).values_list("id", "usd_per_hour"))
    for index, offer, nodes in lines:
        QuoteLine.objects.create(
            quote=made,
            site_index=index,
            offer_id=offer.id,
            nodes=nodes,
            cost_usd_per_hour=costs[offer.id],
            sell_usd_per_hour=offer.usd_per_hour,
        )
    return made


def _why(plan: solve.Plan, speed: estimate.Speed) -> str:
    sites = "one site" if len(plan.sites) == 1 else f"{len(plan.sites)} sites"
    if plan.cost_usd is None:
        return f"{sites}, {plan.usd_per_hour:f} USD an hour; the cost to finish needs --samples and a speed"
    return f"{sites}, {plan.usd_per_hour:f} USD an hour for about {plan.finish_s:.0f} s at a {speed.source} speed"


def replacement(
    *, owner_id: int, need: Need, busy_sites: set[tuple[str, str]], avoid: set[int], now: datetime
) -> solve.SitePlan | None:
    """
    Return machines for one site in place of one that was lost, or None when nothing suitable is open.

    A site that does not train this workload yet is preferred; avoid: offers that failed it a moment ago.
    """
    one = Need(
        accelerator=need.accelerator,
        accelerators_per_site=need.accelerators_per_site,
        sites=1,
        min_memory_gib=need.min_memory_gib,
        providers=need.providers,
        regions=need.regions,
        countries=need.countries,
        markets=need.markets,
    )
    can_rent = queries.open_offers(now=now, owner_id=owner_id, leasable_only=True)
    open_now = [offer for offer in can_rent if offer.id not in avoid]
    elsewhere = [offer for offer in open_now if (offer.provider, offer.region) not in busy_sites]
    for offers in (elsewhere, open_now):
        plans = solve.solve(one, offers, speed=estimate.UNKNOWN).plans
        if plans:
            return plans[0].sites[0]
    return None


def add_host(
    *, supplier_id: int, name: str, region: str, country: str, usd_per_hour: Decimal, now: datetime
) -> tuple[Host, str]:
    """Register a supplier's machine; return it with the token that enrols its agent once. Raises HostNameTaken."""
    token = f"yh_{secrets.token_urlsafe(32)}"
    try:
        with transaction.atomic():
            host = Host.objects.create(
                supplier_id=supplier_id,
                name=name,
                region=region,
                country=country.upper(),
                usd_per_hour=usd_per_hour,
                created_at=now,
                enrol_token_sha256=hashed(token),
                enrol_expires_at=now + ENROL_TTL,
            )
    except IntegrityError:
        raise HostNameTaken(name) from None
    return host, token


def enrol(*, token: str, key_sha256: str, address: str, hardware: dict[str, Any], now: datetime) -> Host:
    """Let a host's agent in with a key of its own. The same token and key twice is once. Raises EnrolRefused."""
    with transaction.atomic():
        host = Host.objects.select_for_update().filter(enrol_token_sha256=hashed(token)).first()
        if host is None:
            raise EnrolRefused("token_unknown", "this token was never given out")
        if host.key_sha256 and not hmac.compare_digest(host.key_sha256, key_sha256):
            raise EnrolRefused("token_used", f"the token of {host.name} was used already, with another key")
        if not host.key_sha256 and now >= host.enrol_expires_at:
            raise EnrolRefused(
                "token_expired", f"the token of {host.name} expired at {host.enrol_expires_at:%H:%M} UTC"
            )
        host.key_sha256, host.address, host.hardware, host.seen_at = key_sha256, address, hardware, now
        host.barred_why = lie(hardware) or ""
        host.save()
        marketplace.refresh(host, now)
    return host


def hear(*, host: Host, address: str, hardware: dict[str, Any], now: datetime) -> None:
    """Note a heartbeat. A host that was silent, or whose machine changed, is looked at anew."""
    was_silent = marketplace.silent(host, now)
    changed = hardware.get("accelerators") != host.hardware.get("accelerators")
    news: dict[str, Any] = {"seen_at": now, "address": address, "hardware": hardware}
    if changed:
        news["barred_why"] = lie(hardware) or (
            f"reported {_count(hardware)} accelerators after {_count(host.hardware)}"
            if marketplace.rented(host)
            else ""
        )
    Host.objects.filter(pk=host.pk).update(**news)
    if changed or was_silent:
        host.refresh_from_db()
        marketplace.refresh(host, now)


def bar(*, host: Host, why: str, now: datetime) -> None:
    """Offer the host no more: what it said of itself was not true."""
    Host.objects.filter(pk=host.pk).update(barred_why=why[:200])
    host.refresh_from_db()
    marketplace.refresh(host, now)


def reclaim(*, host: Host, notice: timedelta, now: datetime) -> None:
    """Take a host back: offered no more, and the supplier's own again after the notice. Asking again may hurry."""
    at = now + notice
    if host.reclaim_at is None or at < host.reclaim_at:
        Host.objects.filter(pk=host.pk).update(reclaim_at=at)
        host.refresh_from_db()
    marketplace.refresh(host, now)


def return_host(*, host: Host, now: datetime) -> None:
    """Offer a reclaimed host again."""
    Host.objects.filter(pk=host.pk).update(reclaim_at=None)
    host.refresh_from_db()
    marketplace.refresh(host, now)


def lie(hardware: dict[str, Any]) -> str | None:
    """Return what cannot be true in a hardware report, or None."""
    chips = hardware.get("accelerators") or []
    if not chips:
        return "reports no accelerator"
    kinds = {chip["kind"] for chip in chips}
    if len(kinds) > 1:
        return f"mixes accelerators: {', '.join(sorted(kinds))}"
    if kinds == {"CPU"}:
        vcpus = hardware.get("vcpus") or 0
        return f"offers {len(chips)} CPUs but has {vcpus:g}" if len(chips) > vcpus else None
    uuids = {chip.get("uuid") for chip in chips}
    return f"reports {len(chips)} accelerators with {len(uuids)} serial numbers" if len(uuids) < len(chips) else None


def _count(hardware: dict[str, Any]) -> int:
    return len(hardware.get("accelerators") or [])


def hashed(secret: str) -> str:
    """Return the hex SHA-256 of a secret of at least 112 random bits, which needs no salt (OWASP ASVS 5.0, 6.5.2)."""
    return sha256(secret.encode()).hexdigest()
