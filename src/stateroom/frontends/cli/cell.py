"""One cell in a session of its own, tied to this process: its terminal, Ctrl-C and exit status."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, NamedTuple

import stateroom

from .status import INTERRUPTED, exit_status
from .terminal import Terminal

if TYPE_CHECKING:
    from types import FrameType

    from ...session.execution import ExecutionResult

__all__ = ["Cell", "run_cell"]

HINT_AFTER_S = 1.0
"""How long a cell may take to end after Ctrl-C before the user is told what else there is."""


class Cell(NamedTuple):
    """What to run. With ``filename`` and ``argv`` it runs as a script would."""

    code: str
    filename: str | None = None
    argv: list[str] | None = None


def run_cell(cell: Cell) -> int:
    """Run a cell to its end, or until it is interrupted; return the exit status for this process."""
    return _CellRun(cell).run()


class _CellRun:
    """A cell on its way. The first Ctrl-C cancels the cell, the second ends the session at once."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._terminal = Terminal(on_lost=self._on_output_lost)
        self._session: stateroom.Session | None = None
        self._interrupts = 0
        self._cancelling: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<_CellRun {self._cell.filename or 'exec'} interrupts={self._interrupts}>"

    def run(self) -> int:
        before = signal.getsignal(signal.SIGINT)
        if before is not signal.SIG_IGN:  # under nohup, say
            signal.signal(signal.SIGINT, self._on_interrupt)
        try:
            return asyncio.run(self._run())
        except KeyboardInterrupt:
            return INTERRUPTED
        except stateroom.StateroomError as error:
            self._terminal.complain(str(error))
            return 1
        finally:
            signal.signal(signal.SIGINT, before)

    async def _run(self) -> int:
        self._loop = asyncio.get_running_loop()
        async with stateroom.Session(**self._terminal.settings()) as session:
            self._session = session
            session.on_late_output = self._terminal.write
            session.on_late_display = self._terminal.display
            result = await session.run(
                self._cell.code,
                filename=self._cell.filename,
                argv=self._cell.argv,
                on_output=self._terminal.write,
                on_display=self._terminal.display,
                on_input=self._terminal.answer,
            )
            return self._conclude(result)

    def _conclude(self, result: ExecutionResult) -> int:
        """Show how the cell ended, and say which exit status that is."""
        if self._terminal.lost is None:
            self._terminal.show(result)
        lost = self._terminal.lost  # perhaps only now, while the result was shown
        return exit_status(result) if lost is None else lost

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        self._interrupts += 1
        if self._session is None:
            raise KeyboardInterrupt
        if self._interrupts == 1:
            self._loop.call_soon_threadsafe(self._cancel)
            return
        # A third one is for this process itself, should even this hang.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._kill()
        raise KeyboardInterrupt

    def _cancel(self, *, then_kill: bool = False) -> None:
        if self._cancelling is None:
            self._cancelling = self._loop.create_task(self._cancel_cell(then_kill))

    async def _cancel_cell(self, then_kill: bool) -> None:
        assert self._session is not None
        cancelling = asyncio.ensure_future(self._session.cancel())
        try:
            ended, _ = await asyncio.wait([cancelling], timeout=HINT_AFTER_S)
            if not ended and not then_kill:
                self._terminal.complain("the cell has not ended yet; Ctrl-C again ends the session")
                await cancelling
        finally:
            if then_kill:
                self._kill()

    def _on_output_lost(self) -> None:
        """Nobody reads what the cell writes: end it, as SIGPIPE ends other programs."""
        self._loop.call_soon_threadsafe(lambda: self._cancel(then_kill=True))

    def _kill(self) -> None:
        pid = self._session.pid if self._session is not None else None
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
