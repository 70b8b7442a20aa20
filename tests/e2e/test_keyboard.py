"""The whole way without a mouse: every stop can be seen, and nothing is out of reach."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.e2e.conftest import PASSWORD, Person
from tests.journeys.yard import Yard

MOST_TABS = 80
# What has the focus: its role and name as they are read aloud, roughly, and whether it can be seen to have it.
FOCUSED = """() => {
    const one = document.activeElement;
    if (!one || one === document.body) return null;
    const box = one.getBoundingClientRect();
    const named = one.getAttribute("aria-label") || one.labels?.[0]?.innerText || one.innerText || one.value || "";
    const ringed = (element) => {
        const {outlineStyle, outlineWidth, boxShadow} = getComputedStyle(element);
        return (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none";
    };
    const ring = [one, one.parentElement, one.parentElement.parentElement].some(ringed);  // A field and its chips.
    return {
        name: named.replace(/\\s+/g, " ").trim(),
        ring,
        seen: box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
    };
}"""


class Keyboard:
    """Somebody who has no mouse."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def press(self, *keys: str) -> None:
        """Press one after the other, as fast as a person."""
        for key in keys:
            self.page.keyboard.press(key)
            self.page.wait_for_timeout(50)

    def type(self, text: str) -> None:
        """Type."""
        self.page.keyboard.type(text)

    def to(self, name: str, *, key: str = "Tab") -> None:
        """Tab until something of this name (an expression) has the focus. Each stop on the way can be seen."""
        stops = []
        for _ in range(MOST_TABS):
            self.press(key)
            stop = self.page.evaluate(FOCUSED)
            if stop is None:
                continue
            stops.append(stop["name"][:50])
            assert stop["seen"], f"the focus is out of sight at {stop['name']!r}"
            assert stop["ring"], f"the focus is not shown at {stop['name']!r}"
            if re.search(name, stop["name"]):
                return
        raise AssertionError(f"{name!r} was not reached: {stops}")

    @property
    def focused(self) -> str:
        """The name of what has the focus."""
        return str((self.page.evaluate(FOCUSED) or {}).get("name", ""))


def test_a_run_is_found_ordered_watched_and_stopped_by_keyboard_alone(
    person: Callable[..., Person], free_hosts: Yard
) -> None:
    kim = person()
    kim.sign_up("kim@example.org")
    kim.context.clear_cookies()
    kim.page.goto("/account/login")
    kim.page.get_by_label("E-mail or user name").wait_for()
    keys = Keyboard(kim.page)

    keys.to("^E-mail or user name")
    keys.type("kim@example.org")
    keys.to("^Password")
    keys.type(PASSWORD)
    keys.press("Enter")
    kim.page.wait_for_url("**/offers**")
    kim.page.locator('[role="row"][data-index="0"]').wait_for()

    # Past the navigation at once, into the table, an offer opened and closed: the focus comes back to its row.
    kim.page.reload()
    kim.page.locator('[role="row"][data-index="0"]').wait_for()
    keys.to("^Skip|^To the content|content$")
    keys.press("Enter")
    keys.to("^GPU$")
    keys.type("CPU")
    keys.press("Enter")
    kim.page.get_by_text(re.compile(r"^\d+ offers, USD")).wait_for()
    kim.page.wait_for_timeout(800)
    keys.to("CPU.*supplier|supplier.*CPU")
    row = keys.focused
    kim.shot("keyboard-row")
    keys.press("Enter")
    kim.page.get_by_role("dialog").wait_for()
    keys.press("Escape")
    kim.page.get_by_role("dialog").wait_for(state="hidden")
    kim.page.wait_for_timeout(300)
    assert keys.focused == row

    # An example is taken and ordered.
    keys.to("^Launch$", key="Shift+Tab")
    keys.press("Enter")
    kim.page.get_by_text("Or take an example").wait_for()
    keys.to("small character-level GPT")
    keys.press("Enter")
    kim.page.get_by_role("button", name="Order quote 1").wait_for()
    kim.page.wait_for_timeout(1500)
    keys.to("^Order quote 1|^Order$")
    kim.shot("keyboard-order")
    keys.press("Enter")
    kim.page.wait_for_url(re.compile(r"/workloads/\d+"))

    # Its tabs, its stop.
    kim.page.get_by_role("tab", name="Timeline").wait_for()
    keys.to("^Timeline")
    keys.press("ArrowRight", "Enter")
    kim.page.get_by_role("tab", name="Sites and nodes", selected=True).wait_for()
    keys.press("End", "Enter")
    kim.page.get_by_role("tab", name="Checkpoints", selected=True).wait_for()
    keys.to("^Stop$", key="Shift+Tab")
    keys.press("Enter")
    kim.page.get_by_role("dialog").wait_for()
    keys.to("^Stop it")
    kim.shot("keyboard-stop")
    keys.press("Enter")
    kim.page.get_by_text(re.compile("was asked to stop")).first.wait_for(timeout=60_000)
    kim.page.get_by_text("Cancelled").first.wait_for(timeout=90_000)
    kim.look("keyboard-done", settle_ms=800)
    kim.expects("status of 404")


def test_what_is_fetched_when_its_button_is_used_is_entered_and_left_by_keyboard(
    person: Callable[..., Person], yard: Yard
) -> None:
    lee = person()
    page = lee.sign_up("lee@example.org")
    keys = Keyboard(page)

    for key in ("Enter", "ArrowDown"):
        page.reload()
        page.locator('[role="row"][data-index="0"]').wait_for()
        keys.to("^Account: ")
        keys.press(key)
        page.get_by_role("menuitemradio", name="System").and_(page.locator(":focus")).wait_for()
        keys.press("ArrowDown")
        assert keys.focused == "Light"
        keys.press("Escape")
        page.get_by_role("menu").wait_for(state="hidden")
        assert keys.focused.startswith("Account: ")

    keys.to("^Columns$")
    keys.press("Enter")
    page.get_by_role("dialog", name="Columns").locator(":focus").wait_for()
    keys.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    assert keys.focused == "Columns"
