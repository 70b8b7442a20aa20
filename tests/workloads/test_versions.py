"""Versions of the parameters: what is kept of them, and that a person gets the bits that the sites had."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest

from tests.conftest import THETA
from tests.workloads.test_lifecycles import one, site_of  # noqa: F401 - `one` is a fixture
from tests.workloads.test_rounds import close_round
from workloads import hub, retention, versions
from workloads.models import Artifact, Round, Training
from workloads.node.training import assembly, codec, outer
from workloads.node.training.layout import Layout

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(one, clock, monkeypatch):  # noqa: F811
    """A run of 11 versions with a snapshot each second, and theta at every version as the site had it."""
    monkeypatch.setattr(hub, "SMALL_BYTES", 0)
    monkeypatch.setattr(hub, "SNAPSHOT_EVERY", 2)
    site, seen = site_of(one, total=1300), {0: {name: tensor.copy() for name, tensor in THETA.items()}}
    for number in range(11):
        site.give(site.lease()[1], pull=0.01 * (number + 1))
        close_round(clock)
        site.catch_up()
        seen[site.version] = {name: tensor.copy() for name, tensor in site.theta.items()}
    return seen


def kept():
    return versions.kept(Training.objects.get())


@pytest.fixture
def sweep(settings, clock):
    def run(*, last: int, every: int) -> None:
        settings.VERSIONS_KEPT, settings.VERSION_KEPT_EVERY = last, every
        retention.sweep(now=clock.forward(minutes=11))

    return run


def pulled(ada, version, folder):
    """Do what a client does, with nothing but the API."""
    told = ada.ok("GET", f"/v1/workloads/{Training.objects.get().pk}/versions/{version}")
    for each in (told["snapshot"], *told["updates"]):
        answer = ada.call("GET", f"/v1/workloads/{told['workload']}/objects/{each['sha256']}")
        raw = b"".join(answer.streaming_content)
        assert (sha256(raw).hexdigest(), len(raw)) == (each["sha256"], each["size_bytes"])
        (folder / each["sha256"]).write_bytes(raw)
    updates = [(folder / each["sha256"], each["fingerprint"]) for each in told["updates"]]
    assembly.assemble(told["tensors"], folder / told["snapshot"]["sha256"], updates, to=folder / "theta")
    return codec.decode((folder / "theta").read_bytes()), told


def test_every_version_of_a_run_that_trains_has_the_bits_that_the_site_had(run, ada, tmp_path):
    layout = Layout(Training.objects.get().tensors)
    assert sorted(run) == list(range(12))

    for version, theta in run.items():
        got, told = pulled(ada, version, tmp_path)

        assert {name: tensor.tobytes() for name, tensor in got.items()} == {
            name: tensor.tobytes() for name, tensor in theta.items()
        }
        assert told["fingerprint"] in ("", outer.fingerprint(layout.flat(theta)))
        assert len(told["updates"]) == version % 2, "from the newest snapshot before it"
    assert not list(tmp_path.glob(".*")), "nothing is left beside it"


def test_a_version_that_the_hub_kept_whole_is_put_together_to_the_very_same_file(run, ada, tmp_path):
    whole = Artifact.objects.get(version=8)
    whole.delete()

    pulled(ada, 8, tmp_path)

    assert sha256((tmp_path / "theta").read_bytes()).hexdigest() == whole.sha256


def test_an_update_that_leads_elsewhere_is_noticed(run, ada, tmp_path):
    Round.objects.filter(version=10).update(fingerprint="0" * 64)

    with pytest.raises(assembly.Strayed, match="leads to other parameters than 000000000000"):
        pulled(ada, 11, tmp_path)


@pytest.mark.parametrize(
    ("last", "every", "can_be_had"),
    [
        (20, 0, [(0, 11)]),
        (3, 0, [(0, 0), (8, 11)]),
        (4, 0, [(0, 0), (6, 11)]),
        (3, 4, [(0, 0), (4, 4), (8, 11)]),
        (3, 3, [(0, 0), (4, 4), (6, 6), (8, 11)]),
        (3, 5, [(0, 0), (6, 6), (8, 11)]),
        (0, 0, [(0, 0), (10, 11)]),
    ],
)
def test_the_last_versions_are_kept_and_one_in_so_many_before(run, sweep, last, every, can_be_had):
    assert kept() == [(0, 11)]

    sweep(last=last, every=every)

    assert kept() == can_be_had
    assert kept()[-1][0] <= 11 - last or kept()[-1][0] == 0
    sweep(last=last, every=every)
    assert kept() == can_be_had, "what was kept stays"


def test_all_that_is_said_to_be_kept_can_be_had_and_nothing_else(run, sweep, ada, tmp_path):
    sweep(last=3, every=4)
    listed = ada.ok("GET", f"/v1/workloads/{Training.objects.get().pk}/versions")
    assert listed == {"newest": 11, "kept": [[0, 0], [4, 4], [8, 11]]}

    for version in range(12):
        if any(first <= version <= end for first, end in listed["kept"]):
            got, _ = pulled(ada, version, tmp_path)
            assert np.array_equal(got["w"], run[version]["w"])
        else:
            answer = ada.call("GET", f"/v1/workloads/{Training.objects.get().pk}/versions/{version}")
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (404, "version_gone")
            assert error["message"].endswith(f"version {version} of workload {Training.objects.get().pk} is kept no "
                                             "more; there are 0, 4, 8 to 11")  # fmt: skip
            assert error["fields"] == {"kept": listed["kept"]}


def test_of_a_run_that_ended_with_a_model_the_newest_version_stays(run, sweep, one, settle):  # noqa: F811
    site = site_of(one, total=1300)
    site.save()
    one.exit(0)
    settle(one, seconds=5)

    sweep(last=20, every=1)

    assert kept() == [(0, 0), (10, 11)]


def test_a_version_to_come_and_a_run_without_parameters_say_so(one, ada):  # noqa: F811
    site = site_of(one)
    pk = Training.objects.get().pk
    path = f"/v1/workloads/{pk}/versions"

    assert ada.ok("GET", path) == {"newest": 0, "kept": [[0, 0]]}
    assert "has no version 7 yet; the newest is 0" in str(ada.call("GET", f"{path}/7").content)
    Training.objects.update(version=None, snapshot_version=None)
    assert ada.ok("GET", path) == {"newest": None, "kept": []}
    assert "has no parameters yet" in str(ada.call("GET", f"{path}/0").content)
    Round.objects.all().delete()
    Training.objects.all().delete()
    assert ada.ok("GET", path) == {"newest": None, "kept": []}
    assert ada.refused("GET", f"{path}/0") == (404, "version_gone")
    assert site.version == 0


def test_versions_and_their_objects_are_their_owners_alone(run, make_caller, ada):
    pk, digest = Training.objects.get().pk, Training.objects.get().initial_sha256
    eve = make_caller("eve")

    assert ada.call("GET", f"/v1/workloads/{pk}/objects/{digest}").status_code == 200
    for path in ("versions", "versions/11", f"objects/{digest}"):
        assert eve.refused("GET", f"/v1/workloads/{pk}/{path}") == (404, "not_found")
    program = Artifact.objects.first().workload.program.sha256
    assert ada.refused("GET", f"/v1/workloads/{pk}/objects/{program}") == (404, "object_missing")


def test_a_program_comes_back_to_who_uploaded_it_only(one, ada, make_caller):  # noqa: F811
    digest = ada.ok("GET", "/v1/workloads")["results"][0]["program"]

    answer = ada.call("GET", f"/v1/programs/{digest}")

    assert sha256(b"".join(answer.streaming_content)).hexdigest() == digest
    assert make_caller("eve").refused("GET", f"/v1/programs/{digest}") == (404, "program_unknown")
