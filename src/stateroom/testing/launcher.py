"""What gives a session scripted workers in place of processes."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from ..config import SessionConfig
from ..session.session import Session
from .scripts import Play, Script, each_cell
from .worker import ScriptedWorker

__all__ = ["ScriptedLauncher", "scripted_session"]

_PIDS = itertools.count((1 << 22) + 1)
"""Above what Linux and macOS number processes with: nobody can be signalled, or measured, by mistake."""


class ScriptedLauncher:
    """For ``Session(launcher=...)``. Each worker is played by ``script``; without one, by the test.

    ``workers`` has all that were launched, the newest last.
    """

    def __init__(self, script: Script | None = None) -> None:
        self.workers: list[ScriptedWorker] = []
        """All that were launched, the newest last."""
        self._script = script
        self._launched = asyncio.Event()

    def __repr__(self) -> str:
        return f"<ScriptedLauncher workers={self.workers!r}>"

    async def __call__(self, config: SessionConfig, /) -> ScriptedWorker:
        """Make a worker."""
        worker = ScriptedWorker(config, next(_PIDS), len(self.workers) + 1)
        self.workers.append(worker)
        if self._script is not None:
            worker.run(self._script(worker))
        self._launched.set()
        return worker

    async def worker(self, ordinal: int = 1) -> ScriptedWorker:
        """Wait until ``ordinal`` workers were launched; the last of these."""
        while len(self.workers) < ordinal:
            self._launched.clear()
            await self._launched.wait()
        return self.workers[ordinal - 1]


def scripted_session(play: Play, **settings: Any) -> Session:
    """A session, to be started, each of whose cells is played by a function: see :func:`each_cell`.

    ``settings`` are those of :class:`Session`. For workers that do worse than to run cells, make a
    :class:`ScriptedLauncher` with a script, and ``Session(launcher=...)``.
    """
    return Session(launcher=ScriptedLauncher(each_cell(play)), **settings)
