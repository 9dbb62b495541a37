"""Runs cells in one namespace: compile, decide the mode, run, keep the value of the last expression.

``execute`` does all of it inside a running event loop, for embedding. The worker calls the steps
(``prepare``, ``plan``, ``run_sync`` or ``run_coroutine``, ``record``) itself, since it can move
its loop out of the way of synchronous code.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
from builtins import eval, exec  # noqa: A004 - cells may put others in their places
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import CO_COROUTINE
from types import CodeType
from typing import Any, NamedTuple

from ..config import EngineConfig
from . import fallback
from .blocking import BlockingDetector, CallSites, Verdict
from .cache import ASTCache, CodeCache
from .compiler import CompiledCell, Compiler, ExecutionMode
from .coordinator import EventLoopCoordinator
from .coroutines import CoroutineManager
from .namespace import NamespaceManager
from .segments import Segment, split
from .sources import SourceCache
from .telemetry import Telemetry
from .threaded_executor import ThreadedExecutor

__all__ = ["AsyncExecutor", "Plan"]

_unnamed = itertools.count(1)


class Plan(NamedTuple):
    """How one run of a cell will go."""

    cell: CompiledCell
    """What was compiled."""
    mode: ExecutionMode
    """How it runs."""
    verdict: Verdict | None
    """The call that makes it blocking, if one does."""
    segments: tuple[Segment, ...]
    """Of a cell that awaits: what to run, in order."""
    codes: frozenset[CodeType]
    """The top-level code objects that may run."""


class AsyncExecutor:
    """Executes cells one after another in the namespace of ``namespace_manager``.

    ``transport``, if given, is called with each cell's outcome: ``transport(execution_id, value,
    error)``; it may be a coroutine function. ``execution_id`` names the executor in notes on errors;
    ``tla_timeout`` (seconds) limits a cell that awaits. All else is in ``config``.
    """

    def __init__(
        self,
        namespace_manager: NamespaceManager,
        transport: Callable[[str, Any, BaseException | None], Any] | None = None,
        execution_id: str | None = None,
        *,
        tla_timeout: float | None = None,
        config: EngineConfig | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.config = config if config is not None else EngineConfig.load()
        """The settings in force."""
        self.namespace_manager = namespace_manager
        """The namespace, with its history."""
        self.namespace = namespace_manager.namespace
        """The dict that cells run in."""
        self.transport = transport
        """Who is told of each outcome; may be replaced between cells."""
        self.execution_id = execution_id or f"executor-{next(_unnamed)}"
        """The name in notes on errors."""
        self.tla_timeout = tla_timeout if tla_timeout is not None else self.config.tla_timeout_s
        """Seconds that a cell which awaits may take; None for no limit."""
        self.telemetry = telemetry if telemetry is not None else Telemetry()
        """Counters of this executor."""
        self.detector = BlockingDetector(self.config, self.telemetry)
        """Finds blocking calls."""
        self.compiler = Compiler(
            cache=CodeCache(self.config.code_cache_size),
            sources=SourceCache(self.config.source_cache_size),
            analyse=self.detector.analyse if self.config.enable_blocking_detection else None,
            fallback=self._fallback(),
        )
        self.coroutines = CoroutineManager(self.telemetry)
        """Knows the coroutine of the cell that runs."""
        self.coordinator = EventLoopCoordinator()
        """Knows the running loop."""
        self._threaded = ThreadedExecutor()
        self._cells = itertools.count(1)

    def __repr__(self) -> str:
        return f"<AsyncExecutor {self.execution_id} {self.namespace_manager!r} {self.coroutines!r}>"

    async def execute(self, code: str, *, filename: str | None = None) -> Any:
        """Run one cell inside the running loop and return the value of its last expression.

        Blocking code runs in a thread of its own, everything else right here. Raises what the
        cell raises, with a note that names the execution; TimeoutError after ``tla_timeout``;
        :class:`NoRunningLoop` where no loop runs.
        """
        self.coordinator.require("AsyncExecutor.execute()")
        self.coroutines.take_on()
        error: BaseException | None = None
        value = None
        try:
            cell = self.prepare(code, filename)
            value = await self._dispatch(cell)
            self.record(value)
        except BaseException as raised:
            error = raised
            _add_note(raised, f"in execution {self.execution_id}: {_snippet(code)}")
            raise
        finally:
            if self.transport is not None:
                sent = self.transport(self.execution_id, value, error)
                if inspect.iscoroutine(sent):
                    self.coordinator.defer(sent)
            self.coroutines.let_go()
            await self.coordinator.flush()
        return value

    def analyze_execution_mode(self, code: str) -> ExecutionMode:
        """How ``code`` would run now; UNKNOWN if it does not compile. Runs nothing."""
        try:
            return self.plan(self.compiler.compile(code, "<analysis>")).mode
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            return ExecutionMode.UNKNOWN

    def cancel_current(self) -> bool:
        """Cancel the cell that ``execute`` runs in the loop; False if none is running, or not in the loop.

        Cooperative: a CancelledError at its next await. Tasks that the cell made go on, and so does blocking
        code, which has a thread of its own.
        """
        return self.coroutines.cancel_current("AsyncExecutor.cancel_current()")

    def cleanup_coroutines(self) -> int:
        """Close what a cell may have left open; how many there were."""
        return self.coroutines.cleanup_coroutines()

    def next_filename(self) -> str:
        """A name for the next cell in tracebacks."""
        return f"<cell {next(self._cells)}>"

    def prepare(self, code: str, filename: str | None = None) -> CompiledCell:
        """Compile a cell and note it in the history. Raises the user's SyntaxError and the like."""
        self.namespace_manager.prepare()
        self.namespace_manager.record_input(code)
        return self.compiler.compile(code, filename or self.next_filename())

    def plan(self, cell: CompiledCell) -> Plan:
        """How to run this cell, judged by the namespace as it is now."""
        verdict = None
        if isinstance(cell.sites, CallSites):
            verdict = self.detector.verdict(cell.sites, self.namespace)
        if not cell.is_coroutine:
            mode = ExecutionMode.BLOCKING_SYNC if verdict is not None else cell.mode
            return Plan(cell, mode, verdict, (), cell.codes)
        if verdict is None or cell.is_wrapped:
            return Plan(cell, cell.mode, verdict, _parts(cell), cell.codes)
        segments = split(cell, self.detector.analyse)
        codes = frozenset(segment.code for segment in segments)
        return Plan(cell, cell.mode, verdict, segments, codes)

    def run_sync(self, cell: CompiledCell) -> Any:
        """Run a cell without top-level await in the calling thread."""
        if cell.body is not None:
            exec(cell.body, self.namespace)
        return None if cell.last is None else eval(cell.last, self.namespace)

    async def run_coroutine(
        self, plan: Plan, outside: Callable[[Callable[[], Any]], Awaitable[Any]] | None = None
    ) -> Any:
        """Run a cell with top-level await in the calling task.

        Stretches of it that block are handed to ``outside``, which calls them with the loop out of
        their way. Raises TimeoutError after ``tla_timeout``; such a stretch is run to its end first.
        """
        if self.tla_timeout is None:
            return await self._run_parts(plan, outside)
        limit = asyncio.timeout(self.tla_timeout)
        try:
            async with limit:
                return await self._run_parts(plan, outside)
        except TimeoutError as error:
            if limit.expired():  # else it is the cell's own
                error.args = (f"the cell took longer than tla_timeout_s ({self.tla_timeout} s)",)
            raise

    async def _run_parts(
        self, plan: Plan, outside: Callable[[Callable[[], Any]], Awaitable[Any]] | None
    ) -> Any:
        if plan.cell.is_wrapped:
            return await fallback.run(plan.cell, self.namespace_manager)
        value = None
        for code, sites in plan.segments:
            if code.co_flags & CO_COROUTINE:
                value = await eval(code, self.namespace)
            elif outside is not None and self._blocks(sites):
                value = await outside(partial(eval, code, self.namespace))
            else:
                value = eval(code, self.namespace)
        return None if plan.cell.last is None else value

    def record(self, value: Any) -> None:
        """Note the value of the last expression in ``_`` and ``Out``."""
        self.namespace_manager.record_expression_result(value)

    async def _dispatch(self, cell: CompiledCell) -> Any:
        plan = self.plan(cell)
        if plan.verdict is not None and self.config.warn_on_blocking:
            _log_blocking(plan.verdict, self.execution_id)
        if plan.mode is ExecutionMode.TOP_LEVEL_AWAIT:
            return await self.coroutines.run(self.run_coroutine(plan, self._threaded.run))
        self.coroutines.let_go()  # nothing of it can be cancelled
        if plan.mode is ExecutionMode.BLOCKING_SYNC:
            return await self._threaded.run(partial(self.run_sync, cell))
        return self.run_sync(cell)

    def _blocks(self, sites: CallSites | None) -> bool:
        return sites is not None and self.detector.verdict(sites, self.namespace) is not None

    def _fallback(self) -> fallback.FallbackTransformer:
        config = self.config
        hoister = None
        if config.enable_symtable_hoisting:
            from .hoisting import Hoister

            hoister = Hoister(self.namespace)
        return fallback.FallbackTransformer(
            config.enable_def_await_rewrite,
            config.enable_async_lambda_helper,
            hoister,
            ASTCache(config.ast_cache_size),
        )


def _parts(cell: CompiledCell) -> tuple[Segment, ...]:
    return tuple(Segment(code) for code in (cell.body, cell.last) if code is not None)


def _log_blocking(verdict: Verdict, execution_id: str) -> None:
    import logging  # not before it is needed: a worker, which sends a message instead, starts faster

    how = f" (by way of {', '.join(verdict.via)})" if verdict.via else ""
    where = f"line {verdict.line} of a cell of {execution_id}"
    logging.getLogger("stateroom.engine").warning("%s blocks in %s%s", verdict.call, where, how)


def _snippet(code: str, width: int = 60) -> str:
    """The first line of a cell, for a note."""
    first, _, rest = code.strip().partition("\n")
    return first if len(first) <= width and not rest else first[:width].rstrip() + " …"


def _add_note(error: BaseException, note: str) -> None:
    """Add it once; an error that is not fit for notes goes without."""
    try:
        if note not in getattr(error, "__notes__", ()):
            BaseException.add_note(error, note)
    except Exception:  # noqa: BLE001, S110 - its attributes may be the user's code
        pass
