"""The example notebook in JupyterLab: a quote chosen in its input box, a run that is live in the cell."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.e2e.conftest import AXE, RULES, SHOTS
from tests.journeys.yard import ROOT, Yard

EXAMPLE = ROOT / "examples" / "train_in_a_notebook.ipynb"
SETTINGS = {"notification": {"fetchNews": "false"}, "themes": {"theme": "JupyterLab Light"}}


@pytest.fixture
def lab(free_hosts: Yard, tmp_path: Path) -> Iterator[str]:
    """JupyterLab before the example, which asks which quote it shall order; the notebook's address."""
    notebook = nbformat.read(EXAMPLE, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace(" --yes\n", "\n")
    nbformat.write(notebook, tmp_path / "circle.ipynb")
    settings = tmp_path / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    for name, values in SETTINGS.items():
        (settings / f"{name}.jupyterlab-settings").write_text(json.dumps(values))
    folders = {
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    folders |= {f"JUPYTER_{name}_DIR": name.lower() for name in ("CONFIG", "DATA", "RUNTIME")}
    env = free_hosts.env | {name: str(tmp_path / folder) for name, folder in folders.items()}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.root_dir={tmp_path}"]
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
    told = tmp_path / "runtime" / f"jpserver-{server.pid}.json"
    try:
        free_hosts.until(told.is_file, "JupyterLab is there")
        said = json.loads(told.read_text())
        yield f"{said['url']}lab/tree/circle.ipynb?token={said['token']}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def check_access(page: Any, where: str) -> None:
    """Hold what the cells show against WCAG; the rest of the page is JupyterLab's."""
    page.evaluate(AXE.read_text())
    options = {"runOnly": {"type": "tag", "values": RULES}}
    found = page.evaluate("(options) => axe.run({include: ['.gpuyard']}, options)", options)["violations"]
    assert [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]] == [], where


def test_a_quote_is_chosen_and_the_run_is_seen_in_the_cell(lab: str, chromium: Any, free_hosts: Yard) -> None:
    page = chromium.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    page.set_default_timeout(30_000)
    page.goto(lab)
    shown = page.locator(".jp-OutputArea-output .gpuyard")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()

    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    box = page.locator(".jp-Stdin-input")
    box.wait_for()
    assert shown.get_by_role("row").count() > 1, "the quotes stand above the question"
    page.screenshot(path=SHOTS / "jupyterlab-quotes.png")
    box.fill("1")
    box.press("Enter")

    shown.locator("polyline").first.wait_for()
    assert "running" in shown.locator(".state").inner_text()
    page.screenshot(path=SHOTS / "jupyterlab-live.png")
    shown.get_by_text(re.compile("✓ Run .* succeeded")).wait_for(timeout=120_000)
    brought = page.locator(".jp-OutputArea-output").get_by_text(re.compile("at last; accuracy there"))
    brought.scroll_into_view_if_needed()
    run = free_hosts.client.workloads()["results"][0]
    assert (run["state"], run["name"]) == ("succeeded", "circle"), "named as the notebook is"
    page.screenshot(path=SHOTS / "jupyterlab-light.png")
    check_access(page, "light")

    page.get_by_role("menuitem", name="Settings", exact=True).click()
    for name in ("Theme", "JupyterLab Dark"):
        page.locator(".lm-Menu-itemLabel").get_by_text(name, exact=True).click()
    page.locator("body[data-jp-theme-light=false]").wait_for(state="attached")
    page.wait_for_timeout(500)  # The sheet of the theme is fetched.
    page.screenshot(path=SHOTS / "jupyterlab-dark.png")
    check_access(page, "dark")
    page.context.close()
