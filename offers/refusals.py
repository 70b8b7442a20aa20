"""
What failed a moment ago: sold out, over a quota, dearer than agreed, slow to boot, broken. Remembered for a while.

Each time that it happens again doubles the time for which an offer is left alone; a machine that comes up ends it.
What is sold out, dearer or slow is so for everybody; a quota and any other failure may be the account's own affair.
What merely failed is tried again soon, however often: it may be all that there is, and it comes last for a while.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from offers.models import Account, Offer, Refusal
from providers.base import ProviderError, Reason

SOLD_OUT, QUOTA, PRICE, SLOW_BOOT, FAILED = "sold_out", "quota", "price", "slow_boot", "failed"
LASTS = {  # For the first time; all but FAILED twice as long each time that it happens again, up to LASTS_MAX.
    SOLD_OUT: timedelta(minutes=2),
    QUOTA: timedelta(hours=6),
    PRICE: timedelta(minutes=10),
    SLOW_BOOT: timedelta(minutes=15),
    FAILED: timedelta(seconds=30),
}
LASTS_MAX = timedelta(hours=24)
FORGOTTEN_AFTER = timedelta(hours=1)  # A failure that comes so long after the last one ended is the first again.
WORDS = {
    SOLD_OUT: "sold out a moment ago",
    QUOTA: "over the account's quota",
    PRICE: "its price moved",
    SLOW_BOOT: "slow to boot a moment ago",
    FAILED: "failed a moment ago",
}
REASONS = {Reason.SOLD_OUT: SOLD_OUT, Reason.QUOTA: QUOTA, Reason.PRICE: PRICE}
EVERYBODYS = (SOLD_OUT, PRICE, SLOW_BOOT)
COMES_LAST_FOR = timedelta(minutes=10)  # After that it may be tried, but others are better.
Line = tuple[str, str, str, str, str]  # provider, region, zone, machine type, market


def reason_of(error: ProviderError) -> str:
    """Return the kind of a provider's refusal."""
    return REASONS.get(error.reason, FAILED)


def line_of(offer: Offer) -> Line:
    """Return what names an offer's line."""
    return offer.provider, offer.region, offer.zone, offer.machine_type, offer.market


def remember(
    *, offer: Offer, reason: str, why: str, now: datetime, owner_id: int | None = None, machines: int | None = None
) -> Refusal:
    """
    Leave an offer alone for a while.

    owner_id: whose account it was, null the broker's; machines: how many of it that account held.
    """
    whose: dict[str, Any] = {"owner_id": None if reason in EVERYBODYS else owner_id, "reason": reason, **_named(offer)}
    known = Refusal.objects.filter(**whose).first()
    recent = known is not None and now < known.until + FORGOTTEN_AFTER
    times = known.times + 1 if known is not None and recent else 1
    again = 0 if reason == FAILED else min(times - 1, 16)
    until = now + min(LASTS[reason] * 2**again, LASTS_MAX)
    news = {"why": why[:400], "machines": machines, "times": times, "at": now, "until": until}
    return Refusal.objects.update_or_create(**whose, defaults=news)[0]


def forget(*, offer: Offer) -> None:
    """A machine of the offer came up: it is neither sold out nor slow nor broken. A quota stays what it is."""
    Refusal.objects.filter(**_named(offer)).exclude(reason=QUOTA).delete()


def barred(
    *, owner_id: int | None, now: datetime, held: Callable[[Line], int] | None = None, cautious: bool = False
) -> dict[Line, str]:
    """
    Return {line: why} of the offers that are left alone now.

    held: how many machines of a line the account holds; below a quota that was met, one more may be asked for.
    cautious: also those whose time has passed a moment ago: they come last.
    """
    since = now - COMES_LAST_FOR if cautious else now
    own = set(Account.objects.filter(owner_id=owner_id).values_list("provider", flat=True)) if owner_id else set()
    found: dict[Line, str] = {}
    for one in Refusal.objects.filter(until__gt=since).order_by("until"):
        whose = owner_id if one.provider in own else None
        concerns = one.reason in EVERYBODYS or one.owner_id == whose
        line = (one.provider, one.region, one.zone, one.machine_type, one.market)
        below = one.reason == QUOTA and held is not None and held(line) < (one.machines or 0)
        if concerns and not below:
            found[line] = WORDS[one.reason]
    return found


def _named(offer: Offer) -> dict[str, str]:
    return dict(zip(("provider", "region", "zone", "machine_type", "market"), line_of(offer), strict=True))
