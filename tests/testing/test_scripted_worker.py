"""Scripted workers under real sessions: cells, inputs, cancels, deaths."""

import asyncio
import signal

import pytest

import stateroom
from stateroom.errors import WorkerStartError
from stateroom.protocol.messages import ConfigureMessage, ExecuteMessage, ShutdownMessage
from stateroom.testing import CancelRequest, ScriptedLauncher, each_cell, scripted_session, virtual_time


@virtual_time
async def test_what_a_function_returns_is_the_value():
    async with scripted_session(lambda cell: {"ran": cell.code}) as session:
        result = await session.run("x = 1")
    assert (result.value, result.ok) == ({"ran": "x = 1"}, True)


@virtual_time
async def test_none_is_no_value_and_what_is_not_plain_is_its_repr():
    values = iter([None, object])
    async with scripted_session(lambda _: next(values)) as session:
        nothing, odd = await session.run(""), await session.run("")
    assert (nothing.has_value, nothing.repr) == (False, None)
    assert (odd.has_value, odd.repr) == (False, "<class 'object'>")


@virtual_time
async def test_what_a_function_raises_is_the_error():
    def play(_):
        error = LookupError("no such thing")
        error.add_note("look elsewhere")
        raise error

    async with scripted_session(play) as session:
        error = (await session.run("")).error
    assert (error.type, error.message, error.notes) == ("LookupError", "no such thing", ["look elsewhere"])
    assert error.text == "LookupError: no such thing\nlook elsewhere\n"


@virtual_time
async def test_output_displays_and_input():
    async def play(cell):
        cell.print("out\n")
        cell.print("err\n", stream="stderr")
        cell.display({"text/html": "<b>x</b>"})
        return await cell.input("name? ")

    async with scripted_session(play) as session:
        result = await session.run("", on_input=lambda message: message.prompt + "Ada")
    assert (result.stdout, result.stderr, result.value) == ("out\n", "err\n", "name? Ada")
    assert [shown.mime for shown in result.displays] == [{"text/html": "<b>x</b>"}]


@virtual_time
async def test_input_that_nobody_answers_is_an_eof_error_with_the_reason():
    async with scripted_session(lambda cell: cell.input()) as session:
        result = await session.run("")
    assert (result.error.type, "no on_input" in result.error.message) == ("EOFError", True)


@virtual_time
async def test_a_cancel_cancels_the_coroutine():
    cleaned_up = []

    async def play(_):
        try:
            await asyncio.sleep(3600)
        finally:
            cleaned_up.append(True)

    async with scripted_session(play) as session:
        result = await session.run("", timeout=60)
    assert (result.error.type, result.cancelled, cleaned_up) == ("TimeoutError", True, [True])


@pytest.mark.parametrize("swallowed", [1, 2])
@virtual_time
async def test_cancels_that_are_ignored(swallowed):
    async def play(cell):
        cell.ignore_cancels(swallowed)
        await asyncio.sleep(3600)

    launcher = ScriptedLauncher(each_cell(play))
    async with stateroom.Session(launcher=launcher) as session:
        result = await session.run("", timeout=1)
        assert result.cancelled
        assert session.info.restarts == (swallowed == 2)
    assert {attempt for _, attempt in launcher.workers[0].cancels} == {1, 2}


@virtual_time
async def test_a_plain_function_may_end_the_cell_by_itself():
    async with scripted_session(
        lambda cell: cell.succeed(1, mode="blocking_sync", duration_s=0.5)
    ) as session:
        result = await session.run("")
    assert (result.value, result.mode, result.duration_s) == (1, "blocking_sync", 0.5)


@pytest.mark.parametrize(("how", "what"), [("exit", ("exit_status", 3)), ("die", ("signal", signal.SIGSEGV))])
@virtual_time
async def test_a_worker_that_ends_amid_a_cell(how, what):
    def play(cell):
        cell.print("so far")
        if how == "exit":
            cell.worker.exit(3, stderr="last words")
        else:
            cell.worker.die(signal.SIGSEGV)
        cell.print("never seen")

    async with scripted_session(play) as session:
        result = await session.run("")
    assert (result.error.type, getattr(result.error, what[0])) == ("WorkerDied", what[1])
    assert (result.stdout, result.stderr) == ("so far", "last words" if how == "exit" else "")


@virtual_time
async def test_checkpoints_are_empty_and_whole():
    async with scripted_session(lambda _: None) as session:
        saved = await session.checkpoint()
        assert (saved.names, (await session.restore(saved)).restored) == ([], [])


@virtual_time
async def test_each_worker_has_its_number_and_a_pid_of_no_process():
    async with scripted_session(lambda cell: cell.worker.ordinal) as session:
        first, pid = await session.run(""), session.pid
        await session.restart()
        second = await session.run("")
        assert (first.value, second.value) == (1, 2)
        assert session.pid != pid
        assert session.info.memory_bytes is None


@virtual_time
async def test_a_script_that_raises_is_a_worker_that_exits():
    async def script(_):
        raise LookupError("a slip in the script")

    session = stateroom.Session(launcher=ScriptedLauncher(script))
    with pytest.raises(WorkerStartError, match=r"(?s)exited with status 1.*a slip in the script"):
        await session.start()
    await session.close()


@virtual_time
async def test_without_a_script_the_test_plays_the_worker():
    launcher = ScriptedLauncher()
    session = stateroom.Session(launcher=launcher)
    starting = asyncio.create_task(session.start())
    worker = await launcher.worker()
    await worker.has_received(ConfigureMessage)
    worker.say_ready()
    await starting
    running = asyncio.create_task(session.run("1"))
    cell = await worker.next_cell()
    assert cell.message == await worker.has_received(ExecuteMessage)
    cancelling = asyncio.create_task(session.cancel())
    await cell.cancelled()
    assert worker.cancels == [CancelRequest(cell.message.number, 1)]
    cell.fail(asyncio.CancelledError(), cancelled=True)
    assert (await cancelling, (await running).cancelled) == ("cancelled", True)
    worker.obeys_shutdown = False
    closing = asyncio.create_task(session.close())
    await worker.receive(ShutdownMessage)
    worker.exit(7)
    await closing
    assert session.info.last_exit == f"worker {worker.pid} exited with status 7"


@virtual_time
async def test_a_worker_that_is_deaf_is_killed_after_the_grace():
    launcher = ScriptedLauncher(each_cell(lambda _: None))
    session = stateroom.Session(launcher=launcher, close_grace_s=100)
    await session.start()
    launcher.workers[0].obeys_shutdown = False
    await session.close()
    assert launcher.workers[0].was_killed
    assert asyncio.get_running_loop().time() == 100


def test_blocking_sessions_take_scripted_workers_too():
    with stateroom.open_session(launcher=ScriptedLauncher(each_cell(lambda _: 42))) as session:
        assert session.run("").value == 42
