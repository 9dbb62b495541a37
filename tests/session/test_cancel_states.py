"""A cancel in each state of its cell and of the session: what it comes to, and what the worker hears of it."""

import asyncio

import pytest
from stage import Stage, cancelled, end_cancelled, now, sent, turns

from stateroom import CancelOutcome
from stateroom.protocol.messages import ShutdownMessage
from stateroom.testing import virtual_time


@virtual_time
async def test_nothing_is_running():
    async with Stage() as stage:
        assert await stage.session.cancel() is CancelOutcome.NOTHING_RUNNING
        assert await stage.session.cancel("e99") is CancelOutcome.NOTHING_RUNNING
        running, cell = await stage.begin()
        cell.succeed()
        await running
        assert await stage.session.cancel(cell.execution_id) is CancelOutcome.NOTHING_RUNNING
        assert stage.worker.cancels == []


@pytest.mark.parametrize("by_name", [True, False])
@virtual_time
async def test_a_running_cell(by_name):
    async with Stage() as stage:
        running, cell = await stage.begin()
        cancelling = asyncio.create_task(stage.session.cancel(cell.execution_id if by_name else None))
        await cell.cancelled()
        end_cancelled(cell)
        assert await cancelling is CancelOutcome.CANCELLED
        assert (await running).cancelled
        assert await stage.works()


@virtual_time
async def test_a_cell_in_the_queue_never_reaches_the_worker():
    async with Stage() as stage:
        running, cell = await stage.begin("first")
        ahead, waiting = stage.run("second"), stage.run("third", execution_id="third")
        await turns()
        assert await stage.session.cancel("third") is CancelOutcome.CANCELLED
        result = await waiting
        assert (result.cancelled, result.error.message) == (True, "cancelled before it began")
        cell.succeed()
        (await stage.worker.next_cell()).succeed()
        assert (await running).ok
        assert (await ahead).ok
        assert sent(stage.worker) == ["first", "second"]
        assert stage.worker.cancels == []


@virtual_time
async def test_without_a_name_the_running_cell_is_meant_and_not_those_that_wait():
    async with Stage() as stage:
        running, cell = await stage.begin("first")
        waiting = stage.run("second")
        cancelling = asyncio.create_task(stage.session.cancel())
        await cell.cancelled()
        end_cancelled(cell)
        assert await cancelling is CancelOutcome.CANCELLED
        assert (await running).cancelled
        (await stage.worker.next_cell()).succeed()
        assert (await waiting).ok


@virtual_time
async def test_a_cell_that_waits_for_input():
    async with Stage() as stage:
        running, cell = await stage.begin(on_input=lambda _: asyncio.Event().wait())
        asking = asyncio.create_task(cell.input())
        await turns()
        cancelling = asyncio.create_task(stage.session.cancel())
        await cell.cancelled()
        end_cancelled(cell)
        assert await cancelling is CancelOutcome.CANCELLED
        assert (await running).cancelled
        with pytest.raises(EOFError, match="its cell was cancelled"):
            await asking


@virtual_time
async def test_while_the_session_starts_the_first_that_waits_is_meant():
    stage = Stage()
    starting = asyncio.create_task(stage.session.start())
    await stage.launcher.worker()
    first, second = stage.run("first"), stage.run("second")
    await turns()
    assert await stage.session.cancel() is CancelOutcome.CANCELLED
    assert (await first).cancelled
    stage.worker.say_ready()
    await starting
    (await stage.worker.next_cell()).succeed()
    assert (await second).ok
    await stage.session.close()


@virtual_time
async def test_while_the_session_restarts_the_first_that_waits_is_meant():
    async with Stage() as stage:
        restarting = asyncio.create_task(stage.session.restart())
        await turns()
        first, second = stage.run("first"), stage.run("second")
        worker = await stage.launcher.worker(2)
        assert await stage.session.cancel() is CancelOutcome.CANCELLED
        assert (await first).cancelled
        worker.say_ready()
        await restarting
        (await worker.next_cell()).succeed()
        assert (await second).ok


@virtual_time
async def test_a_cell_whose_worker_is_being_replaced_is_lost_and_not_cancelled():
    async with Stage() as stage:
        old = stage.worker
        old.obeys_kill = False
        running, _ = await stage.begin()
        restarting = asyncio.create_task(stage.session.restart())
        await old.until(lambda: old.was_killed)
        cancelling = asyncio.create_task(stage.session.cancel())
        await turns()
        old.die()
        assert await cancelling is CancelOutcome.IGNORED
        assert (await running).error.type == "WorkerDied"
        assert old.cancels == []
        (await stage.launcher.worker(2)).say_ready()
        await restarting


@virtual_time
async def test_close_asks_the_running_cell_and_takes_the_rest_out():
    stage = Stage(close_grace_s=50)
    async with stage:
        running, cell = await stage.begin()
        waiting = stage.run("second")
        await turns()
        closing = asyncio.create_task(stage.session.close())
        assert (await waiting).error.type == "SessionClosed"
        await cell.cancelled()
        end_cancelled(cell)
        await closing
        assert (await running).cancelled
        assert await stage.session.cancel() is CancelOutcome.NOTHING_RUNNING
    assert now() == 0


@virtual_time
async def test_a_hard_stop_while_the_session_closes_stops_nothing_by_itself():
    stage = Stage(close_grace_s=50)
    async with stage:
        running, cell = await stage.begin()
        closing = asyncio.create_task(stage.session.close())
        await cell.cancelled()
        assert await stage.session.cancel(hard_stop=True) is CancelOutcome.IGNORED
        assert stage.session.info.cancels.hard_stops == 0
        await closing
        assert (await running).error.type == "WorkerDied"
        assert len(stage.launcher.workers) == 1


@virtual_time
async def test_a_worker_that_goes_away_ends_the_cancel():
    async with Stage() as stage:
        running, cell = await stage.begin()
        cancelling = asyncio.create_task(stage.session.cancel(hard_stop=True))
        await cell.cancelled()
        stage.worker.exit(3)
        assert await cancelling is CancelOutcome.IGNORED
        assert (await running).error.exit_status == 3
        assert now() == 0


@virtual_time
async def test_a_cell_that_ends_by_itself_ends_the_cancel():
    async with Stage() as stage:
        running, cell = await stage.begin()
        cancelling = asyncio.create_task(stage.session.cancel(hard_stop=True))
        await cell.cancelled()
        cell.succeed("by itself")
        assert await cancelling is CancelOutcome.IGNORED
        assert (await running).value == "by itself"
        assert now() == 0


# Callers that go away


@virtual_time
async def test_a_cancelled_caller_cancels_its_cell_and_others_that_wait_for_it_hear_of_its_end():
    async with Stage() as stage:
        running, cell = await stage.begin()
        await cancelled(running)
        cancelling = asyncio.create_task(stage.session.cancel())
        await cell.cancelled(2)
        end_cancelled(cell)
        assert await cancelling is CancelOutcome.CANCELLED
        assert await stage.works()


@virtual_time
async def test_a_caller_that_is_cancelled_in_the_moment_of_the_result():
    async with Stage() as stage:
        running, cell = await stage.begin()
        cancelling = asyncio.create_task(stage.session.cancel(hard_stop=True))
        await cell.cancelled()
        cell.succeed()  # arrives in the next turn, before the caller's task has its own
        running.cancel()
        assert await cancelling is CancelOutcome.IGNORED
        assert now() == 0
        assert await stage.works()


@virtual_time
async def test_a_caller_that_is_cancelled_while_its_cell_waits_leaves_nothing_behind():
    async with Stage() as stage:
        running, cell = await stage.begin("first")
        ahead, waiting = stage.run("second"), stage.run("third")
        await turns()
        await cancelled(waiting)
        await cancelled(ahead)
        assert stage.session.info.queued == 0
        cell.succeed()
        await running
        assert await stage.works()
        assert stage.worker.cell.code == "once more"
        assert "third" not in sent(stage.worker)


@virtual_time
async def test_a_caller_that_is_cancelled_while_the_session_closes():
    stage = Stage(close_grace_s=50)
    async with stage:
        running, cell = await stage.begin()
        closing = asyncio.create_task(stage.session.close())
        await cell.cancelled()
        await cancelled(running)
        await cell.cancelled(2)
        end_cancelled(cell)
        await closing
        await stage.worker.has_received(ShutdownMessage)
    assert now() == 0
