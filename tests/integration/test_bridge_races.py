"""What happens at once: each order is brought about by holding a request up, never by waiting for time."""

from __future__ import annotations

import asyncio
import base64

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")

from resonate.error import ServerError
from resonate.types import Value

from stateroom.errors import DurableError, DurableRejected, StoreError
from stateroom.integration.request import Request, shutdown_error

ASK = "name = input('who? ')\nname"


async def test_a_result_that_comes_after_the_time_limit_is_late(session, bridge, tap, new_id):
    execution_id = new_id()
    await bridge.expect(execution_id, timeout_s=0)
    with pytest.raises(DurableRejected):
        await bridge.result(execution_id)
    await session.run("1", execution_id=execution_id)
    assert tap.state_of(f"exec:{execution_id}") == "rejected"
    assert (bridge.info()["late"], bridge.info()["resolved"]) == (1, 0)


async def test_a_result_that_comes_while_the_time_limit_rejects_changes_nothing(session, bridge, tap, new_id):
    execution_id = new_id()
    gate = tap.gate("promise.settle", f"exec:{execution_id}")
    await bridge.expect(execution_id, timeout_s=0)
    await gate.reached.wait()  # the rejection is on its way
    await session.run("1", execution_id=execution_id)
    assert await bridge.resolve(execution_id, {"ok": True}) is False
    gate.open()
    with pytest.raises(DurableRejected, match="within 0 s"):
        await bridge.result(execution_id)
    assert bridge.info()["late"] >= 1
    assert (bridge.info()["timed_out"], bridge.info()["resolved"]) == (1, 0)


async def test_the_time_limit_that_ends_while_the_result_settles_changes_nothing(bridge, tap, new_id):
    execution_id = new_id()
    request = Request(capability="execute", execution_id=execution_id, request_id=execution_id)
    await bridge.expect(execution_id, hold=True)
    gate = tap.gate("promise.settle", f"exec:{execution_id}")
    settling = asyncio.create_task(bridge.resolve(execution_id, {"ok": True}))
    await gate.reached.wait()
    assert await bridge.desk.reject(request, {"timeout": 0}) is False
    gate.open()
    assert await settling is True
    assert tap.state_of(f"exec:{execution_id}") == "resolved"
    assert (bridge.info()["late"], bridge.info()["rejected"]) == (1, 0)


async def test_the_second_answer_to_an_input_changes_nothing(session, bridge, tap, new_id):
    execution_id = new_id()
    await bridge.expect(execution_id)
    running = asyncio.create_task(session.run(ASK, execution_id=execution_id, on_input=bridge.answer_input))
    promise_id = f"{execution_id}:input:1"
    await tap.answered("promise.create", promise_id)
    (request,) = bridge.inputs.open
    first = await bridge.desk.resolve(request, {"text": "first"})
    second = await bridge.desk.resolve(request, {"text": "second"})
    assert (first, second) == (True, False)
    assert (await running).value == "first"
    assert bridge.info()["duplicate"] == 1


async def test_an_answer_from_elsewhere_wins_over_ours(session, bridge, tap, new_id):
    """Another process answers while our own answer is on its way."""
    execution_id = new_id()
    await bridge.expect(execution_id)
    promise_id = f"{execution_id}:input:1"
    gate = tap.gate("promise.settle", promise_id)

    async def also(_message):
        return "ours"

    running = asyncio.create_task(
        session.run(
            ASK, execution_id=execution_id, on_input=lambda message: bridge.answer_input(message, also=also)
        )
    )
    await gate.reached.wait()
    theirs = base64.b64encode(b'{"text": "theirs"}').decode()
    settle = {"kind": "promise.settle", "id": promise_id, "state": "resolved", "value": {"data": theirs}}
    tap.state.apply(1, settle)
    gate.open()
    assert (await running).value == "theirs"
    assert bridge.info()["duplicate"] == 1


async def test_an_input_answered_while_its_promise_is_made_is_seen(session, bridge, tap, new_id):
    """The answer is there before anybody has begun to wait for it."""
    execution_id = new_id()
    promise_id = f"{execution_id}:input:1"
    await bridge.expect(execution_id)
    gate = tap.gate("promise.register_listener", promise_id)
    running = asyncio.create_task(session.run(ASK, execution_id=execution_id, on_input=bridge.answer_input))
    await gate.reached.wait()
    await bridge.desk.resonate.promises.resolve(promise_id, Value(data={"text": "early"}))
    gate.open()
    assert (await running).value == "early"


async def test_close_while_a_promise_is_made_leaves_none_pending(bridge, tap, new_id):
    execution_id = new_id()
    gate = tap.gate("promise.create", f"exec:{execution_id}")
    expecting = asyncio.create_task(bridge.expect(execution_id))
    await gate.reached.wait()
    await bridge.close()
    gate.open()
    with pytest.raises(DurableError, match="closed"):
        await expecting
    assert tap.state_of(f"exec:{execution_id}") == "rejected"
    assert bridge.pending == 0


async def test_close_while_a_result_settles_keeps_the_result(bridge, tap, new_id):
    execution_id = new_id()
    await bridge.expect(execution_id, hold=True)
    gate = tap.gate("promise.settle", f"exec:{execution_id}")
    settling = asyncio.create_task(bridge.resolve(execution_id, {"ok": True}))
    await gate.reached.wait()
    closing = asyncio.create_task(bridge.close(reject=False))
    gate.open()
    assert await settling is True
    await closing
    assert tap.state_of(f"exec:{execution_id}") == "resolved"


async def test_a_store_that_fails_once_loses_nothing(bridge, tap, new_id):
    execution_id = new_id()
    await bridge.expect(execution_id, hold=True)
    tap.fail_once("promise.settle", f"exec:{execution_id}", ServerError(500, "not now"))
    with pytest.raises(StoreError, match="not now"):
        await bridge.resolve(execution_id, {"ok": True})
    assert bridge.pending == 1
    assert await bridge.resolve(execution_id, {"ok": True}) is True
    assert (await bridge.wait(execution_id)).state == "resolved"


async def test_one_store_failure_does_not_keep_close_from_ending(bridge, tap, new_id):
    ids = [new_id(), new_id()]
    for execution_id in ids:
        await bridge.expect(execution_id)
    tap.fail_once("promise.settle", f"exec:{ids[0]}", ServerError(500, "not now"))
    await bridge.close()
    assert bridge.pending == 0
    assert tap.state_of(f"exec:{ids[1]}") == "rejected"


def test_the_error_of_a_shutdown_says_whose_it_is():
    request = Request(capability="input", execution_id="e", request_id="2")
    error = shutdown_error(request)
    assert (error["error"], error["capability"], error["execution_id"], error["request_id"]) == (
        "shutdown",
        "input",
        "e",
        "2",
    )
