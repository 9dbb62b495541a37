"""Runs cells in one namespace: compile, decide the mode, run, keep the value of the last expression.

``execute`` does all of it inside a running event loop, for embedding. The worker calls the steps
(``prepare``, ``mode_of``, ``run_sync`` or ``run_coroutine``, ``record``) itself, since it can move
its loop out of the way of synchronous code.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from inspect import CO_COROUTINE
from typing import Any

from ..config import EngineConfig
from .blocking import BlockingDetector, Verdict
from .cache import CodeCache
from .compiler import CompiledCell, Compiler, ExecutionMode
from .coroutines import CoroutineManager
from .namespace import NamespaceManager
from .sources import SourceCache
from .telemetry import Telemetry
from .threaded_executor import ThreadedExecutor

__all__ = ["AsyncExecutor"]

_unnamed = itertools.count(1)


class AsyncExecutor:
    """Executes cells one after another in the namespace of ``namespace_manager``.

    ``transport``, if given, is called with each cell's outcome: ``transport(execution_id, value,
    error)``. ``execution_id`` names the executor's cells in tracebacks and notes;
    ``tla_timeout`` (seconds) limits a cell that awaits. All else is in ``config``.
    """

    def __init__(
        self,
        namespace_manager: NamespaceManager,
        transport: Callable[[str, Any, BaseException | None], None] | None = None,
        execution_id: str | None = None,
        *,
        tla_timeout: float | None = None,
        config: EngineConfig | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.config = config if config is not None else EngineConfig.load()
        self.namespace_manager = namespace_manager
        self.namespace = namespace_manager.namespace
        self.transport = transport
        self.execution_id = execution_id or f"executor-{next(_unnamed)}"
        self.tla_timeout = tla_timeout if tla_timeout is not None else self.config.tla_timeout_s
        self.telemetry = telemetry if telemetry is not None else Telemetry()
        self.detector = BlockingDetector(self.config, self.telemetry)
        self.compiler = Compiler(
            cache=CodeCache(self.config.code_cache_size),
            sources=SourceCache(self.config.source_cache_size),
            analyse=self.detector.analyse if self.config.enable_blocking_detection else None,
        )
        self.coroutines = CoroutineManager(self.telemetry)
        self._threaded = ThreadedExecutor()
        self._cells = itertools.count(1)

    def __repr__(self) -> str:
        return f"<AsyncExecutor {self.execution_id} {self.namespace_manager!r} {self.coroutines!r}>"

    async def execute(self, code: str, *, filename: str | None = None) -> Any:
        """Run one cell inside the running loop and return the value of its last expression.

        Blocking code runs in a thread of its own, everything else right here. Raises what the
        cell raises, with a note that names the execution; TimeoutError after ``tla_timeout``.
        """
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
                self.transport(self.execution_id, value, error)
        return value

    def analyze_execution_mode(self, code: str) -> ExecutionMode:
        """How ``code`` would run now; UNKNOWN if it does not compile. Runs nothing."""
        try:
            return self.mode_of(self.compiler.compile(code, "<analysis>"))
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            return ExecutionMode.UNKNOWN

    def cancel_current(self) -> bool:
        """Cancel the coroutine of the cell that ``execute`` runs; False if nothing is running."""
        return self.coroutines.cancel_current()

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

    def verdict(self, cell: CompiledCell) -> Verdict | None:
        """Which call makes this cell blocking, judged by the namespace as it is now."""
        if cell.sites is None or cell.is_coroutine:
            return None
        return self.detector.verdict(cell.sites, self.namespace)

    def mode_of(self, cell: CompiledCell) -> ExecutionMode:
        """How this cell runs now."""
        if cell.is_coroutine:
            return ExecutionMode.TOP_LEVEL_AWAIT
        if self.verdict(cell) is not None:
            return ExecutionMode.BLOCKING_SYNC
        return ExecutionMode.ASYNC_DEF if cell.defines_async else ExecutionMode.SIMPLE_SYNC

    def run_sync(self, cell: CompiledCell) -> Any:
        """Run a cell without top-level await in the calling thread."""
        if cell.body is not None:
            exec(cell.body, self.namespace)
        if cell.last is None:
            return None
        value = eval(cell.last, self.namespace)
        return None if cell.quiet else value

    async def run_coroutine(self, cell: CompiledCell) -> Any:
        """Run a cell with top-level await, both parts in the calling task."""
        value = None
        for part in (cell.body, cell.last):
            if part is not None:
                value = eval(part, self.namespace)
                if part.co_flags & CO_COROUTINE:
                    value = await value
        return None if cell.quiet or cell.last is None else value

    def record(self, value: Any) -> None:
        """Note the value of the last expression in ``_`` and ``Out``."""
        self.namespace_manager.record_expression_result(value)

    async def _dispatch(self, cell: CompiledCell) -> Any:
        mode = self.mode_of(cell)
        if mode is ExecutionMode.TOP_LEVEL_AWAIT:
            async with asyncio.timeout(self.tla_timeout):
                return await self.coroutines.run(self.run_coroutine(cell))
        if mode is ExecutionMode.BLOCKING_SYNC:
            return await self._threaded.run(self.run_sync, cell)
        return self.run_sync(cell)


def _snippet(code: str, width: int = 60) -> str:
    """The first line of a cell, for a note."""
    first, _, rest = code.strip().partition("\n")
    return first if len(first) <= width and not rest else first[:width].rstrip() + " …"


def _add_note(error: BaseException, note: str) -> None:
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
