"""
What the objects of the API are made of: the schema documents what is sent, and the dashboard's types come from it.

A class named OfferShape is the component Offer of the schema (broker.api.openapi).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers as s

SCALAR: dict[str, Any] = {"oneOf": [{"type": "number"}, {"type": "string"}, {"type": "boolean"}]}


def usd(**options: Any) -> s.DecimalField:
    """A decimal string of USD with six places."""
    return s.DecimalField(max_digits=18, decimal_places=6, **options)


def texts() -> s.ListField:
    """Several names."""
    return s.ListField(child=s.CharField(), required=False, allow_null=True)


def number(**options: Any) -> s.FloatField:
    """A number that may be left out."""
    return s.FloatField(required=False, allow_null=True, **options)


def whole(**options: Any) -> s.IntegerField:
    """A whole number that may be left out."""
    return s.IntegerField(required=False, allow_null=True, **options)


def choice(name: str, values: Iterable[str], **options: Any) -> s.ChoiceField:
    """One of a few words, which the schema knows by a name of their own."""
    words = tuple(str(value) for value in values)
    return _kind(name, words)(choices=words, **options)


@cache
def _kind(name: str, words: tuple[str, ...]) -> type[s.ChoiceField]:
    """Two lists of words under one name are two classes, and the schema's check tells of them."""
    form = {"type": "string", "enum": list(words)}
    return extend_schema_field(form, component_name=name)(type(name, (s.ChoiceField,), {}))


def stored(form: type[s.Serializer[Any]] | dict[str, Any], **options: Any) -> s.JSONField:
    """A JSON value that is sent as it was stored; `form`: what it looks like, as a shape or as JSON Schema."""
    return extend_schema_field(form)(type("Stored", (s.JSONField,), {}))(**options)


def scalars(**options: Any) -> s.JSONField:
    """{name: number, text or truth}, as a script reported them."""
    return stored({"type": "object", "additionalProperties": SCALAR}, **options)


@cache
def listed(shape: type[s.Serializer[Any]]) -> type[s.Serializer[Any]]:
    """Return the shape of a list that is not paged, or that grows and is read with `?after=`."""
    name = shape.__name__.removesuffix("Shape")
    return type(f"{name}ListShape", (s.Serializer,), {"results": shape(many=True)})


@cache
def paged(shape: type[s.Serializer[Any]]) -> type[s.Serializer[Any]]:
    """Return the shape of one page of a list; `next` is the cursor of the page after it."""
    name = shape.__name__.removesuffix("Shape")
    return type(
        f"{name}PageShape", (s.Serializer,), {"results": shape(many=True), "next": s.CharField(allow_null=True)}
    )


class RefusalShape(s.Serializer[Any]):
    """What was wrong, where, and what to do next."""

    code = s.CharField(help_text="A word for programs.")
    message = s.CharField()
    hint = s.CharField(allow_blank=True, help_text="What to do next.")
    fields = stored({"type": "object", "additionalProperties": {}}, help_text="Figures that go with the code.")


class ErrorShape(s.Serializer[Any]):
    """The answer of every request that fails."""

    error = RefusalShape()
