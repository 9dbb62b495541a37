"""``stateroom run --durable``: a file as a durable run, tied to this process's terminal and Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import stateroom

from .cell import Cell
from .status import INTERRUPTED, exit_status
from .terminal import Terminal

if TYPE_CHECKING:
    from ...protocol.messages import InputMessage
    from ...session.execution import ExecutionResult

__all__ = ["run_durable"]


def run_durable(script: Cell, store: str) -> int:
    """Begin a run, or go on with it, and return the exit status for this process.

    Ctrl-C stops it; like a crash, that loses nothing but the work of the cell that runs.
    """
    return _DurableRun(script, store).run()


class _DurableRun:
    """A run on its way."""

    def __init__(self, script: Cell, store: str) -> None:
        self._script = script
        self._store = store
        self._terminal = Terminal(on_lost=self._stop)
        self._task: asyncio.Task[int] | None = None

    def __repr__(self) -> str:
        return f"<_DurableRun {self._script.filename} store={self._store!r}>"

    def run(self) -> int:
        try:
            return asyncio.run(self._run())
        except asyncio.CancelledError:
            return INTERRUPTED if self._terminal.lost is None else self._terminal.lost
        except (stateroom.StateroomError, ImportError) as error:
            self._terminal.complain(str(error))
            return 1

    async def _run(self) -> int:
        from ...integration.durable_script import DurableScript, run_script
        from ...integration.resonate_init import initialize_resonate_local

        assert self._script.filename is not None
        script = DurableScript(self._script.code, self._script.filename, self._script.argv or [])
        self._count = len(script.cells)
        self._task = asyncio.current_task()
        with self._stopped_by_interrupt():
            async with (
                stateroom.Session(**self._terminal.settings()) as session,
                await initialize_resonate_local(session, path=self._store, session_name="run") as runtime,
            ):
                session.on_late_output = self._terminal.write
                session.on_late_display = self._terminal.display
                result = await run_script(
                    runtime.cells,
                    script,
                    on_output=self._terminal.write,
                    on_display=self._terminal.display,
                    on_input=self._answer,
                    on_begin=self._say_what_is_finished,
                )
                return self._conclude(result)

    async def _answer(self, message: InputMessage) -> str:
        try:
            return await self._terminal.answer(message)
        except EOFError:
            self._terminal.complain(
                f"a question waits for its answer; see `stateroom inputs list {self._store}`"
            )
            raise

    def _say_what_is_finished(self, finished: int) -> None:
        if finished:
            self._terminal.complain(f"{finished} of {self._count} cells were finished before")

    def _conclude(self, result: ExecutionResult) -> int:
        if self._terminal.lost is None:
            self._terminal.show(result)
        lost = self._terminal.lost  # perhaps only now, while the result was shown
        return exit_status(result) if lost is None else lost

    @contextlib.contextmanager
    def _stopped_by_interrupt(self) -> Iterator[None]:
        """The first Ctrl-C stops the run in order, the second ends this process."""
        loop = asyncio.get_running_loop()
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # under nohup, say
            yield
            return

        def interrupt() -> None:
            loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            self._terminal.complain("stopped; the same command goes on with it")
            self._stop()

        loop.add_signal_handler(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    def _stop(self) -> None:
        if self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)
