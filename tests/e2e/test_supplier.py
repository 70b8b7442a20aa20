"""Somebody who lends a machine: registered on a page, rented, and taken back with a countdown."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from tests.e2e.conftest import Person
from tests.journeys.yard import Yard


def test_a_supplier_lends_a_machine_and_takes_it_back(
    person: Callable[..., Person], free_hosts: Yard, tmp_path: Path
) -> None:
    yard = free_hosts
    bob = person()
    page = bob.sign_up("bob@example.org")
    bob.go("/hosts", heading="Hosts")
    page.get_by_text("Lend a machine when you do not need it").wait_for()
    bob.look("supplier-empty")

    page.get_by_role("button", name="Register a machine").click()
    page.get_by_role("button", name="Register it").click()
    bob.look("supplier-wrong")  # Nothing was filled in: each field says what it wants.
    page.get_by_label("Name", exact=True).fill("attic-1")
    page.get_by_label("Place").fill("attic/hamburg")
    page.get_by_label("Country").fill("DE")
    page.get_by_label("Price of the machine").fill("0.05")
    page.get_by_role("button", name="Register it").click()
    page.get_by_text("Waiting for attic-1").wait_for()
    bob.look("supplier-command")
    lines = page.locator("pre", has_text="gpuyard.node").inner_text().splitlines()

    agent = start(lines, home=tmp_path)
    try:
        page.get_by_text(re.compile("^Heard")).wait_for(timeout=30_000)
        bob.look("supplier-heard")
        page.get_by_role("button", name="Done").click()
        page.get_by_text("Free: anybody can rent it.").filter(visible=True).wait_for()

        run = yard.order("--samples", "400000", sites=1, flags=("--region", "attic/hamburg"))
        page.get_by_text(re.compile("it earns")).filter(visible=True).wait_for(timeout=60_000)
        yard.wait_rounds(run, 2, sites=1)
        bob.look("supplier-rented")

        page.get_by_role("button", name="Reclaim: attic-1").filter(visible=True).click()
        page.get_by_role("textbox", name="Notice").fill("0.5")
        page.get_by_role("button", name="Take it back", exact=True).click()
        counted = page.get_by_text(re.compile(r"Yours again in \d+ s")).filter(visible=True)
        counted.wait_for()
        first = counted.inner_text()
        bob.look("supplier-countdown")
        page.wait_for_timeout(2500)
        assert seconds(counted.inner_text()) < seconds(first) <= 31, "the clock runs"
        page.get_by_text("Yours: nobody can rent it until you offer it again.").filter(visible=True).wait_for(
            timeout=60_000
        )
        bob.look("supplier-reclaimed")

        handed = [one for each in yard.client.rounds(run) for one in each["contributors"]]
        assert handed[-1]["status"] == "merged", "what it had trained was handed in"
        earned = page.locator("dt", has_text="Earned, 30 days").locator("xpath=following-sibling::dd[1]")
        yard.until(lambda: Decimal(re.search(r"[\d.]+", earned.inner_text())[0]) > 0, "what it earned is told")
        yard.client.stop_workload(run)
        yard.wait_end(run)
    finally:
        agent.terminate()
        agent.wait(timeout=30)


def start(lines: list[str], *, home: Path) -> subprocess.Popen[bytes]:
    """Run what was shown, on "another machine": the agent's line with this Python, which has the package already."""
    install, line = lines
    assert install.startswith("pip install ")
    assert "/dl/gpuyard-" in install
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "gpuyard.node"]
    state = words.index("--state") + 1
    words[state] = words[state].replace("~", str(home))
    # All machines of these journeys are this one: each has an address of its own, and a CPU counts as a chip.
    here = [sys.executable, *words[1:], "--address", "127.0.0.15", "--accelerators", "CPU:1"]
    return subprocess.Popen(here, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def seconds(text: str) -> int:
    """12 of "Yours again in 12 s."."""
    return int(re.search(r"(\d+) s", text)[1])
