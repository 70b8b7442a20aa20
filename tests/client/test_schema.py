"""The client's types against the broker's schema: whatever the broker may send, the client's types allow."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest

SCHEMAS = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())["components"]["schemas"]
# The client's word -> the schema's, where they differ.
NAMES = {
    "LedgerRow": "Entry",
    "MetricRow": "Metric",
    "Contribution": "Contributor",
    "Resumed": "Resumed",
    "Reserved": "Reservation",
}
NOT_OURS = {"Wheel", "Page"}  # /dl/ has no schema; a page has one for each kind of thing.
KINDS = {"string": str, "integer": int, "number": float, "boolean": bool}


def known() -> dict[str, type]:
    from gpuyard import objects, quoting

    found = {**vars(quoting), **vars(objects)}
    return {name: kind for name, kind in found.items() if is_typeddict(kind) and name not in NOT_OURS}


def named(form: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in form:
        return SCHEMAS[form["$ref"].rpartition("/")[2]]
    return {**form["allOf"][0], **form} if "allOf" in form and "$ref" not in form["allOf"][0] else form


def misfits(form: dict[str, Any], kind: Any, where: str) -> list[str]:
    """Return where a value of the schema's form is none of the client's type."""
    if "allOf" in form:
        form = form["allOf"][0]
    form = named(form)
    for word in ("oneOf", "anyOf"):
        if word in form:
            return [wrong for one in form[word] for wrong in misfits(one, kind, where)]
    if isinstance(form.get("type"), list):
        return [wrong for one in form["type"] for wrong in misfits({**form, "type": one}, kind, where)]
    kinds = alternatives(kind)
    if Any in kinds or not form:
        return []
    if form["type"] == "null":
        return [] if type(None) in kinds else [f"{where}: may be null"]
    if form["type"] == "array":
        return of_array(form, kinds, where)
    if form["type"] == "object":
        return of_object(form, kinds, where)
    if "enum" in form and (words := {word for one in kinds if get_origin(one) is Literal for word in get_args(one)}):
        return [f"{where}: may be {word!r}" for word in form["enum"] if word not in words and str not in kinds]
    wanted = KINDS[form["type"]]
    fits = wanted in kinds or (wanted is int and float in kinds)
    return [] if fits else [f"{where}: {form['type']} is not {kind}"]


def alternatives(kind: Any) -> list[Any]:
    if get_origin(kind) is NotRequired:
        return alternatives(get_args(kind)[0])
    return list(get_args(kind)) if get_origin(kind) in (Union, types.UnionType) else [kind]


def of_array(form: dict[str, Any], kinds: list[Any], where: str) -> list[str]:
    if "prefixItems" in form:
        pair = next((one for one in kinds if get_origin(one) is tuple), None)
        if pair is None:
            return [f"{where}: is a tuple"]
        return [
            wrong
            for item, kind in zip(form["prefixItems"], get_args(pair), strict=True)
            for wrong in misfits(item, kind, where)
        ]
    for one in kinds:
        if get_origin(one) is list:
            return misfits(form["items"], get_args(one)[0], f"{where}[]")
    return [f"{where}: is a list"]


def of_object(form: dict[str, Any], kinds: list[Any], where: str) -> list[str]:
    for one in kinds:
        if is_typeddict(one):
            return misfits_of_type(form, one, where)
        if get_origin(one) is dict:
            inner = [form["additionalProperties"]] if form.get("additionalProperties") else []
            inner += form.get("properties", {}).values()
            return [wrong for item in inner for wrong in misfits(item, get_args(one)[1], f"{where}{{}}")]
    return [f"{where}: is an object"]


def misfits_of_type(form: dict[str, Any], kind: Any, where: str) -> list[str]:
    wrong: list[str] = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if name not in form["properties"]:
            wrong.append(f"{where}.{name}: the broker has no such field")
            continue
        if name in kind.__required_keys__ and name not in form.get("required", []):
            wrong.append(f"{where}.{name}: may be missing")
        wrong += misfits(form["properties"][name], hint, f"{where}.{name}")
    return wrong


@pytest.mark.parametrize("name", sorted(known()))
def test_what_the_broker_may_send_is_what_the_client_expects(name):
    form = SCHEMAS[NAMES.get(name, name)]

    assert misfits_of_type(form, known()[name], name) == []


def test_a_type_that_differs_is_found():
    form = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": []}
    kind = types.new_class("T", (), {})
    kind.__annotations__, kind.__required_keys__ = {"a": str, "b": int}, frozenset({"a", "b"})

    assert misfits_of_type(form, kind, "T") == [
        "T.a: may be missing",
        "T.a: may be null",
        "T.b: the broker has no such field",
    ]
