"""`yard probe`: a script measured here, told and kept; the real command in a package as the wheel has it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .contract_broker import KEY, ContractBroker, Reply, sha256

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys, torch, gpuyard.train as yard
from torch import nn
model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 1))
optimizer = torch.optim.Adam(model.parameters())
print("arguments", sys.argv[1:])
with yard.session(model, optimizer) as run:
    for batch in run.batches([torch.ones(64)] * 1_000_000, batch_size=32):
        loss = model(batch).square().mean()
        loss.backward(); optimizer.step(); optimizer.zero_grad()
run.save(model)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder in which `gpuyard` is what the wheel holds."""
    inside = tmp_path / "wheel" / "gpuyard"
    inside.mkdir(parents=True)
    for each in (ROOT / "frontend" / "client" / "gpuyard").iterdir():
        if each.name != "__pycache__":
            (inside / each.name).symlink_to(each)
    for name, where in (("node", "workloads/node"), ("matching", "offers/matching"), ("gpus.py", "offers/gpus.py"),
                        ("data", "offers/data")):  # fmt: skip
        (inside / name).symlink_to(ROOT / where)
    return inside.parent


@pytest.fixture
def probe(package: Path, tmp_path: Path) -> Any:
    """Runs `yard probe` with a script and words; `known` = a broker is configured."""

    def run(script: str, *words: str, broker: ContractBroker | None = None) -> subprocess.CompletedProcess[str]:
        (tmp_path / "train.py").write_text(script)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD")}
        environment |= {"PYTHONPATH": str(package), "GPUYARD_CONFIG": str(tmp_path / "none.json")}
        if broker:
            environment |= {"GPUYARD_URL": broker.url, "GPUYARD_API_KEY": KEY}
        command = [sys.executable, "-m", "gpuyard", "probe", "train.py", *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def test_json_tells_profile_memory_and_chips_and_keeps_it_at_the_broker(probe: Any, broker: ContractBroker) -> None:
    broker.on("PUT", "/v1/programs/[0-9a-f]+$", Reply(201, {"sha256": "x", "size_bytes": 1}))
    broker.on("PUT", "/v1/programs/[0-9a-f]+/profile", {"kept": True})

    said = probe(SCRIPT, "--json", "--seconds", "1", "--", "--lr", "0.1", broker=broker)

    told = json.loads(said.stdout)
    (program,) = broker.calls("PUT", "/v1/programs/[0-9a-f]+$")
    (kept,) = broker.calls("PUT", "/v1/programs/[0-9a-f]+/profile")
    assert said.returncode == 0, said.stderr
    assert told["program"] == sha256(program.raw)
    assert kept.path == f"/v1/programs/{told['program']}/profile"
    assert kept.body == told["profile"]
    assert told["stored"] is True
    assert told["profile"]["parameters"] == 64 * 256 + 256 + 256 + 1
    assert told["here"]["accelerator"] == "CPU"
    assert told["here"]["samples_per_s"] > 0
    by_name = {each["accelerator"]: each for each in told["chips"]}
    assert by_name["H100-SXM"]["p10"] < by_name["H100-SXM"]["samples_per_s"] < by_name["H100-SXM"]["p90"]
    assert by_name["T4"]["fits"]
    assert told["memory_gib"]["total"] == pytest.approx(sum(told["memory_gib"].values()) / 2, abs=0.01)
    assert "arguments ['--lr', '0.1']" in said.stderr


def test_people_read_a_table_and_no_broker_is_needed(probe: Any, tmp_path: Path) -> None:
    said = probe(SCRIPT, "--seconds", "1")

    assert said.returncode == 0, said.stderr
    assert "Here (CPU): " in said.stdout
    assert "Memory on a GPU: 1.30 GiB" in said.stdout
    assert [line.split()[0] for line in said.stdout.splitlines()].count("H100-SXM") == 1
    assert "No broker is known" in said.stderr
    assert not (tmp_path / "model.safetensors").exists()


def test_no_upload_asks_no_broker(probe: Any, broker: ContractBroker) -> None:
    said = probe(SCRIPT, "--json", "--seconds", "1", "--no-upload", broker=broker)

    assert json.loads(said.stdout)["stored"] is False
    assert broker.asked == []


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("print('no session')", "ended with exit code 0 and trained nothing"),
        ("raise ValueError('broken')", "ended with exit code 1 and trained nothing"),
        (SCRIPT.replace("1_000_000", "32"), "too few batches"),
    ],
)
def test_a_script_that_trains_nothing_is_told_so(probe: Any, script: str, why: str) -> None:
    said = probe(script, "--json", "--seconds", "1")

    error = json.loads(said.stdout)["error"]
    assert (said.returncode, error["code"]) == (10, "probe_failed")
    assert why in error["message"]
    assert error["hint"]
