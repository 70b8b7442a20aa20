"""A real broker with real nodes, and a real browser before it. `make e2e`; its report and pictures: build/e2e/."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright import sync_api

from tests.journeys.yard import ROOT, Yard

SHOTS = ROOT / "build" / "e2e"
SIZES = {"wide": (1440, 900), "tablet": (820, 1180), "phone": (390, 844)}
AXE = ROOT / "tests" / "e2e" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PASSWORD = "a long enough pass phrase 7"


@pytest.fixture(scope="session")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """The broker of all journeys, with its three hosts; who signs up has credit to spend."""
    running = Yard(tmp_path_factory.mktemp("e2e") / "state", GPUYARD_SIGNUP_CREDIT_USD="25")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Debian's Chromium."""
    path = shutil.which("chromium")
    assert path, "chromium is missing (Debian: apt install chromium)"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Person:
    """Somebody at a browser."""

    def __init__(self, chromium: Any, yard: Yard, *, size: str = "wide", scheme: str = "light") -> None:
        width, height = SIZES[size]
        self.yard, self.size, self.scheme = yard, size, scheme
        self.context = chromium.new_context(
            base_url=yard.client.url,
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            timezone_id="Europe/Berlin",
            accept_downloads=True,
        )
        self.context.set_default_timeout(20_000)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.page.on("console", lambda one: self.said.append(one.text) if one.type == "error" else None)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))

    def sign_up(self, email: str) -> None:
        """Make an account, as a person does."""
        self.page.goto("/account/signup")
        self.page.get_by_label("E-mail").fill(email)
        self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        self.page.get_by_role("button", name="Sign up").click()
        self.page.wait_for_url("**/offers**")

    def sign_in(self, name: str, password: str = PASSWORD) -> None:
        """Sign in."""
        self.page.goto("/account/login")
        self.page.get_by_label("E-mail or user name").fill(name)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/offers**")

    def shot(self, name: str) -> Path:
        """Keep a picture beside the report."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        path = SHOTS / f"{name}-{self.size}-{self.scheme}.png"
        self.page.screenshot(path=path)
        return path

    def check_access(self, where: str) -> None:
        """Hold the page against WCAG 2.0, 2.1 and 2.2, A and AA, as axe reads them."""
        self.page.evaluate(AXE.read_text())  # Not as a script of the page: its Content-Security-Policy forbids that.
        options = {"runOnly": {"type": "tag", "values": RULES}}
        found = self.page.evaluate("(options) => axe.run(document, options)", options)["violations"]
        told = [f"{one['id']}: {one['help']}: {node['html'][:200]}" for one in found for node in one["nodes"]]
        assert told == [], f"{where}, {self.size}, {self.scheme}"

    def close(self) -> None:
        """Leave. What the page complained of is a failure."""
        self.context.close()
        # Before one signs in, 401 is the answer to "who is here?", and Chromium remarks on it.
        assert [one for one in self.said if "status of 401" not in one] == []


@pytest.fixture
def person(chromium: Any, yard: Yard) -> Iterator[Callable[..., Person]]:
    """person(size=, scheme=) -> Person. All leave after the test."""
    people: list[Person] = []

    def come(**options: Any) -> Person:
        people.append(Person(chromium, yard, **options))
        return people[-1]

    yield come
    for one in people:
        one.close()


@pytest.fixture(scope="session")
def first_user(yard: Yard) -> dict[str, str]:
    """What `make run` wrote down for the one who started it."""
    return dict(json.loads((yard.home / "client.json").read_text()))


@pytest.fixture(scope="session", autouse=True)
def _axe() -> None:
    """The tools of the registry that these need, once."""
    if not AXE.exists():
        subprocess.run(["npm", "ci", "--no-fund", "--no-audit"], cwd=AXE.parents[2], check=True, capture_output=True)
