"""Who is asked the questions of a durable cell, and what becomes of askers that fail."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")

from resonate_wire import ask

from stateroom.errors import DurableRejected, InputRefused
from stateroom.integration.inputs import answer_input, open_inputs
from stateroom.integration.outcome import outcome_to_result
from stateroom.integration.sqlite_store import SqliteConnection


async def boom(_):
    raise RuntimeError("the terminal is gone")


async def five(_):
    return 5


@pytest.mark.parametrize(
    ("on_input", "value", "said"),
    [
        (lambda message: message.prompt + "yes", "? yes", None),
        (lambda _: None, None, "EOF when reading a line"),
        (boom, None, "on_input raised RuntimeError: the terminal is gone"),
        (five, None, "on_input returned a int, not a string"),
    ],
)
async def test_an_asker_may_be_plain_and_may_fail(durable, new_id, on_input, value, said):
    outcome = await durable.cells.execute(new_id(), "input('? ')", on_input=on_input)
    assert outcome["value"] == value
    if said is not None:
        assert outcome["error"]["type"] == "EOFError"
        assert said in outcome["error"]["message"]


async def test_a_runtime_can_be_closed_right_behind_a_question_that_nobody_has_answered(stored, new_id):
    outcome = await stored.cells.execute(new_id(), "input('? ')", on_input=lambda _: 5)
    assert outcome["error"]["type"] == "EOFError"
    await stored.close()


async def test_a_question_after_a_failed_asker_can_be_answered_by_somebody_else(stored, new_id, tmp_path):
    path, execution_id = tmp_path / "state.db", new_id()
    code = "try:\n    x = input('a? ')\nexcept EOFError:\n    x = None\nx, input('b? ')"
    asked = asyncio.Event()

    async def once(message):
        if message.prompt == "a? ":
            raise RuntimeError("the terminal is gone")
        asked.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(stored.cells.execute(execution_id, code, on_input=once))
    await asked.wait()
    question = next(found for found in open_inputs(path) if found.prompt == "b? ")
    answer_input(path, question.id, "from outside")
    assert outcome_to_result(await running).value == (None, "from outside")


async def test_asking_for_an_execution_again_while_it_runs_changes_nothing(stored, new_id, tmp_path):
    path, execution_id = tmp_path / "state.db", new_id()
    code = "[input('a? '), input('b? ')]"
    asked = asyncio.Queue()

    async def note(message):
        asked.put_nowait(message.prompt)
        await asyncio.Event().wait()

    async def answer(text):
        assert await asked.get() == f"{text}? "
        (question,) = open_inputs(path)
        answer_input(path, question.id, text.upper())

    running = asyncio.create_task(stored.cells.execute(execution_id, code, on_input=note))
    await answer("a")
    again = asyncio.create_task(stored.cells.execute(execution_id, code))
    await answer("b")
    assert (await running)["value"] == ["A", "B"]
    assert (await again)["value"] == ["A", "B"]


async def test_the_question_of_an_execution_out_of_time_is_asked_no_more(stored, new_id, tmp_path):
    path, execution_id = tmp_path / "state.db", new_id()
    with pytest.raises(DurableRejected):
        await stored.cells.execute(execution_id, "input('? ')", timeout_s=0.5)
    assert open_inputs(path) == []
    with pytest.raises(InputRefused, match="not waited for any more"):
        answer_input(path, f"{execution_id}:input:1", "too late")
    assert stored.bridge.pending == 0


async def test_the_question_that_a_failed_asker_left_ends_with_its_execution(stored, new_id, tmp_path):
    code = "try: input('? ')\nexcept EOFError: pass"
    assert (await stored.cells.execute(new_id(), code, on_input=boom))["ok"]
    assert open_inputs(tmp_path / "state.db") == []
    assert (stored.bridge.pending, stored.bridge.info()["withdrawn"]) == (0, 1)


async def test_the_question_of_an_execution_that_nobody_ended_in_time_is_not_listed(tmp_path):
    """Its process died, and its time is up meanwhile."""
    tags, far = {"resonate:external": "true"}, 1 << 60
    async with SqliteConnection(tmp_path / "state.db", clock=lambda: 1_000) as connection:
        for execution_id, timeout in (("late", 2_000), ("waits", far)):
            await ask(connection, "promise.create", id=f"exec:{execution_id}", timeoutAt=timeout, tags=tags)
            await ask(connection, "promise.create", id=f"{execution_id}:input:1", timeoutAt=far, tags=tags)
    assert [question.execution_id for question in open_inputs(tmp_path / "state.db")] == ["waits"]
