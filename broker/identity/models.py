"""Who may ask: people, the teams that they are in, and the teams' API keys."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q


class User(AbstractUser):
    """A person. What people run, lend and pay belongs to a team that they are in."""


class Team(models.Model):
    """A tenant: customers and suppliers are both teams. Everybody has one of his own."""

    name = models.CharField(max_length=80)
    created_at = models.DateTimeField()


class Role(models.TextChoices):
    """What somebody is in a team."""

    OWNER = "owner"
    MEMBER = "member"
    VIEWER = "viewer"


class Membership(models.Model):
    """A person in a team. With it end the API keys that he made there."""

    team = models.ForeignKey(Team, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=8, choices=Role.choices)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "user"], name="a_user_is_in_a_team_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="a_member_has_a_role_that_we_know"),
        ]


class Invitation(models.Model):
    """A link that lets the owner of an e-mail address into a team. Only its SHA-256 is kept."""

    team = models.ForeignKey(Team, models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=8, choices=Role.choices)
    sha256 = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey(User, models.CASCADE)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["team", "email"],
                condition=Q(accepted_at=None),
                name="an_address_has_one_open_invitation_to_a_team",
            ),
        ]


class ApiKey(models.Model):
    """A key for programs. Only its SHA-256 is kept: the secret has 256 random bits (OWASP ASVS 5.0, 6.5.2)."""

    membership = models.ForeignKey(Membership, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=12, unique=True)
    sha256 = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
