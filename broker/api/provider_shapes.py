"""The objects about accounts at clouds, as the API sends them: none has a field for a secret."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers as s

from broker.api.shapes import choice


class DeniedShape(s.Serializer[Any]):
    """A permission that the last check found missing."""

    name = s.CharField()
    why = s.CharField()


class PolledShape(s.Serializer[Any]):
    """How reading a provider's prices goes."""

    seen_at = s.DateTimeField(allow_null=True)
    stale = s.BooleanField()
    failures = s.IntegerField()
    error = s.CharField()
    lines = s.IntegerField()


class ProviderShape(s.Serializer[Any]):
    """A cloud that machines can be rented at, and whose account is used for it; `hint` ends what names the account."""

    name = s.CharField()
    credentials = s.DictField(child=s.BooleanField(), help_text="{name: whether it is required}")
    connected = choice("Connected", ("own", "broker"), allow_null=True, help_text="Whose account is used.")
    hint = s.CharField()
    checked_at = s.DateTimeField(allow_null=True)
    denied = DeniedShape(many=True)
    source = PolledShape(allow_null=True)


class NewAccountShape(s.Serializer[Any]):
    """What is handed over; it is never shown again."""

    credentials = s.DictField(child=s.CharField(max_length=64 << 10), write_only=True)


class PermissionShape(s.Serializer[Any]):
    """One thing that an account must be allowed to do; `granted` is null when only doing it would tell."""

    name = s.CharField()
    granted = s.BooleanField(allow_null=True)
    why = s.CharField()


class CheckShape(s.Serializer[Any]):
    """What an account may do."""

    provider = s.CharField()
    checked_at = s.DateTimeField()
    permissions = PermissionShape(many=True)
