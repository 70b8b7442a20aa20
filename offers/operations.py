"""The book's verbs: poll the world, promise a price, take hosts in and give them back."""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

from django.db import IntegrityError, transaction

from offers import benchmarks, marketplace, poll, queries
from offers.matching import estimate, solve
from offers.matching.book import Line
from offers.matching.need import Need
from offers.matching.profile import Profile
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
    """The token is wrong, too old, used with another key, or not needed. `code` tells which."""

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
    *,
    owner_id: int,
    need: Need,
    measured: Mapping[str, float],
    now: datetime,
    profile: Profile | None = None,
    barred: Mapping[Line, str] | None = None,
    held: Mapping[int, int] | None = None,
) -> tuple[list[Quote], solve.Answer]:
    """
    Promise the best plans for QUOTE_TTL, the cheapest first.

    measured: samples/s of one accelerator, by name, from earlier runs. profile: what a probe counted; chips that cannot
    hold it are out. barred: lines that are left alone for now, and
    why. held: machines in use of offers that the team has reserved. Raises NeedUnmet, BudgetBelowCheapest.
    """
    machines = benchmarks.machines(profile.precision) if profile else {}
    speed = estimate.speed_for(need, measured=measured, profile=profile, machines=machines)
    if profile is not None and need.min_memory_gib is None and need.chips != {"cpu"}:
        need = replace(need, min_memory_gib=round(profile.memory.chip_gib, 3))
    answer = solve.solve(
        need,
        queries.open_book(now=now),
        speed=speed,
        scope=queries.scope(owner_id=owner_id, now=now, barred=barred),
        reserved=queries.reserved(owner_id=owner_id, now=now, held=held),
    )
    if not answer.plans:
        if answer.too_dear and answer.cheapest_usd is not None:
            raise BudgetBelowCheapest(answer.cheapest_usd)
        raise NeedUnmet(answer)
    return _promise(owner_id, need, answer, speed, now), answer


def _promise(owner_id: int, need: Need, answer: solve.Answer, speed: estimate.Speed, now: datetime) -> list[Quote]:
    """Write the quotes down, and what their providers get."""
    curve = [[round(point.hours, 4), str(point.usd)] for point in answer.curve]
    quotes = [
        Quote(
            owner_id=owner_id,
            need=need.as_json(),
            rank=rank,
            why=_why(plan, speed)[:300],
            cost_usd=plan.cost_usd,
            finish_s=plan.finish_s,
            labels=list(plan.labels),
            why_not=plan.why_not[:600],
            outcome=None if plan.outcome is None else plan.outcome.as_json(),
            curve=curve,
            speed=_speed(plan, speed),
            created_at=now,
            expires_at=now + QUOTE_TTL,
        )
        for rank, plan in enumerate(answer.plans, start=1)
    ]
    Quote.objects.bulk_create(quotes)
    lines = [
        (made, index, offer, nodes)
        for made, plan in zip(quotes, answer.plans, strict=True)
        for index, site in enumerate(plan.sites)
        for offer, nodes in site.lines
    ]
    costs = dict(Offer.objects.filter(pk__in={one.id for _, _, one, _ in lines}).values_list("id", "usd_per_hour"))
    QuoteLine.objects.bulk_create(
        QuoteLine(
            quote=made,
            site_index=index,
            offer_id=offer.id,
            nodes=nodes,
            cost_usd_per_hour=Decimal(0) if offer.reserved else costs[offer.id],
            sell_usd_per_hour=offer.usd_per_hour,
        )
        for made, index, offer, nodes in lines
    )
    return quotes


def _speed(plan: solve.Plan, speed: estimate.Speed) -> dict[str, Any]:
    each = {site.accelerator: speed.of(site.accelerator) for site in plan.sites}
    known = all(rate is not None for rate in each.values())
    rate = sum((each[site.accelerator] or 0) * site.accelerators for site in plan.sites) if known else None
    return {"source": speed.source if known else "unknown", "samples_per_s": rate, "per_accelerator": each}


def _why(plan: solve.Plan, speed: estimate.Speed) -> str:
    sites = "one site" if len(plan.sites) == 1 else f"{len(plan.sites)} sites"
    words = f"{' and '.join(plan.labels)}: " if plan.labels else ""
    if plan.outcome is None:
        return f"{words}{sites}, {plan.usd_per_hour:f} USD an hour; the cost to finish needs --samples and a speed"
    cost, told = plan.outcome.cost_usd, f"a {speed.source} speed"
    return (
        f"{words}{sites}, {plan.usd_per_hour:f} USD an hour for about {plan.finish_s:.0f} s at {told}:"
        f" {_amount(cost.p10)} to {_amount(cost.p90)} USD"
    )


def _amount(usd: float) -> str:
    return f"{usd:.2f}" if usd >= 1 else f"{usd:.2g}"  # A small run is not free.


def add_host(
    *, supplier_id: int, name: str, region: str, country: str, usd_per_hour: Decimal, now: datetime
) -> tuple[Host, str]:
    """Register a supplier's machine; return it with the token that enrols its agent once. Raises HostNameTaken."""
    token = _new_token()
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


def renew_token(*, host: Host, now: datetime) -> str:
    """Return a new token for a host whose agent never came; the one before enrols nobody. Raises EnrolRefused."""
    token = _new_token()
    fresh = {"enrol_token_sha256": hashed(token), "enrol_expires_at": now + ENROL_TTL}
    if not Host.objects.filter(pk=host.pk, key_sha256="").update(**fresh):
        raise EnrolRefused("host_enrolled", f"the agent of {host.name} is in already: it needs no token")
    return token


def _new_token() -> str:
    return f"yh_{secrets.token_urlsafe(32)}"


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
