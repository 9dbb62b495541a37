"""Ctrl-C in each method of a blocking session that waits: what ends, what goes on, and what is left."""

from __future__ import annotations

import asyncio
import signal
import threading
from concurrent.futures import Future

import pytest

import stateroom
from stateroom.errors import SessionClosed, WorkerStartError
from stateroom.protocol.messages import CheckpointMessage, ExecuteMessage, ShutdownMessage
from stateroom.testing import ScriptedLauncher, each_cell


@pytest.fixture(autouse=True)
def _interruptible():
    """SIGINT raises KeyboardInterrupt, as it does in a program; a test runner may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c():
    """As at a terminal. Called by scripted workers, in the session's thread, while the main thread waits."""
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


class Scripted:
    """A blocking session and its workers."""

    def __init__(self, script, **settings):
        self.launcher = ScriptedLauncher(script)
        self.session = stateroom.open_session(launcher=self.launcher, **settings)

    @property
    def worker(self):
        return self.launcher.workers[0]

    def __enter__(self):
        self.session.start()
        return self

    def __exit__(self, *_):
        self.session.close()

    def works(self):
        """Whether the same worker goes on."""
        return self.session.run("next").ok and len(self.launcher.workers) == 1


async def stubborn(cell):
    """Ends when it is asked to; if it is called deaf, never."""
    if cell.code == "next":
        return
    if cell.code == "deaf":
        cell.ignore_cancels()
    press_ctrl_c()
    await asyncio.Event().wait()


def test_in_run_it_is_raised_when_the_cell_has_ended():
    with Scripted(each_cell(stubborn)) as scripted:
        with pytest.raises(KeyboardInterrupt):
            scripted.session.run("long")
        assert scripted.worker.cell.has_ended
        assert scripted.works()


def test_in_run_it_is_raised_when_the_cell_has_ignored_the_cancel():
    with Scripted(each_cell(stubborn), cancel_grace_s=0.05) as scripted:
        with pytest.raises(KeyboardInterrupt):
            scripted.session.run("deaf", execution_id="deaf")
        assert scripted.session.info.running == "deaf"
        assert {request.attempt for request in scripted.worker.cancels} == {1}
        assert len(scripted.launcher.workers) == 1


def test_in_run_it_leaves_the_cell_of_another_thread_alone():
    begun = Future()

    async def play(cell):
        if cell.code == "of another":
            may_end = asyncio.Event()
            begun.set_result((asyncio.get_running_loop(), may_end))
            await cell.worker.has_received(ExecuteMessage, 2)
            press_ctrl_c()
            await may_end.wait()

    results = []
    with Scripted(each_cell(play)) as scripted:
        other = threading.Thread(target=lambda: results.append(scripted.session.run("of another")))
        other.start()
        loop, may_end = begun.result()
        with pytest.raises(KeyboardInterrupt):
            scripted.session.run("mine")
        loop.call_soon_threadsafe(may_end.set)
        other.join()
        assert scripted.works()
    assert results[0].ok
    assert scripted.worker.cancels == []


def test_in_execute_it_ends_the_cell():
    with Scripted(each_cell(stubborn)) as scripted:
        messages = scripted.session.execute("long")
        with pytest.raises(KeyboardInterrupt):
            next(messages)
        assert list(messages) == []
        assert scripted.works()
        assert scripted.worker.cancels


def test_in_checkpoint_it_is_given_up():
    async def script(worker):
        worker.say_ready()
        message = await worker.receive(CheckpointMessage)
        press_ctrl_c()
        await worker.until(lambda: worker.cancels)
        assert worker.cancels[0].number == message.number
        worker.exit(0)

    with Scripted(script) as scripted, pytest.raises(KeyboardInterrupt):
        scripted.session.checkpoint()


def test_in_start_it_leaves_no_worker():
    async def never_ready(_worker):
        press_ctrl_c()

    scripted = Scripted(never_ready)
    with pytest.raises(KeyboardInterrupt):
        scripted.session.start()
    assert scripted.worker.returncode == -signal.SIGKILL
    assert scripted.session.state == "closed"
    scripted.session.close()
    with pytest.raises(SessionClosed):
        scripted.session.run("1")


def test_in_close_it_is_raised_when_the_session_is_closed():
    async def slow_to_leave(worker):
        worker.obeys_shutdown = False
        worker.say_ready()
        await worker.has_received(ShutdownMessage)
        press_ctrl_c()

    scripted = Scripted(slow_to_leave, close_grace_s=0.05)
    scripted.session.start()
    with pytest.raises(KeyboardInterrupt):
        scripted.session.close()
    assert scripted.worker.was_killed
    assert scripted.session.state == "closed"
    scripted.session.close()


def test_a_start_that_fails_leaves_the_session_closed():
    async def exits(worker):
        worker.exit(3)

    scripted = Scripted(exits)
    with pytest.raises(WorkerStartError, match="exited with status 3"):
        scripted.session.start()
    assert scripted.session.state == "closed"


def test_who_waits_in_another_thread_hears_of_the_close():
    begun = Future()

    async def play(_cell):
        begun.set_result(None)
        await asyncio.Event().wait()

    results = []
    with Scripted(each_cell(play)) as scripted:
        other = threading.Thread(target=lambda: results.append(scripted.session.run("long")))
        other.start()
        begun.result()
    other.join()
    assert results[0].cancelled


def test_a_callback_cannot_wait_for_its_own_session():
    async def play(cell):
        cell.print("text")

    errors = []
    with Scripted(each_cell(play)) as scripted:

        def on_output(_message):
            for wait in (scripted.session.cancel, scripted.session.close):
                with pytest.raises(RuntimeError, match="a callback") as error:
                    wait()
                errors.append(error)

        assert scripted.session.run("", on_output=on_output).ok
    assert len(errors) == 2


def test_an_iterator_outlives_its_session():
    with Scripted(each_cell(lambda cell: cell.print("text"))) as scripted:
        messages = scripted.session.execute("")
        next(messages)
    messages.close()


def test_a_session_that_was_closed_before_its_start():
    session = stateroom.open_session()
    session.close()
    session.close()
    with pytest.raises(SessionClosed):
        session.start()
