"""Runs one cell in the main thread: in the loop, or with the loop out of its way.

A synchronous cell runs while the loop stands still or is in the companion. A cell that awaits runs
as a task of the loop; when it comes to a stretch that blocks, the task stops the loop and waits,
the main thread runs the stretch like a synchronous cell, and the loop and the task go on.
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio import CancelledError
from collections.abc import Callable
from functools import partial
from typing import Any

from ..engine.async_executor import AsyncExecutor, Plan
from ..engine.compiler import ExecutionMode
from .handover import Handover
from .interrupt_target import INSIST_FROM_ATTEMPT, Target
from .interrupts import Interrupts

__all__ = ["CellRunner"]


class CellRunner:
    """Runs planned cells, all in one context, so that context variables live from cell to cell."""

    def __init__(
        self,
        executor: AsyncExecutor,
        handover: Handover,
        interrupts: Interrupts,
        context: contextvars.Context,
    ) -> None:
        self._executor = executor
        self._handover = handover
        self._interrupts = interrupts
        self._context = context
        self._stretch: _Stretch | None = None

    def __repr__(self) -> str:
        return f"<CellRunner {self._handover!r} stretch={self._stretch!r}>"

    def run(self, plan: Plan, target: Target) -> Any:
        """The value of the cell's last expression; raises what the cell raises."""
        if self._interrupts.wanted(target.number):
            raise CancelledError("the cell was cancelled before it began")
        try:
            if plan.cell.is_coroutine:
                return self._run_in_loop(plan, target)
            blocking = plan.mode is ExecutionMode.BLOCKING_SYNC
            return self.run_outside_loop(partial(self._executor.run_sync, plan.cell), blocking=blocking)
        finally:
            if target.attempts >= INSIST_FROM_ATTEMPT:
                self._handover.desk.forget_own()

    def run_behind_cell(self, function: Callable[[], Any]) -> Any:
        """Call ``function`` after a cell, which may have left the loop away; a cancel may end that wait."""
        self._handover.home()
        return self.run_outside_loop(function, blocking=False)

    def run_outside_loop(self, function: Callable[[], Any], *, blocking: bool) -> Any:
        """Call ``function`` as synchronous cells are called: the loop is on loan, or away if it blocks."""
        self._handover.still()
        if blocking:
            self._handover.take_over()
        try:
            return self._context.run(function)
        finally:
            self._handover.release()

    def _run_in_loop(self, plan: Plan, target: Target) -> Any:
        loop = self._handover.loop
        self._executor.coroutines.take_on()
        coroutine = self._executor.run_coroutine(plan, self._outside)
        task = loop.create_task(self._executor.coroutines.run(coroutine), context=self._context)
        task.add_done_callback(lambda _: loop.stop())
        target.task = task
        if self._interrupts.wanted(target.number):
            task.cancel()
        while not task.done():
            self._handover.run_at_home()
            if self._stretch is not None and target.to_cancel is None:
                self._run_stretch(self._stretch, target)
        target.in_loop = False  # what follows runs beside the loop: a displayhook, a repr
        coroutine.close()  # it has not begun, if the task was cancelled before its first step
        return task.result()

    async def _outside(self, function: Callable[[], Any]) -> Any:
        """In the task of a cell: have ``function`` called with the loop out of its way."""
        self._stretch = stretch = _Stretch(function, self._handover.loop)
        self._handover.loop.stop()
        await stretch.done
        if stretch.done.was_cancelled:
            _cancel_at_next_await(stretch.done.cancel_message)
        if stretch.error is not None:
            raise stretch.error
        return stretch.value

    def _run_stretch(self, stretch: _Stretch, target: Target) -> None:
        """Do what the task of the cell has asked for; the loop is stopped."""
        self._stretch = None
        if stretch.done.done():  # the task was cancelled before its turn came
            return
        target.in_loop = False
        stretch.done.is_held = True
        self._handover.desk.task = target.task
        try:
            stretch.value = self.run_outside_loop(stretch.function, blocking=True)
        except BaseException as error:  # noqa: BLE001 - raised again in the task of the cell
            stretch.error = error
        self._handover.desk.task = None
        target.back_in_loop()
        self._bring_home(stretch)
        stretch.done.set_result(None)

    def _bring_home(self, stretch: _Stretch) -> None:
        """A background task may hold the loop elsewhere; a cancel that comes meanwhile is the cell's."""
        while True:
            try:
                return self._handover.home()
            except CancelledError as error:
                stretch.error = error


class _Stretch:
    """A part of a cell that blocks, and what became of it."""

    __slots__ = ("done", "error", "function", "value")

    def __init__(self, function: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.function = function
        self.done = _Hold(loop=loop)
        self.value: Any = None
        self.error: BaseException | None = None

    def __repr__(self) -> str:
        return f"<_Stretch done={self.done.done()}>"


class _Hold(asyncio.Future[None]):
    """Keeps the task of a cell waiting, whoever cancels it, while the main thread is in its context.

    A context can be entered by one thread at a time: a step of the task would fail, and be lost.
    """

    is_held = False
    was_cancelled = False
    cancel_message: Any = None

    def cancel(self, msg: Any = None) -> bool:
        if not self.is_held or self.done():
            return super().cancel(msg)
        self.was_cancelled = True
        self.cancel_message = msg
        return True


def _cancel_at_next_await(message: Any) -> None:
    """Pass a cancel on to this task, which has counted it before."""
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    task.cancel(message)
