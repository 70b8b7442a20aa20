"""Whatever the broker answers in tests is held against the schema: status, media type and every field of the body."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from jsonschema import Draft202012Validator

WRITTEN = Path(__file__).parents[1] / "docs" / "openapi.json"


@cache
def schema() -> dict[str, Any]:
    """Return the OpenAPI schema as the code has it now."""
    from drf_spectacular.generators import SchemaGenerator
    from drf_spectacular.renderers import OpenApiJsonRenderer

    told: dict[str, Any] = json.loads(OpenApiJsonRenderer().render(SchemaGenerator().get_schema(public=True)))
    return told


@cache
def _operations() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    # What names its address in full goes before what has slots: /v1/offers/groups is not an offer.
    paths = sorted(schema()["paths"].items(), key=lambda item: item[0].count("{"))
    return [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), methods) for path, methods in paths]


@cache
def _components() -> dict[str, Any]:
    """Return the components, each closed: a field that is sent and not described is an error here."""
    closed = json.loads(json.dumps(schema()["components"]))
    for one in closed["schemas"].values():
        if "properties" in one:
            one.setdefault("additionalProperties", False)
    return closed


def _operation(method: str, path: str, query: str) -> dict[str, Any] | None:
    if path == "/v1/offers" and "group_by" in parse_qs(query):
        path = "/v1/offers/groups"  # As the description says.
    for pattern, methods in _operations():
        if pattern.fullmatch(path):
            found: dict[str, Any] | None = methods.get(method.lower())
            return found
    return None


def fits(form: dict[str, Any], value: Any) -> list[str]:
    """Return what is wrong with a value of a form that may name components."""
    checker = Draft202012Validator({**form, "components": _components()})
    return [f"{error.json_path}: {error.message[:300]}" for error in checker.iter_errors(value)]


def check(method: str, path: str, query: str, answer: Any) -> None:
    """Fail when an answer is not what the schema says of its address; what has no schema (agents, sites) passes."""
    operation = _operation(method, path, query)
    if operation is None or answer.status_code >= 500 or answer.status_code == 405:
        return
    code = str(answer.status_code)
    described = operation["responses"].get(code) or operation["responses"].get(f"{code[0]}XX")
    assert described, f"{method} {path}: {code} is not in the schema"
    kinds = described.get("content", {})
    kind = answer.get("Content-Type", "").partition(";")[0]
    assert kind in kinds or not kinds, f"{method} {path}: {kind} is not in the schema"
    if kind == "application/json":
        wrong = fits(kinds[kind]["schema"], json.loads(answer.content))
        assert not wrong, f"{method} {path}, {code}: {wrong[:5]}"
