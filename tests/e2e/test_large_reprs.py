"""The ``repr`` of plain values that the session makes itself, since they are large."""

import pytest

import stateroom
from stateroom.session.execution import ExecutionResult


@pytest.mark.parametrize("size", [10, 100_000])
async def test_V4_the_repr_of_a_value_is_cut_with_a_note_whoever_makes_it(size):
    async with stateroom.Session(max_repr_chars=5) as session:
        result = await session.run(f"'x' * {size}")
        assert result.repr == "'xxxx…"
        assert result.notes == [f"repr of {size + 2} characters cut to 5"]
        assert result.value == "x" * size
        assert result.repr == "'xxxx…"
        assert len(result.notes) == 1


async def test_V4_a_large_repr_that_fits_is_whole():
    async with stateroom.Session() as session:
        result = await session.run("list(range(50_000))")
        assert result.repr == repr(list(range(50_000)))
        assert result.notes == []


def test_a_result_can_be_printed_whatever_its_value_is():
    result = ExecutionResult(execution_id="e1", value=10**6000, has_value=True)
    assert "execution_id='e1'" in repr(result)
    assert "value=<builtins.int whose repr raised ValueError>" in repr(result)
    assert "value=[5]" in repr(ExecutionResult(execution_id="e1", value=[5]))
    assert result.repr == "<builtins.int whose repr raised ValueError>"
    assert result.notes == ["repr() of int raised ValueError"]
