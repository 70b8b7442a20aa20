"""Log lines: in order, each once, across outages, and never more on the disk than agreed."""

import hashlib

import pytest

from workloads.node.link import Link
from workloads.node.logs import Shipper, open_for

from .conftest import wait_for


@pytest.fixture
def shipper(broker, tmp_path):
    broker.hosts[7] = hashlib.sha256(b"s").hexdigest()
    shippers = []

    def make(**options):
        made = Shipper(
            connect=lambda: Link(broker=broker.url, authorization="Agent 7.s"), lease=1, directory=tmp_path, **options
        )
        shippers.append(made)
        made.start()
        return made

    yield make
    for made in shippers:
        made.finish(timeout_s=0.1)
        made.join(15)


def test_lines_arrive_once_and_in_order_across_an_outage_and_lost_answers(broker, tmp_path, shipper):
    made = shipper()
    with open_for(tmp_path, "rank0", "stdout") as file:
        file.write(b"first\n")
        file.flush()
        wait_for(lambda: broker.lines(1) == ["first"])
        broker.down = True
        file.write(b"".join(b"line %d\n" % number for number in range(1200)) + b"no newline")
    wait_for(lambda: made._batch)  # It has tried in vain.
    broker.down, broker.lose_answers = False, 2

    assert made.finish(timeout_s=20)

    assert broker.lines(1) == ["first", *(f"line {number}" for number in range(1200)), "no newline"]
    assert sorted(broker.logs[1]) == list(range(1202))


def test_when_too_much_waits_the_oldest_go_and_a_line_says_how_many(broker, tmp_path, shipper):
    broker.down = True
    with open_for(tmp_path, "rank0", "stdout") as file:
        file.write(b"".join(b"%07d\n" % number for number in range(50_000)))
    made = shipper(limit_bytes=80_000)
    wait_for(lambda: made._batch)
    broker.down = False

    assert made.finish(timeout_s=20)

    marker, *lines = broker.lines(1)
    dropped = int(marker.split()[1])
    assert lines == [f"{number:07}" for number in range(dropped, 50_000)]
    assert 0 < len(lines) * 8 <= 80_000


def test_a_progress_bar_is_one_line_and_other_ranks_say_who_they_are(broker, tmp_path, shipper):
    with open_for(tmp_path, "rank1", "stderr") as file:
        file.write(b"10 %\r50 %\r100 %\n")

    shipper().finish(timeout_s=20)

    assert broker.lines(1) == ["[rank1] 100 %"]


def test_space_of_lines_that_were_sent_goes_back_to_the_disk(broker, tmp_path, shipper):
    with open_for(tmp_path, "rank0", "stdout") as file:
        file.write((b"x" * 7999 + b"\n") * 1500)

    assert shipper().finish(timeout_s=30)

    assert (tmp_path / "rank0.stdout").stat().st_blocks * 512 < 5 << 20  # of 12 MB
