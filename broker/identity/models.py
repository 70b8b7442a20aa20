"""Who may ask: users and their API keys."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """A person or an organisation's account: a tenant. Customers and suppliers are both users."""


class ApiKey(models.Model):
    """A key for programs. Only its SHA-256 is kept: the secret has 256 random bits (OWASP ASVS 5.0, 6.5.2)."""

    user = models.ForeignKey(User, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=12, unique=True)
    sha256 = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
