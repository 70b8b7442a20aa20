"""The objects about people as the API sends them: who asks, teams, members, invitations, keys."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers as s

from broker.api.shapes import choice, usd
from broker.identity.models import Role
from broker.identity.scopes import SCOPES


class TeamShape(s.Serializer[Any]):
    """A team that the asker is in, and what he is there."""

    id = s.IntegerField(source="team.pk")
    name = s.CharField(source="team.name")
    role = choice("Role", Role.values)


class NewTeamShape(s.Serializer[Any]):
    """A team's name."""

    name = s.CharField(max_length=80)


class MeShape(s.Serializer[Any]):
    """Who asks, for which team, and the team's money."""

    id = s.IntegerField(help_text="The person's; a key's is its maker.")
    username = s.CharField()
    email = s.CharField(allow_blank=True)
    is_staff = s.BooleanField(help_text="Of the broker's own staff.")
    scopes = s.ListField(child=choice("Scope", SCOPES))
    team = TeamShape()
    teams = TeamShape(many=True, help_text="A key knows its own only.")
    balance_usd = usd()
    available_usd = usd()


class MemberShape(s.Serializer[Any]):
    """Somebody in a team."""

    user = s.IntegerField(source="user_id")
    username = s.CharField(source="user.username")
    email = s.CharField(source="user.email", allow_blank=True)
    role = choice("Role", Role.values)
    created_at = s.DateTimeField()


class NewRoleShape(s.Serializer[Any]):
    """What a member is to be."""

    role = choice("Role", Role.values)


class InvitationShape(s.Serializer[Any]):
    """An invitation that is open."""

    id = s.IntegerField()
    email = s.EmailField()
    role = choice("Role", Role.values)
    invited_by = s.CharField(source="invited_by.username")
    created_at = s.DateTimeField()
    expires_at = s.DateTimeField()


class NewInvitationShape(s.Serializer[Any]):
    """Whom to invite."""

    email = s.EmailField()
    role = choice("Role", Role.values, default=Role.MEMBER.value)


class MadeInvitationShape(InvitationShape):
    """An invitation with its link, shown this once."""

    link = s.CharField()
    mailed = s.BooleanField(help_text="Whether the mail server took it; else hand the link over yourself.")


class LinkShape(s.Serializer[Any]):
    """What a link stands for, for who was sent it."""

    team = s.CharField(source="team.name")
    email = s.EmailField()
    role = choice("Role", Role.values)
    invited_by = s.CharField(source="invited_by.username")
    expires_at = s.DateTimeField()


class KeyShape(s.Serializer[Any]):
    """An API key of a team, without its secret."""

    id = s.IntegerField()
    name = s.CharField()
    prefix = s.CharField()
    scopes = s.ListField(child=choice("Scope", SCOPES))
    created_at = s.DateTimeField()
    expires_at = s.DateTimeField(allow_null=True)
    revoked_at = s.DateTimeField(allow_null=True)
    last_used_at = s.DateTimeField(allow_null=True)
    made_by = s.CharField(source="membership.user.username")


class NewKeyShape(s.Serializer[Any]):
    """A key to be made."""

    name = s.CharField(max_length=80)
    scopes = s.ListField(child=choice("Scope", SCOPES), allow_empty=False, default=["read"])
    expires_at = s.DateTimeField(required=False, allow_null=True, default=None)


class MadeKeyShape(KeyShape):
    """A key with its secret, shown this once."""

    key = s.CharField()


class KeyPageShape(s.Serializer[Any]):
    """One page of keys."""

    results = KeyShape(many=True)
    next = s.CharField(allow_null=True)


class TeamListShape(s.Serializer[Any]):
    """Teams."""

    results = TeamShape(many=True)


class MemberListShape(s.Serializer[Any]):
    """Members of a team."""

    results = MemberShape(many=True)


class InvitationListShape(s.Serializer[Any]):
    """Invitations to a team."""

    results = InvitationShape(many=True)
