"""What a session is asked for at an awkward moment, and callbacks that fail."""

import asyncio

import pytest
from watching import begun

import stateroom
from stateroom.errors import CheckpointError


@pytest.fixture
async def session():
    async with stateroom.Session(cancel_grace_s=0.3, insist_grace_s=0.3) as session:
        yield session


async def test_restart_with_a_checkpoint_in_the_queue(session):
    running = await begun(session, "print(1)\nwhile True: pass")
    saving = asyncio.create_task(session.checkpoint())
    await asyncio.sleep(0)
    await session.restart()
    assert (await running).error.type == "WorkerDied"
    assert (await saving).names == []
    assert (await session.run("1")).value == 1


async def test_cancelled_checkpoint_keeps_worker_and_namespace(session):
    await session.run("big = bytes(100_000_000)")
    saving = asyncio.create_task(session.checkpoint())
    await asyncio.sleep(0)
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert (await session.run("len(big)")).value == 100_000_000


@pytest.mark.parametrize("callback", ["on_output", "on_late_output"])
async def test_a_callback_that_raises_harms_nobody(session, callback):
    def broken(_message):
        raise OSError("broken on purpose")

    session.on_late_output = broken
    how = {"on_output": broken} if callback == "on_output" else {}
    result = await session.run(
        "import threading\nthreading.Thread(target=print, args=['x']).start()\nprint('y')", **how
    )
    assert result.ok
    assert (await session.run("1")).value == 1


async def test_close_by_two_while_a_cell_runs_and_more_come():
    session = stateroom.Session(close_grace_s=0.5)
    await session.start()
    running = await begun(session, "print(1)\nwhile True: pass")
    closing = [asyncio.create_task(session.close()) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(stateroom.SessionClosed):
        await session.run("1")
    await asyncio.gather(*closing)
    assert (await running).cancelled
    assert session.info.state == "closed"
    for method in (session.start, session.restart):
        with pytest.raises(stateroom.SessionClosed):
            await method()


async def test_close_with_a_store_that_has_gone_ends_the_worker(tmp_path):
    store = tmp_path / "store"
    session = stateroom.Session(store=str(store), name="work")
    await session.start()
    await session.run("x = 1")
    (store / "work").rmdir() if (store / "work").exists() else None
    (store / "work").write_text("in the way")
    await session.close()
    assert session.info.state == "closed"


async def test_a_restart_takes_no_name_that_another_has(tmp_path):
    async with stateroom.Session(store=str(tmp_path), name="work"):
        second = stateroom.Session(store=str(tmp_path), name="work")
        with pytest.raises(CheckpointError, match="is open"):
            await second.start()
        with pytest.raises(CheckpointError, match="is open"):
            await second.restart()
        await second.close()


@pytest.mark.parametrize(
    "code",
    ["raise SystemExit(2**70)", "raise SystemExit(-1)", "class E(Exception): pass\nraise E('x' * 10**7)"],
)
async def test_errors_that_are_hard_to_send(session, code):
    assert (await session.run(code)).error.type in {"SystemExit", "E"}
    assert (await session.run("1")).value == 1


async def test_cells_go_on_while_a_background_task_holds_the_loop(session):
    code = "import asyncio, threading, time\ngo = threading.Event()\nasync def hold(): go.wait()\n"
    await session.run(code + "asyncio.create_task(hold())\ntime.sleep(0.05)")
    running = asyncio.create_task(session.run("1"))
    await asyncio.sleep(0)
    outcome = await session.cancel()
    result = await running
    assert (outcome, result.cancelled) == (stateroom.CancelOutcome.CANCELLED, True)
    await session.cancel(hard_stop=True)


@pytest.mark.parametrize(
    "code", ["import os; os.close(1)", "import os; os.dup2(os.open('/dev/null', os.O_WRONLY), 1)"]
)
async def test_closed_descriptors_leave_python_output_alone(session, code):
    await session.run(code)
    assert (await session.run("print('still here')")).stdout == "still here\n"


async def test_automatic_checkpoints_leave_one_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with stateroom.Session(checkpoint_every_cells=1) as session:
        for index in range(6):
            await session.run(f"x = {index}")
        await session.checkpoint()
        assert len(list(tmp_path.rglob("*.checkpoint"))) == 1
    assert not list(tmp_path.rglob("*.checkpoint"))


@pytest.mark.parametrize("arguments", [{"code": b"1"}, {"code": None}, {"code": "1", "argv": [1]}])
async def test_arguments_of_the_wrong_type_are_refused_at_the_call(session, arguments):
    with pytest.raises(TypeError):
        await session.run(**arguments)
    with pytest.raises(CheckpointError, match="no Checkpoint"):
        await session.restore(object())
    assert (await session.run("1")).value == 1


async def test_death_is_an_error_that_can_be_imported(session):
    result = await session.run("import os; os._exit(3)")
    assert result.error.text.startswith("stateroom.errors.WorkerDied: ")
    assert issubclass(stateroom.errors.WorkerDied, stateroom.SessionBroken)


def test_blocking_session_out_of_its_life():
    session = stateroom.open_session()
    with pytest.raises(stateroom.SessionClosed, match="not started"):
        session.run("1")
    session.close()
    session = stateroom.open_session()
    with session:
        assert session.restore(session.checkpoint()).restored == []
        with pytest.raises(stateroom.SessionClosed):
            session.start()
    with pytest.raises(stateroom.SessionClosed, match="closed"):
        session.run("1")
    session.close()
