"""A session whose workers are in the test's hand, or in a script's."""

from __future__ import annotations

import asyncio
import contextlib

import stateroom
from stateroom.protocol.messages import ExecuteMessage
from stateroom.testing import ScriptedLauncher


class Stage:
    """A session and its scripted workers. ``async with`` starts it, with a worker that says Ready."""

    def __init__(self, script=None, **settings):
        self.launcher = ScriptedLauncher(script)
        self.session = stateroom.Session(launcher=self.launcher, **settings)
        self._is_scripted = script is not None

    async def __aenter__(self):
        await self.next_worker(self.session.start())
        return self

    async def __aexit__(self, *_):
        await self.session.close()

    @property
    def worker(self):
        """The newest."""
        return self.launcher.workers[-1]

    async def next_worker(self, starting):
        """Do what starts a worker, and let that be ready."""
        task = asyncio.ensure_future(starting)
        launched = asyncio.create_task(self.launcher.worker(len(self.launcher.workers) + 1))
        await asyncio.wait([task, launched], return_when=asyncio.FIRST_COMPLETED)
        if not self._is_scripted and launched.done():
            self.worker.say_ready()
        launched.cancel()
        await task
        return self.worker

    async def begin(self, code="", **how):
        """A cell that the worker has taken: the task of its caller, and the cell."""
        running = self.run(code, **how)
        return running, await self.worker.next_cell()

    async def begin_stream(self, code=""):
        """A cell that the worker has taken: its messages, the task that waits for the first, and the cell."""
        messages = self.session.execute(code)
        first = asyncio.ensure_future(anext(messages))
        return messages, first, await self.worker.next_cell()

    def run(self, code="", **how):
        """The task of a caller."""
        return asyncio.create_task(self.session.run(code, **how))

    async def works(self):
        """Whether a cell runs through."""
        running, cell = await self.begin("once more")
        cell.succeed(cell.execution_id)
        return (await running).value == cell.execution_id


def now():
    """Seconds of virtual time since the test began."""
    return asyncio.get_running_loop().time()


def sent(worker):
    """The code of the cells that the worker was sent."""
    return [message.code for message in worker.received if isinstance(message, ExecuteMessage)]


def end_cancelled(cell):
    """What a cell does that was asked to end, and does."""
    cell.fail(asyncio.CancelledError(), cancelled=True)


async def cancelled(task):
    """Cancel a task, and wait for its end."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def turns(count=5):
    """Let everything happen that needs no time and no message."""
    for _ in range(count):
        await asyncio.sleep(0)
