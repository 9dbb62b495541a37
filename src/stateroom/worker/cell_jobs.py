"""One cell from its Execute message to its reply, in the worker's main thread."""

from __future__ import annotations

import contextvars
import os
import sys
from asyncio import CancelledError
from collections.abc import Callable
from functools import partial
from os import getpid  # cells may put other functions in the places of these
from time import perf_counter
from typing import Any

from ..engine.async_executor import AsyncExecutor
from ..engine.blocking import Verdict
from ..engine.compiler import ExecutionMode
from ..engine.coroutines import note_cancel
from ..protocol.messages import ErrorMessage, ExecuteMessage, ResultMessage, WarningMessage
from .cell_runner import CellRunner
from .display import call_repr, show, user_displayhook
from .input import InputBroker, reopen_stdin
from .interrupt_target import Target
from .interrupts import Interrupts
from .origin import origin_of_cell
from .output import Output
from .publisher import Publisher
from .replies import failure, leave_child, success
from .steps import StepBroker
from .time_limit import TimeLimit
from .trio_runs import as_cancel
from .uncaught import call_hook, remember, user_hook
from .user_code import call_user_code

__all__ = ["SHOWING", "CellJobs"]

SHOWING = frozenset({call_repr.__code__, call_user_code.__code__})
"""The frames through which the engine calls code of a value that it shows."""


class CellJobs:
    """Compiles, runs and shows cells, each with streams, input and displays that know it."""

    def __init__(
        self,
        executor: AsyncExecutor,
        runner: CellRunner,
        interrupts: Interrupts,
        limit: TimeLimit,
        context: contextvars.Context,
        *,
        send: Callable[[WarningMessage], None],
        output: Output,
        publisher: Publisher,
        broker: InputBroker,
        steps: StepBroker,
    ) -> None:
        self._executor = executor
        self._runner = runner
        self._interrupts = interrupts
        self._limit = limit
        self._context = context
        self._send = send
        self._output = output
        self._publisher = publisher
        self._input = broker
        self._steps = steps
        self._pid = getpid()

    def __repr__(self) -> str:
        return f"<CellJobs running={self._output.running} {self._runner!r}>"

    def do(self, message: ExecuteMessage) -> tuple[ResultMessage | ErrorMessage, list[Any]]:
        """Run the cell; its reply, and the buffers that belong to it."""
        self._begin(message)
        reply, buffers = self._run(message)
        if getpid() != self._pid:
            leave_child(reply)
        return reply, buffers

    def end(self) -> list[str]:
        """All output of the cell has been sent; notes on what of it is missing."""
        self._input.running = None
        return [*self._output.end(), *self._publisher.end()]

    def _begin(self, message: ExecuteMessage) -> None:
        self._output.begin(message.execution_id)
        self._publisher.begin(message.execution_id)
        self._input.running = message.execution_id
        self._steps.begin(message.execution_id)
        self._context.run(origin_of_cell.set, message.execution_id)
        reopen_stdin(self._input)

    def _become_script(self, message: ExecuteMessage) -> None:
        """Let the cell find what a script finds: its file, its arguments, its folder on the path."""
        sys.argv = list(message.argv or [])
        if message.filename:
            from importlib.machinery import SourceFileLoader

            namespace = self._executor.namespace
            namespace["__file__"] = message.filename
            namespace["__cached__"] = None
            namespace["__loader__"] = SourceFileLoader("__main__", message.filename)
            sys.path[:1] = [os.path.dirname(os.path.abspath(message.filename))]

    def _run(self, message: ExecuteMessage) -> tuple[ResultMessage | ErrorMessage, list[Any]]:
        started = perf_counter()
        mode = ExecutionMode.UNKNOWN
        executor = self._executor
        try:
            if message.argv is not None:
                self._become_script(message)
            cell = executor.prepare(message.code, message.filename)
            plan = executor.plan(cell)
            mode = plan.mode
            if plan.verdict is not None and executor.config.warn_on_blocking:
                self._warn_of_blocking(message, plan.verdict)
            target = Target(message.number, plan.codes | SHOWING, in_loop=cell.is_coroutine)
            self._interrupts.aim(target)
            value = self._runner.run(plan, target)
            executor.record(value)
            if value is not None and message.argv is None and (hook := user_displayhook()) is not None:
                self._runner.run_behind_cell(partial(call_user_code, hook, value))
            with self._limit:
                shown = show(value, executor.config)
            self._publisher.send_figures()
        except BaseException as raised:  # noqa: BLE001 - whatever a cell raises is its outcome
            error = as_cancel(raised) if self._interrupts.wanted(message.number) else raised
        else:
            return success(message, mode, perf_counter() - started, shown), shown.buffers
        error = self._uncaught(message, error)
        return self._failure(message, error, mode, perf_counter() - started), []

    def _warn_of_blocking(self, message: ExecuteMessage, verdict: Verdict) -> None:
        fields = {"call": verdict.call, "line": verdict.line, "via": verdict.via}
        self._send(WarningMessage(event="blocking_call", execution_id=message.execution_id, fields=fields))

    def _uncaught(self, message: ExecuteMessage, error: BaseException) -> BaseException:
        """Do what Python does with an error; the error, or the cancel that ended this."""
        if issubclass(type(error), SystemExit):
            return error
        remember(error)
        hook = user_hook()
        if hook is None or self._is_cancel(message, error):
            return error
        self._interrupts.aim(Target(message.number, SHOWING, in_loop=False))
        try:
            self._runner.run_behind_cell(partial(call_hook, hook, error))
        except CancelledError as cancel:
            return cancel
        return error

    def _is_cancel(self, message: ExecuteMessage, error: BaseException) -> bool:
        return issubclass(type(error), CancelledError) and self._interrupts.wanted(message.number)

    def _failure(
        self, message: ExecuteMessage, error: BaseException, mode: ExecutionMode, duration_s: float
    ) -> ErrorMessage:
        cancelled = self._is_cancel(message, error)
        if cancelled:
            note_cancel(error, f"the session, request {self._interrupts.page.read()[1]}")
        max_chars = self._executor.config.max_error_chars
        with self._limit:
            reply = failure(message, error, max_chars=max_chars, mode=mode, duration_s=duration_s)
        reply.cancelled = cancelled
        if not cancelled:
            self._send_figures_of_failure()
        return reply

    def _send_figures_of_failure(self) -> None:
        """A cell that failed has drawn something all the same; a cancel that comes now ends only this."""
        try:
            self._publisher.send_figures()
        except CancelledError:
            pass
