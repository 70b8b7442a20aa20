"""A real broker with three hosts, for the journeys of one file."""

import pytest

from tests.journeys.yard import Yard


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    home = tmp_path_factory.mktemp("yard") / "state"
    running = Yard(home)
    yield running
    running.stop()


@pytest.fixture
def yard(broker):
    """The broker with all three hosts free."""
    for host in broker.client.hosts()["results"]:
        broker.revive_host(host["name"])
        if host["state"] in ("reclaimed", "reclaiming"):
            broker.client.return_host(host["id"])
    broker.until(
        lambda: all(host["state"] == "offered" for host in broker.client.hosts()["results"]), "all hosts are free"
    )
    return broker
