"""Notebooks at the broker: taken as scripts, refused with cell and line, and results beside the model."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from tests.conftest import packed
from tests.workloads.test_lifecycles import one, site_of  # noqa: F401 - `one` is a fixture
from workloads import queries

pytestmark = pytest.mark.django_db


def notebook(*sources):
    cells = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": each} for each in sources]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})


@pytest.fixture
def order(ada, make_host, settle):
    """Order a program of one notebook; the answer as it came."""
    settle(make_host("berlin-1", "home/berlin"), seconds=1)

    def ordered(text):
        raw = packed({"train.ipynb": text})
        digest = sha256(raw).hexdigest()
        ada.ok("PUT", f"/v1/programs/{digest}", raw=raw)
        quotes = ada.ok("POST", "/v1/quotes", {"accelerator": "CPU", "sites": 1})["quotes"]
        body = {"quote": quotes[0]["id"], "program": digest, "script": "train.ipynb", "args": [], "budget_usd": "5"}
        return ada.call("POST", "/v1/workloads", body)

    return ordered


def test_a_notebook_can_be_ordered(order):
    answer = order(notebook("%matplotlib inline\nimport gpuyard.train as yard", "x = 1"))

    assert answer.status_code == 201
    assert answer.json()["script"] == "train.ipynb"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (notebook("x = 1", "x = 2\n!nvidia-smi"), "train.ipynb, code cell 2, line 2: shell commands do not run"),
        (notebook("%%bash\nls"), "train.ipynb, code cell 1, line 1: %%bash cells do not run here"),
        ("print('no notebook')", "train.ipynb is not a Jupyter notebook"),
        (notebook(), "train.ipynb has no code cells"),
    ],
)
def test_a_notebook_no_host_could_run_is_refused_before_it_costs_anything(order, text, told):
    answer = order(text)

    assert answer.status_code == 422
    assert told in answer.json()["error"]["message"]


def test_results_are_kept_beside_the_model_and_never_instead_of_it(ada, one):  # noqa: F811
    site = site_of(one)
    site.lease()
    raw = site.put(site.theta)
    body = {"name": "results.safetensors", "sha256": raw, "metrics": {}, "kind": "results"}

    first, again = site.ok("POST", "artifacts", body)["id"], site.ok("POST", "artifacts", body)["id"]
    (run,) = ada.ok("GET", "/v1/workloads")["results"]
    without_a_model = queries.newest_artifact(run["id"])
    site.save()

    assert first == again
    assert without_a_model is None or without_a_model.kind == "checkpoint"
    kept = ada.ok("GET", f"/v1/workloads/{run['id']}/artifacts")["results"]
    assert sorted(each["kind"] for each in kept if each["kind"] != "checkpoint") == ["model", "results"]
    assert ada.ok("GET", f"/v1/workloads/{run['id']}")["artifact"]["kind"] == "model"


def test_another_kind_is_refused(one):  # noqa: F811
    site = site_of(one)
    site.lease()

    answer = site.call("POST", "artifacts", {"name": "x", "sha256": site.put(site.theta), "kind": "checkpoint"})

    assert answer.status_code == 422
    assert "kind must be model or results" in answer.json()["error"]["message"]
