"""The style guide as tests: the house must look as docs/architecture.md says."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from workloads.tick import MACHINES

ROOT = Path(__file__).parents[2]
HOUSES = ["broker", "billing", "workloads", "offers", "providers", "frontend/client/gpuyard", "examples"]
FILES = [path for house in HOUSES for path in sorted((ROOT / house).rglob("*.py")) if "migrations" not in path.parts]
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
ADAPTER_LINES_MAX = 250
NO_ADAPTERS = {"base.py", "http.py"}  # What all adapters stand on.
NAMES_WITHOUT_AN_IDEA = {"utils", "helpers", "common", "core", "manager", "misc", "base_service"}
# One door per library. The client, the node and the server are three programs, so each has a door of its own.
ONE_DOOR = {
    "requests": {"providers/http.py", "workloads/node/link.py", "workloads/node/training/link.py",
                 "frontend/client/gpuyard/transport.py"},
    "allauth": {"broker/identity/adapter.py", "broker/identity/stages.py"},
    "boto3": {"providers/aws_api.py"},
    "botocore": {"providers/aws_api.py"},
    "nebius": {"providers/nebius_calls.py", "providers/nebius_prices.py", "providers/nebius.py"},
    "grpc": {"providers/nebius_calls.py"},
    "fsspec": {"workloads/storage.py", "workloads/node/training/sources.py"},
    "IPython": {"frontend/client/gpuyard/notebook/magic.py"},
    "lightning": {"workloads/node/training/lightning.py"},
    "litdata": {"workloads/node/training/shards.py"},
    "prometheus_client": {"broker/api/prometheus.py"},
    "pynvml": {"workloads/node/hardware.py"},
    "transformers": {"workloads/node/training/huggingface.py"},
    "stripe": {"billing/stripe_gateway.py"},
    "pandas": {"offers/history.py"},
    "numba": {"offers/matching/compiled.py"},
    "scipy": {"offers/matching/tick_columns.py", "offers/matching/tick_drain.py"},
}  # fmt: skip
RAY_LIVES_IN = "workloads/node/"


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_fits_in_the_head(path):
    text = path.read_text()

    assert text.count("\n") <= FILE_LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < FUNCTION_LINES_MAX, node.name


@pytest.mark.parametrize("path", sorted((ROOT / "providers").glob("*.py")), ids=name_of)
def test_an_adapter_translates_and_nothing_else(path):
    assert path.name in NO_ADAPTERS or path.read_text().count("\n") <= ADAPTER_LINES_MAX


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_and_its_public_names_say_what_they_are_for(path):
    tree = ast.parse(path.read_text())

    assert not tree.body or ast.get_docstring(tree), "a module opens with one line"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node) or node.name in ("Meta",), node.name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_module_is_named_after_what_is_inside(path):
    assert not NAMES_WITHOUT_AN_IDEA & {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}


def imported(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    return [name.split(".")[0] for name in names]


def test_each_library_has_one_door():
    for path in FILES:
        for name in imported(path):
            doors = ONE_DOOR.get(name)
            assert doors is None or name_of(path) in doors, (name_of(path), name)
            assert name != "ray" or name_of(path).startswith(RAY_LIVES_IN), name_of(path)
            assert name != "torch" or name_of(path).startswith((RAY_LIVES_IN, "examples/")), name_of(path)


def test_imports_only_go_down():
    lint = Path(sys.executable).parent / "lint-imports"

    done = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", MACHINES)
def test_every_state_is_a_step_or_an_end(kind):
    machine = MACHINES[kind]
    states = set(machine.model.State.values)

    assert set(machine.steps) | machine.final == states
    assert not set(machine.steps) & machine.final
    for state, step in machine.steps.items():
        assert step.exits <= states, state
        assert step.deadline, state


def test_no_page_of_the_project_speaks_of_the_machine_it_was_written_on():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()

    for name in listed:
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".txt", ".html", ".ts", ".tsx") and path.is_file():
            assert "/wo" + "rk/" not in path.read_text(), name
