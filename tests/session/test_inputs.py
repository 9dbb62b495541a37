"""Questions of a scripted worker, and every way in which they end. So for its steps."""

import asyncio

import pytest
from stage import Stage, cancelled, end_cancelled, turns

from stateroom.errors import InputRefused
from stateroom.protocol.messages import (
    InputMessage,
    InputResponseMessage,
    StepMessage,
    StepReplyMessage,
)
from stateroom.testing import virtual_time


async def answer(stage):
    """The next answer that the worker gets."""
    async with asyncio.timeout(60):
        return await stage.worker.receive(InputResponseMessage)


def ask(stage, cell=None, input_id="1"):
    stage.worker.send(InputMessage(input_id=input_id, execution_id=cell and cell.execution_id))


async def give(text):
    return text


def end_of_file(_):
    raise EOFError


def end_with_reason(_):
    raise EOFError("nobody is there")


def broken(_):
    raise OSError("broken")


async def given_up(_):
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("on_input", "data", "error"),
    [
        (lambda _: "plain", "plain", None),
        (lambda _: give("awaited"), "awaited", None),
        (lambda _: "", "", None),
        (lambda _: None, None, None),
        (end_of_file, None, None),
        (end_with_reason, None, "nobody is there"),
        (broken, None, "on_input raised OSError: broken"),
        (given_up, None, "on_input was cancelled"),
        (lambda _: 42, None, "on_input returned a int, not a string"),
        (None, None, "no on_input callback was given"),
    ],
    ids="plain awaited empty none eof reason broken cancelled int without".split(),
)
@virtual_time
async def test_a_question_is_answered_once_whatever_the_callback_does(on_input, data, error):
    async with Stage() as stage:
        running, cell = await stage.begin(on_input=on_input)
        ask(stage, cell)
        reply = await answer(stage)
        assert (reply.input_id, reply.data, reply.error) == ("1", data, error)
        with pytest.raises(InputRefused):
            stage.session.input_response("1", "again")
        cell.succeed()
        assert (await running).ok
        assert len([one for one in stage.worker.received if isinstance(one, InputResponseMessage)]) == 1


@virtual_time
async def test_an_answer_that_is_no_text_is_refused_and_the_question_stays_open():
    async with Stage() as stage:
        messages, first, cell = await stage.begin_stream()
        ask(stage, cell)
        assert (await first).input_id == "1"
        with pytest.raises(TypeError, match="answer to input '1' is a int: give a string, or None"):
            stage.session.input_response("1", 5)
        stage.session.input_response("1", "text")
        assert (await answer(stage)).data == "text"
        cell.succeed()
        await messages.aclose()


@virtual_time
async def test_a_callback_whose_task_is_cancelled_by_somebody_else_refuses():
    forever = asyncio.get_running_loop().create_future()

    async def wait(_):
        return await forever

    async with Stage() as stage:
        running, cell = await stage.begin(on_input=wait)
        ask(stage, cell)
        await turns()
        forever.cancel()
        assert (await answer(stage)).error == "on_input was cancelled"
        cell.succeed()
        await running


@virtual_time
async def test_who_consumes_the_messages_answers_by_the_id():
    async with Stage() as stage:
        messages, first, cell = await stage.begin_stream()
        ask(stage, cell)
        message = await first
        stage.session.input_response(message.input_id, "by id")
        assert (await answer(stage)).data == "by id"
        cell.succeed()
        assert len([message async for message in messages]) == 1


@virtual_time
async def test_several_questions_of_one_cell_are_open_at_once():
    texts = iter("ab")
    async with Stage() as stage:
        running, cell = await stage.begin(on_input=lambda _: next(texts))
        first, second = await asyncio.gather(cell.input(), cell.input())
        cell.succeed(first + second)
        assert (await running).value == "ab"


@pytest.mark.parametrize("whose", ["nobody", "a cell that has ended", "a cell that waits"])
@virtual_time
async def test_a_question_of_no_running_cell_is_refused(whose):
    async with Stage() as stage:
        running, cell = await stage.begin(on_input=lambda _: "x")
        waiting = stage.run("2", execution_id="waiting", on_input=lambda _: "x")
        if whose == "a cell that has ended":
            cell.succeed()
            await running
        message = InputMessage(input_id="1", execution_id={"a cell that waits": "waiting"}.get(whose))
        if whose == "a cell that has ended":
            message.execution_id = cell.execution_id
        stage.worker.send(message)
        assert "no on_input" in (await answer(stage)).error
        await cancelled(waiting)
        await cancelled(running)


@pytest.mark.parametrize("end", ["answered by id", "cell cancelled", "worker gone"])
@virtual_time
async def test_a_callback_is_cancelled_when_its_question_needs_no_answer(end):
    asked, was_cancelled = asyncio.Event(), asyncio.Event()

    async def wait(_):
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled.set()
            raise

    async with Stage() as stage:
        running, cell = await stage.begin(on_input=wait)
        ask(stage, cell)
        await asked.wait()
        if end == "answered by id":
            stage.session.input_response("1", "x")
            cell.succeed()
        elif end == "cell cancelled":
            end_cancelled(cell)
        else:
            stage.worker.exit(3)
        async with asyncio.timeout(60):
            await was_cancelled.wait()
        await running
        if end != "worker gone":
            reply = await answer(stage)
            assert (reply.data, reply.error) == (
                ("x", None) if end == "answered by id" else (None, "its cell was cancelled")
            )


@virtual_time
async def test_an_answer_for_an_old_worker_does_not_reach_the_new_one():
    answers = [asyncio.Event(), asyncio.Event()]

    async def wait(message):
        await answers[len(stage.launcher.workers) - 1].wait()
        return f"for {message.execution_id}"

    async with Stage() as stage:
        old, old_cell = await stage.begin(on_input=wait)
        ask(stage, old_cell)
        await turns()
        await stage.next_worker(stage.session.restart())
        assert (await old).error.type == "WorkerDied"
        new, cell = await stage.begin(on_input=wait)
        ask(stage, cell)
        await turns()
        answers[0].set()
        await turns()
        answers[1].set()
        assert (await answer(stage)).data == f"for {cell.execution_id}"
        cell.succeed()
        await new


# Steps


async def raise_cancelled(_):
    raise asyncio.CancelledError


async def raise_error(_):
    raise OSError("broken")


@pytest.mark.parametrize(
    ("on_step", "durable", "error"),
    [
        (None, False, None),
        (lambda message: give(StepReplyMessage(request_id=message.request_id, durable=True)), True, None),
        (raise_error, False, "OSError: broken"),
        (raise_cancelled, False, "on_step was cancelled"),
        (give, False, "TypeError: on_step returned a StepMessage, not a StepReplyMessage"),
        (
            lambda message: give(StepReplyMessage(request_id=message.request_id, value=5)),
            False,
            "TypeError: on_step returned a value of type int, not bytes",
        ),
    ],
    ids="nobody recorded broken cancelled another unreadable".split(),
)
@virtual_time
async def test_a_step_is_always_replied_to(on_step, durable, error):
    async with Stage() as stage:
        stage.session.on_step = on_step
        running, cell = await stage.begin()
        stage.worker.send(StepMessage(request_id="s", name="pay", execution_id=cell.execution_id))
        async with asyncio.timeout(60):
            reply = await stage.worker.receive(StepReplyMessage)
        assert (reply.request_id, reply.durable, reply.error) == ("s", durable, error)
        cell.succeed()
        await running
