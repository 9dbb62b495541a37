"""Callbacks of a cell's caller that raise."""

import asyncio
import math

import pytest
import structlog
from stage import Stage

import stateroom
from stateroom.protocol.messages import DisplayMessage, OutputMessage, StepMessage, StepReplyMessage
from stateroom.session import pace
from stateroom.testing import VirtualTimeLoop, virtual_time


def broken_output(_message):
    raise OSError("broken on purpose")


def broken_display(_message):
    raise OSError("broken on purpose")


@pytest.mark.parametrize(("every_s", "reports"), [(math.inf, 1), (0, 50)])
@virtual_time
async def test_one_that_always_raises_is_logged_once_in_a_while(monkeypatch, every_s, reports):
    monkeypatch.setattr(pace, "REPORT_EVERY_S", every_s)
    with structlog.testing.capture_logs() as logs:
        async with Stage() as stage:
            running, cell = await stage.begin(on_output=broken_output, on_display=broken_display)
            for _ in range(50):
                cell.print("x")
                cell.display({"text/plain": "x"})
            cell.succeed(42)
            result = await running
    assert (result.value, result.stdout, len(result.displays)) == (42, "x" * 50, 50)
    failures = [entry["callback"] for entry in logs if entry["event"] == "callback_failed"]
    assert sorted(failures) == ["broken_display"] * reports + ["broken_output"] * reports


class Raises:
    """A callback for anything, that raises once."""

    def __init__(self, error):
        self.error = error

    def __call__(self, message):
        error, self.error = self.error, None
        if error is not None:
            raise error
        return "an answer"


class Odd(BaseException):
    """Of a test framework, say."""


CALLED_WITH_MESSAGES = ["on_output", "on_display", "interceptor", "on_late_output", "on_late_display"]


@pytest.mark.parametrize("callback", [None, 5])
def test_what_cannot_be_called_is_no_interceptor(callback):
    with pytest.raises(TypeError, match=f"^interceptor={callback}: give a function$"):
        stateroom.Session().add_message_interceptor(callback)


async def begin(stage, called, callback):
    """A cell that runs, whose messages go to the callback."""
    how = {}
    if called == "interceptor":
        stage.session.add_message_interceptor(callback)
    elif called.startswith("on_late") or called == "on_step":
        setattr(stage.session, called, callback)
    else:
        how[called] = callback
    return await stage.begin(**how)


def speak(cell):
    """Say something of each kind, some of it for an earlier cell, and end: all of it arrives at once."""
    for message in (OutputMessage(data="late"), DisplayMessage(mime={"text/plain": "late"})):
        cell.worker.send(message)
    cell.print("x")
    cell.display({"text/plain": "x"})
    cell.succeed(42)


@pytest.mark.parametrize("error", [asyncio.CancelledError, Odd])
@pytest.mark.parametrize("called", CALLED_WITH_MESSAGES)
@virtual_time
async def test_what_one_raises_that_is_no_exception_is_logged_and_harms_nobody(called, error):
    with structlog.testing.capture_logs() as logs:
        async with Stage() as stage:
            running, cell = await begin(stage, called, Raises(error("on purpose")))
            speak(cell)
            result = await running
            assert (result.value, result.stdout, len(result.displays)) == (42, "x", 1)
            assert await stage.works()
    failed = "interceptor_failed" if called == "interceptor" else "callback_failed"
    assert [entry["event"] for entry in logs] == [failed]


@pytest.fixture
def runner():
    with structlog.testing.capture_logs(), asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        yield runner


async def opened(called, callback):
    """A session, a cell that runs in it, and the task of its caller."""
    stage = await Stage().__aenter__()
    return stage, *await begin(stage, called, callback)


async def outcome_of(awaitable):
    return await asyncio.wait_for(awaitable, 60)


async def after(act, awaitable):
    act()
    return await awaitable


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("called", CALLED_WITH_MESSAGES)
def test_one_that_exits_ends_the_loop_and_what_had_come_is_there_when_that_runs_again(runner, called, error):
    stage, running, cell = runner.run(opened(called, Raises(error("on purpose"))))
    with pytest.raises(error, match="on purpose"):
        runner.run(after(lambda: speak(cell), asyncio.Event().wait()))
    result = runner.run(outcome_of(running))
    assert (result.value, result.stdout, len(result.displays)) == (42, "x", 1)
    assert runner.run(stage.works())
    runner.run(stage.session.close())


@pytest.mark.parametrize("error", [asyncio.CancelledError, Odd])
@virtual_time
async def test_a_question_whose_callback_raises_what_is_no_exception_is_refused(error):
    with structlog.testing.capture_logs():
        async with Stage() as stage:
            running, cell = await stage.begin(on_input=Raises(error("on purpose")))
            with pytest.raises(EOFError, match="on_input"):
                await cell.input()
            cell.succeed()
            assert (await running).ok


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_question_whose_callback_exits_is_refused_when_the_loop_runs_again(runner, error):
    stage, running, cell = runner.run(opened("on_input", Raises(error("on purpose"))))
    asking = runner.get_loop().create_task(cell.input())
    with pytest.raises(error, match="on purpose"):
        runner.run(asyncio.Event().wait())
    with pytest.raises(EOFError, match="on_input"):
        runner.run(outcome_of(asking))
    assert runner.run(after(cell.succeed, running)).ok
    runner.run(stage.session.close())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_step_whose_callback_exits_has_its_answer_when_the_loop_runs_again(runner, error):
    stage, _running, cell = runner.run(opened("on_step", Raises(error("on purpose"))))
    with pytest.raises(error, match="on purpose"):
        runner.run(
            after(lambda: cell.worker.send(StepMessage(request_id="1", name="s")), asyncio.Event().wait())
        )
    reply = runner.run(outcome_of(cell.worker.receive(StepReplyMessage)))
    assert "on purpose" in reply.error
    runner.run(stage.session.close())
