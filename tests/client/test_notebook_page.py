"""What a cell shows: the numbers that matter, readable by all, safe whatever a machine wrote."""

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
from hypothesis import given as anything
from hypothesis import strategies as some

from . import objects_of_a_broker as given

pytestmark = pytest.mark.usefixtures("whole_package")


def running(**changes):
    from gpuyard.notebook.page import Run

    workload = given.workload("running", first_step_at="2026-11-22T10:01:00Z", budget_usd="0.450000", **changes)
    finish_at = datetime.now(UTC) + timedelta(seconds=1260.5)
    forecast = {"finish_at": finish_at.isoformat(), "cost_usd": "0.455000", "over_budget": True}
    return Run(workload | {"forecast": forecast})


def test_who_will_run_out_of_budget_is_warned_while_it_runs():
    from gpuyard.notebook.running import warnings

    seen = running()

    assert "the budget of $0.45 ends it" in warnings(seen)[0][1]
    seen.workload["state"] = "failed"
    assert warnings(seen) == []


def test_a_run_shows_cost_forecast_progress_and_sites():
    from gpuyard.notebook import page

    seen = running()
    seen.losses = {"home/berlin": [(1, 2.5), (2, 2.1)]}
    seen.events, seen.logs = [given.event(1)], [given.log_line(1, "<script>alert(1)</script>")]

    html = page.run(seen)._repr_mimebundle_()["text/html"]

    for told in (
        "Run 12 running",
        "$0.42",
        "of $0.45",
        "$0.455",
        "16 %",
        "21 min",
        "home/berlin",
        "attic: 1 x CPU",
    ):
        assert told in html, told
    assert "<script>" not in html
    assert "two sites found" in html


def test_quotes_are_a_table_with_headings_and_the_chosen_one_is_marked_in_words():
    from gpuyard.notebook import page

    shown = page.quotes(given.quotes(given.quote(7), given.quote(8, rank=2, cost_usd=None, outcome=None)), chosen=7)
    html = re.search(r'<div class="gpuyard">.*', shown._repr_mimebundle_()["text/html"], re.S)[0]

    table = ElementTree.fromstring(re.search(r"<table>.*</table>", html, re.S)[0])
    heads = [head.text for head in table.iter("th") if head.get("scope") == "col"]
    assert heads[:3] == ["no.", "to finish", "p10 to p90"]
    rows = [row.text for row in table.iter("th") if row.get("scope") == "row"]
    assert rows == ["1 ✓ ordered", "2"]
    assert "$0.63" in shown.text
    assert "not known" in shown.text
    assert all(len(row) == len(heads) for row in table.iter("tr"))


@anything(
    losses=some.dictionaries(
        some.text(max_size=5),
        some.lists(
            some.tuples(some.integers(0, 10**6), some.floats(-1e6, 1e6) | some.just(float("nan"))), max_size=400
        ),
        max_size=7,
    )
)
def test_a_curve_is_well_formed_and_inside_its_frame(losses):
    from gpuyard.notebook import curve

    losses = {re.sub(r"[^\w/&<]", "", name): points for name, points in losses.items()}
    drawn = curve.svg(losses)

    if drawn:
        svg = ElementTree.fromstring(re.search(r"<svg.*?</svg>", drawn, re.S)[0])
        assert svg.get("aria-label").startswith("Loss.")
        for line in svg.iter("polyline"):
            for point in line.get("points").split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= curve.WIDTH
                assert 0 <= y <= curve.HEIGHT
