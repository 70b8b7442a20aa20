"""Teams: found one, invite others, change what they are, let them go. Every team keeps an owner."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from hashlib import sha256

from django.db import transaction
from django.db.models import QuerySet

from broker.identity.askers import Asker
from broker.identity.models import Invitation, Membership, Role, Team, User

OPEN_FOR = timedelta(days=7)


class LastOwner(Exception):
    """Without this owner the team would have none."""


class MemberMissing(Exception):
    """The team has no such member."""


class InvitationGone(Exception):
    """Nobody knows the link: it was used, withdrawn or replaced, or its time is over."""


class AnotherAddress(Exception):
    """The invitation is for an e-mail address that is not the user's; the argument is the address."""


@transaction.atomic
def make_team(*, user: User, name: str, now: datetime) -> Membership:
    """Make a team and its first owner."""
    team = Team.objects.create(name=name, created_at=now)
    return Membership.objects.create(team=team, user=user, role=Role.OWNER, created_at=now)


def membership_of(*, user: User, team_id: int) -> Membership | None:
    """Return a user's part in a team, None if there is none."""
    return Membership.objects.select_related("user", "team").filter(user=user, team_id=team_id).first()


def seen_by(asker: Asker) -> QuerySet[Membership]:
    """Return the memberships that somebody may see of himself, oldest first: a key knows its own team only."""
    mine = Membership.objects.select_related("user", "team").filter(user=asker.user).order_by("id")
    return mine if asker.key is None else mine.filter(team=asker.team)


def members_of(team_id: int) -> QuerySet[Membership]:
    """Return a team's members, oldest first."""
    return Membership.objects.select_related("user").filter(team_id=team_id).order_by("id")


@transaction.atomic
def set_role(*, team_id: int, user_id: int, role: str) -> Membership:
    """Make a member something else. Raises MemberMissing, LastOwner."""
    membership = _locked(team_id, user_id)
    if role != Role.OWNER:
        _check_another_owner(membership)
    membership.role = role
    membership.save(update_fields=["role"])
    return membership


@transaction.atomic
def remove(*, team_id: int, user_id: int) -> None:
    """End a membership, and with it the keys that the member made for the team. Raises MemberMissing, LastOwner."""
    membership = _locked(team_id, user_id)
    _check_another_owner(membership)
    membership.delete()


def _locked(team_id: int, user_id: int) -> Membership:
    """Two owners who go at the same moment wait for each other."""
    Team.objects.select_for_update().get(pk=team_id)
    membership = members_of(team_id).filter(user_id=user_id).first()
    if membership is None:
        raise MemberMissing(user_id)
    return membership


def _check_another_owner(membership: Membership) -> None:
    others = Membership.objects.filter(team_id=membership.team_id, role=Role.OWNER).exclude(pk=membership.pk)
    if membership.role == Role.OWNER and not others.exists():
        raise LastOwner


@transaction.atomic
def invite(*, team: Team, email: str, role: str, by: User, now: datetime) -> tuple[Invitation, str]:
    """Return an invitation and the secret of its link, which cannot be seen again. It replaces an earlier one."""
    Team.objects.select_for_update().get(pk=team.pk)
    team.invitations.filter(email=email.lower(), accepted_at=None).delete()
    token = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        team=team,
        email=email.lower(),
        role=role,
        sha256=_hashed(token),
        invited_by=by,
        created_at=now,
        expires_at=now + OPEN_FOR,
    )
    return invitation, token


def open_invitations(*, now: datetime) -> QuerySet[Invitation]:
    """Return those that can still be accepted, oldest first."""
    rows = Invitation.objects.select_related("team", "invited_by").filter(accepted_at=None, expires_at__gt=now)
    return rows.order_by("id")


def find_invitation(*, token: str, now: datetime) -> Invitation:
    """Return what a link stands for. Raises InvitationGone."""
    invitation = open_invitations(now=now).filter(sha256=_hashed(token)).first()
    if invitation is None:
        raise InvitationGone
    return invitation


@transaction.atomic
def accept(*, token: str, user: User, addresses: set[str], now: datetime) -> Membership:
    """
    Let a user in who has the link and the e-mail address that it was sent to. A member stays what he is.

    addresses: the user's, in lower case, as far as they can be trusted. Raises InvitationGone, AnotherAddress.
    """
    invitation = find_invitation(token=token, now=now)
    if invitation.email not in addresses:
        raise AnotherAddress(invitation.email)
    taken = Invitation.objects.filter(pk=invitation.pk, accepted_at=None).update(accepted_at=now)
    if not taken:
        raise InvitationGone
    membership, _ = Membership.objects.get_or_create(
        team=invitation.team, user=user, defaults={"role": invitation.role, "created_at": now}
    )
    return membership


def _hashed(token: str) -> str:
    return sha256(token.encode()).hexdigest()
