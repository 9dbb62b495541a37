"""The next cell is sent while one runs: it begins at once, or does not begin at all."""

import asyncio

import pytest
from stage import Stage, cancelled, end_cancelled, now, sent, turns

from stateroom import CancelOutcome
from stateroom.protocol.messages import CheckpointMessage, ErrorInfo, ErrorMessage, ExecuteMessage
from stateroom.session.stream import HIGH_WATER_BYTES
from stateroom.testing import virtual_time


async def two_cells(stage):
    """One that runs, and one that the worker has got and not begun."""
    first, cell = await stage.begin("first")
    second = stage.run("second", execution_id="second")
    await turns()
    assert sent(stage.worker)[-2:] == ["first", "second"]
    return first, cell, second


@virtual_time
async def test_it_says_behind_which_cell_it_comes_and_no_more_than_one_does():
    async with Stage() as stage:
        first, _cell, second = await two_cells(stage)
        third = stage.run("third")
        await turns()
        assert sent(stage.worker) == ["first", "second"]
        messages = [message for message in stage.worker.received if isinstance(message, ExecuteMessage)]
        assert messages[1].after == messages[0].number
        assert stage.session.info.queued == 2
        for _ in range(3):
            stage.worker.cell.succeed()
            if stage.worker.cell.code != "third":
                await stage.worker.next_cell()
        assert [(await task).ok for task in (first, second, third)] == [True] * 3


@virtual_time
async def test_a_cancel_withdraws_it_at_once():
    async with Stage() as stage:
        first, cell, second = await two_cells(stage)
        assert await stage.session.cancel("second") is CancelOutcome.CANCELLED
        result = await second
        assert (result.cancelled, result.error.message) == (True, "cancelled before it began")
        assert await stage.session.cancel("second") is CancelOutcome.NOTHING_RUNNING
        third = stage.run("third")
        await turns()
        cell.succeed()
        assert (await stage.worker.next_cell()).code == "third"
        stage.worker.cell.succeed()
        assert (await first).ok
        assert (await third).ok
        assert stage.worker.cancels == []


@virtual_time
async def test_a_cancel_of_one_that_has_begun_although_the_session_has_not_heard_of_it():
    async with Stage() as stage:
        first, cell, second = await two_cells(stage)
        stage.worker.channel.hold()
        cell.succeed()
        begun = await stage.worker.next_cell()
        cancelling = asyncio.create_task(stage.session.cancel("second"))
        await turns()
        assert stage.worker.cancels == []  # while the first may still be asked to end
        stage.worker.channel.release()
        await begun.cancelled()
        end_cancelled(begun)
        assert await cancelling is CancelOutcome.CANCELLED
        assert (await first).ok
        assert (await second).cancelled
        assert await stage.works()


@virtual_time
async def test_a_cancel_does_not_wait_for_ever_for_a_reply_before_it():
    async with Stage(cancel_grace_s=5) as stage:
        _first, cell, second = await two_cells(stage)
        stage.worker.channel.hold()
        cell.succeed()
        begun = await stage.worker.next_cell()
        cancelling = asyncio.create_task(stage.session.cancel("second"))
        await begun.cancelled()
        assert now() == 5
        end_cancelled(begun)
        stage.worker.channel.release()
        assert await cancelling is CancelOutcome.CANCELLED
        assert (await second).cancelled


@virtual_time
async def test_a_time_limit_withdraws_it():
    async with Stage() as stage:
        first, cell = await stage.begin("first")
        second = stage.run("second", timeout=5, execution_id="second")
        result = await second
        assert (result.error.type, result.error.message) == (
            "TimeoutError",
            "second did not begin within 5 s",
        )
        cell.succeed()
        assert (await first).ok
        assert await stage.works()


@virtual_time
async def test_a_caller_that_leaves_withdraws_it():
    async with Stage() as stage:
        first, cell, second = await two_cells(stage)
        await cancelled(second)
        cell.succeed()
        assert (await first).ok
        assert await stage.works()
        assert stage.worker.cell.code == "once more"


@pytest.mark.parametrize("ends", ["restart", "death", "hard stop"])
@virtual_time
async def test_it_goes_to_the_next_worker_when_that_of_the_running_cell_ends(ends):
    async with Stage(auto_restart=True) as stage:
        first, cell, second = await two_cells(stage)
        third = stage.run("third")
        cell.ignore_cancels()
        if ends == "death":
            stage.worker.die()
        else:
            stop = stage.session.restart() if ends == "restart" else stage.session.cancel(hard_stop=True)
            stopping = asyncio.create_task(stop)
        (await stage.launcher.worker(2)).say_ready()
        for code in ("second", "third"):
            assert (await stage.worker.next_cell()).code == code
            stage.worker.cell.succeed(code)
        assert not (await first).ok
        assert ((await second).value, (await third).value) == ("second", "third")
        if ends != "death":
            await stopping


@virtual_time
async def test_it_is_lost_with_its_worker_once_the_cell_before_it_has_ended():
    async with Stage(auto_restart=True) as stage:
        first, cell, second = await two_cells(stage)
        third = stage.run("third")
        cell.succeed()
        await stage.worker.next_cell()
        assert (await first).ok
        stage.worker.die()
        assert (await second).error.type == "WorkerDied"
        (await stage.launcher.worker(2)).say_ready()
        assert (await stage.worker.next_cell()).code == "third"
        stage.worker.cell.succeed()
        assert (await third).ok


@virtual_time
async def test_close_withdraws_it():
    async with Stage() as stage:
        first, cell, second = await two_cells(stage)
        closing = asyncio.create_task(stage.session.close())
        result = await second
        assert (result.error.type, result.error.message) == (
            "SessionClosed",
            "the session was closed before this cell began",
        )
        await cell.cancelled()
        end_cancelled(cell)
        await closing
        assert (await first).cancelled


@pytest.mark.parametrize("setting", [{"checkpoint_every_cells": 1}, {"checkpoint_every_s": 5}], ids=str)
@virtual_time
async def test_none_is_sent_where_a_checkpoint_may_come_between(setting):
    async with Stage(**setting) as stage:
        first, cell = await stage.begin("first")
        second = stage.run("second")
        await turns()
        assert sent(stage.worker) == ["first"]
        await cancelled(second)
        cell.succeed()
        await first


@virtual_time
async def test_one_that_had_begun_is_lost_with_its_worker_though_the_reply_before_it_was_never_read():
    async with Stage(auto_restart=True) as stage:
        first, cell, second = await two_cells(stage)
        third = stage.run("third")
        old = stage.worker
        old.channel.hold()
        cell.succeed()
        assert (await old.next_cell()).code == "second"
        old.channel.cut()
        old.die()
        (await stage.launcher.worker(2)).say_ready()
        assert (await first).error.type == "WorkerDied"
        assert (await second).error.type == "WorkerDied"
        assert (await stage.worker.next_cell()).code == "third"
        stage.worker.cell.succeed()
        assert (await third).ok
        assert "second" not in sent(stage.worker)


@virtual_time
async def test_a_time_limit_holds_for_one_that_has_begun_behind_output_that_nobody_reads():
    async with Stage(max_outbox_bytes=1000) as stage:
        messages, reading, cell = await stage.begin_stream("first")
        second = stage.run("second", timeout=5, execution_id="second")
        await turns()
        for _ in range(3):
            cell.print("x" * HIGH_WATER_BYTES)
        cell.succeed()
        begun = await stage.worker.next_cell()
        await reading
        await stage.worker.until(lambda: stage.worker.channel.is_paused)
        await begun.cancelled()
        end_cancelled(begun)
        assert (await second).error.type == "TimeoutError"
        assert [type(message).__name__ async for message in messages][-1] == "ResultMessage"


@virtual_time
async def test_close_ends_one_that_has_begun_and_then_saves_the_state(tmp_path):
    stage = Stage(store=str(tmp_path), close_grace_s=50)
    async with stage:
        first, cell, second = await two_cells(stage)
        stage.worker.channel.hold()
        cell.succeed()
        begun = await stage.worker.next_cell()
        closing = asyncio.create_task(stage.session.close())
        await turns()
        stage.worker.channel.release()
        await begun.cancelled()
        end_cancelled(begun)
        job = await stage.worker.receive(CheckpointMessage)
        stage.worker.send(
            ErrorMessage(
                execution_id=job.execution_id, number=job.number, error=ErrorInfo(type="X", message="no")
            )
        )
        await closing
        assert (await first).ok
        assert (await second).cancelled


# An id may be used again, while its first execution is there


@virtual_time
async def test_of_two_of_the_same_id_the_one_that_runs_is_cancelled_first():
    async with Stage() as stage:
        first, cell = await stage.begin("first", execution_id="a")
        second = stage.run("second", execution_id="a")
        await turns()
        cancelling = asyncio.create_task(stage.session.cancel("a"))
        await cell.cancelled()
        cell.fail(asyncio.CancelledError(), cancelled=True)
        assert await cancelling is CancelOutcome.CANCELLED
        assert (await first).cancelled
        assert (await stage.worker.next_cell()).code == "second"
        stage.worker.cell.succeed()
        assert (await second).ok


@virtual_time
async def test_of_two_of_the_same_id_each_gets_its_own_reply_though_one_was_withdrawn():
    async with Stage() as stage:
        first, cell = await stage.begin("first", execution_id="a")
        second = stage.run("second", execution_id="a")
        await turns()
        await cancelled(second)
        cell.fail(asyncio.CancelledError("of the first"), cancelled=True)
        result = await first
        assert (result.cancelled, result.error.message) == (True, "of the first")
        assert await stage.works()


@virtual_time
async def test_of_three_of_the_same_id_the_replies_are_not_mistaken():
    async with Stage() as stage:
        first, cell = await stage.begin("first", execution_id="a")
        second = stage.run("second", execution_id="a")
        await turns()
        await cancelled(second)
        third = stage.run("third", execution_id="a")
        await turns()
        cell.succeed(1)
        assert (await first).value == 1
        assert (await stage.worker.next_cell()).code == "third"
        stage.worker.cell.succeed(3)
        assert (await third).value == 3
