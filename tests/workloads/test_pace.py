"""The pace: shorter than the middle site's link allows never, longer than it needs seldom."""

import pytest

from workloads.pace import Cost, Pace, chosen


@pytest.mark.parametrize(
    ("pace", "exchange_s", "then"),
    [
        (Pace(50, "int8"), 1.0, Pace(50, "int8")),
        (Pace(50, "int8"), 5.0, Pace(50, "int8")),
        (Pace(50, "int8"), 8.0, Pace(50, "int4")),
        (Pace(50, "int4"), 4.0, Pace(50, "int4")),
        (Pace(50, "int4"), 9.0, Pace(90, "int4")),
        (Pace(90, "int4"), 10.0, Pace(90, "int4")),
        (Pace(90, "int4"), 1.0, Pace(50, "int8")),
        (Pace(50, "int4"), 900.0, Pace(500, "int4")),
        (Pace(50, "top2"), 9.0, Pace(90, "top2")),
    ],
)
def test_it_follows_the_link(pace, exchange_s, then):
    assert chosen(pace, [Cost(1.0, exchange_s)], steps_too=True, codec_too=True) == then


def test_what_the_script_said_stays():
    costs = [Cost(1.0, 100.0)]

    assert chosen(Pace(50, "int8"), costs, steps_too=False, codec_too=False) == Pace(50, "int8")
    assert chosen(Pace(50, "int8"), costs, steps_too=False, codec_too=True) == Pace(50, "int4")
    assert chosen(Pace(50, "int8"), costs, steps_too=True, codec_too=False) == Pace(500, "int8")


def test_one_site_on_a_bad_link_does_not_slow_two_good_ones():
    costs = [Cost(1.0, 1.0), Cost(1.0, 2.0), Cost(1.0, 500.0)]

    assert chosen(Pace(50, "int8"), costs, steps_too=True, codec_too=True) == Pace(50, "int8")


def test_nothing_measured_changes_nothing():
    assert chosen(Pace(70, "int4"), [], steps_too=True, codec_too=True) == Pace(70, "int4")
