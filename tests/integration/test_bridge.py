"""The bridge: executions and inputs become promises; its figures; its end."""

from __future__ import annotations

import asyncio
import json

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")

from resonate.types import Value

import stateroom
from stateroom.errors import ConfigError, DurableError, DurableRejected
from stateroom.integration.resonate_bridge import ResonateProtocolBridge
from stateroom.integration.runtime import make_resonate

ASK = "name = input('who? ')\nname"


def rejection(tap, resonate, promise_id):
    async def read():
        record = await resonate.promises.get(promise_id)
        assert record.state == "rejected"
        assert set(record.value.data) == {"message"}  # anything else might be taken for a pickle
        return json.loads(record.value.data["message"])

    return read()


# Correlation


async def test_the_result_of_a_cell_resolves_its_promise(session, bridge, tap, new_id):
    execution_id = new_id()
    record = await bridge.expect(execution_id)
    assert record.state == tap.state_of(f"exec:{execution_id}") == "pending"
    await session.run("print('out')\n{1: float('inf')}", execution_id=execution_id)
    outcome = await bridge.result(execution_id)
    assert outcome["value"] == {"$type": "dict", "$value": [[1, {"$type": "float", "$value": "inf"}]]}
    assert (outcome["ok"], outcome["stdout"], outcome["error"]) == (True, "out\n", None)
    assert tap.state_of(f"exec:{execution_id}") == "resolved"
    assert bridge.pending == 0


async def test_the_error_of_a_cell_is_its_outcome_as_data(session, bridge, new_id):
    execution_id = new_id()
    await bridge.expect(execution_id)
    await session.run("raise ValueError('\\ud800')", execution_id=execution_id)
    outcome = await bridge.result(execution_id)
    assert not outcome["ok"]
    assert outcome["error"]["type"] == "ValueError"


async def test_cells_that_nobody_expects_concern_no_promise(session, bridge, tap):
    assert (await session.run("1")).value == 1
    assert tap.requests == []


async def test_an_execution_that_is_streamed_is_correlated_too(session, bridge, new_id):
    execution_id = new_id()
    await bridge.expect(execution_id)
    kinds = [
        type(message).__name__ async for message in session.execute("print(1)\n2", execution_id=execution_id)
    ]
    assert kinds[-1] == "ResultMessage"
    assert (await bridge.result(execution_id))["value"] == 2


async def test_an_input_is_a_promise_that_anybody_answers(session, bridge, tap, new_id):
    execution_id = new_id()
    await bridge.expect(execution_id)
    running = asyncio.create_task(session.run(ASK, execution_id=execution_id, on_input=bridge.answer_input))
    promise_id = f"{execution_id}:input:1"
    await tap.answered("promise.create", promise_id)
    record = await bridge.desk.resonate.promises.get(promise_id)
    assert record.param.data == {"prompt": "who? ", "password": False}
    await bridge.desk.resonate.promises.resolve(promise_id, Value(data={"text": "Ada"}))
    assert (await running).value == "Ada"


@pytest.mark.parametrize(
    ("answer", "seen"),
    [("plain text", "plain text"), ({"eof": True}, "EOF"), ({"text": 3}, "EOF"), (None, "EOF")],
)
async def test_what_an_answer_may_be(session, bridge, tap, new_id, answer, seen):
    execution_id = new_id()
    await bridge.expect(execution_id)
    code = "try: line = input()\nexcept EOFError: line = 'EOF'\nline"
    running = asyncio.create_task(session.run(code, execution_id=execution_id, on_input=bridge.answer_input))
    await tap.answered("promise.create", f"{execution_id}:input:1")
    await bridge.desk.resonate.promises.resolve(f"{execution_id}:input:1", Value(data=answer))
    assert (await running).value == seen


async def test_a_rejection_of_an_input_is_never_unpickled(session, bridge, tap, new_id, tmp_path):
    """Whoever can write to the store must not run code here."""
    import base64
    import pickle

    trace = tmp_path / "trace"

    class Evil:
        def __reduce__(self):
            return (trace.write_text, ("ran",))

    execution_id = new_id()
    await bridge.expect(execution_id)
    running = asyncio.create_task(session.run(ASK, execution_id=execution_id, on_input=bridge.answer_input))
    await tap.answered("promise.create", f"{execution_id}:input:1")
    evil = {"__py_pickle": base64.b64encode(pickle.dumps(Evil())).decode(), "message": "no"}
    await bridge.desk.resonate.promises.reject(f"{execution_id}:input:1", Value(data=evil))
    result = await running
    assert result.error.type == "EOFError"
    assert "no" in result.error.message
    assert not trace.exists()


# Ids


@pytest.mark.parametrize("execution_id", ["", "a:b", "a\0b", "a\nb", "\ud800", 3, None])
async def test_an_id_that_cannot_be_one_is_refused(bridge, tap, execution_id):
    with pytest.raises(ConfigError, match="execution_id"):
        await bridge.expect(execution_id)
    assert tap.requests == []


@pytest.mark.parametrize("timeout_s", [-1, float("nan"), float("inf")])
async def test_a_timeout_that_cannot_be_one_is_refused(bridge, new_id, timeout_s):
    with pytest.raises(ConfigError, match="timeout_s"):
        await bridge.expect(new_id(), timeout_s=timeout_s)


# Time limits


async def test_an_execution_out_of_time_is_rejected_as_data(session, bridge, tap, new_id):
    execution_id = new_id()
    await bridge.expect(execution_id, timeout_s=0)
    with pytest.raises(DurableRejected, match="within 0 s") as caught:
        await bridge.result(execution_id)
    expected = {
        "capability": "execute",
        "execution_id": execution_id,
        "request_id": execution_id,
        "timeout": 0,
    }
    assert caught.value.data == expected
    assert await rejection(tap, bridge.desk.resonate, f"exec:{execution_id}") == expected
    assert bridge.info()["timed_out"] == 1


async def test_an_input_out_of_time_is_rejected_as_data(session, tap, new_id):
    resonate = make_resonate(tap, env={})
    bridge = ResonateProtocolBridge(resonate, session, input_timeout_s=0)
    execution_id = new_id()
    await bridge.expect(execution_id)
    result = await session.run(ASK, execution_id=execution_id, on_input=bridge.answer_input)
    assert result.error.type == "EOFError"
    assert "within 0 s" in result.error.message
    assert await rejection(tap, resonate, f"{execution_id}:input:1") == {
        "capability": "input", "execution_id": execution_id, "request_id": "1", "timeout": 0,
    }  # fmt: skip
    await bridge.close()
    await resonate.stop()


async def test_a_limit_counts_from_when_the_promise_was_made(session, bridge, tap, new_id):
    """Another process made it, long ago."""
    execution_id = new_id()
    await bridge.desk.resonate.promises.create(f"exec:{execution_id}", 1 << 52, Value(data=None), {})
    tap.state.promises[f"exec:{execution_id}"].created_at -= 3_600_000
    await bridge.expect(execution_id, timeout_s=3_000)
    with pytest.raises(DurableRejected, match="within 3000 s"):
        await bridge.result(execution_id)


# Figures


async def test_figures_are_in_the_info_of_the_session(session, bridge, new_id):
    ids = [new_id() for _ in range(3)]
    for execution_id in ids:
        await bridge.expect(execution_id)
    assert bridge.pending == bridge.pending_high_water_mark() == 3
    for execution_id in ids:
        await session.run("1", execution_id=execution_id)
        await bridge.result(execution_id)
    figures = session.info.attachments["durable"]
    assert figures == bridge.info()
    assert (figures["pending"], figures["pending_high_water_mark"]) == (0, 3)
    assert (figures["created"], figures["resolved"], figures["rejected"]) == (3, 3, 0)


async def test_a_session_has_one_bridge_at_a_time(session, bridge, tap):
    with pytest.raises(DurableError, match="close that one"):
        ResonateProtocolBridge(bridge.desk.resonate, session)
    await bridge.close()
    await ResonateProtocolBridge(bridge.desk.resonate, session).close()


# The end


async def test_close_rejects_what_is_pending_as_shut_down(session, bridge, tap, new_id):
    execution_id = new_id()
    await bridge.expect(execution_id, timeout_s=1000)
    waiting = asyncio.create_task(bridge.result(execution_id))
    await asyncio.gather(bridge.close(), bridge.close())
    await bridge.close()
    with pytest.raises(DurableRejected, match="closed") as caught:
        await waiting
    assert caught.value.data["error"] == "shutdown"
    assert caught.value.data["execution_id"] == execution_id
    assert await rejection(tap, bridge.desk.resonate, f"exec:{execution_id}") == caught.value.data
    assert (bridge.pending, bridge.info()["shut_down"]) == (0, 1)
    assert "durable" not in session.info.attachments
    assert session.info.interceptors == []
    assert session.on_step is None
    with pytest.raises(DurableError, match="closed"):
        await bridge.expect(new_id())


async def test_close_can_leave_pending_what_is_pending(session, bridge, tap, new_id):
    execution_id = new_id()
    await bridge.expect(execution_id)
    waiting = asyncio.create_task(bridge.result(execution_id))
    await tap.answered("promise.create", f"exec:{execution_id}")
    await bridge.close(reject=False)
    with pytest.raises(DurableError, match="pending"):
        await waiting
    assert tap.state_of(f"exec:{execution_id}") == "pending"


async def test_cancel_all_rejects_and_goes_on(session, bridge, new_id):
    await bridge.expect(new_id())
    await bridge.expect(new_id())
    assert await bridge.cancel_all() == 2
    assert await bridge.cancel_all() == 0
    execution_id = new_id()
    await bridge.expect(execution_id)
    await session.run("5", execution_id=execution_id)
    assert (await bridge.result(execution_id))["value"] == 5


async def test_close_leaves_no_task_and_no_timer(tap, new_id):
    async with stateroom.Session() as session:
        resonate = make_resonate(tap, env={})
        while tap._tick_handle is None:  # its own task
            await asyncio.sleep(0)
        before = asyncio.all_tasks()
        bridge = ResonateProtocolBridge(resonate, session)
        for _ in range(5):
            await bridge.expect(new_id(), timeout_s=1000)
        await bridge.close()
        assert asyncio.all_tasks() <= before
        await resonate.stop()
