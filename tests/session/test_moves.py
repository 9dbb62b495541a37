"""Every message of a worker in every state of its execution: the table of moves, seen through a session."""

import asyncio

import pytest
from stage import Stage, turns

from stateroom.protocol.lifecycle import ENDED, ExecutionEvent, ExecutionState, advance_execution
from stateroom.protocol.messages import (
    PROTOCOL_VERSION,
    CheckpointChunkMessage,
    CheckpointedMessage,
    CheckpointMessage,
    ClearMessage,
    DisplayMessage,
    ErrorInfo,
    ErrorMessage,
    ExecuteMessage,
    FaultMessage,
    HeartbeatMessage,
    InputMessage,
    OutputMessage,
    ProgressMessage,
    ReadyMessage,
    RestoredMessage,
    RestoreMessage,
    ResultMessage,
    StepMessage,
    WarningMessage,
)
from stateroom.testing import virtual_time
from stateroom.testing.scripts import save_nothing

S, E = ExecutionState, ExecutionEvent
ERROR = ErrorInfo(type="ValueError", text="ValueError\n")


def result(cell):
    return ResultMessage(
        execution_id=cell.execution_id, number=cell.number, mode="simple_sync", duration_s=0.0
    )


def error(cell):
    return ErrorMessage(execution_id=cell.execution_id, number=cell.number, error=ERROR)


def cancelled(cell):
    return ErrorMessage(execution_id=cell.execution_id, number=cell.number, error=ERROR, cancelled=True)


OUTPUT = {
    "output": lambda cell: OutputMessage(execution_id=cell.execution_id, data="x"),
    "display": lambda cell: DisplayMessage(execution_id=cell.execution_id, mime={"text/plain": "x"}),
    "clear": lambda cell: ClearMessage(execution_id=cell.execution_id),
    "progress": lambda cell: ProgressMessage(execution_id=cell.execution_id, progress_id="1"),
}
EVENTS = {
    **dict.fromkeys(OUTPUT, E.OUTPUT),
    "input": E.INPUT,
    "result": E.RESULT,
    "error": E.ERROR,
    "cancelled": E.CANCELLED,
}
FOR_CELLS = {
    **OUTPUT,
    "input": lambda cell: InputMessage(input_id="7", execution_id=cell.execution_id),
    "result": result,
    "error": error,
    "cancelled": cancelled,
}
HARMLESS = {
    "heartbeat": lambda _: HeartbeatMessage(),
    "warning": lambda cell: WarningMessage(event="blocking", execution_id=cell.execution_id),
    "fault": lambda _: FaultMessage(reason="something was odd"),
    "step": lambda cell: StepMessage(request_id="1", name="pay", execution_id=cell.execution_id),
}
NEVER = {
    "ready": lambda _: ReadyMessage(protocol_version=PROTOCOL_VERSION, python_version="3.13.0", pid=1),
    "checkpoint chunk": lambda cell: CheckpointChunkMessage(
        execution_id=cell.execution_id, number=cell.number
    ),
    "checkpointed": lambda cell: CheckpointedMessage(
        execution_id=cell.execution_id, number=cell.number, duration_s=0.0
    ),
    "restored": lambda cell: RestoredMessage(execution_id=cell.execution_id, number=cell.number),
}
MESSAGES = {**FOR_CELLS, **HARMLESS, **NEVER}
STATES = [S.QUEUED, S.RUNNING, S.WAITING_INPUT, S.SUCCEEDED, S.FAILED, S.CANCELLED]


async def bring(stage, state):
    """An execution in this state: its message, and what its caller waits for."""
    if state is S.QUEUED:
        stage.run("before", on_input=never)
        await stage.worker.next_cell()
        running = stage.run("", execution_id="cell")
        return await stage.worker.receive(ExecuteMessage), running
    running, cell = await stage.begin(execution_id="cell", on_input=never)
    if state is S.WAITING_INPUT:
        stage.worker.send(InputMessage(input_id="0", execution_id="cell"))
    ends = {S.SUCCEEDED: result, S.FAILED: error, S.CANCELLED: cancelled}
    if state in ends:
        stage.worker.send(ends[state](cell))
        await running
    return cell.message, running


async def never(_):
    await asyncio.Event().wait()


def is_legal(state, name):
    """Whether the worker may say this; of cells that it was not sent, or that have ended, it may only show."""
    if name in HARMLESS:
        return True
    if name in NEVER:
        return False
    return name in OUTPUT or name == "input" or state in {S.RUNNING, S.WAITING_INPUT}


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("state", STATES)
@virtual_time
async def test_a_message_in_a_state(state, name):
    async with Stage() as stage:
        cell, running = await bring(stage, state)
        await turns()
        worker = stage.worker
        worker.send(MESSAGES[name](cell))
        await asyncio.sleep(1)
        assert worker.was_killed is not is_legal(state, name)
        if not is_legal(state, name):
            assert stage.session.state == "broken"
            if state in {S.RUNNING, S.WAITING_INPUT}:
                assert running.result().error.type == "UnexpectedMessage"
        elif name in EVENTS and state in {S.RUNNING, S.WAITING_INPUT}:
            after = advance_execution(state, EVENTS[name], cell.execution_id)
            assert running.done() is (after in ENDED)
            assert stage.session.state == ("idle" if after in ENDED else "busy")
        else:
            assert running.done() is (state in ENDED)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", OUTPUT)
@virtual_time
async def test_output_belongs_to_its_cell_while_that_runs_and_is_late_else(state, name):
    late = []
    async with Stage() as stage:
        stage.session.on_late_output = stage.session.on_late_display = late.append
        cell, running = await bring(stage, state)
        await turns()
        message = OUTPUT[name](cell)
        stage.worker.send(message)
        await asyncio.sleep(1)
        if state in {S.RUNNING, S.WAITING_INPUT}:
            stage.worker.send(result(cell))
            shown = await running
            assert late == []
            assert (shown.stdout, len(shown.displays)) == (
                "x" if name == "output" else "",
                1 if name == "display" else 0,
            )
        else:
            assert late == [message]
        stage.worker.exit(0)


@pytest.mark.parametrize("name", ["result", "error", "cancelled"])
@virtual_time
async def test_a_reply_for_another_cell_than_the_running_one_gives_the_worker_up(name):
    async with Stage() as stage:
        running, _ = await stage.begin()
        stage.worker.send(MESSAGES[name](ExecuteMessage(execution_id="another", number=99, code="")))
        failed = (await running).error
        assert failed.type == "UnexpectedMessage"
        assert "came for another (number 99), but e1 is running" in failed.message


@pytest.mark.parametrize(
    ("order", "reply", "legal"),
    [
        (CheckpointMessage, "checkpoint", True),
        (CheckpointMessage, "error", True),
        (CheckpointMessage, "cancelled", True),
        (CheckpointMessage, "restored", False),
        (CheckpointMessage, "result", False),
        (RestoreMessage, "restored", True),
        (RestoreMessage, "error", True),
        (RestoreMessage, "checkpointed", False),
        (RestoreMessage, "result", False),
    ],
    ids=lambda part: part if isinstance(part, str) else None,
)
@virtual_time
async def test_a_reply_to_an_errand(order, reply, legal):
    async with Stage() as stage:
        saving = asyncio.create_task(stage.session.checkpoint())
        message = await stage.worker.receive(CheckpointMessage)
        errand = saving
        if order is RestoreMessage:
            save_nothing(stage.worker, message)
            errand = asyncio.create_task(stage.session.restore(await saving))
            message = await stage.worker.receive(RestoreMessage)
        if reply == "checkpoint":
            save_nothing(stage.worker, message)
        else:
            stage.worker.send(MESSAGES[reply](message))
        await asyncio.gather(errand, return_exceptions=True)
        await asyncio.sleep(1)
        assert stage.worker.was_killed is not legal
        if legal:
            assert await stage.works()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\xff" * 100, "FrameTooLarge"),
        (b"\0\0\0\5\0\0\0\0hello", "MalformedFrame"),
        (b"\0\0\0\0\0\0\0\0", "MalformedFrame"),
        (b"\0\0\0\0\0\0\0\4data", "MalformedFrame"),
    ],
    ids="oversized malformed empty headless".split(),
)
@pytest.mark.parametrize("chunk_bytes", [1, 65536])
@virtual_time
async def test_bytes_that_are_no_message_give_the_worker_up(data, kind, chunk_bytes):
    async with Stage() as stage:
        running, cell = await stage.begin()
        stage.worker.channel.chunk_bytes = chunk_bytes
        stage.worker.channel.send_bytes(data)
        cell.succeed("too late")
        assert (await running).error.type == kind
        assert stage.worker.was_killed


@virtual_time
async def test_the_first_breach_is_the_one_that_is_told():
    async with Stage() as stage:
        stage.worker.obeys_kill = False
        running, cell = await stage.begin()
        stage.worker.channel.send_bytes(b"\0\0\0\5\0\0\0\0hello")
        stage.worker.say_ready()
        cell.succeed("too late")
        await turns()
        stage.worker.die()
        assert (await running).error.type == "MalformedFrame"
