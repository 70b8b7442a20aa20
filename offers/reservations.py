"""
What teams have reserved at clouds and pay for in any case: written down, shown with its use, taken back.

The broker reserves nothing. A cloud's own reservation covers the on-demand machines of its owner's account by itself
(as https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-capacity-reservations.html says of "open" ones), so what is
written down here is how many machines of which line a team need not pay for again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from django.db.models import QuerySet

from offers import accounts
from offers.models import Offer, Reservation


class NotReservable(Exception):
    """Machines of that offer cannot be covered by a reservation; the argument says why."""


class OwnAccountMissing(Exception):
    """The team has no account of its own at the offer's provider, so nothing is reserved for it there."""

    def __init__(self, provider: str) -> None:
        super().__init__(f"what is reserved stands in an account of your own, and you have none at {provider}")
        self.provider = provider


def add(*, owner_id: int, offer_id: int, machines: int, until: datetime) -> Reservation:
    """Write down that machines of an offer are paid for until then. Raises NotReservable, OwnAccountMissing."""
    offer = Offer.objects.filter(pk=offer_id, gone_at=None).first()
    if offer is None:
        raise NotReservable(f"no open offer has the id {offer_id}")
    if offer.market != "on_demand":
        raise NotReservable(f"{offer_id} is sold as {offer.market}; what is reserved is launched as on_demand")
    if offer.provider not in accounts.accounts_of(owner_id):
        raise OwnAccountMissing(offer.provider)
    return Reservation.objects.create(owner_id=owner_id, offer=offer, machines=machines, until=until)


def remove(*, owner_id: int, reservation_id: int) -> None:
    """Forget a team's reservation, if it has that one; what runs keeps its price."""
    Reservation.objects.filter(pk=reservation_id, owner_id=owner_id).delete()


def lasting(*, owner_id: int, now: datetime) -> QuerySet[Reservation]:
    """Return a team's reservations that are not over, oldest first."""
    mine = Reservation.objects.filter(owner_id=owner_id, until__gt=now)
    return mine.select_related("offer").order_by("id")


def in_use(reservations: Iterable[Reservation], held: Mapping[int, int]) -> dict[int, int]:
    """
    Return {reservation: machines in use}, the first ones of an offer filled first.

    held: {offer: machines} that the team holds of what it reserved.
    """
    left, used = dict(held), {}
    for one in reservations:
        used[one.pk] = min(one.machines, left.get(one.offer_id, 0))
        left[one.offer_id] = left.get(one.offer_id, 0) - used[one.pk]
    return used
