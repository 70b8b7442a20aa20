"""Looking for machines: many leases, few calls, and no wrong answer."""

from __future__ import annotations

from datetime import timedelta

import pytest

from offers import sightings
from providers.base import LaunchOrder, Market, Unreachable
from providers.fake import Fake
from tests.conftest import NOON
from tests.providers.test_fake import LISTING


class Counting(Fake):
    """The fake; it counts looks, and some fail."""

    name = "counting"

    def __init__(self):
        super().__init__(price_list=[LISTING], capacity=60)
        self.looks, self.away = 0, False

    def machines(self):
        self.looks += 1
        if self.away:
            raise Unreachable("away")
        return super().machines()


@pytest.fixture
def cloud():
    one = Counting()
    yield one
    sightings.forget(one)


def rent(cloud, *keys):
    for key in keys:
        order = LaunchOrder(key=key, region="reykjavik", machine_type="h100x8", market=Market.ON_DEMAND,
                            max_usd_per_hour=LISTING.usd_per_hour)  # fmt: skip
        cloud.launch(order)


def find(cloud, key, seconds=0.0):
    return sightings.find_machine(cloud, key, now=NOON + timedelta(seconds=seconds))


def test_fifty_leases_look_with_one_call(cloud):
    keys = [f"lease-{n}" for n in range(50)]
    rent(cloud, *keys)

    assert all(find(cloud, key, seconds=n / 20) for n, key in enumerate(keys))

    assert cloud.looks == 1


def test_a_look_is_not_believed_for_longer_than_it_is_worth_asking_again(cloud):
    rent(cloud, "lease-1")
    find(cloud, "lease-1")
    cloud.interrupt("lease-1")

    assert find(cloud, "lease-1", seconds=cloud.look_every_s - 0.1)
    assert find(cloud, "lease-1", seconds=cloud.look_every_s) is None


def test_a_machine_that_another_process_launched_since_the_last_look_is_found(cloud):
    rent(cloud, "lease-1")
    find(cloud, "lease-1")

    rent(cloud, "lease-2")

    assert find(cloud, "lease-2", seconds=0.1)


def test_after_an_end_the_next_look_is_a_new_one(cloud):
    rent(cloud, "lease-1")
    find(cloud, "lease-1")

    cloud.terminate("lease-1")
    sightings.forget(cloud)

    assert find(cloud, "lease-1", seconds=0.1) is None


def test_a_clock_that_was_set_back_does_not_make_a_look_last(cloud):
    rent(cloud, "lease-1")
    find(cloud, "lease-1", seconds=3600)
    cloud.interrupt("lease-1")

    assert find(cloud, "lease-1") is None


def test_a_look_that_fails_is_no_look(cloud):
    cloud.away = True
    with pytest.raises(Unreachable):
        find(cloud, "lease-1")
    cloud.away = False
    rent(cloud, "lease-1")

    assert find(cloud, "lease-1")


def test_the_sweep_always_asks_and_the_leases_look_with_it(cloud):
    rent(cloud, "lease-1")

    assert [machine.key for machine in sightings.machines(cloud, now=NOON)] == ["lease-1"]
    rent(cloud, "lease-2")
    assert len(sightings.machines(cloud, now=NOON)) == 2

    assert find(cloud, "lease-2")
    assert cloud.looks == 2


def test_an_account_of_a_team_is_another_account(cloud):
    rent(cloud, "lease-1")
    find(cloud, "lease-1")

    sightings.find_machine(cloud, "lease-1", now=NOON, owner_id=7)

    assert cloud.looks == 2
    sightings.forget(cloud, owner_id=7)
