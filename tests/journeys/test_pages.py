"""Every block of code on every page, executed as a reader would, before one real broker and clouds of our own."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.journeys import scenes
from tests.journeys.internet import Internet
from tests.journeys.yard import ROOT, Yard
from tests.pages import DATA, Block, blocks, check_unrun, pages

pytestmark = pytest.mark.journey
TYPIST = Path(__file__).parent / "typist.py"
# Pages that need hosts, in the order in which a reader needs them: the first begins with run 1; run 12 trains from
# docs/notebooks.md to docs/training.md. All others are about clouds and the market, and are read meanwhile.
WITH_HOSTS = ["README.md", "docs/notebooks.md", "docs/training.md", "frontend/client/README.md", "docs/cli.md"]
FIRST, LAST = ["docs/providers/README.md"], ["docs/market.md", "docs/matching.md"]  # They quote what accounts bring.
UNTIL_CTRL_C = ("yard offers watch ", "bash -c ")
ANSWERS = {
    "yard providers add aws  ": [scenes.ACCOUNTS["AWS_ACCESS_KEY_ID"], scenes.ACCOUNTS["AWS_SECRET_ACCESS_KEY"]],
    "yard login ": ["{api_key}"],
}
LOGS_IN = ("README.md", "frontend/client/README.md")  # Their reader says himself which broker is meant.


def meanwhile() -> list[str]:
    """The pages that need no host and have something to run or to check."""
    having = {page for page in pages() for block in blocks(page) if block.language != "text"}
    return [*FIRST, *sorted(having - {*FIRST, *LAST, *WITH_HOSTS}), *LAST]


@pytest.fixture(autouse=True)
def _quiet_world():
    """These journeys need no Django in this process."""


class Reader:
    """Somebody who reads a page from top to bottom and does what it says, in a checkout of his own."""

    def __init__(self, yard: Yard, folder: Path, env: dict[str, str]) -> None:
        self.yard, self.folder, self.env = yard, folder, env
        self.api_key = json.loads((yard.home / "client.json").read_text())["api_key"]

    def read(self, page: str) -> None:
        folder = self.folder / re.sub(r"\W", "-", page) / "gpuyard"
        scenes.furnish(folder)
        (folder / ".yard").symlink_to(self.yard.home)
        (folder / "home").mkdir()
        if page in WITH_HOSTS:
            scenes.free_hosts(self.yard)
        with scenes.SCENES.get(page, scenes.nothing)(self.yard, folder) as more:
            env = {**self.env, **more, "HOME": str(folder / "home"), "PIP_TARGET": str(folder / "installed")}
            if page not in LOGS_IN:
                env["GPUYARD_CONFIG"] = str(self.yard.home / "client.json")
            if page != "README.md":  # Which says where the commands are.
                env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
            run_page(page, folder, env, self.api_key)


def run_page(page: str, folder: Path, env: dict[str, str], api_key: str) -> None:
    """Execute a page's blocks in one shell; Python that begins with a magic is a notebook, and beside it."""
    todo = [block for block in blocks(page) if block.language != "text"]
    for block in todo:
        if block.name or block.language in DATA:
            (folder / block.name).write_text(block.text)
        if block.not_run:
            check_unrun(block)
    todo = [block for block in todo if not block.not_run and block.language not in DATA]
    cells = [block for block in todo if block.language == "python"]
    is_notebook = bool(cells) and cells[0].text.startswith("%")
    with ThreadPoolExecutor(1) as pool:
        if is_notebook:
            notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.text.strip()) for cell in cells])
            nbformat.write(notebook, folder / "notebook.ipynb")
            todo = [block for block in todo if block not in cells]
            client = NotebookClient(notebook, timeout=180, resources={"metadata": {"path": str(folder)}})
            executed = pool.submit(lambda: asyncio.run(client.async_execute(env=env)))
        script = "set -eo pipefail\n" + "".join(lines_of(block, folder, api_key) for block in todo)
        with (folder / "said").open("w") as said:
            done = subprocess.run(["bash", "-c", script], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=said,
                                  stderr=subprocess.STDOUT, timeout=300)  # fmt: skip
        heard = (folder / "said").read_text()
        assert not done.returncode, f"{page}: exit code {done.returncode}\n{heard[-4000:]}"
        if is_notebook:
            executed.result()
            assert float(re.match(r"\((\S+),", notebook.cells[-1].outputs[0].data["text/plain"])[1]) < 1, "it learnt"


def lines_of(block: Block, folder: Path, api_key: str) -> str:
    """The lines of bash that execute a block; each command is announced by its page and line."""
    if block.language == "python":
        before = scenes.BEFORE.get(block.page, {})
        path = block.name or f"block-{block.line}.py"
        (folder / path).write_text("".join(more for words, more in before.items() if words in block.text) + block.text)
        return announced(block, block.line, f"python {path}")
    return "".join(announced(block, line, as_typed(command, api_key)) for line, command in block.commands)


def announced(block: Block, line: int, command: str) -> str:
    return f"echo {shlex.quote(f'@@ {block.page}:{line} ')}$(date +%s.%N)\n{command}\n"


def as_typed(command: str, api_key: str) -> str:
    """A command, with somebody who answers what it asks, or who presses Ctrl-C after two seconds."""
    for words, answers in ANSWERS.items():
        if command.startswith(words):
            typed = json.dumps([answer.format(api_key=api_key) for answer in answers])
            return shlex.join([sys.executable, str(TYPIST), typed]) + " " + command
    if command.startswith(UNTIL_CTRL_C):
        return f"set +e\ntimeout --preserve-status -s INT 2 {command}\ncode=$?; set -e; [ $code = 130 ]"
    return command


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader")
    with ExitStack() as stack:
        hosts = {**scenes.clouds(stack), **scenes.machine(stack), "host": scenes.files_at(scenes.IMAGES)}
        hosts["broker.example"] = lambda *request: scenes.passed_on(yard.client.url)(*request)
        internet = Internet(folder, hosts)
        stack.callback(internet.close)
        yard = Yard(folder / "state", GPUYARD_VERSIONS_KEPT="1000", **internet.env)
        stack.callback(yard.stop)
        env = {name: value for name, value in yard.env.items() if not name.startswith("GPUYARD_")}
        env |= scenes.ACCOUNTS | {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_FIND_LINKS": str(ROOT / "build/wheel")}
        env |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        (folder / "checkout").mkdir()
        yield Reader(yard, folder / "checkout", env)


@pytest.fixture(scope="module")
def others(reader, request):
    """{page: its reading, under way} of the pages that need no host, as far as their tests are wanted."""
    wanted = {item.callspec.params["page"] for item in request.session.items if "others" in item.fixturenames}
    with ThreadPoolExecutor(1) as pool:
        yield {page: pool.submit(reader.read, page) for page in meanwhile() if page in wanted}


@pytest.mark.parametrize("page", WITH_HOSTS)
def test_every_block_of_a_page_that_trains_works(reader, others, page):
    reader.read(page)


@pytest.mark.parametrize("page", meanwhile())
def test_every_block_of_a_page_about_clouds_works(others, page):
    others[page].result()
