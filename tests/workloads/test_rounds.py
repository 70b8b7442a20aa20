"""Rounds as a site sees them: each sample once, each contribution once or not at all, whatever is sent."""

from __future__ import annotations

import random
from datetime import timedelta
from hashlib import sha256

import numpy as np
import pytest
from django.db import IntegrityError, transaction

from offers.models import Refusal
from tests.conftest import THETA, Site, hello_body, packed_delta
from workloads import hub, queries, storage
from workloads.models import Artifact, Contribution, Placement, Round, SampleRange, Training, Workload
from workloads.node.training import codec, outer, quantise, wire
from workloads.node.training.layout import Layout
from workloads.steps.round import round_machine

pytestmark = pytest.mark.django_db


@pytest.fixture
def sites(make_host, order_run, settle, clock):
    """Two sites that train, and their agents."""
    agents = [make_host("one", "home/berlin"), make_host("two", "home/paris")]
    order_run()
    settle(*agents, seconds=5)
    made = [Site(agent.client, next(iter(agent.orders.values()))) for agent in agents]
    for site in made:
        site.hello()
    return made


def close_round(clock):
    for pk in Round.objects.filter(state="open").values_list("pk", flat=True):
        Round.objects.filter(pk=pk).update(wake_at=clock.now)
        round_machine.advance(pk, clock.now)


def theta():
    """The parameters that the newest snapshot holds."""
    return codec.decode(storage.get(Training.objects.get().snapshot_sha256))


def covered(**wanted):
    return sorted(p for r in SampleRange.objects.filter(**wanted) for p in range(r.start, r.end))


def test_all_sites_start_from_the_first_ones_parameters(sites):
    assert sites[0].version == sites[1].version == 0
    training = Training.objects.get()
    assert training.snapshot_sha256 == training.initial_sha256 == sha256(codec.encode(THETA)).hexdigest()


def test_a_slow_site_can_still_fetch_the_first_parameters_when_round_0_has_closed(sites, clock):
    first = queries.state(Training.objects.get())
    _, ranges = sites[0].lease()
    Placement.objects.filter(pk=sites[1].placement).update(joined=False)
    sites[0].give(ranges)
    close_round(clock)
    assert Training.objects.get().fingerprint != first["fingerprint"]

    sites[1].fetch(first)

    assert np.array_equal(sites[1].theta["w"], THETA["w"])


def test_a_site_cannot_read_what_is_no_state_of_its_workload(sites):
    digest = sites[0].put({"w": THETA["b"]})

    assert sites[1].call("GET", f"objects/{digest}").status_code == 404


def test_two_sites_never_get_one_sample(sites):
    _, first = sites[0].lease()
    _, second = sites[1].lease()

    assert first == [[0, 100]]
    assert second == [[100, 200]]


def test_a_site_that_did_not_hear_the_answer_gets_the_same_samples_again(sites):
    assert sites[0].lease() == sites[0].lease(again=True) == ("leased", [[0, 100]])
    assert sites[0].lease() == ("leased", [[100, 200]]), "another question, another answer"


def test_the_database_refuses_to_lease_a_sample_twice(sites):
    sites[0].lease()
    holder = Placement.objects.get(pk=sites[1].placement)

    with pytest.raises(IntegrityError, match="no_sample_is_leased_twice"), transaction.atomic():
        SampleRange.objects.create(workload_id=holder.workload_id, start=99, end=120, holder=holder)


def test_a_round_closes_when_every_site_has_handed_in_and_all_take_the_same_step(sites, clock):
    leased = [site.lease()[1] for site in sites]
    sites[0].give(leased[0], pull=0.1)
    close_round(clock)
    assert Training.objects.get().version == 0, "it waits for the other"
    sites[1].give(leased[1], pull=0.3)
    close_round(clock)

    training = Training.objects.get()
    assert training.version == 1
    # Weights are equal, the mean delta is .2; 2 rounds are planned, and the last two are plain averages.
    assert np.allclose(theta()["w"], THETA["w"] - 0.2, atol=1e-6)
    given = Contribution.objects.order_by("id").values_list("share", "norm", "cosine")
    assert [list(figures) for figures in given] == [
        pytest.approx([0.5, 0.1 * 8**0.5, 1], rel=1e-4), pytest.approx([0.5, 0.3 * 8**0.5, 1], rel=1e-4)
    ]  # fmt: skip
    assert covered(merged_version=0) == list(range(200))


def test_a_single_site_goes_on_where_it_was(sites, clock):
    _, ranges = sites[0].lease()
    Placement.objects.filter(pk=sites[1].placement).update(state="closed")
    sites[0].give(ranges, pull=0.25)
    close_round(clock)

    assert np.allclose(theta()["w"], THETA["w"] - np.float32(0.25), atol=1e-6)


def test_a_site_that_does_not_answer_the_call_is_given_up_within_seconds(sites, clock):
    leased = [site.lease()[1] for site in sites]
    clock.forward(seconds=60)
    sites[0].give(leased[0])
    clock.forward(seconds=0.9)
    close_round(clock)
    assert Training.objects.get().version == 0
    clock.forward(seconds=0.2)
    close_round(clock)

    assert Training.objects.get().version == 1


def test_a_site_that_answers_the_call_is_waited_for_while_it_lives(sites, clock):
    leased = [site.lease()[1] for site in sites]
    sites[0].give(leased[0])
    assert sites[0].poll()["status"] == "open", "who has handed in is not called"
    assert sites[1].poll()["status"] == "called"
    assert sites[1].poll(called=True)["status"] == "open"
    for _ in range(6):
        clock.forward(seconds=3)
        sites[1].poll(called=True)
        close_round(clock)
    assert Training.objects.get().version == 0

    clock.forward(seconds=2.1)
    close_round(clock)

    assert Training.objects.get().version == 1, "20 s are enough for a site of which nothing is known"


def test_a_site_that_falls_silent_after_the_call_is_given_up(sites, clock):
    leased = [site.lease()[1] for site in sites]
    sites[0].give(leased[0])
    sites[1].poll(called=True)
    clock.forward(seconds=4.1)
    close_round(clock)

    assert Training.objects.get().version == 1


def test_the_hub_learns_how_soon_a_site_answers_and_hands_in(sites, clock):
    for answer_s, late_s in ((1, 3), (0.5, 2)):
        leased = [site.lease()[1] for site in sites]
        clock.forward(seconds=9)
        sites[0].give(leased[0])
        clock.forward(seconds=answer_s)
        sites[1].poll(called=True)
        clock.forward(seconds=late_s - answer_s)
        sites[1].give(leased[1])
        close_round(clock)
    known = Placement.objects.get(pk=sites[1].placement)
    assert known.answers_s == pytest.approx(0.8 * 1 + 0.2 * 0.5)
    assert known.late_s == pytest.approx(0.8 * 3 + 0.2 * 2)

    Training.objects.update(total_samples=800)
    leased = [site.lease()[1] for site in sites]
    clock.forward(seconds=9)
    sites[0].give(leased[0])
    clock.forward(seconds=1.6)
    close_round(clock)
    assert Training.objects.get().version == 2
    clock.forward(seconds=0.1)
    close_round(clock)

    assert Training.objects.get().version == 3, "1.5 x .9 s + .3 s"


def test_what_comes_too_late_for_a_round_is_in_the_next(sites, clock):
    leased = [site.lease()[1] for site in sites]
    clock.forward(seconds=1)
    sites[0].give(leased[0])
    clock.forward(seconds=3)
    close_round(clock)
    clock.forward(seconds=9)
    answer = sites[1].give(leased[1])
    assert answer["status"] == "late"
    assert Placement.objects.get(pk=sites[1].placement).late_s == 12, "the next round waits for it"
    assert "closed" in answer["why"]
    assert covered(holder=sites[1].placement, contribution=None) == list(range(100, 200))

    sites[1].catch_up()
    assert sites[1].give(leased[1], base=0)["status"] == "accepted"
    Placement.objects.filter(pk=sites[0].placement).update(state="closed")
    close_round(clock)

    assert covered(merged_version=1) == list(range(100, 200))


def test_work_that_began_too_many_versions_ago_is_refused_and_its_samples_are_free(sites, clock):
    _, old = sites[1].lease()
    for _ in range(2):
        _, ranges = sites[0].lease()
        clock.forward(seconds=1)
        sites[0].give(ranges)
        clock.forward(seconds=3)
        close_round(clock)
    sites[1].catch_up()

    answer = sites[1].give(old, base=0)

    assert answer["status"] == "refused"
    assert "its first step was taken from version 0; 2 is too far from it" in answer["why"]
    assert covered(merged_version=None, holder=None, contribution=None) == list(range(100))


def test_a_contribution_that_comes_while_the_round_is_merged_is_late_and_its_samples_stay(sites, clock, monkeypatch):
    leased = [site.lease()[1] for site in sites]
    sites[0].give(leased[0])
    clock.forward(seconds=30)
    run = round_machine._run

    def slow(step, subject, now):
        move = run(step, subject, now)
        assert sites[1].give(leased[1])["status"] == "accepted"
        return move

    monkeypatch.setattr(round_machine, "_run", slow)

    close_round(clock)

    assert sorted(Contribution.objects.values_list("status", flat=True)) == ["late", "merged"]
    assert covered(merged_version=0) == list(range(100))
    assert covered(holder=sites[1].placement, contribution=None) == list(range(100, 200))
    assert sites[1].poll()["merged"] is None
    assert queries.merged(Placement.objects.get(pk=sites[0].placement), 0) == Contribution.objects.earliest("id").sha256
    assert sites[1].give(leased[1])["status"] == "late", "asked again, it is told what happened"


def test_the_samples_of_a_late_site_that_has_left_are_free(sites, clock, monkeypatch):
    leased = [site.lease()[1] for site in sites]
    sites[0].give(leased[0])
    clock.forward(seconds=30)
    run = round_machine._run

    def slow(step, subject, now):
        move = run(step, subject, now)
        sites[1].give(leased[1], partial=True)
        return move

    monkeypatch.setattr(round_machine, "_run", slow)
    close_round(clock)

    assert covered(merged_version=None, holder=None, contribution=None) == list(range(100, 200))


def test_a_site_that_starts_anew_does_not_hold_what_its_older_copy_was_late_with(sites, clock, monkeypatch):
    leased = [site.lease()[1] for site in sites]
    sites[0].give(leased[0])
    clock.forward(seconds=30)
    run = round_machine._run

    def slow(step, subject, now):
        move = run(step, subject, now)
        sites[1].give(leased[1])
        clock.forward(seconds=1)
        sites[1].hello()
        sites[1].lease()
        return move

    monkeypatch.setattr(round_machine, "_run", slow)
    close_round(clock)

    assert covered(merged_version=None, holder=None, contribution=None) == list(range(100, 200))
    assert covered(holder=sites[1].placement) == list(range(200, 300)), "what it was leased since stays its own"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("samples", {"number": 2**31, "count": 1}),
        ("samples", {"number": 0, "count": 1}),
        ("samples", {"number": 1, "count": "all"}),
        ("hello", hello_body(sync_every_steps=2**40)),
        ("hello", hello_body(incarnation="x")),
        ("contributions", {"version": 0, "samples": 1, "steps": 2**40, "ranges": [[0, 1]]}),
        ("contributions", {"version": 2**40, "samples": 0, "steps": 0, "ranges": []}),
        ("contributions", {"version": 0, "samples": 0, "steps": -1, "ranges": [[-5, 2**70]]}),
        ("contributions", {"version": 0, "base": -1, "samples": 0, "steps": 0, "ranges": []}),
    ],
)
def test_numbers_that_are_none_are_an_answer_not_an_accident(sites, path, body):
    answer = sites[0].call("POST", path, body)

    assert answer.status_code < 500
    assert answer.status_code >= 400 or answer.json()["status"] == "refused"


def test_the_same_contribution_twice_counts_once(sites, clock):
    _, ranges = sites[0].lease()

    assert sites[0].give(ranges) == sites[0].give(ranges) == {"status": "accepted", "why": ""}
    sites[1].lease()
    Placement.objects.filter(pk=sites[1].placement).update(state="closed")
    close_round(clock)
    sites[0].version = 0
    assert sites[0].give(ranges)["status"] == "accepted", "asked again after the commit, it is told what happened"

    assert Contribution.objects.count() == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (packed_delta({**THETA, "b": np.full_like(THETA["b"], np.nan)}, "int8"), "not finite"),
        (packed_delta({**THETA, "b": np.full_like(THETA["b"], np.inf)}, "fp32"), "not finite"),
        (packed_delta({"w": THETA["w"]}), "a vector of 256 numbers, the model has 512"),
        (codec.encode(THETA), "a vector of None numbers"),
        (packed_delta(THETA)[:-1], "outside the file"),
        (packed_delta({**THETA, "w": np.ones((2, 4), np.float32)}), "there are numbers after the end of w"),
        (packed_delta({**THETA, "b": np.ones(3, np.float32)}, "int8"), "there are numbers after the end of b"),
    ],
    ids=["NaN", "infinite", "another model", "a state", "truncated", "stray", "stray at the end"],
)
def test_a_bad_contribution_is_refused_with_a_reason_and_the_model_is_untouched(sites, clock, change, why):
    _, ranges = sites[0].lease()
    before = Training.objects.get().fingerprint

    answer = sites[0].give(ranges, sha256=sites[0].put_raw(change))
    close_round(clock)

    assert answer["status"] == "refused"
    assert why in answer["why"]
    assert Training.objects.get().fingerprint == before
    assert covered(merged_version=None, holder=None) == list(range(100))
    assert sites[0].lease()[0] == "leased", "it may try again"


def test_a_contribution_that_goes_much_farther_than_others_is_refused(sites, clock):
    Training.objects.update(total_samples=4000)
    for pull in (0.1, 1e-3, 1e-6, 1e-6):
        leased = [site.lease()[1] for site in sites]
        for site, ranges in zip(sites, leased, strict=True):
            site.give(ranges, pull=pull)
        close_round(clock)
    leased = [site.lease()[1] for site in sites]

    assert sites[0].give(leased[0], pull=1.9)["status"] == "accepted"
    answer = sites[1].give(leased[1], pull=2.1)

    assert answer == {"status": "refused", "why": "it moves the parameters 21 times as far as any contribution before"}


@pytest.fixture
def three(make_host, order_run, settle, clock):
    """Three sites that train."""
    agents = [make_host(name, f"home/{name}") for name in ("berlin", "paris", "rome")]
    order_run(sites=3)
    settle(*agents, seconds=5)
    made = [Site(agent.client, next(iter(agent.orders.values()))) for agent in agents]
    for site in made:
        site.hello()
    Training.objects.update(total_samples=9000)
    return made


@pytest.mark.parametrize(("pulls", "leaves"), [((-0.1, -0.1), True), ((-0.1, 0.1, -0.1), False)])
def test_a_site_that_pulls_against_the_others_twice_running_is_sent_away(three, clock, pulls, leaves):
    for pull in pulls:
        leased = [site.lease()[1] for site in three]
        for site, ranges, each in zip(three, leased, (0.1, 0.1, pull), strict=True):
            site.give(ranges, pull=each)
        close_round(clock)

    stranger = Placement.objects.get(pk=three[2].placement)
    assert (stranger.drain_requested_at is not None) is leaves
    assert all(other.drain_requested_at is None for other in Placement.objects.exclude(pk=stranger.pk))
    assert Refusal.objects.filter(why__contains="point away from the others': cosine -1.00").exists() is leaves
    assert three[2].lease()[0] == ("drain" if leaves else "leased")


def test_bytes_that_are_no_tensors_are_refused(sites):
    _, ranges = sites[0].lease()
    raw = b"not a safetensors file"
    digest = sha256(raw).hexdigest()
    sites[0].ok("PUT", f"objects/{digest}", raw=raw)

    assert "safetensors" in sites[0].give(ranges, sha256=digest)["why"]


def test_a_torn_upload_leaves_nothing(sites):
    raw = codec.encode(THETA)

    answer = sites[0].call("PUT", f"objects/{sha256(raw).hexdigest()[:-1]}0", raw=raw[:-3])

    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "hash_mismatch"
    assert not storage.exists(f"{sha256(raw).hexdigest()[:-1]}0")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"samples": 400}, "says 400 samples"),
        ({"ranges": [[100, 200]]}, "not leased to this site"),
        ({"ranges": [[0, 60], [40, 80]]}, "overlaps"),
        ({"steps": 0}, "without a step"),
    ],
)
def test_samples_that_were_not_leased_cannot_be_claimed(sites, changed, why):
    _, ranges = sites[0].lease()
    body = {"ranges": ranges, "samples": 100, **changed}

    assert why in sites[0].give(**body)["why"]


def test_three_refusals_in_a_row_end_the_workload_with_the_reason(sites, settle, clock):
    for _ in range(3):
        _, ranges = sites[0].lease()
        sites[0].give(ranges, sha256=sites[0].put_raw(packed_delta({**THETA, "b": THETA["b"] + np.inf})))
    settle(seconds=3)

    workload = Workload.objects.get()
    assert workload.end_reason == "refused_contributions"
    assert "not finite" in workload.why


def test_a_newcomer_trains_at_once_and_is_counted_on_from_then(sites, clock):
    _, ranges = sites[0].lease()
    clock.forward(seconds=20)

    assert sites[1].lease()[0] == "leased"
    sites[0].give(ranges)
    close_round(clock)

    assert Training.objects.get().version == 0, "the newcomer is called and hands in the little that it has"


def test_a_site_without_samples_is_not_waited_for(sites, clock):
    Training.objects.update(total_samples=100)
    _, ranges = sites[0].lease()
    assert sites[1].lease()[0] == "wait"
    Placement.objects.filter(pk=sites[1].placement).update(joined=True)

    sites[0].give(ranges)
    close_round(clock)

    assert Training.objects.get().version == 1
    assert sites[1].lease()[0] == "done"


def test_a_site_that_says_not_me_is_not_waited_for(sites, clock):
    leased = [site.lease()[1] for site in sites]
    sites[0].give(leased[0])
    sites[1].poll(called=True)
    assert (sites[0].poll()["evaluates"], sites[1].poll()["evaluates"]) == (True, False)
    assert sites[1].give([], samples=0, steps=0)["status"] == "accepted"
    close_round(clock)

    assert Training.objects.get().version == 1
    sites[1].catch_up()
    assert sites[1].give(leased[1], base=0)["status"] == "accepted"


def test_an_older_copy_of_a_site_is_cut_off(sites):
    sites[0].hello(incarnation=1_795_000_000_007)

    answers = [
        sites[0].client.get(
            "/v1/site/rounds/0?wait_s=0", HTTP_AUTHORIZATION=sites[0].header, HTTP_GPUYARD_INCARNATION=str(incarnation)
        )
        for incarnation in (1_795_000_000_006, 1_795_000_000_007)
    ]

    assert [answer.status_code for answer in answers] == [409, 200]
    assert answers[0].json()["error"]["code"] == "site_gone"


def test_the_pace_follows_the_link(sites, clock):
    Training.objects.update(is_pace_chosen=True, is_codec_chosen=True, codec="int8")
    Placement.objects.filter(pk=sites[1].placement).update(state="closed")
    _, ranges = sites[0].lease()

    sites[0].give(ranges, train_s=10.0, stall_s=0.0, put_s=20.0, fetch_s=20.0)
    close_round(clock)

    training = Training.objects.get()
    assert (training.codec, training.sync_every_steps) == ("int4", 200)
    assert sites[0].poll()["state"]["sync_every_steps"] == 200


def test_a_site_with_another_model_is_told_so(sites):
    spec = {"w": {"shape": [9], "dtype": "float32"}}
    body = {"incarnation": 1, "world": 1, "tensors": spec, "dataset_samples": 150, "total_samples": 400,
            "batch_size": 10, "sync_every_steps": 10}  # fmt: skip

    answer = sites[1].call("POST", "hello", body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "model_differs")


def test_a_site_with_other_data_is_told_so(sites):
    Training.objects.update(dataset_fingerprint="ab" * 32)

    answer = sites[1].call("POST", "hello", hello_body(dataset_fingerprint="cd" * 32))

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "model_differs")
    assert "dataset_fingerprint: this site has cdcdcd" in answer.json()["error"]["message"]


def test_a_site_that_trains_on_other_than_the_leased_accelerators_is_told_so(sites):
    body = {"incarnation": 1, "world": 8, "tensors": {}, "dataset_samples": 1, "total_samples": 1, "batch_size": 1,
            "sync_every_steps": 1}  # fmt: skip

    assert sites[0].call("POST", "hello", body).json()["error"]["code"] == "world_differs"


def test_one_sites_secret_does_not_open_another(sites):
    sites[0].header = f"Site {sites[1].placement}.{sites[0].header.partition('.')[2]}"

    assert sites[0].call("POST", "samples", {"version": 0, "count": 1}).status_code == 401


def test_a_state_is_read_back_before_it_counts(sites, clock, monkeypatch):
    leased = [site.lease()[1] for site in sites]
    for site, ranges in zip(sites, leased, strict=True):
        site.give(ranges)
    kept = storage.put

    def lose(digest, chunks):
        kept(digest, chunks)
        store, path = storage._locate(digest)
        store.rm(path)

    monkeypatch.setattr(storage, "put", lose)

    with pytest.raises(storage.ObjectMissing):
        close_round(clock)

    assert Training.objects.get().version == 0


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_each_sample_is_merged_once(sites, clock, seed):
    """Sites train, fall silent, come back and are cut off at random; in the end all is merged, each position once."""
    chance = random.Random(seed)
    held = {0: [], 1: []}
    for _ in range(600):
        index = chance.randrange(2)
        site = sites[index]
        act = chance.choice(["lease", "lost", "give", "partial", "hello", "late", "twice"])
        if act == "hello" and chance.random() < 0.3:
            site.hello()
            held[index] = []
        elif act == "lease" and len(held[index]) < 2:
            held[index] += site.lease()[1]
        elif act == "lost" and len(held[index]) < 2:
            site.lease()
            held[index] += site.lease(again=True)[1]
        elif act in ("give", "twice") and held[index]:
            status = site.give(held[index])["status"]
            if act == "twice":
                status = site.give(held[index])["status"]
            held[index] = held[index] if status == "late" else []
            site.catch_up()
        elif act == "partial" and held[index] and chance.random() < 0.3:
            (start, end), *_ = held[index]
            site.give([[start, (start + end + 1) // 2]], partial=True)
            site.hello()
            held[index] = []
        elif act == "late" and chance.random() < 0.2:
            clock.forward(seconds=50)
        close_round(clock)
        clock.now += timedelta(milliseconds=100)
    for _ in range(8):  # Now both go to the end.
        for index, site in enumerate(sites):
            held[index] += site.lease()[1]
            if held[index] and site.give(held[index])["status"] != "late":
                held[index] = []
        clock.forward(seconds=50)
        close_round(clock)
    assert all(s.lease()[0] == "done" for s in sites)

    merged = [p for r in SampleRange.objects.exclude(merged_version=None) for p in range(r.start, r.end)]
    assert sorted(merged) == list(range(400))
    total = sum(c.samples for c in Contribution.objects.filter(status="merged"))
    assert total == 400


class TestTheHubsMemory:
    """What a hub holds in memory can be lost at any moment, and comes back bit by bit."""

    @pytest.fixture(params=["every round", "seldom"])
    def snapshots(self, request, monkeypatch):
        monkeypatch.setattr(hub, "SMALL_BYTES", hub.SMALL_BYTES if request.param == "every round" else 0)
        monkeypatch.setattr(hub, "SNAPSHOT_EVERY", 3)

    def rounds(self, sites, clock, count, *, forgetting):
        for number in range(count):
            leased = [site.lease()[1] for site in sites]
            for index, (site, ranges) in enumerate(zip(sites, leased, strict=True)):
                pull = 0.013 * (number + 1) * (index + 1)
                delta = {
                    name: np.linspace(-pull, pull, t.size, dtype="f4").reshape(t.shape) for name, t in THETA.items()
                }
                site.give(ranges, sha256=site.put_raw(packed_delta(delta, "int8")))
            if forgetting:
                hub.MEMORY._states.clear()
            close_round(clock)
            for site in sites:
                site.catch_up()
        return Training.objects.get().fingerprint

    @pytest.mark.parametrize("forgetting", [False, True])
    def test_a_hub_that_forgets_comes_to_the_same_bits(self, sites, clock, snapshots, forgetting):
        for site in sites:
            site.count = 20
        Training.objects.update(outer_lr=0.9, outer_momentum=0.8)

        last = self.rounds(sites, clock, 5, forgetting=forgetting)

        assert Training.objects.get().version == 5
        # Both of the parametrised runs, with and without a memory, with many snapshots or few, end here.
        assert last == "fa61100eb4c30b0dd55876a1d5ee8f6c6c9941496d9d937e16d5ed8a09c15cd2"
        fresh = Site(sites[0].client, {"placement": sites[0].placement, "site": {"secret": sites[0].secret}}, total=400)
        fresh.hello()
        assert all((fresh.theta[name] == sites[1].theta[name]).all() for name in THETA)

    def test_what_does_not_lead_to_the_same_again_is_noticed(self, sites, clock, monkeypatch):
        self.rounds(sites, clock, 1, forgetting=False)
        monkeypatch.setattr(hub, "SMALL_BYTES", 0)
        self.rounds(sites, clock, 1, forgetting=False)
        Round.objects.filter(version=1).update(outer_lr=0.123)
        hub.MEMORY._states.clear()

        with pytest.raises(hub.Diverged, match="version 2 is not what its rounds lead to"):
            hub.MEMORY.take(Training.objects.get())

    def test_a_workload_whose_state_is_beyond_repair_ends_with_the_reason(self, sites, clock, settle, monkeypatch):
        for site in sites:
            site.count = 20
        self.rounds(sites, clock, 1, forgetting=False)
        monkeypatch.setattr(hub, "SMALL_BYTES", 0)
        self.rounds(sites, clock, 1, forgetting=False)
        Round.objects.filter(version=1).update(outer_lr=0.123)
        hub.MEMORY._states.clear()
        for site in sites:
            site.give(site.lease()[1])

        for _ in range(3):
            with pytest.raises(hub.Diverged):
                close_round(clock)
        close_round(clock)
        settle(seconds=3)

        workload = Workload.objects.get()
        assert workload.end_reason == "diverged"
        assert "do not follow from the rounds" in workload.why

    def test_replaying_the_updates_from_the_first_parameters_gives_the_newest(self, sites, clock):
        last = self.rounds(sites, clock, 3, forgetting=False)
        vector = Layout(Training.objects.get().tensors).flat(THETA)

        for round_ in Round.objects.filter(state="closed").order_by("version"):
            with storage.local(round_.update_sha256) as path:
                name, parts = wire.read(path, size=len(vector))
                assert outer.apply(vector, parts, name) == round_.fingerprint

        assert outer.fingerprint(vector) == last


def test_the_first_site_says_in_how_many_bits_all_travel(sites, clock):
    Training.objects.all().delete()
    Round.objects.all().delete()
    sites[0].theta, sites[0].version = {}, None

    sites[0].hello(codec="top2")
    answer = sites[1].ok("POST", "hello", hello_body(codec="int4"))
    leased = [site.lease()[1] for site in sites[:1]]
    sites[0].give(leased[0], sha256=sites[0].put_raw(packed_delta(THETA, "top2")))
    close_round(clock)

    assert answer["state"]["codec"] == "top2"
    assert Round.objects.get(version=0).codec == "int4", "what two sites name is too much for top2"


@pytest.mark.parametrize("name", quantise.CODECS)
def test_a_hub_without_memory_finds_the_same_bits(sites, clock, monkeypatch, name):
    Placement.objects.filter(pk=sites[1].placement).update(state="closed")
    Training.objects.update(codec=name)
    for _ in range(3):
        monkeypatch.setattr(hub, "MEMORY", hub.Memory())
        _, ranges = sites[0].lease()
        sites[0].give(ranges, sha256=sites[0].put_raw(packed_delta({"w": THETA["w"], "b": THETA["b"] + 1}, name)))
        close_round(clock)
        sites[0].catch_up()

    assert Training.objects.get().version == 3


def test_a_codec_that_nobody_knows_is_refused(sites):
    answer = sites[0].call("POST", "hello", hello_body(codec="int3"))

    assert answer.status_code == 422
    assert "codec must be one of fp32, fp16, int8, int4, top2" in answer.json()["error"]["message"]


def test_the_outer_steps_land(sites, clock):
    Training.objects.update(total_samples=4000)
    for _ in range(20):
        leased = [site.lease()[1] for site in sites]
        for site, ranges in zip(sites, leased, strict=True):
            site.give(ranges, pull=0.01)
        close_round(clock)

    taken = Round.objects.filter(state="closed").order_by("version").values_list("outer_lr", "outer_momentum")
    assert list(taken) == [(0.8, 0.7)] * 18 + [(1.0, 0.0)] * 2


def test_results_are_those_of_the_site_that_trained_most_whoever_is_done_first(sites, clock):
    berlin, paris = sites
    berlin.give(berlin.lease()[1])
    paris.give([])
    close_round(clock)

    def kept_after(site, raw):
        site.ok("POST", "artifacts", {"kind": "results", "name": "r", "sha256": site.put_raw(raw), "metrics": {}})
        return storage.get(Artifact.objects.get(kind="results").sha256)

    assert kept_after(paris, b"of a latecomer") == b"of a latecomer"
    assert kept_after(berlin, b"of who trained") == b"of who trained"
    assert kept_after(paris, b"of a latecomer") == b"of who trained"
