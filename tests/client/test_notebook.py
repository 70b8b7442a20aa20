"""%%yard in a real IPython shell, against a broker that plays the contract; the packed cell then runs for real."""

import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from . import objects_of_a_broker as given
from .contract_broker import Asked, ContractBroker, Reply, refusal, serving, sha256

NET = """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Linear(2, 1)
    def forward(self, x):
        return self.w(x)
"""
FLAGS = "--gpu H100:2 --budget 5 --deadline 90m --where EU --spot --sites 2 --samples 9 --pick 2 --name mine"
INNER = "def make():\n    def inner(): return 1\n    return inner\nmade = make()"
NOTHING = {"quotes": [], "excluded": [{"constraint": "gpu", "offers": 3}], "offers_considered": 3, "curve": []}
USES = "import gpuyard.train as yard\n"
UNKNOWN = "names model, yard, which this notebook does not define"


@pytest.fixture
def shell(
    whole_package: None, logged_in: ContractBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A terminal shell in an empty folder, with the extension loaded."""
    from IPython.core.async_helpers import get_asyncio_loop
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    monkeypatch.syspath_prepend(tmp_path / "home")
    main = sys.modules["__main__"]
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.run_line_magic("load_ext", "gpuyard")
    yield shell
    InteractiveShell.clear_instance()
    get_asyncio_loop().close()
    shell.restore_sys_module_state()
    sys.modules["__main__"] = main
    for name in ("mine", "helper"):
        sys.modules.pop(name, None)


@pytest.fixture
def story(logged_in: ContractBroker) -> ContractBroker:
    """A broker that takes an order and has it done at the third look."""
    broker = logged_in
    broker.on("POST", "/v1/quotes", Reply(201, given.quotes(given.quote(7), given.quote(8, rank=2))))
    broker.on("PUT", "/v1/programs/.*", Reply(201, {"sha256": "x", "size_bytes": 1}))
    broker.on("POST", "/v1/workloads", Reply(201, given.workload("placing")))
    looks = [given.workload("placing", version=None, loss=None), given.workload("running"), given.workload("succeeded")]
    broker.in_turn("GET", "/v1/workloads/12", *looks)
    for what, rows in (("events", [given.event(1)]), ("metrics", [given.metric(3)]), ("logs", [given.log_line(1)])):
        broker.on("GET", f"/v1/workloads/12/{what}", after(rows))
    broker.on("GET", "/v1/workloads/12/bill", {"workload": 12, "total_usd": "0.430000", "leases": [],
                                               "billed_usd": "0.430000", "final": True})  # fmt: skip
    broker.on("GET", "/v1/workloads/12/artifacts", {"results": []})
    return broker


def after(rows: list[dict[str, Any]]) -> Any:
    return lambda asked: Reply(200, {"results": [row for row in rows if row["id"] > int(asked.query.get("after", 0))]})


def cells(shell: Any, *texts: str) -> Any:
    """Run cells as a person does; the outcome of the last one."""
    for text in texts:
        done = shell.run_cell(text, store_history=True)
    return done


def refused(shell: Any, *texts: str) -> str:
    """The error of the last cell, as it is told."""
    done = cells(shell, *texts)
    assert done.error_in_exec is not None, "it was not refused"
    return "\n".join(done.error_in_exec._render_traceback_())


def unpacked(story: ContractBroker, into: Path) -> Path:
    (uploaded,) = story.calls("PUT", "/v1/programs/.*")
    assert uploaded.path.endswith(sha256(uploaded.raw))
    with tarfile.open(fileobj=io.BytesIO(uploaded.raw), mode="r:gz") as tar:
        tar.extractall(into, filter="data")
    return into


def runs(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the packed cell in a process that knows nothing of the notebook."""
    package = folder.parent / "package" / "gpuyard"
    package.mkdir(parents=True)
    root = Path(__file__).parents[2]
    for path in (root / "frontend" / "client" / "gpuyard").iterdir():
        (package / path.name).symlink_to(path)
    (package / "node").symlink_to(root / "workloads" / "node")
    command = [sys.executable, "notebook_cell.py"]
    env = {**os.environ, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1", **environ}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def test_the_packed_cell_runs_alone_with_all_that_it_names(shell, story, tmp_path):
    Path("mine.py").write_text("import helper\ndef three(): return helper.THREE\n")
    Path("helper.py").write_text("THREE = 3\n")
    Path("unrelated.py").write_text("1 / 0\n")
    cells(
        shell,
        "import numpy as np, torch\nfrom torch import nn\nimport mine\nfrom dataclasses import dataclass\n" + USES,
        "@dataclass\nclass Options:\n    lr: float = 0.5\n\noptions = Options(lr=0.25)\nsizes = {'a': (1, 2)}",
        "def twice(x):\n    return times(x, 2)\n\ndef times(x, n):\n    return x * n",
        NET,
        "net = Net()\nweights = torch.arange(4.0)\nrows = np.eye(2)\nsquare = lambda x: x * x",
        "broken = open('/dev/null')",
        "%%yard --yes --budget 5\n"
        "total = float(twice(rows.sum()) + mine.three() + options.lr + sizes['a'][1] + square(3))\n"
        "same = isinstance(net, Net) and bool(torch.equal(weights, torch.arange(4.0)))\n"
        "print('total', total, same, net.w.weight.sum().item(), yard.session is not None)",
    )

    folder = unpacked(story, tmp_path / "program")
    done = runs(folder)

    assert done.returncode == 0, done.stderr
    weight = shell.user_ns["net"].w.weight.sum().item()
    assert done.stdout.split()[:4] == ["total", "18.25", "True", str(weight)]
    assert sorted(path.name for path in folder.iterdir() if path.suffix in (".py", ".pickle", ".safetensors")) == [
        "helper.py", "mine.py", "notebook_cell.py", "notebook_names.py", "notebook_objects.pickle",
        "notebook_values.safetensors",
    ]  # fmt: skip


def test_what_a_session_leaves_is_kept_and_comes_home(shell, story, tmp_path):
    cells(
        shell,
        USES + "import torch\nfrom torch import nn",
        NET,
        "model = Net()\nother = nn.Linear(1, 1)\nx = torch.randn(64, 2)",
        "data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))",
        "%%yard --yes --get model,history\n"
        "history = []\n"
        "with yard.session(model, torch.optim.SGD(model.parameters(), lr=0.1)) as run:\n"
        "    for inputs, targets in run.batches(data, batch_size=8):\n"
        "        loss = nn.functional.mse_loss(model(inputs), targets)\n"
        "        loss.backward(); run._optimizers[0].step(); run._optimizers[0].zero_grad()\n"
        "        history.append(loss.item())\n"
        "other.weight.data.fill_(7)\n"
        "best = min(history); kept = other\nfile = open('/dev/null')",
    )
    folder = unpacked(story, tmp_path / "program")
    done = runs(folder)
    assert done.returncode == 0, done.stderr
    results, model = (folder / "results.safetensors").read_bytes(), (folder / "model.safetensors").read_bytes()
    story.on("GET", "/v1/workloads/12/artifacts", {"results": [
        given.artifact(sha256(results), len(results), id=10, kind="results", name="results.safetensors"),
        given.artifact(sha256(model), len(model)),
    ]})  # fmt: skip
    story.on("GET", "/v1/artifacts/10/content", serving(results))
    story.on("GET", "/v1/artifacts/9/content", serving(model))
    before, optimizer = shell.user_ns["model"], shell.user_ns["other"]

    cells(shell, "%yard attach 12")

    weights = safetensors.torch.load(model)
    assert shell.user_ns["model"] is before
    assert torch.equal(before.w.weight, weights["w.weight"])
    assert len(shell.user_ns["history"]) == 8
    assert shell.user_ns["history"][-1] < shell.user_ns["history"][0]
    assert shell.user_ns["best"] == min(shell.user_ns["history"])
    assert shell.user_ns["kept"].keys() == {"weight", "bias"}, "no module of that name is here: a state_dict"
    assert optimizer.weight.item() != 7, "only names that the cell assigns, or that were asked for"
    assert "file" not in shell.user_ns


def test_the_order_is_what_the_flags_say(shell, story):
    cells(
        shell,
        USES + "x = 1",
        f"%%yard {FLAGS}\nyard, x",
    )

    (asked,) = story.calls("POST", "/v1/quotes")
    need = {name: value for name, value in asked.body.items() if value is not None}
    assert len(need.pop("program")) == 64
    assert need == {
        "accelerator": "H100", "accelerators_per_site": 2, "budget_usd": "5.000000", "deadline_hours": 1.5,
        "residency": "EU", "markets": ["spot"], "sites": 2, "samples": 9,
    }  # fmt: skip
    (ordered,) = story.calls("POST", "/v1/workloads")
    assert (ordered.body["quote"], ordered.body["name"], ordered.body["script"]) == (8, "mine", "notebook_cell.py")


@pytest.mark.parametrize(
    ("before", "cell", "told"),
    [
        ("", "%%yard\nyard.session(model)", UNKNOWN),
        ("", "%%yard\nx = get_ipython()", "names get_ipython"),
        ("handle = open('/dev/null')", "%%yard\nyard, handle", "handle, a TextIOWrapper, cannot be sent"),
        (INNER, "%%yard\nyard, made", "made inside a function"),
        ("x = 1", "%%yard\nx", "nothing here trains"),
        ("", "%%yard\n!nvidia-smi", "the cell, line 2: shell commands do not run here"),
        ("", "%%yard\nyard\nx = = 1", "the cell, line 3: invalid syntax"),
        ("", "%%yard --gpu H100:none\nyard", "H100:none"),
        ("", "%%yard --no-such-flag\nyard", "--no-such-flag"),
        ("", "%%yard --spot --on-demand\nyard", "it is one or the other"),
        ("import numpy as np\nbig = np.zeros((60_000_000,), dtype='float32')", "%%yard\nyard, big", "big (240 MB)"),
        ("import threading\nlocks = [threading.Lock()]", "%%yard\nyard, locks", "locks, a list, cannot be sent"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_named_with_the_reason_and_nothing_is_ordered(shell, story, before, cell, told):
    setup = before if told in ("nothing here trains", UNKNOWN) else USES + before

    said = refused(shell, setup, cell)

    assert told in said
    assert "Next: " in said
    assert "Traceback" not in said
    assert story.calls("POST", "/v1/workloads") == []


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (refusal(422, "budget_below_cheapest", hint="raise it"), "about budget_below_cheapest"),
        (refusal(401, "not_authenticated"), "about not_authenticated"),
        (Reply(201, NOTHING), "gpu shuts out 3"),
    ],
)  # fmt: skip
def test_a_refusal_of_the_broker_is_told_without_a_traceback(shell, story, reply, told):
    story.on("POST", "/v1/quotes", reply)

    said = refused(shell, USES, "%%yard --yes\nyard")

    assert told in said
    assert said.startswith("Error: ")


def test_a_quote_is_chosen_by_its_number(shell, story, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("9\n2\n"))

    cells(shell, USES, "%%yard --detach\nyard")

    assert story.calls("POST", "/v1/workloads")[0].body["quote"] == 8
    said = capsys.readouterr().out
    assert "$0.63" in said
    assert "Run 12 goes on without this notebook. Back to it: %yard attach 12" in said


@pytest.mark.parametrize(("typed", "told"), [("n\n", "Nothing was ordered."), ("", "nobody can be asked here")])
def test_nobody_or_none_orders_nothing(shell, story, monkeypatch, capsys, typed, told):
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))

    done = cells(shell, USES, "%%yard\nyard")

    said = capsys.readouterr().out + (str(done.error_in_exec) if done.error_in_exec else "")
    assert told in said
    assert story.calls("POST", "/v1/workloads") == []


def test_a_dry_run_orders_nothing(shell, story, capsys):
    cells(shell, USES, "%%yard --dry-run\nyard")

    assert "--dry-run" in capsys.readouterr().out
    assert story.calls("PUT", "/v1/programs/.*") == []


def test_an_interrupt_detaches_and_says_how_to_come_back(shell, story, capsys):
    looks = []

    def interrupting(asked: Asked) -> Reply:
        looks.append(asked)
        if len(looks) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return Reply(200, given.workload("running"))

    story.on("GET", "/v1/workloads/12", interrupting)

    done = cells(shell, USES, "%%yard --yes\nyard")

    assert done.success, "stopping to look is no failure"
    said = capsys.readouterr().out
    assert "Run 12 goes on" in said
    assert "%yard attach 12" in said
    assert "%yard stop 12" in said
    assert story.calls("POST", ".*/stop") == []


def test_a_failed_run_fails_the_cell(shell, story):
    story.on(
        "GET", "/v1/workloads/12", given.workload("failed", end_reason="script_error", why="notebook_cell.py:3: no")
    )

    said = refused(shell, USES, "%%yard --yes\nyard")

    assert "run 12 failed (script_error): notebook_cell.py:3: no" in said
    assert "%yard logs 12" in said


def test_lines_of_the_script_are_lines_of_the_cell(shell, story, tmp_path):
    cells(
        shell,
        USES,
        "%%yard --yes\nfrom __future__ import annotations\n%matplotlib inline\ndef f(x: nothing): ...\nyard\n1 / 0",
    )

    done = runs(unpacked(story, tmp_path / "program"))

    assert 'notebook_cell.py", line 6, in <module>' in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_a_device_chosen_here_is_warned_of(shell, story, capsys):
    cells(shell, USES + "import torch", "device = torch.device('cpu')", "%%yard --yes --detach\nyard, device")

    assert "device is cpu there too" in capsys.readouterr().out


def test_the_yard_command_works_as_a_line(shell, story, capsys):
    story.on("POST", "/v1/workloads/12/stop", given.workload("stopping"))

    cells(shell, "%yard stop 12")
    said = refused(shell, "%yard show 99")

    assert len(story.calls("POST", "/v1/workloads/12/stop")) == 1
    assert "12" in capsys.readouterr().out
    assert "exit code" in said


def test_results_of_a_stranger_cannot_run_code_or_hide_names(shell, story, tmp_path):
    from gpuyard.node import values

    pack = values.Pack(exact=False)
    for name in ("__builtins__", "not a name", "fine"):
        pack.add(name, np.ones(1))
    pack.write(tmp_path / "r", left="{}")
    raw = (tmp_path / "r").read_bytes()
    results = given.artifact(sha256(raw), len(raw), id=10, kind="results")
    story.on("GET", "/v1/workloads/12/artifacts", {"results": [results]})
    story.on("GET", "/v1/artifacts/10/content", serving(raw))
    builtins = shell.user_ns["__builtins__"]

    cells(shell, USES, "%%yard --yes\nyard")

    assert shell.user_ns["__builtins__"] is builtins
    assert "not a name" not in shell.user_ns
    assert shell.user_ns["fine"] == 1
