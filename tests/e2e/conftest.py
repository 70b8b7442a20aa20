"""A real broker with real nodes, and a real browser before it. `make e2e`; its report and pictures: build/e2e/."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright import sync_api

from tests.journeys.yard import ROOT, Yard
from tests.providers.verda_cloud import CLIENT_ID, CLIENT_SECRET, VerdaCloud, kind

PICTURES = ROOT / "docs" / "pictures"
SHOTS = ROOT / "build" / "e2e"
PRICES = ROOT.parent / "shared" / "data" / "catalogs"  # Real price lists, where they lie beside the project.
SIZES = {"wide": (1440, 900), "tablet": (820, 1180), "phone": (390, 844)}
AXE = ROOT / "tests" / "e2e" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PLACES = {"FIN-01": "FI", "FIN-03": "FI", "ICE-01": "IS", "NLD-01": "NL", "SWE-01": "SE"}
H100S = (
    ("2H100.80S.60V", 2, "7.90", "3.10"),
    ("4H100.80S.120V", 4, "15.80", "6.30"),
    ("8H100.80S.176V", 8, "31.6", "12.9"),
)
PASSWORD = "a long enough pass phrase 7"


@pytest.fixture(scope="session")
def cloud() -> Iterator[VerdaCloud]:
    """A cloud that sells H100s at five places. What is quoted there is not ordered: no machine would come."""
    with VerdaCloud() as running:
        for name, gpus, usd, spot in H100S:
            running.kinds.append(kind(name, gpus, usd, spot))
        running.places = [{"code": code, "name": code, "country_code": country} for code, country in PLACES.items()]
        names = [name for name, *_ in H100S]
        running.free = {is_spot: dict.fromkeys(PLACES, names) for is_spot in (False, True)}
        yield running


@pytest.fixture(scope="session")
def yard(tmp_path_factory: pytest.TempPathFactory, cloud: VerdaCloud) -> Iterator[Yard]:
    """The broker of all journeys, with its three hosts; who signs up has credit to spend."""
    folder = tmp_path_factory.mktemp("e2e")
    account = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "base_url": cloud.url}
    running = Yard(folder / "state", GPUYARD_SIGNUP_CREDIT_USD="25", GPUYARD_PROVIDERS=json.dumps({"verda": account}))
    if PRICES.is_dir():
        (folder / "prices").mkdir()
        for one in PRICES.iterdir():  # An account's own prices are newer than those of a list.
            if one.name != "verda":
                (folder / "prices" / one.name).symlink_to(one)
        running.yard("offers", "import", str(folder / "prices"))
    running.until(lambda: running.client.offers(provider="verda")["results"], "the cloud's prices are read")
    yield running
    running.stop()


@pytest.fixture
def free_hosts(yard: Yard) -> Yard:
    """The broker with all its three hosts free."""
    free(yard)
    return yard


def free(yard: Yard) -> None:
    """Take every host back into the book, and wait until nobody rents it."""
    for host in yard.client.hosts()["results"]:
        yard.revive_host(host["name"])
        if host["state"] in ("reclaimed", "reclaiming"):
            yard.client.return_host(host["id"])
    yard.until(lambda: all(one["state"] == "offered" for one in yard.client.hosts()["results"]), "all hosts are free")


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
        self.context.set_default_timeout(12_000)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.page.on("console", lambda one: self.said.append(one.text) if one.type == "error" else None)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))

    def go(self, path: str, *, heading: str) -> None:
        """Open a page and wait for its heading."""
        self.page.goto(path)
        self.page.get_by_role("heading", level=1, name=heading).first.wait_for()

    def sign_up(self, email: str) -> Any:
        """Make an account, as a person does; the page."""
        self.page.goto("/account/signup")
        self.page.get_by_label("E-mail").fill(email)
        self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        self.page.get_by_role("button", name="Create the account").click()
        self.page.wait_for_url("**/offers**")
        return self.page

    def sign_in(self, name: str, password: str = PASSWORD) -> Any:
        """Sign in; the page."""
        self.page.goto("/account/login")
        self.page.get_by_label("E-mail or user name").fill(name)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("button", name="Sign in", exact=True).click()
        self.page.wait_for_url("**/offers**")
        return self.page

    def look(self, name: str, *, settle_ms: float = 250, whole: bool = False) -> None:
        """Let the page come to rest, keep a picture of it and hold it against axe. whole: below the fold, too."""
        self.page.wait_for_timeout(settle_ms)
        self.shot(name, whole=whole)
        self.check_access(name)

    def shot(self, name: str, *, whole: bool = False) -> Path:
        """Keep a picture beside the report."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        path = SHOTS / f"{name}-{self.size}-{self.scheme}.png"
        self.page.screenshot(path=path, full_page=whole)
        return path

    def picture(self, name: str) -> None:
        """Renew the picture of docs/ where that is asked for (GPUYARD_PICTURES): of the wide page, in few colours."""
        if self.size == "wide" and os.environ.get("GPUYARD_PICTURES"):
            PICTURES.mkdir(exist_ok=True)
            shot = Image.open(self.shot(f"picture-{name}")).convert("RGB")
            shot.quantize(128).save(PICTURES / f"{name}-{self.scheme}.png", optimize=True)

    def expects(self, complaint: str) -> None:
        """The console may remark on that."""
        self.said = [one for one in self.said if complaint not in one]

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
def first_user(yard: Yard) -> tuple[str, str]:
    """Name and password that `make run` wrote down for the one who started it, whose hosts these are."""
    kept = json.loads((yard.home / "sign-in.json").read_text())
    return kept["username"], kept["password"]
