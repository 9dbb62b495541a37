"""What the soak has found, each as small as it could be made."""

import asyncio
import os
import signal

import stateroom


async def test_prints_of_a_thread_take_no_lines_of_another_cell_along():
    """A change of threads between the question whose batch it is and the text that goes into it."""
    late = []
    async with stateroom.Session() as session:
        session.on_late_output = late.append
        await session.run(
            "import sys, threading\nsys.setswitchinterval(1e-5)\nover = threading.Event()\n"
            "def chatter():\n    while not over.is_set(): print('thread')\n"
            "thread = threading.Thread(target=chatter)\nthread.start()"
        )
        lines = (await session.run("for i in range(20_000): print('cell', i)")).stdout
        await session.run("over.set(); thread.join()")
    assert lines == "".join(f"cell {i}\n" for i in range(20_000))
    assert {line for message in late for line in message.data.split("\n")} <= {"", "thread"}


async def test_what_is_written_to_a_descriptor_does_not_overtake_what_was_printed():
    """The i/o thread reads the pipe just when the main thread prints and writes."""
    code = """
import os, sys, threading
sys.setswitchinterval(1e-6)
for i in range(10_000):
    print('p', i)
    _ = os.write(1, b'w %d\\n' % i)
"""
    async with stateroom.Session() as session:
        lines = (await session.run(code)).stdout
    assert lines == "".join(f"p {i}\nw {i}\n" for i in range(10_000))


async def test_a_callback_whose_question_is_moot_is_cancelled():
    asked, left = asyncio.Event(), asyncio.Event()

    async def think(_message):
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    async with stateroom.Session() as session:
        for end in (session.cancel, session.restart):
            asked.clear(), left.clear()
            running = asyncio.create_task(session.run("input()", on_input=think))
            await asked.wait()
            await end()
            assert (await running).error.type in {"CancelledError", "WorkerDied"}
            await left.wait()
        asked.clear()
        running = asyncio.create_task(session.run("input()", on_input=think))
        await asked.wait()
    await running
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_checkpoints_that_are_gone_leave_no_folders_and_locks(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with stateroom.Session() as session:
        await session.checkpoint()
        entries = sorted(path.name for path in tmp_path.rglob("*"))
        for _ in range(5):
            saving = asyncio.create_task(session.checkpoint())
            await asyncio.sleep(0)
            saving.cancel()
            await asyncio.gather(saving, return_exceptions=True)
            await session.checkpoint()
        assert len(list(tmp_path.rglob("*"))) == len(entries)


async def test_a_session_without_a_worker_names_no_process():
    async with stateroom.Session() as session:
        os.kill(session.pid, signal.SIGKILL)
        await session.run("1")
        assert session.state == "broken"
        assert (session.pid, session.info.pid, session.info.memory_bytes) == (None, None, None)


SLOW_TO_LOAD = """
class Slow:
    def __init__(self): self.a = 1
    def __setstate__(self, state): self.__dict__.update(state); sum(range(3000))
things = [Slow() for _ in range(10_000)]
"""


async def test_a_cancel_does_not_mean_a_recovery():
    async with stateroom.Session(auto_restart=True) as session:
        await session.run(SLOW_TO_LOAD, check=True)
        await session.checkpoint()
        os.kill(session.pid, signal.SIGKILL)
        while session.info.restarts == 0 or session.state == "restarting":
            await asyncio.sleep(0)
        waiting = asyncio.create_task(session.run("while True: pass"))
        while not session.info.queued and session.state == "busy":
            await asyncio.sleep(0)
        assert await session.cancel() is stateroom.CancelOutcome.CANCELLED
        assert (await waiting).cancelled
        assert await session.cancel() is stateroom.CancelOutcome.NOTHING_RUNNING
        assert (await session.run("len(things)")).value == 10_000


async def test_a_session_closed_while_its_state_comes_back_keeps_what_is_stored(tmp_path):
    how = {"store": str(tmp_path), "name": "work"}
    async with stateroom.Session(**how) as session:
        await session.run(SLOW_TO_LOAD, check=True)
    session = stateroom.Session(**how)
    starting = asyncio.create_task(session.start())
    while session.state != "busy":
        await asyncio.sleep(0.001)
    await session.close()
    await asyncio.gather(starting, return_exceptions=True)
    async with stateroom.Session(**how) as session:
        assert (await session.run("len(things)")).value == 10_000
