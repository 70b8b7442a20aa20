"""A lease at a cloud: from the launch to the end of the machine, with an agent that speaks the real protocol."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest

from offers import boot, marketplace, poll, refusals
from offers.models import Host, Offer, Refusal, Rental
from providers import registry
from providers.base import MachineState, NoCapacity, Reason, Rejected, Unreachable
from providers.fake import Fake
from tests.conftest import Agent
from tests.providers.test_fake import LISTING
from workloads.models import Event, Lease, Node, Placement, Workload
from workloads.orphans import end_orphans

pytestmark = pytest.mark.django_db
H100 = {"kind": "NVIDIA H100 80GB HBM3", "memory_gib": 79.6}


class Cloud(Fake):
    """The fake, which remembers what it was asked."""

    def __init__(self, **more):
        super().__init__(price_list=[LISTING], **more)
        self.orders, self.looks, self.lose_answers, self.booting = [], 0, 0, False
        self.ended, self.refusals = [], []  # Keys; errors, each raised by one terminate.

    def launch(self, order):
        self.orders.append(order)
        machine = super().launch(order)
        if self.lose_answers:
            self.lose_answers -= 1
            raise Unreachable("the answer was lost")
        return machine

    def terminate(self, key):
        self.ended.append(key)
        if self.refusals:
            raise self.refusals.pop(0)
        super().terminate(key)

    def machines(self):
        self.looks += 1
        seen = list(super().machines())
        if self.booting:
            return [replace(machine, state=MachineState.BOOTING, address=None) for machine in seen]
        return seen


@pytest.fixture
def cloud(settings, monkeypatch, clock):
    one = Cloud(capacity=4)
    settings.PROVIDERS = {"fake": {}}
    monkeypatch.setattr(registry, "connect", lambda name, **credentials: one)
    poll.poll(one, now=clock.now, every=timedelta(days=1), leasable=True)
    return one


@pytest.fixture
def order(order_run, cloud):
    """Order a run of one site at the cloud."""

    def one(**more):
        return order_run(sites=more.pop("sites", 1), accelerator=Offer.objects.get().accelerator, budget="50", **more)

    return one


@pytest.fixture
def boot_up(client, cloud):
    """A machine boots: its agent enrols with what the startup script tells it."""

    def one(asked, *, secret="s" * 40, chips=8, kind=H100):
        token = re.search(r"^TOKEN=(\S+)$", asked.startup_script, re.M)[1]
        hardware = {"vcpus": 96, "accelerators": [{**kind, "uuid": f"GPU-{n}"} for n in range(chips)]}
        body = {"token": token, "key_sha256": sha256(secret.encode()).hexdigest(), "address": "10.1.0.7"}
        answer = client.post(
            "/v1/agent/enrol", json.dumps({**body, "hardware": hardware}), content_type="application/json"
        )
        if answer.status_code != 200:
            return answer.json()["error"]["code"]
        return Agent(client, answer.json()["host"], secret, "10.1.0.7", hardware)

    return one


@pytest.fixture
def held(order, settle, cloud, boot_up):
    """The agent of a machine at the cloud that runs a site."""
    order()
    settle(seconds=2)
    agent = boot_up(cloud.orders[0])
    settle(agent, seconds=12)
    assert Lease.objects.get().state == "held"
    return agent


def states():
    return list(Lease.objects.order_by("id").values_list("state", flat=True))


def test_a_machine_is_launched_boots_and_gets_its_order(order, settle, cloud, boot_up, clock):
    order()
    settle(seconds=2)
    (asked,) = cloud.orders
    lease = Lease.objects.get()
    assert (asked.key, asked.zone, asked.machine_type) == (lease.key, "", "h100x8")
    assert (lease.state, lease.opened_at is None) == ("booting", False)

    settle(seconds=12)
    assert states() == ["booting"], "it runs, but nobody has called home from it"
    agent = boot_up(asked)
    settle(agent, seconds=12)

    assert states() == ["held"]
    assert Node.objects.get().address == "10.1.0.7", "the agent's own, not 10.0.0.1 of the cloud"
    assert list(agent.orders) == [lease.pk]
    assert Placement.objects.get().state == "training"


def test_a_machine_that_calls_before_its_cloud_says_that_it_runs_waits(order, settle, cloud, boot_up):
    cloud.booting = True
    order()
    settle(seconds=2)
    agent = boot_up(cloud.orders[0])

    settle(agent, seconds=12)
    assert states() == ["booting"]
    settle(seconds=10)
    cloud.booting = False
    settle(seconds=8)
    assert states() == ["booting"], "it called once and was not heard since"
    settle(agent, seconds=6)

    assert states() == ["held"]


def test_a_machine_whose_agent_calls_is_looked_at_at_once(order, settle, cloud, boot_up):
    cloud.look_every_s = 60
    cloud.booting = True
    order()
    settle(seconds=2)
    cloud.booting = False

    agent = boot_up(cloud.orders[0])
    settle(agent, seconds=2)

    assert states() == ["held"], "it costs already: not only when the look of a minute ago is over"


@pytest.mark.parametrize(("chips", "kind"), [(1, {"kind": "CPU", "memory_gib": 8.0}), (7, H100)])
def test_a_machine_whose_accelerators_are_not_up_yet_is_waited_for(order, settle, cloud, boot_up, chips, kind):
    order()
    settle(seconds=2)
    agent = boot_up(cloud.orders[0], chips=chips, kind=kind)
    settle(agent, seconds=12)
    assert states() == ["booting"]

    agent.hardware = {**agent.hardware, "accelerators": [{**H100, "uuid": f"GPU-{n}"} for n in range(8)]}
    settle(agent, seconds=8)

    assert states() == ["held"]


def test_what_is_sold_out_is_refused_and_nothing_can_enrol(order, settle, cloud, boot_up):
    cloud.trouble.append(NoCapacity("no h100x8 left", reason=Reason.SOLD_OUT))
    order()

    settle(seconds=2)

    assert states()[0] == "refused"
    assert "no h100x8 left" in Lease.objects.order_by("id").first().why
    assert Rental.objects.get(key=cloud_key()).ended_at is not None
    assert boot_up(cloud.orders[0]) == "token_expired"


def cloud_key():
    return Lease.objects.order_by("id").first().key


def test_a_launch_whose_answer_was_lost_is_asked_again_and_buys_one_machine(order, settle, cloud, boot_up):
    cloud.lose_answers = 2
    order()

    settle(seconds=14)
    assert len(cloud.orders) == 1, "not every cloud knows a key again, so its list gets time to show the machine"
    settle(seconds=60)

    assert len(cloud.orders) == 3
    assert len({asked.startup_script for asked in cloud.orders}) == 1, "EC2 refuses a repetition that differs"
    assert list(cloud.rented) == [cloud_key()]
    assert (Host.objects.count(), Rental.objects.count()) == (1, 1)
    assert isinstance(boot_up(cloud.orders[0]), Agent)


def test_a_machine_that_its_cloud_takes_without_a_word_is_lost(held, settle, cloud):
    cloud.interrupt(cloud_key())

    settle(seconds=12)

    assert states()[0] == "lost"
    assert Lease.objects.order_by("id").first().closed_at is not None
    assert Rental.objects.get(key=cloud_key()).ended_at is not None
    assert cloud.ended == [cloud_key()], "it may lie there stopped, with a disk that costs"


def test_a_machine_that_is_gone_and_whose_agent_is_silent_is_not_believed_in_until_the_next_look(held, settle, cloud):
    cloud.look_every_s = 60
    settle(held, seconds=12)
    looks = cloud.looks
    settle(held, seconds=30)
    assert cloud.looks - looks <= 1, "while the agent speaks, the cloud is asked no more often"

    cloud.interrupt(cloud_key())
    settle(seconds=15)

    assert states()[0] == "lost"


@pytest.mark.parametrize(
    ("errors", "asked"),
    [([Unreachable("down")] * 2, 3), ([Unreachable("down")] * 9, 4), ([Rejected("may not")] * 9, 1)],
)
def test_what_is_left_of_a_lost_machine_is_asked_away_but_not_for_ever(held, settle, cloud, errors, asked):
    cloud.interrupt(cloud_key())
    cloud.refusals = list(errors)

    settle(seconds=20)

    assert states()[0] == "lost"
    assert cloud.ended == [cloud_key()] * asked


def test_a_machine_that_is_not_listed_at_once_is_waited_for_and_one_that_never_is_is_lost(order, settle, cloud):
    order()
    settle(seconds=1)
    hidden = cloud.rented.pop(cloud_key())

    settle(seconds=50)
    assert states()[0] == "booting"
    cloud.rented[cloud_key()] = hidden
    settle(seconds=8)
    assert states()[0] == "booting"
    cloud.interrupt(cloud_key())
    settle(seconds=15)

    assert states()[0] == "lost"


def test_an_interruption_with_notice_drains_the_site_and_gets_it_another_machine(held, settle, cloud, clock):
    at = clock.now + timedelta(seconds=120)
    notice = {"kind": "interruption", "at": at.isoformat(), "source": "aws"}
    held.beat(notice=notice)
    settle(held, seconds=2)
    assert Placement.objects.earliest("id").why == f"fake takes it back at {at:%H:%M:%S} UTC"
    assert next(iter(held.orders.values()))["drain"] is True, "sooner than at the next look at the cloud"

    held.exit(75)
    held.beat()
    settle(seconds=4)

    assert states() == ["released", "booting"], "another in its place"
    assert list(cloud.rented) == [cloud.orders[1].key]
    assert Rental.objects.get(key=cloud_key()).ended_at is not None


def test_a_recommendation_to_move_is_written_down_once_and_drains_nothing(held, settle, clock):
    for _ in range(3):
        held.beat(notice={"kind": "rebalance", "at": clock.now.isoformat(), "source": "aws"})
    settle(held, seconds=2)

    (event,) = Event.objects.filter(why__contains="recommends")
    assert (event.subject_type, event.from_state, event.to_state) == ("lease", "held", "held")
    assert Placement.objects.get().drain_requested_at is None


def test_a_container_that_is_told_to_end_leaves_within_seconds(held, settle, clock):
    held.beat(notice={"kind": "sigterm", "at": None, "source": "agent"})
    settle(held, seconds=1)

    assert Host.objects.get().reclaim_at <= clock.now + timedelta(seconds=5)
    assert Placement.objects.get().drain_requested_at is not None


def test_an_agent_that_a_supplier_restarts_does_not_take_the_host_back(make_host, clock):
    agent = make_host("one", "home/berlin")
    agent.beat(notice={"kind": "sigterm", "at": None, "source": "agent"})
    assert Host.objects.get().reclaim_at is None

    at = clock.now + timedelta(seconds=30)
    agent.beat(notice={"kind": "interruption", "at": at.isoformat(), "source": "gcp"})

    assert Host.objects.get().reclaim_at == at, "a supplier's machine may be a cloud's too"


@pytest.mark.parametrize(
    "notice", [{"kind": "flood"}, "soon", {"kind": "interruption", "at": "2026-11-22T12:00:00"}, {"at": None}]
)
def test_a_notice_that_means_nothing_is_refused(held, notice):
    answer = held.post("/v1/agent/beat", {"address": "a", "hardware": held.hardware, "notice": notice})

    assert answer.status_code == 422


def test_an_agent_that_is_silent_for_long_is_lost_and_its_machine_ended(held, settle, cloud, settings, clock):
    settings.CLOUD_SILENCE_S = 60
    settle(seconds=50)
    assert states()[0] == "held", "a supplier's host would be gone"

    settle(seconds=16)

    assert states()[0] == "lost"
    assert "was not heard for 60 s" in Lease.objects.order_by("id").first().why
    assert cloud_key() not in cloud.rented
    assert end_orphans(now=clock.forward(seconds=6)) == 0
    answer = held.post("/v1/agent/beat", {"address": "a", "hardware": held.hardware})
    assert answer.status_code == 401, "it is let in no more"


def test_nobody_is_silent_while_nobody_listens(held, settle, settings, clock):
    settings.CLOUD_SILENCE_S = 60
    marketplace.listen(clock.now)

    settle(seconds=90)  # The web process is down.

    assert states() == ["held"]


def test_a_second_machine_with_the_same_token_is_refused(held, boot_up, cloud):
    assert boot_up(cloud.orders[0], secret="another" * 8) == "token_used"
    assert isinstance(boot_up(cloud.orders[0]), Agent), "the answer to the first may have been lost"


def test_a_machine_at_a_cloud_is_nobodys_offer(held, owner, clock):
    market = marketplace.Marketplace()

    marketplace.refresh(Host.objects.get(), clock.now)
    market.terminate(cloud_key())

    assert list(market.listings()) == []
    assert list(market.machines()) == []
    assert Offer.objects.filter(provider=marketplace.NAME).count() == 0
    assert Rental.objects.get().ended_at is None
    assert owner.ok("GET", "/v1/hosts")["results"] == []
    assert end_orphans(now=clock.now) == 0


def test_a_stop_ends_the_machine_and_what_its_agent_may_do(held, ada, settle, cloud):
    ada.ok("POST", f"/v1/workloads/{Workload.objects.get().pk}/stop")
    settle(held, seconds=1)
    held.exit(75)
    held.beat()
    settle(seconds=6)

    assert states() == ["released"]
    assert cloud.rented == {}
    host = Host.objects.get()
    assert host.key_sha256 == ""
    bill = ada.ok("GET", f"/v1/workloads/{Workload.objects.get().pk}/bill")
    assert [line["provider"] for line in bill["leases"]] == ["fake"]


def test_a_machine_that_is_prepared_twice_is_one(clock, db):
    about = {"provider": "fake", "region": "reykjavik", "country": "IS", "usd_per_hour": LISTING.usd_per_hour}
    one = boot.prepare_machine(key="lease-7", now=clock.now, **about)

    assert boot.prepare_machine(key="lease-7", now=clock.forward(minutes=1), **about) == one
    boot.end_machine(key="lease-7", now=clock.now)
    boot.end_machine(key="lease-7", now=clock.now)

    assert Rental.objects.get().ended_at == clock.now


def remembered():
    return list(Refusal.objects.order_by("id").values_list("reason", "times", "machines"))


@pytest.mark.parametrize(
    ("trouble", "memory"),
    [
        (NoCapacity("none left", reason=Reason.SOLD_OUT), ("sold_out", 1, None)),
        (NoCapacity("limit", reason=Reason.QUOTA), ("quota", 1, 0)),
        (Rejected("dearer", reason=Reason.PRICE), ("price", 1, None)),
    ],
)
def test_what_was_refused_is_remembered_and_not_asked_for_again_at_once(order, settle, cloud, trouble, memory):
    cloud.trouble = [trouble]

    order()
    settle(seconds=25)

    assert remembered() == [memory]
    assert len(cloud.orders) == 1


def test_a_machine_that_is_slow_to_boot_is_given_back_and_its_offer_left_alone(order, settle, cloud, clock):
    cloud.booting = True
    order()
    settle(seconds=2)
    clock.forward(minutes=9)

    settle(seconds=8)

    assert remembered() == [("slow_boot", 1, None)]
    assert states() == ["released"]
    assert "slow to boot" in Lease.objects.get().why


def test_a_machine_that_comes_up_makes_old_failures_forgotten(order, settle, cloud, boot_up, clock):
    refusals.remember(offer=Offer.objects.get(), reason="sold_out", why="no", now=clock.now - timedelta(minutes=5))
    order()
    settle(seconds=2)

    settle(boot_up(cloud.orders[0]), seconds=12)

    assert remembered() == []
