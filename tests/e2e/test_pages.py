"""Every page and every drawer at three sizes, light and dark: a picture of each, and no fault that axe can find."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Person, free
from tests.journeys.yard import PROGRAMS, ROOT, Yard

SIZES_AND_SCHEMES = [(size, scheme) for scheme in ("light", "dark") for size in ("wide", "tablet", "phone")]


@pytest.fixture(scope="module")
def run(yard: Yard) -> Iterator[int]:
    """A run that has lost a machine and got another, and trains on."""
    free(yard)
    flags = ("--name", "tiny-gpt", "--samples", "400000")
    program = str(ROOT / "examples" / "tiny_gpt.py")
    number = yard.order("--samples", "400000", "--sync-every", "20", program=program, budget="5", flags=flags)
    yard.wait_rounds(number, 20)
    name, _ = yard.host_of(number)
    yard.kill_host(name)
    yard.until(lambda: len(yard.show(number)["sites"]) == 3, "a replacement is placed")
    yard.until(lambda: state_of(yard, number) == ["closed", "training", "training"], "it trains")
    before = yard.show(number)["version"]
    yard.until(lambda: yard.show(number)["version"] > before + 40, "it goes on for a while", limit_s=120)
    yield number
    yard.client.stop_workload(number)
    yard.wait_end(number)
    free(yard)


def state_of(yard: Yard, run: int) -> list[str]:
    """The states of its sites."""
    return sorted(site["state"] for site in yard.show(run)["sites"])


@pytest.fixture(params=SIZES_AND_SCHEMES, ids=lambda one: "-".join(one))
def looker(request: pytest.FixtureRequest, chromium: Any, yard: Yard) -> Any:
    """Somebody who looks at one size in one scheme."""
    size, scheme = request.param
    person = Person(chromium, yard, size=size, scheme=scheme)
    yield person
    person.close()


def test_the_doors_can_be_entered_by_anybody(looker: Person) -> None:
    looker.go("/account/login", heading="Sign in")
    looker.look("login")
    looker.page.get_by_label("E-mail or user name").fill(f"nobody-{looker.size}-{looker.scheme}")
    looker.page.get_by_label("Password", exact=True).fill("not the password")
    looker.page.get_by_role("button", name="Sign in", exact=True).click()
    looker.page.get_by_text(re.compile("not correct|not right")).wait_for()
    looker.look("login-refused")
    looker.go("/account/signup", heading="Create an account")
    looker.look("signup")
    looker.go("/account/password/reset", heading="Forgotten password")
    looker.look("forgotten")
    looker.go("/account/password/reset/key/nonsense", heading="A new password")
    looker.look("reset")
    looker.go("/account/verify-email/nonsense", heading="This link does not work")
    looker.look("verify")
    looker.go("/invitations/nonsense", heading="Invitation")
    looker.look("invitation")
    looker.expects("status of 40")


def test_offers_can_be_read_by_anybody(looker: Person, first_user: tuple[str, str]) -> None:
    page = looker.sign_in(*first_user)
    page.locator('[role="row"][data-index="0"]').wait_for()
    looker.look("offers", settle_ms=600)
    page.goto("/offers?group=gpu")
    page.get_by_role("table").or_(page.get_by_role("list")).first.wait_for()
    looker.look("groups", settle_ms=600)
    page.goto("/offers?gpu=H100&count=8")
    rows = page.locator('[role="row"][data-index]')
    rows.first.wait_for()
    looker.look("offers-filtered", settle_ms=400)
    looker.picture("offers")
    page.get_by_role("button", name="All filters").click()
    page.get_by_role("dialog").wait_for()
    looker.look("filters")
    page.keyboard.press("Escape")
    rows.first.click()
    page.get_by_role("dialog").get_by_text("Each GPU, an hour").wait_for()
    looker.look("offer", settle_ms=600)
    page.keyboard.press("Escape")
    for box in page.get_by_role("checkbox").all()[:3]:
        box.check()
    page.get_by_role("button", name=re.compile("Compare")).click()
    page.get_by_role("dialog").wait_for()
    looker.look("compare")
    page.goto("/offers?gpu=NOSUCH")
    page.get_by_text("No offer fits").wait_for()
    looker.look("offers-none")


def test_an_account_can_be_read_by_anybody(looker: Person, first_user: tuple[str, str]) -> None:
    page = looker.sign_in(*first_user)
    for name in ("you", "factor", "keys", "team"):
        looker.go(f"/account#{name}", heading="Account")
        page.get_by_role("tabpanel").wait_for()
        looker.look(f"account-{name}", settle_ms=500, whole=True)
    page.get_by_role("button", name=re.compile("^Account: ")).first.click()
    page.get_by_role("menu").wait_for()
    looker.look("menu")
    page.goto("/no/such/page")
    page.get_by_text("There is nothing at this address").wait_for()
    looker.look("missing")
    looker.expects("status of 4")


def test_launch_can_be_read_by_anybody(looker: Person, first_user: tuple[str, str]) -> None:
    page = looker.sign_in(*first_user)
    looker.go("/launch", heading="Launch")
    page.get_by_text("Or take an example").wait_for()
    looker.look("launch", settle_ms=1200)
    page.get_by_label("Files of the program").set_input_files(PROGRAMS / "steady.py")
    page.get_by_label("GPUs").fill("H100")
    page.keyboard.press("Enter")
    page.get_by_label("How many").fill("8")
    page.get_by_label("Samples to train on").fill("40M")
    page.get_by_label("Speed of one GPU").fill("900")
    page.get_by_label("Deadline in hours").fill("48")
    page.get_by_label("Budget").fill("90")
    page.get_by_text("Cost against deadline").wait_for()
    looker.look("launch-quotes", settle_ms=1500)
    page.evaluate("scrollTo(0, 0)")
    looker.picture("launch")
    page.get_by_role("button", name="Dry run").first.click()
    page.get_by_role("dialog").wait_for()
    looker.look("dry-run")
    page.keyboard.press("Escape")
    page.get_by_label("Budget").fill("2")
    page.get_by_role("alert").or_(page.get_by_text(re.compile("below the cheapest|too small", re.I))).first.wait_for()
    looker.look("launch-too-dear", settle_ms=800)
    looker.expects("status of 4")


def test_a_workload_can_be_read_by_anybody(looker: Person, first_user: tuple[str, str], run: int) -> None:
    page = looker.sign_in(*first_user)
    looker.go("/workloads", heading="Workloads")
    page.get_by_role("link", name="tiny-gpt").first.wait_for()
    looker.look("workloads")
    looker.go(f"/workloads/{run}", heading="tiny-gpt")
    page.get_by_text("Live", exact=True).wait_for()
    looker.look("workload", settle_ms=1500)
    looker.picture("workload")
    page.get_by_text("What happened").scroll_into_view_if_needed()
    looker.look("workload-timeline", settle_ms=300)
    for tab in ("sites", "rounds", "logs", "checkpoints"):
        page.goto(f"/workloads/{run}?tab={tab}")
        page.get_by_text("Live", exact=True).wait_for()
        expect(page.get_by_role("status", name=re.compile("on (its|their) way"))).to_have_count(0)
        page.get_by_role("tabpanel").scroll_into_view_if_needed()
        looker.look(f"workload-{tab}", settle_ms=1500)
    page.get_by_role("button", name="Stop").first.click()
    page.get_by_role("dialog").wait_for()
    looker.look("workload-stop")
    looker.go("/workloads/999999", heading="Workload 999999")
    page.get_by_text("There is no such workload here").wait_for()
    looker.look("workload-missing")
    looker.expects("status of 404")


def test_hosts_can_be_read_by_anybody(looker: Person, first_user: tuple[str, str], run: int) -> None:
    page = looker.sign_in(*first_user)
    looker.go("/hosts", heading="Hosts")
    page.get_by_role("button", name="berlin-1").first.wait_for()
    looker.look("hosts", settle_ms=800)
    looker.picture("hosts")
    page.get_by_role("button", name="Register a machine").click()
    page.get_by_role("dialog").wait_for()
    looker.look("hosts-register")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="paris-1", exact=True).first.click()
    page.get_by_role("dialog").wait_for()
    looker.look("host", settle_ms=800)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Reclaim: paris-1").filter(visible=True).click()
    page.get_by_role("dialog").wait_for()
    looker.look("host-reclaim")
