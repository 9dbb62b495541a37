"""Checkpoints of scripted workers: what counts as saved, and who may give up waiting."""

import asyncio
import threading

import pytest
from stage import Stage, cancelled, turns

import stateroom
from stateroom import CancelOutcome
from stateroom.errors import CheckpointError, WorkerStartError
from stateroom.protocol.messages import (
    CheckpointChunkMessage,
    CheckpointedMessage,
    CheckpointMessage,
    ErrorInfo,
    ErrorMessage,
    RestoredMessage,
    RestoreMessage,
)
from stateroom.session.checkpoint_store import CheckpointFile
from stateroom.testing import CancelRequest, ScriptedLauncher, each_cell, virtual_time
from stateroom.testing.scripts import save_nothing


def now():
    return asyncio.get_running_loop().time()


def cells_since(stage):
    return stage.session.info.cells_since_checkpoint


async def run_cells(stage, count):
    for _ in range(count):
        assert await stage.works()


@virtual_time
async def test_cells_since_a_checkpoint_that_succeeded_are_counted_from_zero():
    async with Stage() as stage:
        await run_cells(stage, 2)
        assert cells_since(stage) == 2
        saving = asyncio.create_task(stage.session.checkpoint())
        save_nothing(stage.worker, await stage.worker.receive(CheckpointMessage))
        assert (await saving).names == []
        assert cells_since(stage) == 0


@pytest.mark.parametrize("how", ["not whole", "cannot be stored", "caller cancelled", "worker gone"])
@virtual_time
async def test_a_checkpoint_that_was_not_made_saved_no_cells(how, tmp_path):
    async with Stage(store=str(tmp_path)) as stage:
        await run_cells(stage, 2)
        saving = asyncio.create_task(stage.session.checkpoint())
        message = await stage.worker.receive(CheckpointMessage)
        if how == "not whole":
            chunk = CheckpointChunkMessage(execution_id=message.execution_id, number=message.number)
            stage.worker.channel.send(chunk, payload=b"no checkpoint")
            stage.worker.send(
                CheckpointedMessage(execution_id=message.execution_id, number=message.number, duration_s=0.0)
            )
        elif how == "cannot be stored":
            folder = tmp_path / "session"
            for path in folder.iterdir():
                path.unlink()
            save_nothing(stage.worker, message)
        elif how == "worker gone":
            stage.worker.exit(3)
        if how == "caller cancelled":
            await cancelled(saving)
            save_nothing(stage.worker, message)
            await turns()
        else:
            with pytest.raises(CheckpointError):
                await saving
        assert cells_since(stage) == 2
        stage.worker.exit(0)


@virtual_time
async def test_a_caller_that_gives_up_cancels_the_checkpoint_and_the_next_cell_runs():
    async with Stage() as stage:
        saving = asyncio.create_task(stage.session.checkpoint())
        message = await stage.worker.receive(CheckpointMessage)
        waiting = stage.run("1")
        await cancelled(saving)
        await stage.worker.until(lambda: stage.worker.cancels)
        assert stage.worker.cancels[0].number == message.number
        save_nothing(stage.worker, message)
        (await stage.worker.next_cell()).succeed(1)
        assert (await waiting).value == 1


@pytest.mark.parametrize("what", ["checkpoint", "restore"])
@virtual_time
async def test_what_no_request_ends_is_left_to_end_when_its_caller_gives_up(what):
    async with Stage(cancel_grace_s=3, insist_grace_s=1) as stage:
        saving = asyncio.create_task(stage.session.checkpoint())
        save_nothing(stage.worker, await stage.worker.receive(CheckpointMessage))
        saved = await saving
        if what == "checkpoint":
            going_on = asyncio.create_task(stage.session.checkpoint())
            message = await stage.worker.receive(CheckpointMessage)
        else:
            going_on = asyncio.create_task(stage.session.restore(saved))
            message = await stage.worker.receive(RestoreMessage)
        await cancelled(going_on)
        waiting = stage.run("1")
        await asyncio.sleep(1000)
        assert {request.attempt for request in stage.worker.cancels} == {1, 2}
        assert not stage.worker.was_killed
        if what == "checkpoint":
            save_nothing(stage.worker, message)
        else:
            stage.worker.send(RestoredMessage(execution_id=message.execution_id, number=message.number))
        (await stage.worker.next_cell()).succeed(1)
        assert (await waiting).value == 1
        assert stage.session.info.cancels.hard_stops == 0


@virtual_time
async def test_automatic_checkpoints_come_before_what_waits():
    order = []
    async with Stage(checkpoint_every_cells=1) as stage:
        first, cell = await stage.begin("first")
        second = stage.run("second")
        await turns()
        cell.succeed()
        for _ in range(2):
            message = await stage.worker.receive()
            while not hasattr(message, "execution_id"):
                message = await stage.worker.receive()
            order.append(type(message).__name__)
            if isinstance(message, CheckpointMessage):
                save_nothing(stage.worker, message)
        assert order == ["CheckpointMessage", "ExecuteMessage"]
        stage.worker.exit(0)
        await asyncio.gather(first, second)


@virtual_time
async def test_a_new_worker_gets_the_last_checkpoint_and_the_report_tells():
    async with Stage(each_cell(lambda _: None), auto_restart=True) as stage:
        await stage.session.run("")
        await stage.session.checkpoint()
        await stage.session.run("")
        stage.worker.exit(3)
        await turns()
        await stage.session.run("")
        recovery = stage.session.recovery
        assert (recovery.cells_since, recovery.error) == (1, None)
        assert recovery.reason.endswith("exited with status 3")


@virtual_time
async def test_a_recovery_that_fails_is_told_and_the_session_goes_on():
    async def script(worker):
        if worker.ordinal == 1:
            await each_cell(lambda _: None)(worker)
        worker.say_ready()
        message = await worker.receive()
        while not hasattr(message, "path"):
            message = await worker.receive()
        worker.exit(4)

    async with Stage(script) as stage:
        await stage.session.checkpoint()
        await stage.session.restart()
        assert "exited with status 4" in stage.session.recovery.error
        assert stage.session.state == "broken"


@pytest.mark.parametrize("stored", [True, False])
@virtual_time
async def test_a_checkpoint_that_has_come_is_made_although_its_caller_gives_up(stored, tmp_path, monkeypatch):
    committing, may_commit = threading.Event(), threading.Event()
    commit = CheckpointFile.commit

    def slow_commit(file):
        committing.set()
        assert may_commit.wait(30)
        return commit(file)

    async with Stage(
        each_cell(lambda _: None), store=str(tmp_path) if stored else None, store_keep=1
    ) as stage:
        first = await stage.session.checkpoint()
        monkeypatch.setattr(CheckpointFile, "commit", slow_commit)
        await stage.session.run("")
        saving = asyncio.create_task(stage.session.checkpoint())
        assert await asyncio.to_thread(committing.wait, 30)
        saving.cancel()
        await turns()
        may_commit.set()
        with pytest.raises(asyncio.CancelledError):
            await saving
        assert cells_since(stage) == 0
        assert stage.session._parts.keeper.last.path.exists()
        assert stage.session._parts.keeper.last is not first
        await stage.session.restart()
        assert (stage.session.recovery.cells_since, stage.session.recovery.error) == (0, None)


@virtual_time
async def test_a_cell_that_ends_its_worker_is_told_of_a_checkpoint_that_is_being_stored(monkeypatch):
    committing, may_commit = threading.Event(), threading.Event()
    commit = CheckpointFile.commit

    def slow_commit(file):
        committing.set()
        assert may_commit.wait(30)
        return commit(file)

    monkeypatch.setattr(CheckpointFile, "commit", slow_commit)
    crash = each_cell(lambda cell: cell.worker.exit(3) if cell.code == "crash" else None)
    async with Stage(crash, auto_restart=True) as stage:
        saving = asyncio.create_task(stage.session.checkpoint())
        assert await asyncio.to_thread(committing.wait, 30)
        await stage.session.run("")
        result = await stage.session.run("crash")
        may_commit.set()
        await saving
        assert result.error.message.endswith("comes back from the last checkpoint; 1 cell ended since")
        await stage.session.run("")
        assert (stage.session.recovery.cells_since, stage.session.recovery.error) == (1, None)


SLOW = {"cancel_grace_s": 3, "insist_grace_s": 1, "restore_timeout_s": 20}


@virtual_time
async def test_a_store_that_cannot_be_used_is_told_by_its_name(tmp_path):
    (tmp_path / "file").touch()
    session = stateroom.Session(store=str(tmp_path / "file"), launcher=ScriptedLauncher())
    with pytest.raises(CheckpointError, match=r"the store '.*file' cannot be used: .* give a folder"):
        await session.start()
    await session.close()


@virtual_time
async def test_a_restart_after_a_start_that_found_a_damaged_checkpoint_says_what_it_goes_without(tmp_path):
    async with Stage(each_cell(lambda _: None), store=str(tmp_path)) as stage:
        await stage.session.checkpoint()
    *older, newest = sorted(tmp_path.glob("session/*.checkpoint"))
    newest.write_bytes(newest.read_bytes()[:-1])
    session = stateroom.Session(launcher=ScriptedLauncher(each_cell(lambda _: None)), store=str(tmp_path))
    with pytest.raises(CheckpointError, match="cut short"):
        await session.start()
    await session.restart()
    assert "cut short" in session.recovery.error
    await session.close()
    assert sorted(tmp_path.glob("session/*.checkpoint")) == [*older, newest]


@virtual_time
async def test_the_options_of_a_restore_are_what_counts_as_true():
    async with Stage(each_cell(lambda _: None)) as stage:
        saved = await stage.session.checkpoint()
        async with asyncio.timeout(60):
            await stage.session.restore(saved, clear_existing=0, allow_other_python=1)
        sent = await stage.worker.has_received(RestoreMessage)
        assert (sent.clear_existing, sent.allow_other_python) == (False, True)


def hanging_restore(ends_at):
    """Workers that save nothing, whose restores end at that attempt to cancel them, and not by themselves."""

    async def script(worker):
        if worker.ordinal != 2:
            await each_cell(lambda _: 42)(worker)
        worker.say_ready()
        message = await worker.receive(RestoreMessage)
        await worker.until(lambda: CancelRequest(message.number, ends_at) in worker.cancels)
        error = ErrorInfo(type="CancelledError", message="")
        worker.send(
            ErrorMessage(
                execution_id=message.execution_id, number=message.number, error=error, cancelled=True
            )
        )
        (await worker.next_cell()).succeed(42)

    return script


async def attempts_of_its_restore(stage):
    """Make a worker whose restore hangs, and use it."""
    await stage.session.checkpoint()
    await stage.session.restart()
    assert stage.session.state == "idle"
    assert stage.session.recovery.error.endswith("did not end within restore_timeout_s (20 s)")
    assert (await stage.session.run("")).value == 42
    return sorted({request.attempt for request in stage.launcher.workers[1].cancels})


@pytest.mark.parametrize("ends_at", [1, 2])
@virtual_time
async def test_a_recovery_that_takes_too_long_is_ended_and_the_worker_goes_on_without(ends_at):
    async with Stage(hanging_restore(ends_at), **SLOW) as stage:
        assert await attempts_of_its_restore(stage) == [1, 2][:ends_at]
        assert now() == (20 if ends_at == 1 else 23)
        assert len(stage.launcher.workers) == 2
        stage.worker.exit(0)


@virtual_time
async def test_a_recovery_that_no_request_ends_is_ended_with_its_worker_and_not_tried_again():
    async with Stage(hanging_restore(ends_at=3), **SLOW) as stage:
        assert await attempts_of_its_restore(stage) == [1, 2]
        assert now() == 24
        assert stage.launcher.workers[1].was_killed
        assert len(stage.launcher.workers) == 3
        assert not [message for message in stage.worker.received if isinstance(message, RestoreMessage)]


@virtual_time
async def test_a_recovery_is_ended_in_time_although_who_started_it_is_gone():
    async with Stage(hanging_restore(ends_at=3), **SLOW) as stage:
        await stage.session.checkpoint()
        restarting = asyncio.create_task(stage.session.restart())
        await (await stage.launcher.worker(2)).has_received(RestoreMessage)
        await cancelled(restarting)
        assert (await stage.session.run("")).value == 42
        assert now() == 24


@virtual_time
async def test_a_start_whose_second_worker_does_not_start_either_says_so():
    async def script(worker):
        if worker.ordinal == 3:
            worker.exit(5)
        await hanging_restore(ends_at=3)(worker)

    async with Stage(script, **SLOW) as stage:
        await stage.session.checkpoint()
        with pytest.raises(WorkerStartError, match="exited with status 5"):
            await stage.session.restart()
        assert stage.session.state == "broken"


@virtual_time
async def test_only_a_hard_stop_without_a_name_means_a_recovery_if_nothing_else_is_there():
    async with Stage(hanging_restore(ends_at=3), **SLOW) as stage:
        await stage.session.checkpoint()
        restarting = asyncio.create_task(stage.session.restart())
        await (await stage.launcher.worker(2)).has_received(RestoreMessage)
        assert await stage.session.cancel() is CancelOutcome.NOTHING_RUNNING
        assert stage.worker.cancels == []
        assert await stage.session.cancel(hard_stop=True) is CancelOutcome.STOPPED
        await restarting
        assert stage.session.state == "idle"
        assert "cancelled" in stage.session.recovery.error.lower()
        assert (await stage.session.run("")).value == 42
        assert len(stage.launcher.workers) == 3


@virtual_time
async def test_a_cancel_without_a_name_means_the_cell_that_waits_rather_than_the_recovery():
    async with Stage(hanging_restore(ends_at=1), **SLOW) as stage:
        await stage.session.checkpoint()
        restarting = asyncio.create_task(stage.session.restart())
        await (await stage.launcher.worker(2)).has_received(RestoreMessage)
        waiting = stage.run("")
        await turns()
        assert await stage.session.cancel() is CancelOutcome.CANCELLED
        assert (await waiting).cancelled
        assert stage.worker.cancels == []
        await restarting
