"""A run at a cloud with nothing replaced but the cloud's walls: its machines are processes, and boot our own agent."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256

import pytest

from tests.journeys.machines import NO_CAPACITY, PLACES, MachineCloud
from tests.journeys.yard import Yard
from tests.providers.verda_cloud import CLIENT_ID, CLIENT_SECRET

pytestmark = pytest.mark.journey

SAMPLES = 11000  # One site alone is not done with them before its new companion has booted and joined.
AT_THE_CLOUD = ("--provider", "verda", "--market", "spot")
NOTICED_WITHIN = timedelta(seconds=30)  # Of an agent's silence, and some for a busy machine.
STEP = timedelta(seconds=30)  # Between a step's own time and what it does at the cloud.


@pytest.fixture(autouse=True)
def _quiet_world():
    """These journeys need no Django in this process."""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with MachineCloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running
        running.close()


@pytest.fixture(scope="module")
def yard(cloud, tmp_path_factory):
    account = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "base_url": cloud.url}
    running = Yard(
        tmp_path_factory.mktemp("yard") / "state",
        GPUYARD_HOSTS="0",
        GPUYARD_PROVIDERS=json.dumps({"verda": account}),
        GPUYARD_POLL_EVERY_S='{"verda": 5}',
    )
    try:
        running.until(lambda: running.client.offers(provider="verda")["results"], "the price list is read")
        yield running
    finally:
        running.stop()


def moves(yard, run, subject):
    return [event["to"] for event in yard.client.events(run, limit=1000) if event["subject"] == subject]


def check_samples(yard, run, total):
    """Every sample was merged, and by one round only."""
    assert yard.show(run)["samples"] == {"total": total, "merged": total, "leased": 0, "free": 0}
    assert sum(one["samples"] for one in yard.client.rounds(run)) == total


def check_bill(yard, cloud, run):
    """Every second of every machine is on it, at its price, and nothing else."""
    bill = json.loads(yard.yard("bill", str(run), "--json"))
    assert bill["final"] is True
    for line in bill["leases"]:
        machine = cloud.machine_of(line["lease"])
        opened, closed = (datetime.fromisoformat(line[end]) for end in ("opened_at", "closed_at"))
        assert opened <= machine.began_at < opened + STEP
        assert machine.ended_at - STEP < closed < machine.ended_at + NOTICED_WITHIN
        assert Decimal(line["seconds"]) == Decimal(str((closed - opened).total_seconds()))
        exact = Decimal(line["seconds"]) * Decimal(line["usd_per_hour"]) / 3600
        assert abs(Decimal(line["usd"]) - exact) < Decimal("0.00001")
    assert Decimal(bill["total_usd"]) == sum(Decimal(line["usd"]) for line in bill["leases"]) > 0
    assert bill["billed_usd"] == bill["total_usd"]
    assert yard.client.read("/v1/ledger")["sum_usd"] == "0.000000"
    return bill


def check_nothing_is_left(cloud):
    assert not cloud.instances
    assert not cloud.scripts, "startup scripts hold tokens"
    assert not cloud.disks


def test_its_offers_can_be_leased(yard):
    found = json.loads(yard.yard("offers", "--provider", "verda", "--market", "spot", "--json"))["results"]

    assert {(row["region"], row["accelerator"], row["leasable"]) for row in found} == {
        (place, "CPU", True) for place in PLACES
    }


def test_a_run_outlives_a_place_that_is_sold_out_and_a_machine_that_is_taken_away(yard, cloud, tmp_path):
    cloud.trouble.append(("POST", "^/instances$", NO_CAPACITY))
    run = yard.order("--samples", str(SAMPLES), flags=AT_THE_CLOUD)
    yard.wait_rounds(run, 2)
    trains = [site for site in yard.show(run)["sites"] if site["state"] == "training"]

    cloud.interrupt(trains[0]["nodes"][0]["lease"])
    ended = yard.wait_end(run, limit_s=120)

    assert (ended["state"], ended["end_reason"]) == ("succeeded", "finished"), yard.tale()
    ends = Counter(moves(yard, run, "lease"))
    assert (ends["refused"], ends["lost"], ends["released"]) == (1, 1, 2)
    assert {site["region"] for site in ended["sites"]} == set(PLACES), "each time somewhere else"
    check_samples(yard, run, SAMPLES)
    bill = check_bill(yard, cloud, run)
    assert len(cloud.machines) == len(bill["leases"]) == 3
    newcomer = max(site["placement"] for site in ended["sites"])
    merged = {c["placement"] for one in yard.client.rounds(run) for c in one["contributors"] if c["status"] == "merged"}
    assert newcomer in merged, "the replacement takes part"
    model = tmp_path / "model.safetensors"
    yard.yard("pull", str(run), "-o", str(model))
    assert sha256(model.read_bytes()).hexdigest() == ended["artifact"]["sha256"]
    check_nothing_is_left(cloud)
