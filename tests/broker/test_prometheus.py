"""`/metrics`: what Prometheus reads is what the database holds, for who may see it."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from offers.models import Offer, Source
from tests.conftest import Site
from tests.workloads.test_rounds import close_round, sites  # noqa: F401 - `sites` is a fixture
from workloads import figures
from workloads.models import Contribution, Lease, Node, Placement, Round, Training, Workload

pytestmark = pytest.mark.django_db
LABELS = {"workload", "site", "placement", "status", "state", "provider", "leasable", "fresh"}


@pytest.fixture
def scrape(make_caller, clock):
    """Ask as Prometheus does: {family: {labels: value}}, the labels' values in the order of their names."""
    observer = make_caller("observer", scopes=("observe",))

    def ask():
        answer = observer.call("GET", "/metrics")
        assert answer.status_code == 200, answer.content
        families = list(text_string_to_metric_families(answer.content.decode()))
        return {
            sample.name: {tuple(v for _, v in sorted(s.labels.items())): s.value
                          for s in family.samples if s.name == sample.name}
            for family in families for sample in family.samples
        }  # fmt: skip

    return ask


@pytest.fixture
def trained(sites, clock):  # noqa: F811
    """Two sites after one round of 10 s, 100 samples of one and 60 of the other, and a second round open."""
    leased = [site.lease()[1] for site in sites]
    clock.forward(seconds=8)
    sites[0].give(leased[0], pull=0.1, loss=2.5)
    clock.forward(seconds=2)
    sites[1].give([[100, 160]], pull=0.3, loss=2.0)
    opened = Round.objects.get().opened_at
    close_round(clock)
    assert Round.objects.get(version=0).closed_at == clock.now
    return sites, (clock.now - opened).total_seconds()


def test_the_figures_of_a_run_are_those_of_its_rounds(trained, scrape):
    (one, two), took = trained
    run = (str(Workload.objects.get().pk),)
    merged = {c.placement_id: c for c in Contribution.objects.filter(status="merged")}

    told = scrape()

    assert {name: told[f"gpuyard_workload_{name}"][run] for name in (
        "version", "samples", "samples_merged_total", "rounds_closed_total", "last_round_contributors", "loss",
        "last_round_seconds", "round_seconds_count", "round_seconds_sum",
    )} == {
        "version": 1, "samples": 400, "samples_merged_total": 160, "rounds_closed_total": 1,
        "last_round_contributors": 2, "loss": 2.3125, "last_round_seconds": took, "round_seconds_count": 1,
        "round_seconds_sum": took,
    }  # fmt: skip
    made = Round.objects.get(version=0)
    assert told["gpuyard_workload_last_update_bytes"][run] == made.update_bytes > 0
    assert told["gpuyard_workload_update_bytes_total"][run] == made.update_bytes
    assert told["gpuyard_workload_contribution_bytes_total"][run] == sum(c.size_bytes for c in merged.values()) > 0
    assert told["gpuyard_workload_contributions_total"] == {("merged", *run): 2}
    labels = {site.placement: (str(site.placement), name, *run)
              for site, name in ((one, "home/berlin"), (two, "home/paris"))}  # fmt: skip
    for name, field in (("share_ratio", "share"), ("contribution_norm", "norm"), ("contribution_cosine", "cosine"),
                        ("loss", "loss")):  # fmt: skip
        told_of = told[f"gpuyard_site_{name}"]
        assert told_of == {labels[pk]: pytest.approx(getattr(each, field)) for pk, each in merged.items()}, name
    speeds = told["gpuyard_site_samples_per_second"]
    assert speeds == {labels[one.placement]: 100 / (took - 2), labels[two.placement]: 60 / took}
    assert "gpuyard_site_stall_ratio" not in told
    Contribution.objects.update(train_s=4.0, stall_s=1.0, put_s=0.5, fetch_s=0.25)  # As sites say that train on.
    told = scrape()
    speeds = told["gpuyard_site_samples_per_second"]
    assert speeds == {labels[one.placement]: 25, labels[two.placement]: 15}
    for name, value in (("stall_ratio", 0.25), ("put_seconds", 0.5), ("fetch_seconds", 0.25)):
        assert told[f"gpuyard_site_{name}"] == dict.fromkeys(labels.values(), value)


def test_a_site_is_as_busy_as_its_accelerators_or_its_processors(trained, scrape):
    (one, two), _ = trained
    chips = [{"utilisation_percent": percent, "memory_used_gib": 1.0} for percent in (90, 60)]
    usage = {"cpu_percent": 40.0, "ram_used_gib": 2.0}
    Node.objects.filter(lease__placement=one.placement).update(usage=usage | {"accelerators": chips})
    Node.objects.filter(lease__placement=two.placement).update(usage=usage | {"accelerators": []})

    told = {labels[0]: value for labels, value in scrape()["gpuyard_site_utilisation_ratio"].items()}

    assert told == {str(one.placement): 0.75, str(two.placement): 0.4}
    for odd in ([], {"accelerators": 3}, {"accelerators": [{}]}, {"cpu_percent": "much", "accelerators": []}):
        Node.objects.update(usage=odd)
        assert "gpuyard_site_utilisation_ratio" not in scrape()


def test_what_rounds_add_up_to_grows_and_the_last_one_is_the_last(trained, scrape, clock):
    (one, two), took = trained
    run = (str(Workload.objects.get().pk),)
    clock.forward(seconds=5)
    Placement.objects.filter(pk=two.placement).update(state="closed")
    one.give(one.lease()[1] or one.lease()[1])  # The first answer may only say that there is a newer version.
    clock.forward(seconds=60)
    close_round(clock)

    told = scrape()

    assert told["gpuyard_workload_rounds_closed_total"][run] == told["gpuyard_workload_version"][run] == 2
    assert told["gpuyard_workload_last_round_seconds"][run] == 65
    assert told["gpuyard_workload_round_seconds_sum"][run] == took + 65
    made = Round.objects.filter(state="closed").order_by("version").values_list("update_bytes", flat=True)
    assert told["gpuyard_workload_update_bytes_total"][run] == sum(made)
    assert told["gpuyard_workload_last_update_bytes"][run] == made[1]
    assert told["gpuyard_workload_last_round_contributors"][run] == 1
    assert list(told["gpuyard_site_share_ratio"].values()) == [1]
    assert told["gpuyard_workload_samples_merged_total"][run] == 260


def test_only_what_runs_has_series_of_its_own(trained, scrape):
    Workload.objects.update(state="succeeded", ended_at=timezone.now(), end_reason="finished")

    told = scrape()

    assert not [name for name in told if name.startswith(("gpuyard_workload_", "gpuyard_site_"))]
    assert told["gpuyard_workloads"][("succeeded",)] == 1


def test_what_is_not_known_yet_is_left_out(sites, scrape):  # noqa: F811
    told = scrape()

    run = (str(Workload.objects.get().pk),)
    assert told["gpuyard_workload_rounds_closed_total"] == told["gpuyard_workload_samples_merged_total"] == {run: 0}
    assert not [name for name in told if name.startswith(("gpuyard_site_", "gpuyard_workload_last_round_seconds"))]
    assert "gpuyard_workload_loss" not in told
    Training.objects.update(version=None, snapshot_version=None)
    assert not [name for name in scrape() if name.startswith("gpuyard_workload_")]


def test_the_broker_tells_every_state_and_how_fresh_its_offers_are(trained, scrape, clock):
    offer = Offer.objects.first()
    for name in ("fresh", "stale"):
        Source.objects.create(provider=name, fresh_until=clock.now + timedelta(seconds=9 if name == "fresh" else 0))
        for number in range(3):
            gone = clock.now if number == 2 else None
            values = {f.name: getattr(offer, f.name) for f in Offer._meta.fields if f.name not in ("id", "version")}
            Offer.objects.create(**values | {"provider": name, "region": str(number), "gone_at": gone,
                                             "leasable": number == 0})  # fmt: skip

    told = scrape()

    offers = {labels: n for labels, n in told["gpuyard_offers"].items() if labels[2] in ("fresh", "stale")}
    assert offers == {("true", "true", "fresh"): 1, ("true", "false", "fresh"): 1,
                      ("false", "true", "stale"): 1, ("false", "false", "stale"): 1}  # fmt: skip
    assert told["gpuyard_leases"] == {(state,): Lease.objects.filter(state=state).count() for state in Lease.State}
    assert told["gpuyard_leases"][("held",)] == 2
    assert set(told["gpuyard_workloads"]) == {(state,) for state in Workload.State}


def test_only_a_key_for_it_opens_it(make_caller, client, clock):
    others = make_caller("ada", scopes=("read", "run", "supply", "operate"))

    assert others.refused("GET", "/metrics") == (403, "scope_missing")
    assert client.get("/metrics").status_code == 401
    assert make_caller("eve", scopes=("observe",)).refused("GET", "/v1/workloads") == (403, "scope_missing")


def test_names_follow_the_conventions_and_no_label_is_a_secret_or_a_person(trained, make_caller, ada):
    text = make_caller("observer", scopes=("observe",)).call("GET", "/metrics").content.decode()

    for family in text_string_to_metric_families(text):
        assert re.fullmatch("gpuyard_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        assert all(set(sample.labels) <= LABELS for sample in family.samples)
        assert not re.search("_(ms|minutes|kib|mib|percent|count|s)$", family.name)
        assert (family.type == "counter") == any(sample.name.endswith("_total") for sample in family.samples)
    placement = Placement.objects.first()
    for secret in (placement.site_secret, placement.ray_token, "ada", "train.py", ada.key):
        assert secret not in text


def test_open_metrics_can_be_had_too(trained, make_caller):
    observer = make_caller("observer", scopes=("observe",))

    answer = observer.call("GET", "/metrics", accept="application/openmetrics-text; version=1.0.0")

    assert answer["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    families = list(openmetrics.text_string_to_metric_families(answer.content.decode()))
    assert "gpuyard_workload_rounds_closed" in {family.name for family in families}


def test_more_runs_ask_the_database_no_more_questions(
    trained, clock, order_run, make_host, settle, django_assert_num_queries
):
    with CaptureQueriesContext(connection) as before:
        figures.of_workloads()
    asked = len(before)
    agents = [make_host("three", "home/rome"), make_host("four", "home/oslo")]
    order_run()
    settle(*agents, seconds=5)
    more = [Site(agent.client, next(iter(agent.orders.values()))) for agent in agents]
    for site in more:
        site.hello()
    for site, ranges in [(site, site.lease()[1]) for site in more]:
        site.give(ranges)
    close_round(clock)

    with django_assert_num_queries(asked):
        found = figures.of_workloads()

    assert [len(one.sites) for one in found] == [2, 2]
    assert asked == 7
