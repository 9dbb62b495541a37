"""One cell at a time, in the order in which they came."""

import asyncio

import pytest
from stage import Stage, cancelled, now, sent, turns

from stateroom.errors import Busy, FrameTooLarge, SessionClosed
from stateroom.testing import each_cell, virtual_time


@virtual_time
async def test_cells_wait_their_turn_and_the_worker_has_the_running_one_and_the_next():
    async with Stage() as stage:
        tasks = [stage.run(str(number)) for number in range(5)]
        await turns()
        for number in range(5):
            cell = await stage.worker.next_cell()
            await turns()
            assert sent(stage.worker) == [str(n) for n in range(min(number + 2, 5))]
            assert stage.session.info.queued == 4 - number
            cell.succeed(number)
        assert [(await task).value for task in tasks] == list(range(5))
        assert stage.session.state == "idle"


@virtual_time
async def test_queue_false_is_refused_while_anything_else_has_the_worker():
    async with Stage() as stage:
        running, cell = await stage.begin(execution_id="first")
        with pytest.raises(Busy, match="first is running and queue=False"):
            await stage.session.run("", queue=False)
        with pytest.raises(Busy):
            await anext(stage.session.execute("", queue=False))
        cell.succeed()
        await running
        free = stage.run("free", queue=False)
        (await stage.worker.next_cell()).succeed(1)
        assert (await free).value == 1
        assert sent(stage.worker) == ["", "free"]


@virtual_time
async def test_queue_false_is_refused_while_the_session_starts_or_restarts():
    stage = Stage()
    starting = asyncio.create_task(stage.session.start())
    (await stage.launcher.worker()).obeys_kill = True
    with pytest.raises(Busy):
        await stage.session.run("", queue=False)
    stage.worker.say_ready()
    await starting
    restarting = asyncio.create_task(stage.session.restart())
    await turns()
    with pytest.raises(Busy):
        await stage.session.run("", queue=False)
    (await stage.launcher.worker(2)).say_ready()
    await restarting
    await stage.session.close()


@virtual_time
async def test_a_session_that_is_not_started_or_is_closed_takes_nothing():
    stage = Stage()
    with pytest.raises(SessionClosed, match="not started"):
        await stage.session.run("")
    async with stage:
        pass
    with pytest.raises(SessionClosed, match="closed"):
        await stage.session.run("")


@virtual_time
async def test_a_cell_that_cannot_be_sent_fails_alone():
    async with Stage(max_frame_bytes=10_000) as stage:
        with pytest.raises(FrameTooLarge):
            await stage.session.run("#" * 20_000)
        running, cell = await stage.begin()
        large, small = stage.run("#" * 20_000), stage.run("small")
        await turns()
        cell.succeed()
        assert (await large).error.type == "FrameTooLarge"
        (await stage.worker.next_cell()).succeed()
        assert (await small).ok
        assert (await running).ok


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"execution_id": 5}, TypeError),
        ({"execution_id": "\ud800"}, ValueError),
        ({"filename": 5}, TypeError),
        ({"filename": b"x"}, TypeError),
        ({"argv": [1]}, TypeError),
        ({"argv": "words"}, TypeError),
        ({"argv": {"a": "b"}}, TypeError),
        ({"on_input": 5}, TypeError),
    ],
    ids=ascii,
)
@virtual_time
async def test_what_a_worker_could_not_read_is_refused_at_the_call(how, error):
    async with Stage() as stage:
        with pytest.raises(error):
            async with asyncio.timeout(60):
                await stage.session.run("1", **how)
        assert await stage.works()


@virtual_time
async def test_two_cells_of_one_name_each_get_their_own_result():
    async with Stage() as stage:
        first, cell = await stage.begin("first", execution_id="same")
        second = stage.run("second", execution_id="same")
        await turns()
        cell.succeed(1)
        (await stage.worker.next_cell()).succeed(2)
        assert [(await task).value for task in (first, second)] == [1, 2]


@virtual_time
async def test_many_callers_some_of_whom_leave():
    async with Stage(each_cell(lambda cell: asyncio.sleep(1, cell.code))) as stage:
        tasks = [stage.run(str(number)) for number in range(50)]
        await turns()
        for task in tasks[1::2]:
            await cancelled(task)
        assert [(await task).value for task in tasks[::2]] == [str(n) for n in range(0, 50, 2)]
        assert [code for code in sent(stage.worker) if int(code) % 2] == ["1"]  # sent ahead, and withdrawn
        assert now() == 25
