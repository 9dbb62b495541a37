"""A cancel of something that does not run, in every state of a session: a clear outcome, and nothing in the log."""

import asyncio
import logging

import pytest
import structlog.testing
from watching import begun

import stateroom
from stateroom import CancelOutcome

NOTHING = CancelOutcome.NOTHING_RUNNING
CANCELLED = CancelOutcome.CANCELLED


@pytest.fixture(autouse=True)
def nothing_in_the_log(caplog):
    with structlog.testing.capture_logs() as logs, caplog.at_level(logging.WARNING):
        yield
    unexpected = [each for each in logs if each["log_level"] not in {"debug", "info"}]
    assert {each["event"] for each in unexpected} <= {"worker_lost"}
    assert caplog.records == []


def never(_):
    return asyncio.Event().wait()


@pytest.fixture(params=[False, True], ids=["asked", "hard stop"])
def hard(request):
    return {"hard_stop": request.param}


async def test_of_an_unknown_and_of_a_finished_execution(session, hard):
    await session.run("1", execution_id="done")
    for name in (None, "unknown", "done", ""):
        assert await session.cancel(name, **hard) is NOTHING
    running = await begun(session, "print(1); input()", on_input=never)
    for name in ("unknown", "done", ""):
        assert await session.cancel(name, **hard) is NOTHING
    assert not running.done()
    assert await session.cancel(**hard) is CANCELLED
    assert (await running).cancelled
    assert (await session.run("2")).value == 2


async def test_of_a_queued_execution(session, hard):
    running = await begun(session, "print(1); input()", on_input=never)
    queued = [asyncio.create_task(session.run("touched = 1", execution_id=f"q{n}")) for n in range(3)]
    await asyncio.sleep(0)
    assert await session.cancel("q1", **hard) is CANCELLED
    assert await session.cancel("q1", **hard) is NOTHING
    assert (await queued[1]).cancelled
    assert [running.done(), queued[0].done(), queued[2].done()] == [False] * 3
    assert await session.cancel(**hard) is CANCELLED
    assert (await running).cancelled
    assert (await asyncio.gather(queued[0], queued[2]))[1].ok


async def test_twice_and_more_at_once(session, hard):
    running = await begun(session, "print(1); input()", on_input=never, execution_id="mine")
    names = [None, "mine", None, "unknown"]
    outcomes = await asyncio.gather(*(session.cancel(name, **hard) for name in names))
    assert outcomes == [CANCELLED, CANCELLED, CANCELLED, NOTHING]
    assert (await running).cancelled
    assert await session.cancel("mine", **hard) is NOTHING


async def test_before_during_and_after_the_life_of_a_session(hard):
    session = stateroom.Session()
    assert await session.cancel(**hard) is NOTHING
    starting = asyncio.create_task(session.start())
    await asyncio.sleep(0)
    assert await session.cancel(**hard) is NOTHING
    await starting
    closing = asyncio.create_task(session.close())
    await asyncio.sleep(0)
    assert await session.cancel(**hard) is NOTHING
    await closing
    assert await session.cancel(**hard) is NOTHING


async def test_of_a_cell_that_waits_for_the_start(hard):
    session = stateroom.Session()
    starting = asyncio.create_task(session.start())
    await asyncio.sleep(0)
    first, second = (asyncio.create_task(session.run("touched = 1", execution_id=name)) for name in "ab")
    await asyncio.sleep(0)
    assert await session.cancel("b", **hard) is CANCELLED
    assert await session.cancel(**hard) is CANCELLED
    assert [(await first).cancelled, (await second).cancelled] == [True, True]
    await starting
    assert (await session.run("touched")).error.type == "NameError"
    await session.close()


async def test_of_a_cell_that_waits_for_a_restart(session, hard):
    restarting = asyncio.create_task(session.restart())
    await asyncio.sleep(0)
    assert await session.cancel(**hard) is NOTHING
    waiting = asyncio.create_task(session.run("touched = 1"))
    await asyncio.sleep(0)
    assert await session.cancel(**hard) is CANCELLED
    assert (await waiting).cancelled
    await restarting
    assert (await session.run("touched")).error.type == "NameError"


async def test_while_the_restart_ends_the_cell(session, hard):
    running = await begun(session, "print(1); input()", on_input=never)
    cancelling = asyncio.create_task(session.cancel(**hard))
    restarting = asyncio.create_task(session.restart())
    result, outcome = await running, await cancelling
    await restarting
    if outcome is CANCELLED:
        assert result.cancelled
    else:
        assert (outcome, result.error.type) == (CancelOutcome.IGNORED, "WorkerDied")
    assert (await session.run("2")).value == 2


async def test_of_a_cell_that_the_close_ends_already(hard):
    session = stateroom.Session()
    await session.start()
    running = await begun(session, "print(1); input()", on_input=never)
    closing = asyncio.create_task(session.close())
    await asyncio.sleep(0)
    assert await session.cancel(**hard) is CANCELLED
    assert (await running).cancelled
    await closing


async def test_of_a_session_whose_worker_is_gone(hard):
    async with stateroom.Session() as session:
        session.on_worker_lost = lambda _: None
        await session.run("import os; os._exit(3)", execution_id="mine")
        assert await session.cancel(**hard) is NOTHING
        assert await session.cancel("mine", **hard) is NOTHING


async def test_close_while_starting():
    session = stateroom.Session()
    starting = asyncio.create_task(session.start())
    await asyncio.sleep(0)
    await session.close()
    with pytest.raises(stateroom.StateroomError):
        await starting
    assert session.info.state == "closed"
