"""Somebody new signs up and looks at the market."""

import pytest


@pytest.mark.parametrize("size", ["wide", "tablet", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_who_signs_up_finds_an_offer_and_looks_at_it(person, size, scheme):
    ada = person(size=size, scheme=scheme)
    ada.sign_up(f"ada-{size}-{scheme}@example.org")
    row = ada.page.locator('[role="row"][data-index="0"]')
    row.wait_for()
    ada.check_access("offers")
    ada.shot("offers")

    row.click()
    ada.page.get_by_role("dialog").get_by_text("Each GPU, an hour").wait_for()
    ada.page.wait_for_timeout(500)
    ada.check_access("an offer")
    ada.shot("offer")
