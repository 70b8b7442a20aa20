"""A researcher with nothing but a browser: from the sign-up to the model, through a lost machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from gpuyard import Client
from safetensors.torch import load_file

from tests.e2e.conftest import Person
from tests.journeys.checks import check_samples
from tests.journeys.yard import PROGRAMS, Yard

SAMPLES = 12_000


def test_a_researcher_takes_a_model_home_although_a_machine_is_lost(
    person: Callable[..., Person], free_hosts: Yard, tmp_path: Path
) -> None:
    yard = free_hosts
    ada = person()
    page = ada.sign_up("ada@example.org")

    # The market, narrowed down; the address holds what was chosen.
    page.get_by_label("GPU", exact=True).first.fill("CPU")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="All filters").click()
    page.get_by_role("dialog").get_by_label("Country", exact=True).fill("DE,FR")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile("gpu=CPU.*country=DE|country=DE.*gpu=CPU"))
    page.get_by_text("3 offers, USD").wait_for()
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("dialog", name="Columns").get_by_label("7 days").uncheck()
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile("hide=spark"))
    page.reload()
    page.get_by_text("3 offers, USD").wait_for()
    page.get_by_role("columnheader", name="Stock").wait_for()
    assert page.get_by_role("columnheader", name="7 days").count() == 0
    for box in page.get_by_role("checkbox", name=re.compile("^Pick ")).all():
        box.check()
    page.get_by_role("button", name="Compare 3").click()
    drawer = page.get_by_role("dialog")
    drawer.get_by_label("Samples to train on").fill(str(SAMPLES))
    drawer.get_by_label("Samples a second on one such GPU").fill("200")
    drawer.get_by_role("row", name=re.compile("^Cost to finish")).get_by_text("$").first.wait_for()
    ada.look("journey-compare")
    page.reload()  # The drawer is in the address, too.
    drawer.get_by_role("link", name=re.compile("together|all of these|these", re.I)).click()

    # The run, its quotes, one click.
    page.wait_for_url("**/launch**")
    page.get_by_text("Only these offers").wait_for()
    page.get_by_label("Files of the program").set_input_files(PROGRAMS / "steady.py")
    page.get_by_label("Arguments").fill(f"--samples {SAMPLES}")
    page.get_by_label("Name", exact=True).fill("learn a line")
    page.get_by_label("Sites", exact=True).select_option("exactly")
    page.get_by_label("Samples to train on").fill(str(SAMPLES))
    page.get_by_label("Speed of one GPU").fill("200")
    page.get_by_label("Budget").fill("1")
    order = page.get_by_role("button", name="Order quote 1")
    page.get_by_text("Cost against deadline").wait_for()
    ada.look("journey-quotes", settle_ms=1500)
    order.click()
    page.wait_for_url(re.compile(r"/workloads/\d+"))
    run = int(re.search(r"\d+$", page.url.split("?")[0])[0])

    # A key of one's own, made on a page, to look from outside as well.
    client = key_of(ada, yard)
    page.goto(f"/workloads/{run}")
    page.get_by_text(re.compile("^Trains at home/")).wait_for(timeout=60_000)
    yard.until(lambda: len(client.rounds(run)) > 4, "some rounds are merged")

    # The power fails under one of its machines.
    lease = next(one["nodes"][0]["lease"] for one in client.workload(run)["sites"] if one["state"] == "training")
    name = next(host["name"] for host in yard.client.hosts()["results"] if host["lease"] == lease)
    yard.kill_host(name)
    page.get_by_text(re.compile("leaves: lost a machine")).first.wait_for(timeout=60_000)
    ada.shot("journey-lost")
    page.get_by_text(re.compile("home/.* joins")).first.wait_for(timeout=60_000)
    ada.look("journey-replaced", settle_ms=1500)

    # It ends, and what it made is taken home.
    page.get_by_text("All samples are trained on and merged").wait_for(timeout=180_000)
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("^Download model")).click()
    home = tmp_path / download.value.suggested_filename
    download.value.save_as(home)
    ended = client.workload(run)
    assert sha256(home.read_bytes()).hexdigest() == ended["artifact"]["sha256"]
    assert load_file(home)["weight"].flatten().round().tolist() == list(range(8)), "it has learnt the line"
    assert ended["state"] == "succeeded"
    assert len(ended["sites"]) == 3
    check_samples(Tenant(client), run, SAMPLES)
    ada.look("journey-done", settle_ms=1000)
    ada.expects("status of 404")  # The page asks whether a program is there before it sends it.


def key_of(person: Person, yard: Yard) -> Client:
    """Make an API key on the account's page."""
    page = person.page
    person.go("/account#keys", heading="Account")
    page.get_by_role("button", name=re.compile("New key|Make a key|first key", re.I)).first.click()
    page.get_by_label("Name", exact=True).fill("laptop")
    page.get_by_role("button", name="Make the key").click()
    key = page.get_by_text(re.compile("^yk_")).first.inner_text()
    person.look("journey-key")
    page.get_by_role("button", name="I have kept it").click()
    return Client(url=yard.client.url, api_key=key)


class Tenant:
    """What check_samples looks through: somebody's own view."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def show(self, run: int) -> dict:
        """A workload."""
        return dict(self.client.workload(run))
