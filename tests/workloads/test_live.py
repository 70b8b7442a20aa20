"""Places in what is new: read back as they were written, and nothing else is one."""

from __future__ import annotations

import pytest

from offers import changes, snapshots
from offers.snapshots import Snapshot
from workloads import live

EARLY, LATE = Snapshot(7, 9, (7, 8)), Snapshot(8, 12, (8,))


@pytest.mark.parametrize(
    "place", [live.Place(EARLY), live.Place(EARLY, 33), live.Place(EARLY, -1, LATE, 4), live.Place(Snapshot(1, 1), 0)]
)
def test_a_place_is_read_back(place):
    assert live.place(str(place)) == place


@pytest.mark.parametrize("place", [changes.Place(EARLY), changes.Place(EARLY, LATE, 8, 2**62)])
def test_a_place_in_the_book_is_read_back(place):
    assert changes.place(str(place)) == place


JUNK = ["", "x", "1:1", "1:1:x", "0:1:", "2:1:", "1:3:2,2", "1:3:3", "3:5:2", "1:9:8,7", "9" * 30 + ":1:", "-1:1:",
        "1:1:" + "1," * 4000, "\u0663:\u0663:"]  # fmt: skip


@pytest.mark.parametrize("text", JUNK)
def test_what_is_no_snapshot_is_none(text):
    assert snapshots.read(text) is None
    assert live.place(f"{text}~1") is None
    assert changes.place(text) is None


@pytest.mark.parametrize(
    "text", ["1:1:", "1:1:~", "1:1:~x", "1:1:~1~2", "1:1:~1~1:1:~-1", "1:1:~1~1:1:~2~3", "1:1:~--1"]
)
def test_what_is_no_place_of_a_workload_is_none(text):
    assert live.place(text) is None


@pytest.mark.parametrize("text", ["1:1:~", "1:1:~1:1:", "1:1:~1:1:~1", "1:1:~1:1:~1-", "1:1:~x~1-1", "1:1:~1:1:~1-1~1"])
def test_what_is_no_place_in_the_book_is_none(text):
    assert changes.place(text) is None


def test_a_later_snapshot_sees_more():
    assert LATE.is_after(EARLY)
    assert Snapshot(7, 9, (7,)).is_after(EARLY), "one more had ended, though none began"
    assert not EARLY.is_after(EARLY)
    assert not EARLY.is_after(LATE)


def test_a_snapshot_is_cut_before_a_transaction():
    assert LATE.below(9) == Snapshot(8, 9, (8,))
    assert LATE.below(8) == Snapshot(8, 8)
