from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from offers import marks
from offers.models import Broker
from providers.base import LaunchOrder, Market
from providers.fake import Fake

pytestmark = pytest.mark.django_db
ORDER = LaunchOrder(key="lease-1", region="r", machine_type="t", market=Market.SPOT, max_usd_per_hour=Decimal(1))


def test_a_broker_has_one_mark_for_ever():
    assert marks.mark() == marks.mark() == Broker.objects.get().mark
    assert len(marks.mark()) == 6


def test_two_brokers_on_one_account_leave_each_others_machines_alone():
    cloud = Fake()
    ours, theirs = marks.Marked(cloud, "baaaaa"), marks.Marked(cloud, "bbbbbb")

    assert ours.launch(ORDER).key == "lease-1"
    theirs.launch(ORDER)
    theirs.launch(replace(ORDER, key="lease-2"))
    theirs.terminate("lease-1")

    assert [machine.key for machine in ours.machines()] == ["lease-1"]
    assert [machine.key for machine in theirs.machines()] == ["lease-2"]
    assert sorted(cloud.rented) == ["baaaaa-lease-1", "bbbbbb-lease-2"]


def test_everything_but_the_keys_is_the_providers_own():
    cloud = marks.Marked(Fake(), "b")

    assert (cloud.name, cloud.look_every_s, [one.granted for one in cloud.check()]) == ("fake", 5, [True])
