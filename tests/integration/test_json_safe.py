"""Values and outcomes as JSON, and back as themselves."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stateroom.errors import NotPlainData
from stateroom.integration.json_safe import from_json_safe, to_json_safe
from stateroom.integration.outcome import outcome_to_data, outcome_to_result
from stateroom.protocol.messages import DisplayMessage, ErrorInfo, FrameInfo
from stateroom.session.execution import ExecutionResult

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.dates()
    | st.decimals(allow_nan=False)
)
KEYS = st.integers() | st.text() | st.sampled_from(["$type", "$value", "\ud800"]) | st.tuples(st.integers())
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner) | st.dictionaries(KEYS, inner) | st.lists(inner).map(tuple) | st.sets(st.integers())
    ),
    max_leaves=20,
)


def through_json(value):
    return from_json_safe(json.loads(json.dumps(to_json_safe(value), allow_nan=False).encode()))


def same(one, other):
    return type(one) is type(other) and one == other


@given(VALUES)
def test_every_plain_value_comes_back(value):
    assert same(through_json(value), value)


@pytest.mark.parametrize(
    "value",
    [
        2**63, -(2**63) - 1, 10**5000, math.inf, -0.0, "\ud800", "a\udfffb", b"\0\xff", bytearray(b"x"), 1j, ...,
        range(1, 9, 2), frozenset({1}), {1: "a", "1": "b"}, {"$type": "int", "$value": "1"}, {(1, 2): [()]},
        {"\ud800": {b"k": {1.5}}}, datetime(2020, 1, 2, tzinfo=UTC), date(1, 1, 1), Decimal("1.10"),
        Fraction(1, 3), UUID(int=7), b"x" * 100_000, [], {}, (), set(),
    ],
    ids=lambda value: f"{type(value).__name__} {repr(value)[:20]}" if not isinstance(value, int) else f"int {value.bit_length()}",
)  # fmt: skip
def test_awkward_values_come_back(value):
    assert same(through_json(value), value)


def test_nan_comes_back():
    assert math.isnan(through_json([math.nan])[0])


def test_what_json_can_say_stays_readable():
    value = {"a": [1, 2.5, None, True, "text"], "b": {"c": {}}}
    assert to_json_safe(value) == value


def test_what_is_not_plain_is_refused():
    with pytest.raises(NotPlainData, match="object"):
        to_json_safe({"a": [object()]})


def test_a_value_that_holds_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(NotPlainData, match="nested"):
        to_json_safe(value)


@pytest.mark.parametrize(
    "data",
    [
        {"$type": "pickle", "$value": "gASVAA=="}, {"$type": "int", "$value": None}, {"$type": "bytes", "$value": "?"},
        {"$type": "plain", "$value": "AAAA"}, {"$type": "set", "$value": [[]]}, {"$type": "dict", "$value": [[1]]},
        {"$type": []}, {"$type": "tuple"}, {"$type": "str", "$value": 3},
    ],
)  # fmt: skip
def test_data_that_was_never_made_here_is_refused(data):
    with pytest.raises(ValueError, match="JSON-safe"):
        from_json_safe([data])


def test_an_outcome_comes_back_whole():
    frame = FrameInfo(filename="f.py", name="f", line=3, source="\ud800")
    error = ErrorInfo(
        type="E", text="\udfff", frames=[frame], cause=ErrorInfo(type="F"), group=[ErrorInfo(type="G")]
    )
    display = DisplayMessage(execution_id="e", mime={"image/png": b"\x89"}, display_id="d1")
    result = ExecutionResult(
        execution_id="e", value={1: math.inf}, has_value=True, stdout="o\ud800", stderr="e", error=error,
        mode="simple_sync", duration_s=0.5, cancelled=True, notes=["n"], displays=[display],
        mime={"text/plain": "x"}, metadata={"text/plain": {"w": 1}}, repr_text="r",
    )  # fmt: skip
    data = json.loads(json.dumps(outcome_to_data(result), allow_nan=False))
    assert outcome_to_result(data) == result
    assert (data["ok"], data["error"]["type"]) == (False, "E")


@pytest.mark.parametrize("data", [{}, {"execution_id": "e"}])
def test_what_is_no_outcome_is_refused(data):
    with pytest.raises(ValueError, match="not the outcome"):
        outcome_to_result(data)
