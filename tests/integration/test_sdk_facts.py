"""What resonate-sdk does that would harm, and that it does not get the chance here."""

from __future__ import annotations

import asyncio
import inspect
import json

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")

from tap import Tap

from stateroom.errors import DurableRejected
from stateroom.integration import resonate_functions
from stateroom.integration.durable_cells import DurableCells
from stateroom.integration.request import execution_request
from stateroom.integration.resonate_bridge import ResonateProtocolBridge, outcome_of
from stateroom.integration.resonate_functions import FUNCTION_NAME, DurableHost, register
from stateroom.integration.runtime import host_of, make_resonate
from stateroom.integration.sdk import EXTERNAL, Value, wait_settled

A_YEAR_MS = 365 * 86_400_000


class Recorder(Tap):
    """Keeps what was asked for, whole."""

    def __init__(self):
        super().__init__()
        self.asked = []

    async def send(self, req, headers=None):
        self.asked.append(json.loads(req))
        return await super().send(req, headers)

    def of(self, kind):
        return [asked["data"] for asked in self.asked if asked["kind"] == kind]


@pytest.fixture
async def recorder():
    return Recorder()


@pytest.fixture
async def resonate(recorder):
    resonate = make_resonate(recorder, env={})
    yield resonate
    await resonate.stop()


async def run(resonate, execution_id, **request):
    await resonate.run(execution_id, FUNCTION_NAME, request).id()
    return outcome_of(execution_request(execution_id), await wait_settled(resonate, execution_id))


def host(calls, error=None):
    async def execute(session, execution_id, code, **_):
        calls.append(code)
        if error is not None:
            raise error
        return {"code": code}

    return DurableHost(execute)


async def test_a_task_in_memory_has_no_lease_that_could_run_out(resonate, recorder):
    """Else a body that takes longer is run twice."""
    register(resonate, host([]))
    assert await run(resonate, "e", code="1") == {"code": "1"}
    (task,) = recorder.of("task.create")
    assert task["ttl"] > A_YEAR_MS


async def test_what_fails_unexpectedly_is_not_tried_again_by_the_sdk(resonate):
    calls = []
    register(resonate, host(calls, RuntimeError("a defect")))
    with pytest.raises(DurableRejected, match="a defect"):
        await run(resonate, "e", code="1")
    assert calls == ["1"]


@pytest.mark.parametrize("function", [resonate_functions.durable_execute, resonate_functions._execute])
def test_durable_functions_promise_no_type(function):
    """What is not of the annotated type would be delivered again for ever."""
    assert inspect.signature(function).return_annotation == "Any"


async def test_a_promise_that_the_store_times_out_is_noticed_soon(resonate, recorder):
    """Nobody tells of it; without looking often, who waits would wait for a minute."""
    await resonate.promises.create("p", 1, Value(), dict(EXTERNAL))
    await resonate.promises.create("q", 1 << 50, Value(), dict(EXTERNAL))
    waiting = asyncio.create_task(wait_settled(resonate, "q"))
    await recorder.answered("promise.register_listener", "q")
    recorder.state.promises["q"].state = "rejected_timedout"
    record = await asyncio.wait_for(waiting, 20)
    assert record.state == "rejected_timedout"
    assert (await wait_settled(resonate, "p")).state == "rejected_timedout"


async def test_more_executions_than_the_sdk_runs_at_once_get_their_turn(session, recorder):
    """Each that waits for the session, or for an answer, holds one of its permits."""
    resonate = make_resonate(recorder, env={}, max_concurrent_tasks=2)
    bridge = ResonateProtocolBridge(resonate, session)
    register(resonate, host_of(DurableCells(bridge)))
    asking = asyncio.create_task(run(resonate, "asks", code="input('? ')"))
    await recorder.answered("promise.create", "asks:input:1")
    others = [asyncio.create_task(run(resonate, f"e{number}", code=f"{number}")) for number in range(5)]
    await resonate.promises.resolve("asks:input:1", Value(data={"text": "yes"}))
    assert (await asking)["value"] == "yes"
    assert [(await other)["value"] for other in others] == list(range(5))
    await bridge.close()
    await resonate.stop()


async def test_nothing_that_waits_for_a_person_is_given_up_after_a_day(durable, tap, new_id):
    execution_id = new_id()
    running = asyncio.create_task(durable.run(execution_id, "input('? ')"))
    await tap.answered("promise.create", f"{execution_id}:input:1")
    promises = tap.state.promises
    now_ms = promises[execution_id].created_at
    assert all(promise.timeout_at - now_ms > A_YEAR_MS for promise in promises.values())
    await durable.resonate.promises.resolve(f"{execution_id}:input:1", Value(data={"text": "yes"}))
    assert (await running)["value"] == "yes"
