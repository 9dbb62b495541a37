"""Cells that were sent to a worker that does not read: its main thread is in a task that blocks the loop."""

import asyncio

import pytest
from stage import Stage, cancelled, now, sent, turns

from stateroom import CancelOutcome, CheckpointError
from stateroom.protocol.cancel_page import MAX_WITHDRAWN
from stateroom.protocol.messages import CheckpointMessage
from stateroom.testing import virtual_time


async def send(stage, code, **how):
    """The task of a caller whose cell the worker was sent, and has not begun."""
    running = stage.run(code, **how)
    await stage.worker.until(lambda: code in sent(stage.worker))
    return running


async def is_as_before(stage):
    """The worker reads again: it goes on with the next cell, and with none that was withdrawn."""
    worked = await stage.works()
    return worked and stage.worker.cell.code == "once more" and len(stage.launcher.workers) == 1


@pytest.mark.parametrize("by_name", [True, False])
@virtual_time
async def test_a_cancel_withdraws_one_at_once(by_name):
    async with Stage() as stage:
        running = await send(stage, "first", execution_id="first")
        outcome = await stage.session.cancel("first" if by_name else None)
        result = await running
        assert outcome is CancelOutcome.CANCELLED
        assert (result.cancelled, result.error.message) == (True, "cancelled before it began")
        assert (now(), stage.session.state, stage.worker.cancels) == (0, "idle", [])
        assert await stage.session.cancel() is CancelOutcome.NOTHING_RUNNING
        assert await is_as_before(stage)


@virtual_time
async def test_a_time_limit_ends_one_and_not_the_worker():
    async with Stage() as stage:
        result = await stage.session.run("first", timeout=5, execution_id="first")
        assert (result.error.type, result.error.message) == (
            "TimeoutError",
            "first did not begin within 5 s",
        )
        assert now() == 5
        assert await is_as_before(stage)


@virtual_time
async def test_a_caller_that_leaves_withdraws_one():
    async with Stage() as stage:
        await cancelled(await send(stage, "first"))
        assert stage.session.state == "idle"
        assert await is_as_before(stage)


@virtual_time
async def test_a_consumer_that_leaves_withdraws_one():
    async with Stage() as stage:
        messages = stage.session.execute("first")
        reading = asyncio.ensure_future(anext(messages))
        await turns()
        await cancelled(reading)
        assert stage.session.state == "idle"
        assert await is_as_before(stage)


@virtual_time
async def test_a_checkpoint_is_withdrawn_like_a_cell():
    async with Stage() as stage:
        saving = asyncio.create_task(stage.session.checkpoint())
        await stage.worker.has_received(CheckpointMessage)
        assert await stage.session.cancel() is CancelOutcome.CANCELLED
        with pytest.raises(CheckpointError, match="cancelled before it began"):
            await saving
        assert await is_as_before(stage)


@virtual_time
async def test_what_was_sent_behind_one_is_next():
    async with Stage() as stage:
        first = await send(stage, "first")
        second, third = await send(stage, "second"), stage.run("third")
        await turns()
        assert await stage.session.cancel() is CancelOutcome.CANCELLED
        await turns()
        assert sent(stage.worker) == ["first", "second", "third"]
        assert stage.session.info.queued == 1
        for code in ("second", "third"):
            assert (await stage.worker.next_cell()).code == code
            stage.worker.cell.succeed(code)
        assert (await first).cancelled
        assert ((await second).value, (await third).value) == ("second", "third")
        assert await is_as_before(stage)


@virtual_time
async def test_all_that_were_sent_are_withdrawn_whichever_is_first():
    async with Stage() as stage:
        first, second = await send(stage, "first"), await send(stage, "second", execution_id="second")
        third = stage.run("third")
        assert await stage.session.cancel("second") is CancelOutcome.CANCELLED
        assert await stage.session.cancel() is CancelOutcome.CANCELLED
        assert (await first).cancelled
        assert (await second).cancelled
        assert (await stage.worker.next_cell()).code == "third"
        stage.worker.cell.succeed()
        assert (await third).ok
        assert await is_as_before(stage)


@virtual_time
async def test_a_worker_that_reads_nothing_for_long_ends_by_force_when_too_many_were_withdrawn():
    async with Stage() as stage:
        stage.worker.channel.hold()
        for _ in range(MAX_WITHDRAWN):
            assert "did not begin" in (await stage.session.run("", timeout=1)).error.message
        limited = stage.run("", timeout=1)
        await stage.worker.until(lambda: stage.worker.was_killed)
        (await stage.launcher.worker(2)).say_ready()
        assert "ended by force" in (await limited).error.message
        assert await stage.works()
        assert stage.session.info.restarts == 1


@virtual_time
async def test_the_next_worker_knows_nothing_of_what_was_withdrawn_from_the_last():
    async with Stage(auto_restart=True) as stage:
        await cancelled(await send(stage, "first"))
        second = await send(stage, "second")
        stage.worker.die()
        (await stage.launcher.worker(2)).say_ready()
        assert (await second).error.type == "WorkerDied"
        running, cell = await stage.begin()
        cell.fail(asyncio.CancelledError("of its own"), cancelled=True)
        assert (await running).error.message == "of its own"


@virtual_time
async def test_one_that_has_begun_is_asked():
    async with Stage() as stage:
        running, cell = await stage.begin()
        cancelling = asyncio.create_task(stage.session.cancel())
        await cell.cancelled()
        cell.fail(asyncio.CancelledError("asked"), cancelled=True)
        assert await cancelling is CancelOutcome.CANCELLED
        assert (await running).error.message == "asked"


@virtual_time
async def test_one_that_begins_while_the_session_closes_is_asked_until_it_hears():
    """A cancel that comes before the cell has begun does nothing; it is repeated until it counts."""
    stage = Stage(close_grace_s=50)
    async with stage:
        running = await send(stage, "first")
        closing = asyncio.create_task(stage.session.close())
        await stage.worker.until(lambda: len(stage.worker.cancels) >= 3)
        cell = await stage.worker.next_cell()
        await cell.cancelled()
        cell.fail(asyncio.CancelledError(), cancelled=True)
        await closing
        assert (await running).cancelled


@virtual_time
async def test_one_that_has_ended_although_its_reply_is_on_the_way_is_not_withdrawn():
    async with Stage() as stage:
        first, cell = await stage.begin("first")
        stage.worker.channel.hold()
        cell.succeed(1)
        cancelling = asyncio.create_task(stage.session.cancel())
        await turns()
        stage.worker.channel.release()
        assert await cancelling is CancelOutcome.IGNORED
        assert (await first).value == 1
