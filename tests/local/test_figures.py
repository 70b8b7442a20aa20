"""The figures of the demo follow from what the API says."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from broker.local import figures

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def row(placement: int, seconds: float, **values: float) -> dict[str, Any]:
    return {"placement": placement, "at": at(seconds), "values": {"loss": 2.0, **values}}


def merged(samples: int, *, closed: bool = True) -> dict[str, Any]:
    return {"samples": samples, "closed_at": at(9) if closed else None}


def right() -> dict[str, Any]:
    return {
        "offers": 3,
        "sites": 2,
        "preemptions": 1,
        "replacements": 1,
        "rounds": 6,
        "samples_lost": 0,
        "samples_double_counted": 0,
        "model_loss_reported": 1.5,
        "model_loss_checked": 1.500001,
        "model_sha256_ok": True,
        "leases_open": 0,
        "ledger_sum_usd": "0.000000",
        "billed_usd": "0.001234",
        "leased_seconds_usd": "0.001235",
        "first_step_after_order_s": 12.5,
        "stall_of_other_site_s": 3.0,
    }


def test_samples_are_lost_or_doubled_against_the_total() -> None:
    samples = {"total": 100, "merged": 90}

    assert figures.samples_lost(samples) == 10
    assert figures.samples_double_counted(samples, [merged(60), merged(45), merged(500, closed=False)]) == 5
    assert figures.samples_double_counted(samples, [merged(60), merged(30)]) == 0


def test_a_site_counts_when_its_work_was_merged() -> None:
    def given(site: str, status: str) -> dict[str, str]:
        return {"site": site, "status": status}

    first = {**merged(60), "contributors": [given("home/berlin", "merged"), given("home/paris", "late")]}
    second = {**merged(60), "contributors": [given("home/berlin", "merged"), given("home/rome", "merged")]}
    open_one = {**merged(60, closed=False), "contributors": [given("home/oslo", "merged")]}

    assert figures.sites([first, second, open_one]) == 2


def test_only_lost_leases_are_lost_machines() -> None:
    events = [
        {"subject": "lease", "subject_id": 4, "to": "LOST"},
        {"subject": "lease", "subject_id": 5, "to": "released"},
        {"subject": "placement", "subject_id": 4, "to": "lost"},
    ]

    assert figures.machines_lost(events) == 1


def test_a_replacement_is_a_placement_that_trained_without_being_first() -> None:
    rows = [row(1, 0), row(2, 1), row(3, 2), row(3, 3)]

    assert figures.replacements(rows, (1, 2)) == 1
    assert figures.first_row(rows, 3) == row(3, 2)
    assert figures.first_row(rows, 9) is None


def test_a_stall_is_the_longest_gap_after_the_loss_less_the_usual_one() -> None:
    rows = [row(1, second) for second in (0, 5, 6, 7, 8, 12, 13)] + [row(2, 100)]

    assert figures.stall_s(rows, placement=1, since=START + timedelta(seconds=7.5)) == pytest.approx(3.0)
    assert figures.stall_s(rows, placement=1, since=START + timedelta(seconds=50)) == 0.0


def test_a_session_that_reports_its_waits_is_believed() -> None:
    rows = [row(1, 0, wait_s=50.0), row(1, 5, wait_s=2.5), row(1, 30, wait_s=1.0)]

    assert figures.stall_s(rows, placement=1, since=START + timedelta(seconds=1)) == 2.5


def test_leased_seconds_cost_their_frozen_price() -> None:
    leases = [
        {"opened_at": at(0), "closed_at": at(3600), "usd_per_hour": "0.060000"},
        {"opened_at": at(0), "closed_at": at(90.5), "usd_per_hour": "0.080000"},
        {"opened_at": at(0), "closed_at": None, "usd_per_hour": "9.000000"},
        {"opened_at": None, "closed_at": None, "usd_per_hour": "9.000000"},
    ]

    assert figures.leased_usd(leases) == Decimal("0.062011")
    assert figures.open_leases(leases) == 1


def test_a_good_run_has_nothing_wrong() -> None:
    assert figures.wrong(right(), leases=3) == []
    assert figures.wrong(right() | {"model_loss_reported": None, "model_loss_checked": None}, leases=3) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("samples_lost", 7, "7 samples were lost"),
        ("samples_double_counted", 2, "2 samples counted twice"),
        ("sites", 1, "1 sites trained"),
        ("preemptions", 0, "0 machines were lost"),
        ("replacements", 2, "2 replacements"),
        ("leases_open", 1, "1 leases are still open"),
        ("ledger_sum_usd", "0.000001", "the ledger's sum"),
        ("model_sha256_ok", False, "sha256"),
        ("model_loss_checked", 1.50002, "the model's loss"),
        ("model_loss_checked", float("nan"), "the model's loss"),
        ("model_loss_reported", None, "the model's loss"),
        ("billed_usd", "0.001300", "off the leased seconds"),
        ("first_step_after_order_s", None, "no step"),
    ],
)
def test_each_wrong_figure_is_named(name: str, value: object, said: str) -> None:
    (sentence,) = figures.wrong(right() | {name: value}, leases=3)

    assert said in sentence
