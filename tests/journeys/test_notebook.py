"""Notebooks for real: the example executed by nbclient against a whole broker, and a notebook as a run's script."""

from __future__ import annotations

import asyncio
import json
import re
from decimal import Decimal
from hashlib import sha256
from statistics import fmean

import nbformat
import pytest
import torch
from gpuyard.money import dollars
from nbclient import NotebookClient
from safetensors.torch import load

from tests.journeys.checks import check_bill, check_samples
from tests.journeys.yard import ROOT

pytestmark = pytest.mark.journey
EXAMPLE = ROOT / "examples" / "train_in_a_notebook.ipynb"
LOOK = """
import json
weights = {name: tensor.tolist() for name, tensor in model.state_dict().items()}
print(json.dumps({"losses": losses, "score": score, "here": accuracy(model), "weights": weights}))
"""


@pytest.fixture(autouse=True)
def _quiet_world():
    """These journeys need no Django in this process."""


def text_of(cell):
    """What a cell shows, as HTML and text."""
    data = [output.get("data", {}) for output in cell.outputs]
    return "\n".join(each.get("text/html", each.get("text/plain", "")) for each in data)


def test_the_example_trains_brings_the_model_back_and_shows_what_it_cost(yard, tmp_path):
    notebook = nbformat.read(EXAMPLE, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(LOOK))
    client = NotebookClient(notebook, timeout=180, resources={"metadata": {"path": str(tmp_path)}})

    asyncio.run(client.async_execute(env=yard.env))

    (tmp_path / "executed.ipynb").write_text(nbformat.writes(notebook))
    cells = {cell.id: cell for cell in notebook.cells}
    seen = json.loads(notebook.cells[-1].outputs[0].text)
    run = yard.client.workloads()["results"][0]["id"]
    ended = yard.show(run)
    assert ended["state"] == "succeeded"
    check_samples(yard, run, 12_000)
    check_bill(yard, run)
    # Untrained it is about 0.7. They are one site's, which may have begun with what the other had learnt.
    assert 0 < fmean(seen["losses"][-20:]) < 0.35, "it learnt"
    (model,) = (each for each in yard.client.artifacts(run) if each["kind"] == "model")
    with yard.client.artifact_content(model["id"]) as content:
        raw = b"".join(content.chunks())
    assert sha256(raw).hexdigest() == model["sha256"]
    shown = text_of(cells["train"])
    assert model["sha256"] in shown
    assert {name: torch.tensor(each) for name, each in seen["weights"].items()}.keys() == load(raw).keys()
    assert all(torch.equal(torch.tensor(seen["weights"][name]), tensor) for name, tensor in load(raw).items())
    assert seen["here"] == seen["score"] > 0.9, "the weights are those that were scored there"
    cost = re.search(r"<dt>cost</dt><dd>(\S+)", shown)[1]
    assert cost == dollars(yard.client.bill(run)["total_usd"])
    assert Decimal(yard.client.bill(run)["total_usd"]) > 0
    assert "<polyline" in shown, "the loss curve is drawn"


def test_a_notebook_is_a_script_of_yard_run(yard, tmp_path):
    lines = (ROOT / "tests" / "journeys" / "programs" / "steady.py").read_text()
    script = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_code_cell("%load_ext gpuyard\n!pip install torch\n%matplotlib inline"),
        nbformat.v4.new_code_cell(lines),
        nbformat.v4.new_code_cell("print('version', run.progress)\nraise RuntimeError('after the model')"),
    ])  # fmt: skip
    path = tmp_path / "steady.ipynb"
    nbformat.write(script, path)

    said = yard.yard("run", str(path), "--sites", "1", "--gpu", "CPU", "--budget", "1", "--yes", "--detach", "--json",
                     "--", "--samples", "400", "--step-s", "0.001")  # fmt: skip
    run = json.loads(said.splitlines()[-1])["workload"]
    ended = yard.wait_end(run)

    logs = "\n".join(line["text"] for line in yard.client.logs(run, limit=1000))
    assert "'!pip install torch' is left out; packages are installed from requirements.txt" in logs
    assert 'steady.ipynb, code cell 3", line 2, in <module>' in logs
    assert "RuntimeError: after the model" in logs
    assert ended["why"].endswith("steady.ipynb, code cell 3:2: RuntimeError: after the model")
    check_samples(yard, run, 400)
