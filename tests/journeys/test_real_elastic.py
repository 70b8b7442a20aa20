"""A site of several machines goes on without one that dies, and with the one that comes in its place."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.journeys.checks import check_bill, check_samples

pytestmark = pytest.mark.journey
SAMPLES = 7000


@pytest.fixture(autouse=True)
def _quiet_world():
    """These journeys need no Django in this process."""


def first_step(yard, run, *, after):
    """When a copy of the script that was started after an instant took its first step."""

    def look():
        rows = yard.client.metrics(run, limit=5000)
        return next((row["at"] for row in rows if row["step"] == 1 and moment(row["at"]) > after), None)

    return moment(yard.until(look, "the script takes its first step again"))


def moment(text):
    return datetime.fromisoformat(text)


def newest(workload):
    """Of a busy machine's hosts one may be taken for silent while it starts; then there is another site before."""
    return workload["sites"][-1]


def third_machine(yard, run):
    return (newest(yard.show(run))["nodes"][2:] or [{"opened_at": None}])[0]


def test_one_of_two_machines_is_killed_and_another_joins(third_in_berlin, yard, record_property):
    run = yard.order("--samples", str(SAMPLES), sites=1, gpu="CPU:2", flags=("--region", "home/berlin"))
    yard.wait_rounds(run, 2, sites=1)
    site = newest(yard.show(run))
    head, other = site["nodes"]

    killed_at = datetime.now(UTC)
    yard.kill_host(other["host"])
    alone_at = first_step(yard, run, after=killed_at)
    alone_s = (alone_at - killed_at).total_seconds()
    leased_at = yard.until(lambda: third_machine(yard, run)["opened_at"], "another machine is leased")
    together_s = (first_step(yard, run, after=alone_at) - moment(leased_at)).total_seconds()
    record_property("from the kill to the next step, s", alone_s)
    record_property("from the lease to the first step with the newcomer, s", together_s)
    ended = yard.wait_end(run)

    assert ended["state"] == "succeeded", yard.tale()
    assert ended["artifact"]["kind"] == "model"
    assert alone_s < 30, "6 s on a machine that is not loaded"
    assert newest(ended)["placement"] == site["placement"], yard.tale()
    site, events = newest(ended), yard.client.events(run, limit=1000)
    assert [one["state"] for one in site["nodes"]] == ["released", "lost", "released"]
    assert site["nodes"][0]["lease"] == head["lease"]
    of_site = [each for each in events if (each["subject"], each["subject_id"]) == ("placement", site["placement"])]
    told = [each["why"] for each in of_site if each["from"] == each["to"]]
    assert told == ["lost one of 2 machines, goes on with 1", "goes on with 2 machines instead of 1"]
    check_samples(yard, run, SAMPLES)
    check_bill(yard, run)


@pytest.fixture
def third_in_berlin(broker, tmp_path):
    """The dearest host of its place."""
    with broker.fourth_host("berlin-3", region="home/berlin", usd_per_hour="0.09", state=tmp_path / "berlin-3"):
        yield
