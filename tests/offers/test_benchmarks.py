"""What hosts measured of themselves speaks for their accelerator in a quote."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker.identity.models import Team
from offers import benchmarks, operations
from offers.matching.need import Need
from offers.matching.profile import Profile, Work
from offers.models import Host
from tests.conftest import NOON

pytestmark = pytest.mark.django_db
PROFILE = Profile(
    work=(Work(1e9, 1e3, 1),), batch_size=2, precision="fp32", parameters=1000, trainable=1000,
    parameter_bytes=4000, optimizer_bytes=0, activation_bytes=100,
)  # fmt: skip


def measured(rate: float, precision: str = "fp32") -> dict:
    return {"precision": precision, "compute": [[1e6, rate]], "memory": [[1e6, 1e12]], "launch_s": 1e-6}


@pytest.fixture
def host():
    supplier = Team.objects.create(name="supplier", created_at=NOON)

    def made(name: str, kind: str, *told: dict, **more) -> Host:
        return Host.objects.create(
            supplier=supplier, name=name, region="home", usd_per_hour=1, created_at=NOON, enrol_token_sha256=name,
            enrol_expires_at=NOON + timedelta(hours=1), key_sha256="x",
            hardware={"accelerators": [{"kind": kind}], "benchmarks": list(told)}, **more,
        )  # fmt: skip

    return made


class TestMachines:
    def test_takes_the_median_host_of_each_accelerator(self, host):
        for name, rate in (("one", 3e9), ("two", 1e9), ("three", 9e99)):
            host(name, "CPU", measured(rate))
        host("four", "NVIDIA A10", measured(5e12))

        found = benchmarks.machines("fp32")

        assert {name: machine.compute[-1][1] for name, machine in found.items()} == {"CPU": 3e9, "A10": 5e12}

    def test_takes_the_precision_that_is_asked_for_or_what_the_chip_has_instead(self, host):
        host("old", "Tesla V100-SXM2-32GB", measured(1e12, "fp32"), measured(8e12, "fp16"))
        host("cpu", "CPU", measured(1e9))

        assert {name: one.compute[-1][1] for name, one in benchmarks.machines("bf16").items()} == {"V100-32GB": 8e12}

    def test_leaves_out_hosts_that_were_barred_or_measured_nothing(self, host):
        host("none", "CPU")
        host("liar", "CPU", measured(1e9), barred_why="lied")

        assert benchmarks.machines("fp32") == {}


class TestReadable:
    def test_keeps_what_can_be_read_and_no_more(self):
        good = measured(1.0)
        long = {**good, "compute": [[1, 1]] * 33}
        odd = [{**good, "precision": "int3"}, {**good, "launch_s": "x"}, {"precision": "fp32"}, 5, None, long]

        assert [benchmarks.readable([one]) for one in odd] == [[]] * len(odd)
        assert benchmarks.readable([good] * 9) == [good] * 4
        assert benchmarks.readable(None) == benchmarks.readable({}) == []


def test_a_quote_follows_what_the_agent_of_a_host_told(make_host, ada, clock):
    agent = make_host("one", "home/berlin", usd="0.10")
    need = Need(accelerator="cpu", samples=1000)
    asked = {"owner_id": ada.team.pk, "need": need, "measured": {}, "profile": PROFILE, "now": clock.now}
    (before,), _ = operations.quote(**asked)
    agent.hardware = {**agent.hardware, "benchmarks": [{"precision": "odd"}, measured(1e9)]}
    agent.beat()

    (after,), _ = operations.quote(**asked)

    assert Host.objects.get().hardware["benchmarks"] == [measured(1e9)]
    assert before.speed["source"] == "unknown"
    assert after.speed["source"] == "predicted"
    assert after.speed["samples_per_s"] == pytest.approx(2.0, rel=0.01)
