"""A page whose stream is cut: by its network, and by the death of the web process."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.e2e.conftest import Person
from tests.journeys.yard import Yard
from tests.processes import living


@pytest.fixture
def counting(free_hosts: Yard) -> Iterator[int]:
    """A run that writes the number of each step."""
    run = free_hosts.order("--samples", "400000", "--count", sites=1)
    free_hosts.wait_rounds(run, 2, sites=1)
    yield run
    free_hosts.client.stop_workload(run)
    free_hosts.wait_end(run)


def kill_web(yard: Yard) -> None:
    """kill -9 of what serves the pages."""
    found = [one for one in living() if is_web(one, yard)]
    assert found
    for one in found:
        one.kill()


def is_web(process: psutil.Process, yard: Yard) -> bool:
    try:
        return process.environ().get("GPUYARD_RUN") == str(yard.home) and "uvicorn" in " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def test_a_cut_stream_goes_on_without_a_gap(
    person: Callable[..., Person], free_hosts: Yard, counting: int, first_user: tuple[str, str]
) -> None:
    yard = free_hosts
    eve = person()
    eve.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = eve.sign_in(*first_user)
    page.goto(f"/workloads/{counting}?tab=logs")
    page.get_by_text("Live", exact=True).wait_for()
    page.get_by_text(re.compile(r"step 0\d+")).first.wait_for()

    eve.context.set_offline(True)
    kill_web(yard)  # A browser that is offline keeps the connections that it has: those end here.
    page.get_by_text("Reconnecting, nothing is lost").wait_for()
    eve.shot("stream-cut")
    page.wait_for_timeout(3000)
    eve.context.set_offline(False)
    page.get_by_text("Live", exact=True).wait_for(timeout=60_000)
    kill_web(yard)
    page.get_by_text("Reconnecting, nothing is lost").wait_for()
    page.get_by_text("Live", exact=True).wait_for(timeout=60_000)
    page.wait_for_timeout(3000)
    eve.look("stream-back")

    page.get_by_role("button", name=re.compile("^Copy the [0-9,]+ lines")).click()
    copied = page.evaluate("navigator.clipboard.readText()")
    steps = [int(number) for number in re.findall(r"step (\d{5})", copied)]
    assert len(steps) > 200
    assert steps == list(range(steps[0], steps[0] + len(steps))), "each line once, none is missing"
    eve.expects("net::ERR_")
    eve.expects("status of 50")
