"""The hub as a real process: rounds close at once, and a hub that dies leaves nothing that another can not take up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from broker.management.commands import hub as command
from tests.conftest import Site
from workloads.models import Round, SampleRange, Training
from workloads.steps.round import CLAIM_FOR, round_machine

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def sites(make_host, order_run, settle, clock):
    agents = [make_host("one", "home/berlin"), make_host("two", "home/paris")]
    order_run()
    settle(*agents, seconds=5)
    made = [Site(agent.client, next(iter(agent.orders.values())), total=800) for agent in agents]
    for site in made:
        site.clock = clock
        site.hello()
    return made


@pytest.fixture
def start_hub():
    """Start `manage.py hub` beside the test's own database."""
    started = []

    def start() -> subprocess.Popen[bytes]:
        place = connection.settings_dict
        url = f"postgresql://{place['USER']}@/{place['NAME']}?host={place['HOST']}"
        environment = os.environ | {"DATABASE_URL": url, "GPUYARD_OBJECTS": settings.OBJECTS_URL}
        started.append(subprocess.Popen([sys.executable, "manage.py", "hub"], cwd=ROOT, env=environment))
        return started[-1]

    yield start
    for hub in started:
        hub.kill()
        hub.wait()


def version() -> int:
    return Training.objects.values_list("version", flat=True).get()


def wait_for(what, within_s: float = 20.0) -> float:
    """Return how long it took."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() < begun + within_s, f"not within {within_s} s"
        time.sleep(0.01)
    return time.monotonic() - begun


def hand_in(sites, pull: float = 0.1) -> None:
    sites[0].clock.now = datetime.now(UTC)  # As the hub's process has it.
    leased = [site.lease()[1] for site in sites]
    for site, ranges in zip(sites, leased, strict=True):
        assert site.give(ranges, pull=pull)["status"] == "accepted"


def test_a_round_closes_as_soon_as_the_last_site_has_handed_in(sites, start_hub):
    start_hub()
    hand_in(sites)
    wait_for(lambda: version() == 1)  # It takes a moment to start.

    for number in (2, 3, 4):
        hand_in(sites, pull=0.1 * number)
        assert wait_for(lambda number=number: version() == number) < 2.0

    merged = SampleRange.objects.filter(merged_version__isnull=False)
    assert sum(one.end - one.start for one in merged) == 800


def test_a_hub_that_was_killed_leaves_its_round_to_another(sites, start_hub):
    first = start_hub()
    hand_in(sites)
    wait_for(lambda: version() == 1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    hand_in(sites)
    assert version() == 1

    start_hub()

    wait_for(lambda: version() == 2)
    assert Round.objects.filter(state="closed").count() == 2


def test_what_a_dead_hub_had_claimed_is_free_in_seconds(sites, start_hub, clock):
    hand_in(sites)
    real_now = clock.now + timedelta(seconds=time.time() - clock.now.timestamp())
    until = real_now + CLAIM_FOR
    Round.objects.filter(state="open").update(claim_token=uuid.uuid4(), claimed_until=until, wake_at=until)

    start_hub()

    assert 1.0 < wait_for(lambda: version() == 1) < CLAIM_FOR.total_seconds() + 8


def test_a_hub_told_to_stop_finishes_and_goes(sites, start_hub):
    hub = start_hub()
    hand_in(sites)
    wait_for(lambda: version() == 1)

    hub.send_signal(signal.SIGTERM)

    assert hub.wait(timeout=10) == 0
    assert not Round.objects.filter(claim_token__isnull=False).exists()


def test_two_hubs_close_each_round_once(sites, start_hub):
    for _ in range(2):
        start_hub()
    for number in (1, 2, 3):
        hand_in(sites)
        wait_for(lambda number=number: version() == number)

    assert list(Round.objects.filter(state="closed").order_by("version").values_list("version", flat=True)) == [0, 1, 2]


def test_a_claim_that_is_renewed_stays_and_only_ones_own(sites, clock, monkeypatch):
    round_ = Round.objects.get()
    mine, other = uuid.uuid4(), uuid.uuid4()
    monkeypatch.setattr(round_machine, "_held", {round_.pk: mine})
    for token, renewed in ((mine, True), (other, False)):
        Round.objects.update(claim_token=token, claimed_until=clock.now)

        round_machine.renew(clock.now + timedelta(seconds=1))

        assert (Round.objects.get().claimed_until > clock.now) is renewed


def test_what_was_begun_is_held_until_it_is_finished(monkeypatch):
    renewed = []
    monkeypatch.setattr(command, "RENEW_S", 0.01)
    monkeypatch.setattr(command.signal, "signal", lambda *given: None)
    monkeypatch.setattr(command.round_machine, "renew", renewed.append)

    def told_to_stop_in_the_middle_of_a_merge(pool, threads, stop):
        stop.set()
        pool.submit(time.sleep, 0.3)

    monkeypatch.setattr(command, "_serve", told_to_stop_in_the_middle_of_a_merge)
    command.Command().handle(threads=1)

    assert len(renewed) > 3
