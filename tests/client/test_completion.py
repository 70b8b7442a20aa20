"""Shells complete yard's commands, and what the broker knows; a real bash says so. It never waits long."""

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import objects_of_a_broker as given
from .contract_broker import ContractBroker
from .terminal import SOURCE

GROUP = {"offers": 9, "providers": 2, "min_usd_per_gpu_hour": "1.990000"}


@pytest.fixture
def knowing(logged_in: ContractBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ContractBroker:
    """A broker with runs and offers; an empty cache; a `yard` on the path."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", SOURCE)
    monkeypatch.setenv("GPUYARD_COMPLETION_S", "20")  # The machine that runs the tests may be busy.
    runs = [given.workload(), {**given.workload("failed"), "id": 7}, {**given.workload(), "id": 123}]
    logged_in.on("GET", "/v1/workloads", {"results": runs, "next": None})
    logged_in.on("GET", "/v1/hosts", {"results": [given.host()], "next": None})
    logged_in.on(
        "GET",
        "/v1/offers",
        {"results": [{**GROUP, "gpu": gpu, "provider": gpu[0].lower()} for gpu in ("H100-SXM", "H200", "A100")]},
    )
    (tmp_path / "bin").mkdir()
    yard = tmp_path / "bin" / "yard"
    yard.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W error -m gpuyard "$@"\n')
    yard.chmod(0o755)
    monkeypatch.setenv("PATH", f"{yard.parent}:{os.environ['PATH']}")
    return logged_in


@pytest.fixture
def tab(knowing: ContractBroker, tmp_path: Path) -> Callable[[str], list[str]]:
    """What bash offers after a line: it loads our script and calls the function as readline does."""
    bash = shutil.which("bash")
    assert bash

    def complete(line: str) -> list[str]:
        words = line.split(" ")
        code = (
            'eval "$(yard completion bash)"\n'
            f"COMP_WORDS=({' '.join(words[:-1])} '{words[-1]}'); COMP_CWORD={len(words) - 1}\n"
            "$(complete -p yard | sed -E 's/.*-F ([^ ]+) .*/\\1/') yard\n"
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(  # noqa: S603 - a shell of our own
            [bash, "--norc", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stderr == ""
        return [line for line in done.stdout.splitlines() if line]

    return complete


def test_bash_completes_commands_and_flags(tab: Callable[[str], list[str]]) -> None:
    assert tab("yard wat") == ["watch"]
    assert tab("yard host re") == ["reclaim", "return"]
    assert "--dry-run" in tab("yard run --d")


def test_bash_completes_workloads_gpus_and_providers(tab: Callable[[str], list[str]]) -> None:
    assert tab("yard show 1") == ["12", "123"]
    assert tab("yard run train.py --gpu H") == ["H100-SXM", "H200"]
    assert tab("yard quote --provider a") == ["a"]
    assert tab("yard host reclaim ") == ["2"]


def test_bash_completes_scripts_and_the_folders_on_the_way(tab: Callable[[str], list[str]], tmp_path: Path) -> None:
    for name in ("train.py", "trial/deep.py", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")

    assert tab("yard run tr") == ["train.py", "trial/"]
    assert tab("yard run trial/d") == ["trial/deep.py"]
    assert tab("yard run tri") == []  # One folder alone is bash's own affair.


def test_what_was_known_is_not_asked_again_at_the_next_key(knowing: ContractBroker, tmp_path: Path) -> None:
    from gpuyard.cli import completing

    assert completing.gpus("A") == completing.gpus("A1") == [("A100", "from $1.99 per GPU-hour")]

    assert len(knowing.calls("GET", "/v1/offers")) == 1
    (kept,) = (tmp_path / "cache" / "gpuyard").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert os.environ["GPUYARD_API_KEY"] not in kept.read_text() + kept.name


@pytest.fixture
def hanging() -> Iterator[str]:
    """The address of something that takes connections, and gives a byte now and then."""
    server = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip() -> None:
        line, _ = server.accept()
        with line:
            while not over.wait(0.1):
                try:
                    line.sendall(b"H")
                except OSError:
                    return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    over.set()
    server.close()
    thread.join()


def test_a_broker_that_hangs_costs_a_moment_and_no_more(
    knowing: ContractBroker, hanging: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpuyard.cli import completing

    monkeypatch.setenv("GPUYARD_URL", hanging)
    monkeypatch.delenv("GPUYARD_COMPLETION_S")

    begun = time.monotonic()
    found = completing.workload_ids("")

    assert found == []
    assert time.monotonic() - begun < completing.WAIT_S + 0.5


def test_an_absent_broker_leaves_what_was_known(knowing: ContractBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    from gpuyard.cli import completing

    before = completing.workload_ids("")
    monkeypatch.setattr(completing, "KEPT_S", {"workloads": 0.0})
    knowing.drop = 99

    assert completing.workload_ids("") == before != []


@pytest.mark.parametrize("trouble", ["no key", "broken cache", "refused"])
def test_trouble_completes_nothing_and_says_nothing(
    knowing: ContractBroker, trouble: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: Any
) -> None:
    from gpuyard import config
    from gpuyard.cli import completing

    if trouble == "no key":
        monkeypatch.delenv("GPUYARD_API_KEY")
    elif trouble == "refused":
        monkeypatch.setenv("GPUYARD_API_KEY", "another")
    else:
        path = completing.cache_path(config.load())
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"workloads": {"at": time.time(), "choices": []}}))

    assert completing.workload_ids("") == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completing_loads_no_network_library_and_no_rich(knowing: ContractBroker, shell: str) -> None:
    code = (
        "import sys; from gpuyard.cli import run\n"
        "try: run([])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('requests', 'rich', 'torch') if name in sys.modules])"
    )
    line = {
        "COMP_WORDS": "yard\nshow\n1",
        "COMP_CWORD": "2",
        "_TYPER_COMPLETE_ARGS": "yard show 1",
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": "1",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_YARD_COMPLETE": f"complete_{shell}",
    }

    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", code], env=os.environ | line, capture_output=True, text=True, timeout=60, check=True
    )

    assert "123" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("shell", "said"),
    [
        ("bash", "complete -o default -F"),
        ("zsh", "#compdef yard"),
        ("fish", "complete --command yard"),
        ("powershell", "Register-ArgumentCompleter"),
    ],
)
def test_every_shell_gets_its_script(yard: Any, shell: str, said: str) -> None:
    script = yard("completion", shell)

    assert script.code == 0
    assert said in script.out
    assert shell != "zsh" or script.out.startswith("#compdef yard\n")


def test_an_unknown_shell_is_told_which_there_are(yard: Any) -> None:
    said = yard("completion", "csh")

    assert said.code == 2
    assert "powershell" in said.err
