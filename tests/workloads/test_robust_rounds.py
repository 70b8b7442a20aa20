"""Five sites' rounds: the mean is clipped, the rule and each share are written down, and the same bits come back."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import THETA, Site, packed_delta
from workloads import hub
from workloads.models import Contribution, Placement, Round, Training
from workloads.steps.round import round_machine

pytestmark = pytest.mark.django_db
PLACES = ["berlin", "paris", "madrid", "rome", "vienna"]


@pytest.fixture
def start(make_host, order_run, settle):
    """start(wish=...) -> five sites."""
    return lambda **wishes: five(make_host, order_run, settle, wishes)


@pytest.fixture
def sites(start):
    return start()


def five(make_host, order_run, settle, wishes):
    agents = [make_host(place, f"home/{place}") for place in PLACES]
    order_run(sites=5)
    settle(*agents, seconds=8)
    made = [Site(agent.client, next(iter(agent.orders.values())), total=4000) for agent in agents]
    for site in made:
        site.hello(**wishes)
    return made


def merge(sites, clock, pulls):
    """Each site moves everything by about its pull."""
    leased = [site.lease()[1] for site in sites]
    for number, (site, ranges, pull) in enumerate(zip(sites, leased, pulls, strict=True)):
        noise = np.random.default_rng(number)
        delta = {name: np.float32(pull) * noise.normal(1, 0.1, t.shape).astype("f4") for name, t in THETA.items()}
        assert site.give(ranges, sha256=site.put_raw(packed_delta(delta, "int8")))["status"] == "accepted"
    for pk in Round.objects.filter(state="open").values_list("pk", flat=True):
        Round.objects.filter(pk=pk).update(wake_at=clock.now)
        round_machine.advance(pk, clock.now)
    for site in sites:
        site.catch_up()


def moved(sites):
    return float((THETA["w"] - sites[0].theta["w"]).mean())


def test_one_wild_site_of_five_moves_the_parameters_little(sites, clock):
    Training.objects.update(outer_lr=1.0, outer_momentum=0.0)

    merge(sites, clock, [0.01, 0.01, 0.01, 0.01, -0.2])

    assert Round.objects.get(version=0).outer_mean == "clipped"
    assert 0.008 < moved(sites) < 0.012, "the mean is -.032"
    shares = dict(Contribution.objects.values_list("placement_id", "share"))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares.pop(sites[4].placement) < 0.02 < 0.2 < min(shares.values())


def test_the_rule_can_be_chosen(start, clock):
    sites = start(outer_mean="mean")
    Training.objects.update(outer_lr=1.0, outer_momentum=0.0)

    merge(sites, clock, [0.01, 0.01, 0.01, 0.01, -0.2])

    assert Round.objects.get(version=0).outer_mean == "mean"
    assert moved(sites) == pytest.approx(-0.032, abs=0.003)


def test_up_to_four_sites_are_merged_by_their_weights(sites, clock):
    Training.objects.update(outer_lr=1.0, outer_momentum=0.0)
    Placement.objects.filter(pk=sites[4].placement).update(state="closed")

    merge(sites[:4], clock, [0.01, 0.01, 0.01, 0.05])

    assert Round.objects.get(version=0).outer_mean == "mean"
    assert moved(sites) == pytest.approx(0.02, abs=0.002)


def test_rounds_of_either_rule_come_back_bit_by_bit(sites, clock, monkeypatch):
    monkeypatch.setattr(hub, "SMALL_BYTES", 0)  # A snapshot each tenth round.
    for rule in ("mean", "", "clipped", "mean"):
        Training.objects.update(outer_mean=rule)
        merge(sites, clock, [0.01, 0.011, 0.012, 0.01, -0.2])
    assert list(Round.objects.filter(state="closed").order_by("version").values_list("outer_mean", flat=True)) == [
        "mean", "clipped", "clipped", "mean"
    ]  # fmt: skip
    training = Training.objects.get()
    assert training.snapshot_version == 0
    hub.MEMORY._states.clear()

    assert hub.MEMORY.take(training).fingerprint == training.fingerprint


def test_what_was_written_down_counts_and_not_the_rule(sites, clock, monkeypatch):
    monkeypatch.setattr(hub, "SMALL_BYTES", 0)
    merge(sites, clock, [0.01, 0.011, 0.012, 0.01, -0.2])
    Contribution.objects.filter(share__lt=0.1).update(share=0.1)
    hub.MEMORY._states.clear()

    with pytest.raises(hub.Diverged):
        hub.MEMORY.take(Training.objects.get())
