"""The objects of the API that tell of the parameters' versions, field by field."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers as s

INTEGER_MAX = 2**31 - 1  # Of a column.


class TensorShape(s.Serializer[Any]):
    """One tensor of the parameters."""

    shape = s.ListField(child=s.IntegerField())
    dtype = s.CharField()


class StoredShape(s.Serializer[Any]):
    """A snapshot, or the update from its `version` to the next, among the workload's objects."""

    version = s.IntegerField()
    sha256 = s.CharField()
    size_bytes = s.IntegerField()
    fingerprint = s.CharField(allow_blank=True, help_text="Of the parameters with it; empty for the first ones.")


class VersionShape(s.Serializer[Any]):
    """What leads to a version of the parameters: a snapshot, then the updates in their order."""

    workload = s.IntegerField()
    version = s.IntegerField()
    fingerprint = s.CharField(allow_blank=True)
    tensors = s.DictField(child=TensorShape(), help_text="{name: {shape, dtype}}")
    snapshot = StoredShape()
    updates = StoredShape(many=True)


class VersionsShape(s.Serializer[Any]):
    """Which versions of the parameters can be had."""

    newest = s.IntegerField(allow_null=True)
    kept = s.ListField(child=s.ListField(child=s.IntegerField()), help_text="[[first, last]...], oldest first.")


class ResumeShape(s.Serializer[Any]):
    """The workload that a run goes on from, on any sites: samples that are merged in that version are not again."""

    workload = s.IntegerField(min_value=1, max_value=INTEGER_MAX)
    version = s.IntegerField(
        required=False, allow_null=True, default=None, min_value=0, max_value=INTEGER_MAX, help_text="null: the newest."
    )
