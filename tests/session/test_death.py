"""A worker that ends, at each point of its life, and what everybody hears of it."""

import asyncio
import itertools
import signal

import pytest
from stage import Stage, now, turns

import stateroom
from stateroom.errors import CheckpointError, SessionBroken, WorkerStartError
from stateroom.protocol.messages import (
    CheckpointMessage,
    ConfigureMessage,
    ExecuteMessage,
    InputMessage,
    OutputMessage,
    ResultMessage,
)
from stateroom.testing import virtual_time

ENDS = [("exit", 3), ("exit", 0), ("die", signal.SIGKILL), ("die", signal.SIGSEGV)]


def end(worker, how, number):
    getattr(worker, how)(number)


def fits(error, how, number):
    return (error.exit_status, error.signal) == ((number, None) if how == "exit" else (None, number))


@pytest.mark.parametrize(("how", "number"), ENDS)
@virtual_time
async def test_before_ready(how, number):
    stage = Stage()
    starting = asyncio.create_task(stage.session.start())
    worker = await stage.launcher.worker()
    await worker.has_received(ConfigureMessage)
    end(worker, how, number)
    with pytest.raises(WorkerStartError, match="before it was ready"):
        await starting
    assert stage.session.state == "broken"
    await stage.session.close()


@virtual_time
async def test_in_the_moment_it_was_ready():
    stage = Stage()
    starting = asyncio.create_task(stage.session.start())
    worker = await stage.launcher.worker()
    worker.say_ready()
    worker.exit(3)
    with pytest.raises(WorkerStartError, match="exited with status 3"):
        await starting
    assert stage.session.state == "broken"
    await stage.session.close()


@virtual_time
async def test_between_cells():
    lost = []
    async with Stage() as stage:
        stage.session.on_worker_lost = lost.append
        assert await stage.works()
        stage.worker.exit(3)
        await turns()
        assert [report.exit_status for report in lost] == [3]
        assert stage.session.state == "broken"
        assert stage.session.pid is None
        with pytest.raises(SessionBroken, match=r"exited with status 3; call restart"):
            await stage.session.run("1")
        await stage.next_worker(stage.session.restart())
        assert await stage.works()
        assert len(lost) == 1


@pytest.mark.parametrize(("how", "number"), ENDS)
@pytest.mark.parametrize("point", ["sent", "running", "amid output", "waiting for input", "being cancelled"])
@virtual_time
async def test_while_a_cell_runs(point, how, number):
    async with Stage() as stage:
        running = stage.run("", on_input=lambda _: asyncio.Event().wait())
        await stage.worker.has_received(ExecuteMessage)
        if point != "sent":
            cell = await stage.worker.next_cell()
        if point == "amid output":
            cell.print("so far\n")
        elif point == "waiting for input":
            stage.worker.send(InputMessage(input_id="1", execution_id=cell.execution_id))
            await turns()
        elif point == "being cancelled":
            cancelling = asyncio.create_task(stage.session.cancel(hard_stop=True))
            await cell.cancelled()
        end(stage.worker, how, number)
        result = await running
        assert (result.error.type, result.ok, result.cancelled) == ("WorkerDied", False, False)
        assert fits(result.error, how, number)
        assert result.stdout == ("so far\n" if point == "amid output" else "")
        if point == "being cancelled":
            assert await cancelling == "ignored"
        assert stage.session.info.executions == 1
        assert stage.session.state == "broken"


@virtual_time
async def test_right_after_the_result_the_result_counts():
    async with Stage() as stage:
        running, cell = await stage.begin()
        cell.print("out")
        cell.succeed(42)
        stage.worker.exit(3)
        result = await running
        assert (result.value, result.stdout) == (42, "out")
        await turns()
        assert stage.session.state == "broken"


@virtual_time
async def test_last_words_come_with_the_cell_that_ran():
    seen = []
    async with Stage() as stage:
        running, cell = await stage.begin(on_output=seen.append)
        cell.print("out\n")
        stage.worker.exit(1, stderr="Fatal Python error: out of luck\n")
        result = await running
        assert (result.stdout, result.stderr) == ("out\n", "Fatal Python error: out of luck\n")
        assert [message.stream for message in seen] == ["stdout", "stderr"]


@virtual_time
async def test_while_the_session_checkpoints():
    async with Stage() as stage:
        saving = asyncio.create_task(stage.session.checkpoint())
        await stage.worker.receive(CheckpointMessage)
        stage.worker.exit(3)
        with pytest.raises(CheckpointError, match="exited with status 3"):
            await saving


@virtual_time
async def test_cells_that_wait_fail_with_the_reason():
    async with Stage() as stage:
        running, _ = await stage.begin()
        waiting = [stage.run(str(number)) for number in range(3)]
        await turns()
        stage.worker.exit(3)
        results = await asyncio.gather(*waiting)
        assert {result.error.type for result in results} == {"SessionBroken"}
        assert (await running).error.exit_status == 3


@virtual_time
async def test_cells_that_wait_go_to_the_next_worker_in_their_order_with_auto_restart():
    async with Stage(auto_restart=True) as stage:
        running, _ = await stage.begin()
        waiting = [stage.run(str(number)) for number in range(3)]
        await turns()
        stage.worker.exit(3)
        worker = await stage.launcher.worker(2)
        worker.say_ready()
        for number in range(3):
            cell = await worker.next_cell()
            assert cell.code == str(number)
            cell.succeed(number)
        assert [(await task).value for task in waiting] == [0, 1, 2]
        assert (await running).error.exit_status == 3


@virtual_time
async def test_while_the_session_closes():
    stage = Stage(close_grace_s=10)
    async with stage:
        stage.worker.obeys_shutdown = False
        closing = asyncio.create_task(stage.session.close())
        await asyncio.sleep(4)
        stage.worker.exit(7)
        await closing
        assert now() == 4
        assert stage.session.info.last_exit.endswith("exited with status 7")


@virtual_time
async def test_a_stream_ends_with_the_death():
    async with Stage() as stage:
        messages, first, cell = await stage.begin_stream()
        cell.print("x")
        await first
        stage.worker.die()
        (last,) = [message async for message in messages]
        assert (last.error.type, last.error.signal) == ("WorkerDied", signal.SIGKILL)


# Cut anywhere


@virtual_time
async def test_a_reply_that_is_cut_at_any_byte_is_the_death_and_never_half_a_message():
    """Of output and a result, all that is whole counts; a piece of a frame is nothing."""

    def reply_to(cell):
        encode = cell.worker.channel.encode
        result = ResultMessage(
            execution_id="cell", number=cell.number, mode="simple_sync", duration_s=0.0, repr="1"
        )
        return encode(OutputMessage(execution_id="cell"), payload=b"whole"), encode(result)

    async with Stage() as stage:
        for cut in itertools.count():
            running, cell = await stage.begin(execution_id="cell")
            output, end = reply_to(cell)
            stage.worker.channel.send_bytes((output + end)[:cut])
            stage.worker.exit(4)
            result = await running
            assert result.stdout == ("whole" if cut >= len(output) else ""), cut
            if cut == len(output + end):
                break
            assert (result.error.type, result.error.exit_status) == ("WorkerDied", 4), cut
            await stage.next_worker(stage.session.restart())
        assert result.repr == "1"


@virtual_time
async def test_a_connection_that_is_cut_is_a_worker_that_is_killed_after_the_grace():
    async with Stage(close_grace_s=2) as stage:
        running, cell = await stage.begin()
        stage.worker.channel.hold()
        cell.succeed("lost on the way")
        stage.worker.channel.cut()
        result = await running
        assert (result.error.type, result.error.signal) == ("WorkerDied", signal.SIGKILL)
        assert now() == 2


# In the place of a result


@virtual_time
async def test_a_death_raises_nothing_but_what_was_asked_for():
    async with Stage() as stage:
        running, _ = await stage.begin(check=True)
        stage.worker.exit(3)
        with pytest.raises(stateroom.ExecutionError, match="exited with status 3"):
            await running
