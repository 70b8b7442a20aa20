"""The SDK is typed: mypy, at its strictest, accepts a good program and finds the faults of a bad one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .terminal import SOURCE

pytest.importorskip("mypy")
GOOD = """
from decimal import Decimal

from gpuyard import Client, errors
from gpuyard.objects import Need, Quote, Workload
from gpuyard.stream import Told


def cheapest(client: Client, need: Need) -> Quote | None:
    try:
        return client.create_quotes(need)["quotes"][0]
    except errors.OverBudget as error:
        code: str = error.code
        hint: str = error.hint
        fields: dict[str, object] = dict(error.fields)
        print(code, hint, fields, error.exit_code + 1)
    except errors.NoCapacity:
        pass
    return None


def main() -> None:
    client = Client(url="https://broker.example", api_key="yk_1")
    quote = cheapest(client, {"accelerator": "H100-SXM", "sites": 2, "budget_usd": "5.000000"})
    if quote is None:
        return
    run: Workload = client.create_workload(
        quote=quote["id"],
        program="ab",
        script="train.py",
        budget_usd=Decimal(5),
        resume={"workload": 1, "version": None},
    )
    for told in client.workload_stream(run["id"]):
        seen: Told = told
        print(seen.kind, seen.place)
    for team in client.teams():
        print(team["name"], [member["role"] for member in client.members(team["id"])])
    print(client.create_key("ci", scopes=["read"])["scopes"])
"""
BAD = {
    'client.create_quotes({"acelerator": "H100"})': "typeddict-unknown-key",
    'client.workload("12")': "arg-type",
    'client.workload(12)["sate"]': "typeddict-item",
    "client.stop_workloads(12)": "attr-defined",
    'client.create_workload(quote=1, program="a", script="b", budget_usd=5.0)': "arg-type",
    'client.put_account("aws", "secret")': "call-arg",
}


def checked(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What mypy says of a program."""
    path = folder / "program.py"
    path.write_text(program)
    # Silent on what is imported, as on any installed package: who uses it is told of his own program.
    flags = ["--strict", "--follow-imports=silent", "--config-file=", f"--cache-dir={folder / 'cache'}"]
    command = [sys.executable, "-m", "mypy", *flags, str(path)]
    env = {**os.environ, "MYPYPATH": SOURCE}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603


def test_a_good_program_is_accepted_and_faults_are_found(tmp_path: Path) -> None:
    good = checked(GOOD, tmp_path)
    lines = "\n".join(BAD)
    bad = checked(f'from gpuyard import Client\nclient = Client(url="", api_key="")\n{lines}\n', tmp_path)

    assert good.returncode == 0, good.stdout
    for number, (line, code) in enumerate(BAD.items(), start=3):
        assert any(f":{number}:" in said and code in said for said in bad.stdout.splitlines()), (line, bad.stdout)
