"""Whole stories with nothing replaced: real Postgres, Redis, web, workers, agents, Ray and torch; real kill -9."""

from __future__ import annotations

import json
import signal
from collections import Counter
from decimal import Decimal
from hashlib import sha256

import pytest

from tests.journeys.checks import check_bill, check_samples, moves

pytestmark = pytest.mark.journey


@pytest.fixture(autouse=True)
def _quiet_world():
    """These journeys need no Django in this process."""


def test_success(yard, tmp_path):
    run = yard.order("--samples", "4000")
    ended = yard.wait_end(run)

    assert (ended["state"], ended["end_reason"]) == ("succeeded", "finished")
    check_samples(yard, run, 4000)
    check_bill(yard, run)
    sites = Counter(c["site"] for one in yard.client.rounds(run) for c in one["contributors"])
    assert set(sites) == {"home/berlin", "home/paris"}
    model = tmp_path / "model.safetensors"
    yard.yard("pull", str(run), "-o", str(model))
    assert sha256(model.read_bytes()).hexdigest() == ended["artifact"]["sha256"]
    assert ended["artifact"]["metrics"]["val_loss"] < 1
    assert "step" in json.dumps(yard.client.metrics(run)[-1])


def test_a_site_of_two_machines_trains_as_one_ray_cluster(yard):
    run = yard.order("--samples", "800", sites=1, gpu="CPU:2", flags=("--region", "home/berlin"))
    ended = yard.wait_end(run)

    assert ended["state"] == "succeeded", yard.tale()
    (site,) = ended["sites"]
    assert sorted(node["host"] for node in site["nodes"]) == ["berlin-1", "berlin-2"]
    check_samples(yard, run, 800)


def test_machine_lost(yard):
    run = yard.order("--samples", "12000")
    yard.wait_rounds(run, 3)
    name, _ = yard.host_of(run)
    yard.kill_host(name)

    yard.until(lambda: "lost" in moves(yard, run, "lease"), "the lease is lost")
    yard.until(lambda: len(yard.show(run)["sites"]) == 3, "a replacement is placed")
    ended = yard.wait_end(run, limit_s=180)

    assert ended["state"] == "succeeded"
    check_samples(yard, run, 12000)
    check_bill(yard, run)
    assert moves(yard, run, "lease").count("lost") == 1
    newcomer = max(site["placement"] for site in ended["sites"])
    merged = {c["placement"] for one in yard.client.rounds(run) for c in one["contributors"] if c["status"] == "merged"}
    assert newcomer in merged, "the replacement takes part"


def test_a_host_that_was_cut_off_is_replaced_and_cleans_up_when_it_is_back(yard):
    run = yard.order("--samples", "9000")
    yard.wait_rounds(run, 2)
    name, host = yard.host_of(run)
    yard.signal_host(name, signal.SIGSTOP)
    yard.until(lambda: "lost" in moves(yard, run, "lease"), "the lease is lost")

    yard.signal_host(name, signal.SIGCONT)
    ended = yard.wait_end(run, limit_s=180)

    assert ended["state"] == "succeeded"
    check_samples(yard, run, 9000)
    yard.until(lambda: yard.host(host)["state"] == "offered", "the host is offered again")
    yard.until(lambda: not list((yard.home / "hosts" / name / "leases").glob("*")), "nothing of the lease is left")


def test_supplier_reclaims(yard):
    run = yard.order("--samples", "10000")
    yard.wait_rounds(run, 3)
    name, host = yard.host_of(run)
    yard.yard("host", "reclaim", str(host), "--notice", "40")

    yard.until(lambda: any(s["state"] == "closed" for s in yard.show(run)["sites"]), "the site has left")
    left = next(s for s in yard.show(run)["sites"] if s["state"] == "closed")
    ended = yard.wait_end(run, limit_s=180)

    assert ended["state"] == "succeeded"
    assert left["nodes"][0]["state"] == "released", "it left before it was taken"
    last = [c for one in yard.client.rounds(run) for c in one["contributors"] if c["placement"] == left["placement"]][
        -1
    ]
    assert last["status"] == "merged"
    check_samples(yard, run, 10000)
    check_bill(yard, run)
    state = next(h for h in yard.client.hosts()["results"] if h["name"] == name)["state"]
    assert state in ("reclaiming", "reclaimed")


def test_budget_ends(yard, tmp_path):
    run = yard.order("--samples", "10000000", budget="0.002")
    ended = yard.wait_end(run, limit_s=180)

    assert (ended["state"], ended["end_reason"]) == ("cancelled", "budget")
    assert Decimal(yard.client.bill(run)["total_usd"]) <= Decimal("0.002")
    assert ended["artifact"]["kind"] == "checkpoint"
    assert ended["samples"]["merged"] == sum(one["samples"] for one in yard.client.rounds(run)) > 0
    yard.yard("pull", str(run), "-o", str(tmp_path / "checkpoint.safetensors"))
    check_bill(yard, run)
