"""Whatever JSON comes in, every reader gives what it promises or says ValueError."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from providers import fields, http
from providers.base import Unreachable

NUMBERS = st.one_of(
    st.integers(),
    st.decimals(allow_nan=True, allow_infinity=True),
    st.floats(),
    st.sampled_from(
        [10**400, Decimal("1e999999"), Decimal("1e-999999"), Decimal("sNaN"), "1e999999999999999999", "-0", "0x10"]
    ),
)
TEXTS = st.one_of(st.text(st.characters(exclude_categories=())), st.integers().map(str), st.decimals().map(str))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda deeper: st.one_of(st.lists(deeper, max_size=3), st.dictionaries(st.text(), deeper, max_size=3)),
    max_leaves=6,
)


@given(JSON)
def test_a_record_is_an_object(value: Any):
    try:
        found = fields.record(value)
    except ValueError:
        assert not isinstance(value, dict)
    else:
        assert found is value


@given(JSON)
def test_records_are_a_list(value: Any):
    try:
        found = fields.records(value)
    except ValueError:
        assert not isinstance(value, list | dict | None)
    else:
        assert isinstance(found, list)


def test_a_map_where_a_list_was_is_a_list():
    assert fields.records({"0": "a", "1": "b"}) == ["a", "b"]
    assert fields.records(None) == []


@given(JSON)
@example("\ud800")
@example(" \x00")
@example("x" * 201)
def test_a_text_can_be_kept_in_a_database(value: Any):
    try:
        found = fields.text(value)
    except ValueError:
        return
    assert found == found.strip() != ""
    assert "\x00" not in found
    assert len(found) <= fields.TEXT_MAX
    found.encode("utf-8")


@given(JSON)
def test_a_text_that_is_missing_is_the_default(value: Any):
    try:
        found = fields.text(value, "default")
    except ValueError:
        return
    assert found == "default" or found == fields.text(value)


@given(JSON)
def test_a_price_is_above_nothing_and_not_absurd(value: Any):
    try:
        found = fields.price(value)
    except ValueError:
        return
    assert isinstance(found, Decimal)
    assert 0 < found <= fields.ABSURD_USD_PER_HOUR


@given(JSON)
def test_a_number_is_finite(value: Any):
    try:
        found = fields.number(value)
    except ValueError:
        return
    assert found is None or (isinstance(found, Decimal) and found.is_finite())


@given(JSON)
@example(10**400)
@example(Decimal("1e-999999"))
def test_a_size_is_above_nothing_or_unknown(value: Any):
    found = fields.positive(value)

    assert found is None or (isinstance(found, float) and math.isfinite(found) and 0 < found < 1e12)


@given(JSON)
def test_a_share_lies_between_nothing_and_all(value: Any):
    found = fields.share(value)

    assert found is None or (isinstance(found, float) and 0 <= found <= 1)


@given(JSON)
def test_a_count_is_whole_and_small(value: Any):
    try:
        found = fields.whole(value)
    except ValueError:
        return
    assert type(found) is int
    assert 0 <= found <= 100_000


@given(JSON)
def test_an_accelerator_is_at_least_one(value: Any):
    try:
        found = fields.accelerators(value)
    except ValueError:
        return
    assert found >= 1


@given(st.decimals(min_value=0, max_value=100_000, allow_nan=False, places=6).filter(lambda usd: usd > 0))
def test_no_digit_of_a_price_is_lost(usd: Decimal):
    (sent,) = http.loads(f"[{usd}]")

    assert fields.price(sent) == fields.price(str(usd)) == usd


@given(st.integers(min_value=0, max_value=100_000))
def test_a_whole_number_may_be_written_as_a_text_or_with_a_point(count: int):
    assert fields.whole(count) == fields.whole(str(count)) == fields.whole(http.loads(f"{count}.0")) == count


@pytest.mark.parametrize("value", [True, False, [], {}, "", None, "free", "1,5", -1, 0, "NaN", 100_001])
def test_what_is_no_price_is_refused(value: Any):
    with pytest.raises(ValueError, match="."):
        fields.price(value)


@given(st.text())
def test_decoding_gives_json_or_a_value_error(raw: str):
    try:
        json.dumps(http.loads(raw), default=str)
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("told", "rows"),
    [([], []), ([{"id": 1}, None, 7], [{"id": 1}]), ({"a": {"id": 1}, "b": {"id": 2}}, [{"id": 1}, {"id": 2}])],
)
def test_a_whole_list_has_the_rows_that_are_objects(told, rows):
    assert fields.all_of({"machines": told}, "machines", "cloud") == rows


@pytest.mark.parametrize("told", [None, {}, [None], "none", 7, {"error": "busy"}, {"a": {"id": 1}, "error": "busy"}])
def test_what_is_no_list_is_not_taken_for_an_empty_one(told):
    with pytest.raises(Unreachable):
        fields.all_of({"machines": told}, "machines", "cloud")


@pytest.mark.parametrize("answer", [None, [], "busy", {}, {"hosts": []}])
def test_an_answer_without_the_list_is_not_taken_for_an_empty_one(answer):
    with pytest.raises(Unreachable):
        fields.all_of(answer, "machines", "cloud")


@pytest.mark.parametrize("row", [{}, {"id": None}, {"id": ""}, {"id": []}])
def test_what_a_machine_needs_must_be_there(row):
    with pytest.raises(Unreachable, match="cloud: a machine of ours has no id"):
        fields.needed(row, "id", "cloud")
