"""One run, looked at in five ways: each tells the same state, loss and cost."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from gpuyard.money import dollars
from nbclient import NotebookClient

from tests.e2e.conftest import Person
from tests.journeys.yard import ROOT, Yard


@pytest.fixture
def ended(free_hosts: Yard) -> int:
    """A run that has ended and is paid for."""
    run = free_hosts.order("--samples", "600", program=str(ROOT / "examples" / "tiny_gpt.py"))
    free_hosts.wait_end(run)
    return run


def figure(page: object, label: str) -> str:
    """What stands below a label on the page, without what explains it."""
    value = page.locator("dt", has_text=re.compile(f"^{label}$")).locator("xpath=following-sibling::dd[1]")
    return str(value.inner_text()).split()[0]


def seen_on_page(person: Person, run: int) -> dict[str, str]:
    person.page.goto(f"/workloads/{run}")
    person.page.get_by_text("Complete", exact=True).or_(person.page.get_by_text("Live", exact=True)).wait_for()
    return {
        "state": person.page.get_by_text("Succeeded", exact=True).first.inner_text().lower(),
        "loss": figure(person.page, "Loss"),
        "cost": figure(person.page, "Spent"),
    }


def said_by_yard(yard: Yard, run: int) -> dict[str, str]:
    head = yard.yard("show", str(run)).splitlines()[0]
    words = re.fullmatch(rf"workload {run} (?P<state>\w+) .*  loss (?P<loss>\S+)  (?P<cost>\S+)", head)
    assert words, head
    return words.groupdict()


def shown_in_notebook(yard: Yard, run: int, folder: Path) -> dict[str, str]:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f"%load_ext gpuyard\n%yard attach {run}")])
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}})
    with ThreadPoolExecutor(1) as beside:  # Playwright has a loop in this thread.
        beside.submit(lambda: asyncio.run(client.async_execute(env=yard.env))).result()
    html = "".join(output.get("data", {}).get("text/html", "") for output in notebook.cells[0].outputs)
    facts = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<\s]+)", html))
    (state,) = re.findall(r'class="state">[^<]*?\b(running|stopping|succeeded|failed|cancelled)\b', html)
    return {"state": state, "loss": facts["loss"], "cost": facts["cost"]}


def test_page_api_command_line_sdk_and_notebook_say_the_same(
    person: Callable[..., Person], free_hosts: Yard, ended: int, first_user: tuple[str, str], tmp_path: Path
) -> None:
    yard = free_hosts
    eve = person()
    eve.sign_in(*first_user)
    by_sdk = yard.client.workload(ended)
    by_api = eve.page.request.get(f"/v1/workloads/{ended}").json()
    assert by_api == by_sdk

    told = {
        "page": seen_on_page(eve, ended),
        "yard": said_by_yard(yard, ended),
        "notebook": shown_in_notebook(yard, ended, tmp_path),
    }

    for where, seen in told.items():
        assert seen["state"] == by_api["state"], where
        assert seen["cost"] == dollars(by_api["spent_usd"]), where
        assert float(seen["loss"]) == pytest.approx(by_api["loss"], abs=0.00005), where
    assert yard.client.bill(ended)["total_usd"] == by_api["spent_usd"]
    eve.shot("same-numbers")
