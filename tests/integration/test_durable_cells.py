"""Durable cells: what is finished never runs again, whatever dies; inputs and steps are remembered."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import closing

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")

from resonate.error import ServerError
from tap import Gate

import stateroom
from stateroom.errors import ConfigError, DurableError, DurableRejected, InputRefused, StoreError
from stateroom.integration.inputs import answer_input, open_inputs
from stateroom.integration.outcome import outcome_to_result
from stateroom.integration.resonate_init import initialize_resonate_local
from stateroom.integration.sqlite_store import SqliteConnection


def counting(path, rest=""):
    """Code that counts its runs in a file, and then does the rest."""
    return f"with open({str(path)!r}, 'a') as file: file.write('x')\n{rest}"


def runs(path):
    return len(path.read_text()) if path.exists() else 0


async def opened(path):
    """A session and a runtime over a file, as another process would have them."""
    session = stateroom.Session()
    await session.start()
    return session, await initialize_resonate_local(session, path=path, env={})


async def died(session, runtime):
    """The end of a process that had no time for anything."""
    os.kill(session.pid, signal.SIGKILL)
    await runtime.close()
    await session.close()


# What cannot be done


async def test_what_is_no_session_is_refused():
    with closing(stateroom.open_session()) as blocking:
        for session in (blocking, None):
            with pytest.raises(
                TypeError, match=r"^session is a \w+: give a stateroom.Session that was started$"
            ):
                await initialize_resonate_local(session, env={})


async def test_what_is_no_code_or_cannot_be_asked_is_refused_before_anything_is_stored(durable, new_id):
    execution_id = new_id()
    with pytest.raises(TypeError, match=r"^code is a NoneType: give a string$"):
        await durable.cells.execute(execution_id, None)
    with pytest.raises(TypeError, match=r"^on_input='x': give a function$"):
        await durable.cells.execute(execution_id, "1", on_input="x")
    assert (await durable.cells.execute(execution_id, "2"))["value"] == 2


# The same id again


async def test_the_same_id_again_returns_the_stored_outcome(durable, new_id, tmp_path):
    execution_id, code = new_id(), counting(tmp_path / "runs", "print('o')\n{1: 2}")
    first = await durable.cells.execute(execution_id, code)
    assert await durable.cells.execute(execution_id, code) == first
    assert runs(tmp_path / "runs") == 1
    result = outcome_to_result(first)
    assert (result.value, result.stdout, result.ok) == ({1: 2}, "o\n", True)


async def test_the_same_id_at_once_runs_once(durable, new_id, tmp_path):
    execution_id, code = new_id(), counting(tmp_path / "runs", "await asyncio.sleep(0)")
    outcomes = await asyncio.gather(
        *[durable.cells.execute(execution_id, "import asyncio\n" + code) for _ in range(5)]
    )
    assert runs(tmp_path / "runs") == 1
    assert all(outcome == outcomes[0] for outcome in outcomes)


async def test_a_failed_cell_is_finished_too(durable, new_id, tmp_path):
    execution_id, code = new_id(), counting(tmp_path / "runs", "1/0")
    for _ in range(2):
        outcome = await durable.cells.execute(execution_id, code)
        assert outcome["error"]["type"] == "ZeroDivisionError"
    assert runs(tmp_path / "runs") == 1


async def test_an_id_belongs_to_its_code(durable, new_id):
    execution_id = new_id()
    await durable.cells.execute(execution_id, "1")
    with pytest.raises(DurableError, match="other code"):
        await durable.cells.execute(execution_id, "2")


async def test_code_that_is_no_string_is_refused_before_there_is_a_promise(durable, new_id):
    with pytest.raises(TypeError, match=r"^code is a int: give a string$"):
        await durable.cells.execute(new_id(), 5)
    assert durable.bridge.pending == 0


async def test_through_resonate_the_same_id_runs_once_too(durable, new_id, tmp_path):
    execution_id, code = new_id(), counting(tmp_path / "runs", "6 * 7")
    outcomes = [await durable.run(execution_id, code) for _ in range(2)]
    assert [outcome["value"] for outcome in outcomes] == [42, 42]
    assert runs(tmp_path / "runs") == 1


@pytest.mark.parametrize(("execution_id", "code"), [("a:b", "1"), ("", "1"), ("e", 3), ("e", "'\ud800'")])
async def test_through_resonate_what_cannot_be_a_cell_is_refused(durable, execution_id, code):
    with pytest.raises(ConfigError):
        await durable.run(execution_id, code)


async def test_a_runtime_has_one_place_for_its_promises(session, tap, tmp_path):
    with pytest.raises(ConfigError, match="not both"):
        await initialize_resonate_local(session, path=tmp_path / "state.db", connection=tap, env={})
    assert not (tmp_path / "state.db").exists()


async def test_through_resonate_a_time_limit_is_an_outcome(durable, new_id):
    outcome = await durable.run(new_id(), "while True: pass", timeout_s=0.3)
    assert (outcome["ok"], outcome["error"]["type"]) == (False, "DurableRejected")


async def test_closing_leaves_what_resonate_dispatched_for_the_next_one(session, durable, tap, new_id):
    execution_id = new_id()
    running = asyncio.create_task(durable.run(execution_id, "import time\ntime.sleep(1000)"))
    await tap.answered("promise.create", f"exec:{execution_id}")
    await durable.close()
    with pytest.raises(DurableError, match="closed"):
        await running
    assert (tap.state_of(f"exec:{execution_id}"), tap.state_of(execution_id)) == ("pending", "pending")


async def test_closing_while_a_state_is_brought_back_leaves_the_execution_for_the_next_one(tmp_path):
    path = tmp_path / "state.db"
    session, runtime = await opened(path)
    await runtime.cells.execute("e-1", "x = 1")
    restoring, may_restore = asyncio.Event(), asyncio.Event()

    async def slow(*args):
        restoring.set()
        await may_restore.wait()
        return await stateroom.Session.restore(session, *args)

    session.restore = slow
    os.kill(session.pid, signal.SIGKILL)
    running = asyncio.create_task(runtime.run("e-2", "x"))
    await restoring.wait()
    closing = asyncio.create_task(runtime.close())
    await asyncio.wait([asyncio.create_task(runtime.bridge.close(reject=False))])
    may_restore.set()
    await closing
    with pytest.raises(DurableError, match="closed"):
        await running
    await session.close()
    session, runtime = await opened(path)
    assert (await runtime.run("e-2", "x"))["value"] == 1
    await died(session, runtime)


async def test_a_runtime_whose_close_is_cancelled_gives_its_file_up_all_the_same(
    session, tmp_path, monkeypatch
):
    path, gate, is_closed = tmp_path / "state.db", Gate(), asyncio.Event()
    runtime = await initialize_resonate_local(session, path=path, env={})
    stop, close = runtime.resonate.stop, SqliteConnection.close

    async def slow():
        await gate.pass_through()
        await stop()

    def closing(connection):
        close(connection)
        is_closed.set()

    monkeypatch.setattr(runtime.resonate, "stop", slow)
    monkeypatch.setattr(SqliteConnection, "close", closing)
    leaving = asyncio.create_task(runtime.__aexit__())
    await gate.reached.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gate.open()
    await is_closed.wait()
    async with await initialize_resonate_local(session, path=path, env={}) as runtime:
        assert (await runtime.cells.execute("e-1", "1"))["value"] == 1


# Time limits and callers


async def test_a_cell_out_of_time_is_stopped_and_leaves_no_trace(stored, new_id):
    await stored.cells.execute(new_id(), "x = 1")
    with pytest.raises(DurableRejected) as caught:
        await stored.cells.execute("limited", "x = 2\nwhile True: pass", timeout_s=0.5)
    assert caught.value.data["timeout"] == 0.5
    assert (await stored.cells.execute(new_id(), "x"))["value"] == 1


async def test_a_cancelled_caller_stops_the_cell_which_stays_pending(session, durable, tap, new_id):
    execution_id = new_id()
    asked = asyncio.create_task(durable.cells.execute(execution_id, "input()"))
    await tap.answered("promise.create", f"{execution_id}:input:1")
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert tap.state_of(f"exec:{execution_id}") == "pending"
    again = asyncio.create_task(durable.cells.execute(execution_id, "input()"))
    await durable.resonate.promises.resolve(f"{execution_id}:input:1", value({"text": "yes"}))
    assert (await again)["value"] == "yes"


@pytest.mark.parametrize("stores", [True, False])
async def test_a_cancelled_caller_waits_for_the_end_of_its_cell_and_the_next_one_begins_after_it(
    tmp_path, tap, stores
):
    where = {"path": tmp_path / "state.db"} if stores else {"connection": tap}
    async with (
        stateroom.Session(cancel_grace_s=0.05, insist_grace_s=0.05) as session,
        await initialize_resonate_local(session, **where, env={}) as runtime,
    ):
        await runtime.cells.execute("e-1", "x = 1")
        stubborn = counting(tmp_path / "runs", "sum(range(10**12))")  # no signal reaches that
        asked = asyncio.create_task(runtime.cells.execute("e-2", stubborn))
        while not (tmp_path / "runs").exists():
            await asyncio.sleep(0.001)
        for _ in range(2):  # one who insists
            asked.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert session.state == "idle"
        assert session.info.running is None
        following = await runtime.cells.execute("e-3", "x = globals().get('x', 1)\nx")
        assert (following["value"], following["error"]) == (1, None)


@pytest.mark.parametrize("automatic", [True, False])
async def test_a_restart_that_is_under_way_is_waited_for(tmp_path, automatic):
    died = str(tmp_path / "died")
    async with (
        stateroom.Session(auto_restart=automatic) as session,
        await initialize_resonate_local(session, path=tmp_path / "state.db", env={}) as runtime,
    ):
        await runtime.cells.execute("e-1", "x = 1")
        restarting = None if automatic else asyncio.create_task(session.restart())
        code = f"import os\nif not os.path.exists({died!r}):\n    open({died!r}, 'w').close()\n    os._exit(9)\nx"
        outcome = await runtime.cells.execute("e-2", code)
        assert (outcome["value"], outcome["error"]) == (1, None)
        if restarting is not None:
            await restarting


def value(data):
    from resonate.types import Value

    return Value(data=data)


# Death


async def test_a_worker_that_dies_has_its_cell_run_again(session, stored, new_id, tmp_path):
    await stored.cells.execute(new_id(), counting(tmp_path / "one", "x = [1]"))
    code = f"import os\nx.append(2)\nif not os.path.exists({str(tmp_path / 'died')!r}):\n    open({str(tmp_path / 'died')!r}, 'w').close()\n    os._exit(9)\nx"
    assert (await stored.cells.execute(new_id(), code))["value"] == [1, 2]
    assert runs(tmp_path / "one") == 1


async def test_a_cell_that_always_kills_its_worker_ends_with_that(session, stored, new_id, tmp_path):
    await stored.cells.execute(new_id(), "x = 1")
    outcome = await stored.cells.execute(new_id(), counting(tmp_path / "runs", "import os\nos._exit(9)"))
    assert outcome["error"]["type"] == "WorkerDied"
    assert runs(tmp_path / "runs") == stored.cells.max_attempts
    assert (await stored.cells.execute(new_id(), "x"))["value"] == 1


async def test_the_next_process_goes_on_with_the_state(tmp_path):
    session, runtime = await opened(tmp_path / "state.db")
    await runtime.cells.execute("e-1", counting(tmp_path / "one", "def f(): return x\nx = [1]"))
    await died(session, runtime)
    session, runtime = await opened(tmp_path / "state.db")
    assert (await runtime.cells.execute("e-1", counting(tmp_path / "one", "def f(): return x\nx = [1]")))[
        "ok"
    ]
    assert (await runtime.cells.execute("e-2", "x.append(2)\nf()"))["value"] == [1, 2]
    assert runs(tmp_path / "one") == 1
    await died(session, runtime)


async def test_a_result_that_was_stored_but_not_told_is_told(tmp_path, monkeypatch):
    """The process dies between the two."""
    path, code = tmp_path / "state.db", counting(tmp_path / "runs", "x = 5\nx")
    session, runtime = await opened(path)

    async def fail(*_):
        raise ServerError(500, "died here")

    monkeypatch.setattr(runtime.bridge, "resolve", fail)
    with pytest.raises(ServerError, match="died here"):
        await runtime.cells.execute("e-1", code)
    await died(session, runtime)
    session, runtime = await opened(path)
    assert (await runtime.cells.execute("e-1", code))["value"] == 5
    assert (await runtime.cells.execute("e-2", "x + 1"))["value"] == 6
    assert runs(tmp_path / "runs") == 1
    await died(session, runtime)


async def test_what_does_not_outlive_a_restart_is_noted(session, stored, new_id):
    await stored.cells.execute(new_id(), "import threading\nlock = threading.Lock()\nx = 1")
    os.kill(session.pid, signal.SIGKILL)
    outcome = await stored.cells.execute(new_id(), "x")
    assert outcome["value"] == 1
    assert any("lock" in note and "restart" in note for note in outcome["notes"])


async def test_a_second_owner_of_the_file_is_refused(stored, tmp_path):
    async with stateroom.Session() as other:
        with pytest.raises(StoreError, match="open"):
            await initialize_resonate_local(other, path=tmp_path / "state.db", env={})


# Inputs


async def test_inputs_are_answered_from_outside_and_remembered(tmp_path):
    path = tmp_path / "state.db"
    code = "a = input('first? ')\nb = input('second? ')\n(a, b)"
    session, runtime = await opened(path)
    asked = asyncio.create_task(runtime.cells.execute("e-1", code))
    await pending_input(runtime, "e-1:input:1")
    await runtime.resonate.promises.resolve("e-1:input:1", value({"text": "one"}))
    await pending_input(runtime, "e-1:input:2")
    asked.cancel()
    await died(session, runtime)
    (question,) = open_inputs(path)  # nobody runs
    assert (question.id, question.execution_id, question.prompt) == ("e-1:input:2", "e-1", "second? ")
    answer_input(path, question.id, "two")
    with pytest.raises(InputRefused, match="answered"):
        answer_input(path, question.id, "three")
    session, runtime = await opened(path)
    assert outcome_to_result(await runtime.cells.execute("e-1", code)).value == ("one", "two")
    assert open_inputs(path) == []
    await died(session, runtime)


@pytest.mark.parametrize("through", ["resonate", "cells"])
async def test_a_question_is_answered_a_month_later(session, tmp_path, through):
    days = [0]
    path = tmp_path / "state.db"
    with closing(
        SqliteConnection(path, clock=lambda: (days[0] * 86_400 + int(time.time())) * 1000)
    ) as connection:
        async with await initialize_resonate_local(session, connection=connection, env={}) as runtime:
            run = runtime.run if through == "resonate" else runtime.cells.execute
            running = asyncio.create_task(run("e-1", "input('? ')"))
            await pending_input(runtime, "e-1:input:1")
            days[0] = 31
            answer_input(path, "e-1:input:1", "yes")
            assert (await running)["value"] == "yes"


@pytest.mark.parametrize("input_id", ["e-1", "exec:e-1", "e-1:step:f:1", "e-1:input:", ""])
async def test_only_questions_are_answered(stored, tmp_path, input_id):
    with pytest.raises(InputRefused, match="looks like"):
        answer_input(tmp_path / "state.db", input_id, "x")


async def test_other_questions_than_before_are_refused(session, stored, tmp_path):
    """An answer must not reach a question that it was not given to."""
    code = f"import os\nlast = os.path.exists({str(tmp_path / 'flag')!r})\nopen({str(tmp_path / 'flag')!r}, 'w').close()\ninput('delete? ' if last else 'greet? ')\nos._exit(1)"
    asked = asyncio.create_task(stored.cells.execute("e-1", code))
    await pending_input(stored, "e-1:input:1")
    await stored.resonate.promises.resolve("e-1:input:1", value({"text": "yes"}))
    outcome = await asked
    assert outcome["error"]["type"] == "EOFError"
    assert "'greet? '" in outcome["error"]["message"]
    assert "'delete? '" in outcome["error"]["message"]


async def pending_input(runtime, promise_id):
    """Wait until a question has become a promise."""
    while promise_id not in {request.promise_id for request in runtime.bridge.inputs.open}:
        await asyncio.sleep(0.001)
