"""One contract: the schema says what is sent, and docs/openapi.json, which clients are made from, is that schema."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from tests import contract
from workloads.models import Workload


def test_the_written_schema_is_that_of_the_code():
    assert json.loads(contract.WRITTEN.read_text()) == contract.schema(), (
        "run `make schema` and commit docs/openapi.json"
    )


def test_every_answer_is_described_with_the_error_that_it_may_be():
    for path, methods in contract.schema()["paths"].items():
        for method, operation in methods.items():
            assert "4XX" in operation["responses"], (method, path)
            kinds = [kind for one in operation["responses"].values() for kind in one.get("content", {}).values()]
            assert all(kind["schema"] for kind in kinds), (method, path)


def test_lists_are_objects_with_results():
    lists = {
        operation["operationId"]: operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
        for methods in contract.schema()["paths"].values()
        for operation in methods.values()
        if operation["operationId"].startswith("list_") and operation["operationId"] != "list_versions"
    }

    assert len(lists) > 10
    for ref in lists.values():
        form = contract.schema()["components"]["schemas"][ref.rpartition("/")[2]]
        assert form["properties"]["results"]["type"] == "array"


def test_states_are_those_of_the_lifecycles():
    assert contract.schema()["components"]["schemas"]["WorkloadState"]["enum"] == Workload.State.values


@pytest.mark.parametrize(
    "body", [{"id": 1}, {"id": 1, "username": "a", "scopes": ["fly"], "balance_usd": "1", "available_usd": "1"}]
)
def test_an_answer_that_is_not_as_described_is_found(body):
    answer = SimpleNamespace(status_code=200, content=json.dumps(body), get=lambda name, default: "application/json")

    with pytest.raises(AssertionError, match="/v1/me"):
        contract.check("GET", "/v1/me", "", answer)


def test_a_field_that_is_not_described_is_found():
    body = {"error": {"code": "x", "message": "y", "hint": "", "fields": {}, "more": 1}}

    assert contract.fits({"$ref": "#/components/schemas/Error"}, body)
