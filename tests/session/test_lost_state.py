"""A state in a store that does not come back: the session does not start without it, nor is it deleted."""

import asyncio

import pytest
from stage import Stage, turns

from stateroom.errors import CheckpointError, SessionBroken
from stateroom.protocol.messages import (
    CheckpointMessage,
    ErrorInfo,
    ErrorMessage,
    ExecuteMessage,
    RestoredMessage,
    RestoreMessage,
)
from stateroom.session.checkpoint import Checkpoint
from stateroom.session.checkpoint_store import CheckpointStore
from stateroom.testing import each_cell, virtual_time
from stateroom.testing.cell import ScriptedCell
from stateroom.testing.scripts import save_nothing

OTHER_PYTHON = "written by cpython 3.12, and this is cpython 3.11"


def refuse(worker, message):
    error = ErrorInfo(type="CheckpointError", message=OTHER_PYTHON)
    worker.send(ErrorMessage(execution_id=message.execution_id, number=message.number, error=error))


def lose_a_name(worker, message):
    reply = RestoredMessage(execution_id=message.execution_id, number=message.number)
    reply.failed = {"table": "ModuleNotFoundError: No module named 'numpy'"}
    worker.send(reply)


def restore_all(worker, message):
    worker.send(RestoredMessage(execution_id=message.execution_id, number=message.number))


def fall_silent(worker, message):
    """It does not end, whoever asks."""


def die(worker, message):
    worker.exit(4)


def restoring(*answers):
    """Workers whose restores are answered so, in turn, and the last way for ever; cells do nothing."""
    left = list(answers)

    async def script(worker):
        worker.say_ready()
        while True:
            message = await worker.receive()
            if isinstance(message, ExecuteMessage):
                worker.cell = ScriptedCell(worker, message)
                await worker.cell.play(lambda _: None)
            elif isinstance(message, CheckpointMessage):
                save_nothing(worker, message)
            elif isinstance(message, RestoreMessage):
                (left.pop(0) if len(left) > 1 else left[0])(worker, message)

    return script


async def save_state(folder):
    """Generation 1 of what the session "work" will find; the settings to open it with."""
    settings = {"store": str(folder), "name": "work"}
    async with Stage(each_cell(lambda _: None), **settings) as stage:
        await stage.session.run("")
    return settings


def kept(folder):
    store = CheckpointStore(folder)
    return store.generations("work"), store.kept_back("work")


def ran(stage):
    return [m for worker in stage.launcher.workers for m in worker.received if isinstance(m, ExecuteMessage)]


WAYS = {"other python": refuse, "silent": fall_silent, "worker gone": die}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("auto_restart", [False, True])
@virtual_time
async def test_a_session_does_not_start_without_its_state(way, auto_restart, tmp_path):
    settings = await save_state(tmp_path)
    stage = Stage(
        restoring(way), **settings, restore_timeout_s=5, auto_restart=auto_restart, checkpoint_every_cells=1
    )
    starting = asyncio.create_task(stage.session.start())
    await turns()
    waiting = stage.run("early")
    with pytest.raises(CheckpointError) as caught:
        await starting
    path = str(tmp_path / "work" / "0000000001.checkpoint")
    said = str(caught.value)
    assert path in said
    assert "stays as it is" in said
    reason = {refuse: OTHER_PYTHON, fall_silent: "restore_timeout_s (5 s)", die: "exited with status 4"}[way]
    assert reason in said
    assert ("set a longer restore_timeout_s" in said) == (way is fall_silent)
    with pytest.raises(SessionBroken, match="did not come back"):
        await stage.session.run("late")
    assert (await waiting).error.type == "SessionBroken"
    await asyncio.sleep(100)
    assert stage.session.state == "broken"
    await stage.session.close()
    assert ran(stage) == []
    assert kept(tmp_path) == ((1,), (1,))
    assert all(worker.returncode is not None for worker in stage.launcher.workers)


@virtual_time
async def test_a_session_that_did_not_start_names_what_else_is_kept(tmp_path):
    await save_state(tmp_path)
    settings = await save_state(tmp_path)
    stage = Stage(restoring(refuse), **settings)
    with pytest.raises(
        CheckpointError, match=r"generations \(1,\) are kept as well: .*bring_back\('work', 1\)"
    ):
        await stage.session.start()
    await stage.session.close()
    CheckpointStore(tmp_path).bring_back("work", 1)
    async with Stage(restoring(restore_all), **settings) as stage:
        assert stage.session.recovery.error is None
    assert kept(tmp_path) == ((2, 3, 4), (2,)), "it still has not come back"


@virtual_time
async def test_cells_that_came_early_run_when_the_state_is_there(tmp_path):
    settings = await save_state(tmp_path)
    stage = Stage(restoring(fall_silent), **settings)
    starting = asyncio.create_task(stage.session.start())
    worker = await stage.launcher.worker()
    restore = await worker.has_received(RestoreMessage)
    waiting = stage.run("early")
    await asyncio.sleep(1)
    assert ran(stage) == []
    restore_all(worker, restore)
    await starting
    assert (await waiting).ok
    await stage.session.close()


@virtual_time
async def test_a_start_that_nobody_waits_for_any_more_goes_without_no_state_either(tmp_path):
    settings = await save_state(tmp_path)
    stage = Stage(restoring(fall_silent), **settings, restore_timeout_s=5)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stage.session.start(), 1)
    waiting = stage.run("early")
    assert (await waiting).error.type == "SessionBroken"
    assert stage.session.state == "broken"
    await stage.session.close()
    assert ran(stage) == []


@virtual_time
async def test_who_restarts_after_that_goes_on_without_and_the_state_is_kept_for_ever(tmp_path):
    settings = await save_state(tmp_path)
    for _ in range(6):
        stage = Stage(restoring(refuse), **settings, store_keep=1)
        if kept(tmp_path)[0] == (1,):
            with pytest.raises(CheckpointError):
                await stage.session.start()
            await stage.session.restart()
            assert OTHER_PYTHON in stage.session.recovery.error
        else:
            stage = await Stage(restoring(restore_all), **settings, store_keep=1).__aenter__()
        await stage.session.run("")
        await stage.session.close()
    assert kept(tmp_path) == ((1, 7), (1,))


@virtual_time
async def test_a_restart_and_a_close_in_the_middle_of_the_opening_are_what_they_were(tmp_path):
    settings = await save_state(tmp_path)
    stage = Stage(restoring(fall_silent, restore_all), **settings)
    starting = asyncio.create_task(stage.session.start())
    await (await stage.launcher.worker()).has_received(RestoreMessage)
    waiting = stage.run("early")
    await stage.session.restart()
    await starting
    assert (await waiting).ok
    assert stage.session.recovery.error is None
    await stage.session.close()
    closed = Stage(restoring(fall_silent), **settings)
    starting = asyncio.create_task(closed.session.start())
    await (await closed.launcher.worker()).has_received(RestoreMessage)
    await closed.session.close()
    await starting
    assert kept(tmp_path) == ((1, 2), ())


@virtual_time
async def test_a_generation_of_which_a_name_was_lost_is_not_deleted_until_it_is_restored_in_whole(tmp_path):
    settings = await save_state(tmp_path) | {"store_keep": 1}
    async with Stage(restoring(lose_a_name), **settings) as stage:
        assert list(stage.session.recovery.lost) == ["table"]
    assert kept(tmp_path) == ((1,), ()), "nothing ran: there is nothing to save"
    async with Stage(restoring(lose_a_name), **settings) as stage:
        await stage.session.run("")
    assert kept(tmp_path) == ((1, 2), (1,))
    assert "table: ModuleNotFoundError" in (tmp_path / "work" / "0000000001.kept").read_text()
    for _ in range(3):
        async with Stage(restoring(restore_all), **settings) as stage:
            await stage.session.run("")
    assert kept(tmp_path) == ((1, 5), (1,))
    async with Stage(restoring(restore_all), **settings) as stage:
        await stage.session.restore(Checkpoint.load(tmp_path / "work" / "0000000001.checkpoint"))
    assert kept(tmp_path)[1] == ()


@virtual_time
async def test_a_state_that_was_brought_back_by_hand_is_saved_though_no_cell_ran(tmp_path):
    settings = await save_state(tmp_path)
    async with Stage(restoring(lose_a_name, restore_all), **settings) as stage:
        await stage.session.restore(Checkpoint.load(tmp_path / "work" / "0000000001.checkpoint"))
    assert kept(tmp_path) == ((1, 2), ())


@pytest.mark.parametrize("way", [refuse, lose_a_name])
@virtual_time
async def test_what_a_restart_loses_is_not_deleted_for_automatic_checkpoints(way, tmp_path):
    settings = await save_state(tmp_path)
    script = restoring(restore_all, way)
    async with Stage(script, **settings, store_keep=1, checkpoint_every_cells=1, auto_restart=True) as stage:
        await stage.session.run("")
        await stage.session.checkpoint()
        lost = CheckpointStore(tmp_path).generations("work")
        stage.worker.exit(3)
        await turns()
        for _ in range(4):
            await stage.session.run("")
            await stage.session.checkpoint()
    assert kept(tmp_path)[1] == lost
    assert set(lost) < set(kept(tmp_path)[0])


@virtual_time
async def test_a_damaged_file_is_not_deleted_by_who_goes_on_without_it(tmp_path):
    settings = await save_state(tmp_path)
    path = tmp_path / "work" / "0000000001.checkpoint"
    path.write_bytes(path.read_bytes()[:-1])
    stage = Stage(restoring(restore_all), **settings, store_keep=1)
    with pytest.raises(CheckpointError, match="cut short"):
        await stage.session.start()
    await stage.session.restart()
    for _ in range(3):
        await stage.session.run("")
        await stage.session.checkpoint()
    await stage.session.close()
    assert kept(tmp_path)[1] == (1,)


@virtual_time
async def test_a_damaged_file_outlives_another_one_that_is_brought_back(tmp_path):
    await save_state(tmp_path)
    settings = await save_state(tmp_path) | {"store_keep": 1}
    path = tmp_path / "work" / "0000000002.checkpoint"
    path.write_bytes(path.read_bytes()[:-1])
    stage = Stage(restoring(restore_all), **settings)
    with pytest.raises(CheckpointError, match="cut short"):
        await stage.session.start()
    await stage.session.close()
    CheckpointStore(tmp_path).bring_back("work", 1)
    async with Stage(restoring(restore_all), **settings):
        pass
    assert kept(tmp_path) == ((2, 4), (2,))


@virtual_time
async def test_a_store_that_cannot_be_written_does_not_hide_why_the_state_did_not_come(tmp_path, monkeypatch):
    settings = await save_state(tmp_path)
    monkeypatch.setattr(CheckpointStore, "keep_back", _disk_full)
    stage = Stage(restoring(refuse), **settings)
    with pytest.raises(CheckpointError, match=OTHER_PYTHON):
        await stage.session.start()
    await stage.session.close()


@virtual_time
async def test_a_mark_that_cannot_be_written_keeps_the_checkpoint_from_being_made(tmp_path, monkeypatch):
    settings = await save_state(tmp_path)
    async with Stage(restoring(lose_a_name), **settings, store_keep=1) as stage:
        await stage.session.run("")
        with monkeypatch.context() as patch:
            patch.setattr(CheckpointStore, "keep_back", _disk_full)
            with pytest.raises(CheckpointError, match="disk full"):
                await stage.session.checkpoint()
        assert kept(tmp_path) == ((1,), ())
        await stage.session.checkpoint()
        assert kept(tmp_path) == ((1, 2), (1,))


def _disk_full(*_):
    raise OSError("disk full")


@pytest.mark.parametrize("wanted", [True, False])
@virtual_time
async def test_the_setting_for_another_python_goes_with_the_recovery(wanted, tmp_path):
    settings = await save_state(tmp_path)
    async with Stage(restoring(restore_all), **settings, allow_other_python=wanted) as stage:
        sent = await stage.worker.has_received(RestoreMessage)
        assert sent.allow_other_python is wanted
