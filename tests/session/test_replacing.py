"""Starts, restarts and closes that cross each other, and workers that take their time to end."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import structlog
from stage import Stage, cancelled, now, turns

import stateroom
from stateroom.errors import Busy, CheckpointError, SessionBroken, SessionClosed, WorkerStartError
from stateroom.protocol.messages import ConfigureMessage
from stateroom.testing import virtual_time


async def exits(worker):
    worker.exit(3)


@virtual_time
async def test_a_restart_that_was_cancelled_leaves_nothing_of_the_old_worker_to_the_next():
    async with Stage() as stage:
        old = stage.worker
        old.obeys_kill = False
        first, _ = await stage.begin("first")
        restarting = asyncio.create_task(stage.session.restart())
        await old.until(lambda: old.was_killed)
        await cancelled(restarting)
        assert stage.session.state == "broken"
        again = asyncio.create_task(stage.session.restart())
        await asyncio.sleep(1)
        assert stage.launcher.workers == [old]  # two workers never live at once
        old.die()
        assert (await first).error.type == "WorkerDied"
        (await stage.launcher.worker(2)).say_ready()
        await again
        assert await stage.works()


@virtual_time
async def test_a_start_that_was_cancelled_twice_leaves_nothing_of_its_worker_to_the_next():
    stage = Stage()
    starting = asyncio.create_task(stage.session.start())
    old = await stage.launcher.worker()
    old.obeys_kill = False
    await old.has_received(ConfigureMessage)
    starting.cancel()
    await old.until(lambda: old.was_killed)
    await cancelled(starting)
    assert stage.session.state == "broken"
    restarting = asyncio.create_task(stage.session.restart())
    await asyncio.sleep(1)
    assert stage.launcher.workers == [old]
    old.die()
    (await stage.launcher.worker(2)).say_ready()
    await restarting
    assert await stage.works()
    assert not old.channel.is_open
    await stage.session.close()


@virtual_time
async def test_cells_that_wait_are_told_when_a_restart_is_cancelled():
    async with Stage() as stage:
        stage.worker.obeys_kill = False
        running, _ = await stage.begin()
        waiting = stage.run("second")
        restarting = asyncio.create_task(stage.session.restart())
        await stage.worker.until(lambda: stage.worker.was_killed)
        await cancelled(restarting)
        result = await waiting
        assert (result.error.type, "restart was cancelled" in result.error.message) == ("SessionBroken", True)
        stage.worker.die()
        assert (await running).error.type == "WorkerDied"


@pytest.mark.parametrize("when", ["launching", "not ready", "taking the name"])
@virtual_time
async def test_a_close_during_the_start_waits_for_what_the_start_has_begun(when, tmp_path):
    launched, gate = asyncio.Event(), asyncio.Event()
    stage = Stage(store=str(tmp_path))

    async def launch(config, /):
        launched.set()
        await gate.wait()
        return await stage.launcher(config)

    session = stateroom.Session(launcher=launch, store=str(tmp_path))
    thread_gate = threading.Event()
    if when == "taking the name":
        pool = ThreadPoolExecutor(1)
        asyncio.get_running_loop().set_default_executor(pool)
        pool.submit(thread_gate.wait)
    starting = asyncio.create_task(session.start())
    if when == "taking the name":
        await turns()
    else:
        await launched.wait()
    if when == "not ready":
        gate.set()
        await (await stage.launcher.worker()).has_received(ConfigureMessage)
    closing = asyncio.create_task(session.close())
    await turns()
    gate.set()
    thread_gate.set()
    await closing
    with pytest.raises((SessionClosed, WorkerStartError)):
        await starting
    assert session.state == "closed"
    assert all(worker.returncode is not None for worker in stage.launcher.workers)
    async with Stage(store=str(tmp_path)) as next_stage:  # the name is free again
        assert next_stage.session.state == "idle"
        next_stage.worker.exit(0)


@virtual_time
async def test_a_start_that_was_cancelled_while_it_took_the_name_gives_it_back(tmp_path):
    pool, gate = ThreadPoolExecutor(1), threading.Event()
    asyncio.get_running_loop().set_default_executor(pool)
    pool.submit(gate.wait)
    stage = Stage(store=str(tmp_path))
    starting = asyncio.create_task(stage.session.start())
    await turns()
    await cancelled(starting)
    closing = asyncio.create_task(stage.session.close())
    await turns()
    gate.set()
    await closing
    async with Stage(store=str(tmp_path)) as next_stage:
        next_stage.worker.exit(0)


@virtual_time
async def test_async_with_gives_everything_back_if_the_start_fails(tmp_path):
    stage = Stage(exits, store=str(tmp_path))
    try:
        async with stage.session:
            pytest.fail("it started")
    except WorkerStartError:
        assert stage.session.state == "closed"
        async with Stage(store=str(tmp_path)) as next_stage:
            next_stage.worker.exit(0)


@virtual_time
async def test_async_with_leaves_a_session_alone_that_was_started_before():
    async with Stage() as stage:
        with pytest.raises(Busy, match="started already"):
            async with stage.session:
                pytest.fail("it started twice")
        assert await stage.works()


@virtual_time
async def test_a_start_that_fails_can_be_made_up_for_and_keeps_the_name_meanwhile(tmp_path):
    stage = Stage(store=str(tmp_path))
    starting = asyncio.create_task(stage.session.start())
    (await stage.launcher.worker()).exit(1, stderr="no luck")
    with pytest.raises(WorkerStartError, match="no luck"):
        await starting
    with pytest.raises(SessionBroken):
        await stage.session.run("1")
    with pytest.raises(CheckpointError, match="is open in this process"):
        await Stage(store=str(tmp_path)).session.start()
    await stage.next_worker(stage.session.restart())
    assert await stage.works()
    stage.worker.exit(0)
    await stage.session.close()


@virtual_time
async def test_cells_that_wait_for_a_start_go_to_the_worker_or_fail_with_it():
    for starts in (True, False):
        stage = Stage()
        starting = asyncio.create_task(stage.session.start())
        worker = await stage.launcher.worker()
        waiting = stage.run("1")
        await turns()
        if starts:
            worker.say_ready()
            (await worker.next_cell()).succeed(1)
            assert (await waiting).value == 1
        else:
            worker.exit(1)
            assert (await waiting).error.type == "SessionBroken"
        await asyncio.gather(starting, return_exceptions=True)
        await stage.session.close()


@virtual_time
async def test_a_close_takes_its_grace_once_and_other_closes_wait_for_it():
    stage = Stage(close_grace_s=5)
    async with stage:
        stage.worker.obeys_shutdown = False
        closes = [asyncio.create_task(stage.session.close()) for _ in range(3)]
        await turns()
        closes[0].cancel()
        await asyncio.gather(*closes[1:])
        assert (now(), stage.session.state) == (5, "closed")


@virtual_time
async def test_while_the_session_closes_it_takes_nothing_on():
    async with Stage(close_grace_s=5) as stage:
        stage.worker.obeys_shutdown = False
        closing = asyncio.create_task(stage.session.close())
        await turns()
        for call in (stage.session.run(""), stage.session.checkpoint(), stage.session.restart()):
            with pytest.raises(SessionClosed):
                await call
        await closing


@virtual_time
async def test_auto_restart_gives_up_after_workers_that_end_no_cell():
    async with Stage(auto_restart=True, max_restarts_in_a_row=2) as stage:
        for ordinal in (2, 3):
            stage.worker.exit(3)
            (await stage.launcher.worker(ordinal)).say_ready()
            while stage.session.state != "idle":
                await asyncio.sleep(1)
        stage.worker.exit(3)
        await turns()
        assert (stage.session.state, stage.session.info.restarts) == ("broken", 2)
        with pytest.raises(SessionBroken, match="exited with status 3"):
            await stage.session.run("")


@virtual_time
async def test_a_cell_that_ends_makes_up_for_the_restarts_before():
    async with Stage(auto_restart=True, max_restarts_in_a_row=1) as stage:
        for ordinal in (2, 3, 4):
            stage.worker.exit(3)
            (await stage.launcher.worker(ordinal)).say_ready()
            while stage.session.state != "idle":
                await asyncio.sleep(1)
            assert await stage.works()


@virtual_time
async def test_a_loss_is_logged_and_a_close_amid_the_restart_is_no_failure_of_it():
    with structlog.testing.capture_logs() as logs:
        async with Stage(auto_restart=True) as stage:
            (lost := stage.worker).exit(3)
            await stage.launcher.worker(2)
    assert [(entry["event"], entry.get("reason")) for entry in logs if entry["log_level"] != "debug"] == [
        ("worker_lost", f"worker {lost.pid} exited with status 3")
    ]


@virtual_time
async def test_an_end_that_fails_is_logged_and_another_worker_made(monkeypatch):
    def broken():
        raise OSError("broken on purpose")

    async with Stage() as stage:
        monkeypatch.setattr(stage.worker, "close", broken)
        with structlog.testing.capture_logs() as logs:
            await stage.next_worker(stage.session.restart())
        errors = [entry["event"] for entry in logs if entry["log_level"] == "error"]
        assert errors == ["background_task_failed"]
        assert await stage.works()
