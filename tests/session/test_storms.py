"""Anything asked of a session at any moment, of workers that do anything: nothing hangs, nothing is left behind."""

import asyncio
import contextlib
import tempfile

import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from stage import Stage

from stateroom.errors import StateroomError
from stateroom.protocol.messages import (
    CheckpointMessage,
    ExecuteMessage,
    InputMessage,
    RestoredMessage,
    RestoreMessage,
    ResultMessage,
)
from stateroom.testing import ScriptedCell, virtual_time
from stateroom.testing.scripts import each_cell, save_nothing

LIMIT_S = 10_000
"""Of virtual time, for everything to end: far more than all graces and limits together."""


# What workers do with a cell


async def ask(cell):
    return await cell.input()


async def be_deaf(cell):
    cell.ignore_cancels()
    await asyncio.sleep(100)


async def swallow_once(cell):
    cell.ignore_cancels(1)
    await asyncio.sleep(5)


async def print_and_wait(cell):
    for _ in range(3):
        cell.print("x" * 1_000_000)
        await asyncio.sleep(1)


async def clean_up(_):
    try:
        await asyncio.sleep(5)
    finally:
        await asyncio.sleep(0.5)


def die(cell):
    cell.print("about to die")
    cell.worker.exit(3)


def say_it_and_die(cell):
    cell.succeed("said")
    cell.worker.die()


def reply_late(cell):
    """The next cell begins before the session has heard of it."""
    cell.worker.channel.hold()
    asyncio.get_running_loop().call_later(3, cell.worker.channel.release)
    return 42


def reply_never(cell):
    """As :func:`reply_late`, but the worker dies before the reply is out."""

    def die():
        cell.worker.channel.cut()
        cell.worker.die()

    cell.worker.channel.hold()
    asyncio.get_running_loop().call_later(3, die)
    return 42


async def send_garbage(cell):
    cell.worker.channel.send_bytes(b"\0\0\0\5\0\0\0\0hello")
    await asyncio.sleep(5)


async def reply_for_another(cell):
    cell.worker.send(
        ResultMessage(execution_id="another", number=cell.number + 1000, mode="simple_sync", duration_s=0.0)
    )
    await asyncio.sleep(5)


async def hang_up(cell):
    cell.worker.channel.hang_up()
    await asyncio.sleep(5)


def fail(_):
    raise ValueError


CELLS = [
    lambda _: 42,
    fail,
    lambda _: asyncio.sleep(0),
    lambda _: asyncio.sleep(2),
    ask,
    be_deaf,
    swallow_once,
    print_and_wait,
    clean_up,
    die,
    say_it_and_die,
    reply_late,
    reply_late,
    reply_never,
    send_garbage,
    reply_for_another,
    hang_up,
]
STARTS = ["ready", "ready", "slow", "never", "dies", "outlives kill", "deaf to shutdown"]


class Workers:
    """Plays all workers of one session by what was drawn; ``are_good`` from some moment on."""

    def __init__(self, starts, cells):
        self.are_good = False
        self._starts = iter(starts)
        self._cells = iter(cells)

    async def __call__(self, worker):
        start = "ready" if self.are_good else next(self._starts, "ready")
        worker.obeys_shutdown = start != "deaf to shutdown"
        if start == "outlives kill":
            worker.obeys_kill = False
            asyncio.get_running_loop().create_task(self._die_later(worker))
        if start == "dies":
            worker.exit(1)
        await asyncio.sleep({"never": LIMIT_S, "slow": 5}.get(start, 0))
        worker.say_ready()
        while True:
            message = await worker.receive()
            if isinstance(message, ExecuteMessage | CheckpointMessage | RestoreMessage):
                await self._do(worker, message)

    async def _do(self, worker, message):
        play = (lambda _: 42) if self.are_good else next(self._cells, lambda _: 42)
        if isinstance(message, ExecuteMessage):
            worker.cell = ScriptedCell(worker, message)
            await worker.cell.play(play)
        elif play is die:
            worker.exit(3)
        elif isinstance(message, CheckpointMessage):
            await asyncio.sleep(1 if play is clean_up else 0)
            save_nothing(worker, message)
        else:
            worker.send(RestoredMessage(execution_id=message.execution_id, number=message.number))

    async def _die_later(self, worker):
        await worker.until(lambda: worker.was_killed or worker.returncode is not None)
        await asyncio.sleep(0.5)
        worker.die()


# What is asked of the session


class Client:
    """Everybody who uses one session."""

    def __init__(self, stage):
        self.session = stage.session
        self.calls = [asyncio.ensure_future(self.session.start())]

    async def do(self, what):
        doing = getattr(self, what)()
        if asyncio.iscoroutine(doing):
            self.calls.append(asyncio.ensure_future(doing))
            await asyncio.sleep(0)
        elif doing is not None:
            await doing

    def run(self):
        return self.session.run("", on_input=lambda _: "x")

    def run_limited(self):
        return self.session.run("", timeout=1, on_input=lambda _: asyncio.Event().wait())

    def run_at_once(self):
        return self.session.run("", queue=False)

    async def consume(self):
        async for message in self.session.execute(""):
            await asyncio.sleep(1)
            if isinstance(message, InputMessage):
                self.session.input_response(message.input_id, "x")

    async def consume_one(self):
        async with contextlib.aclosing(self.session.execute("")) as messages:
            await anext(messages)

    def cancel(self):
        return self.session.cancel()

    def stop(self):
        return self.session.cancel(hard_stop=True)

    def restart(self):
        return self.session.restart()

    async def restart_impatiently(self):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.session.restart(), 0.1)

    def checkpoint(self):
        return self.session.checkpoint()

    def leave(self):
        self.calls[-1].cancel()

    def leave_first(self):
        next((call for call in self.calls if not call.done()), self.calls[0]).cancel()

    def wait(self):
        return asyncio.ensure_future(asyncio.sleep(1))

    def wait_a_little(self):
        return asyncio.ensure_future(asyncio.sleep(0.2))

    def close(self):
        return self.session.close()


ASKED = [name for name in vars(Client) if not name.startswith("_") and name not in {"do", "close"}]
ASKED += ["run"] * len(ASKED)  # most of what happens, happens to cells


async def everything_ends(calls):
    """Whatever was asked for is answered, with nothing worse than an error of ours."""
    await asyncio.wait(calls, timeout=LIMIT_S)
    for call in calls:
        assert call.done(), call
        error = None if call.cancelled() else call.exception()
        assert error is None or isinstance(error, StateroomError), repr(error)


def alive(stage):
    return [worker for worker in stage.launcher.workers if worker.returncode is None]


async def storm(starts, cells, asked, is_closed_early, **how):
    workers = Workers(starts, cells)
    if "store" in how:
        async with Stage(each_cell(lambda _: None), store=how["store"]):
            pass
    stage = Stage(workers, start_timeout_s=20, close_grace_s=2, **how)
    client = Client(stage)
    for what in asked:
        await client.do(what)
        assert len(alive(stage)) <= 1
    if not is_closed_early:
        await everything_ends(client.calls)
        workers.are_good = True
        await goes_on(stage)
    await everything_ends([asyncio.ensure_future(stage.session.close()), *client.calls])
    await asyncio.sleep(LIMIT_S)
    assert stage.session.state == "closed"
    assert alive(stage) == []
    assert not any(worker.channel.is_open for worker in stage.launcher.workers)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def faults(logs, cells):
    """What was logged as an error, and no worker has provoked."""
    provoked = {"protocol_violation"} if {send_garbage, reply_for_another} & set(cells) else set()
    if die in cells:  # a worker may do so while it restores
        provoked.add("recovery_failed")
    harmless = {"debug", "info", "warning"}
    return [entry for entry in logs if entry["log_level"] not in harmless and entry["event"] not in provoked]


async def goes_on(stage):
    """After all that, a worker that does as it should is all that is needed."""
    session = stage.session
    async with asyncio.timeout(LIMIT_S):
        while session.state not in {"new", "idle", "broken"}:
            await asyncio.sleep(1)
    await (session.start() if session.state == "new" else session.restart())
    assert (await session.run("")).value == 42
    assert session.info.queued == 0


@settings(max_examples=200)
@given(
    starts=st.lists(st.sampled_from(STARTS), max_size=5),
    cells=st.lists(st.sampled_from(CELLS), max_size=8),
    asked=st.lists(st.sampled_from(ASKED), min_size=3, max_size=12),
    is_closed_early=st.booleans(),
    auto_restart=st.booleans(),
    checkpoint_every_cells=st.sampled_from([None, 1]),
    is_stored=st.booleans(),
)
def test_a_storm(starts, cells, asked, is_closed_early, auto_restart, checkpoint_every_cells, is_stored):
    how = {"auto_restart": auto_restart, "checkpoint_every_cells": checkpoint_every_cells}
    with structlog.testing.capture_logs() as logs, tempfile.TemporaryDirectory() as folder:
        how |= {"store": folder} if is_stored else {}
        virtual_time(storm)(starts, cells, asked, is_closed_early, **how)
    assert faults(logs, cells) == []
