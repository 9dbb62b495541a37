"""Checkpoints on the worker's side: what the main thread does between cells to save and restore."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from time import perf_counter
from types import CodeType
from typing import Any

from ..engine.async_executor import AsyncExecutor
from ..errors import CheckpointError
from ..protocol.messages import (
    CheckpointChunkMessage,
    CheckpointedMessage,
    CheckpointMessage,
    RestoredMessage,
    RestoreMessage,
)
from .import_path import ImportPath
from .interrupt_target import Target
from .interrupts import Interrupts
from .outbox import Outbox
from .time_limit import TimeLimit

__all__ = ["CheckpointJobs"]


class CheckpointJobs:
    """Writes checkpoints to the session, chunk by chunk, and restores them from files.

    cloudpickle is loaded with the first of them: most workers never need it.
    """

    def __init__(
        self,
        executor: AsyncExecutor,
        outbox: Outbox,
        interrupts: Interrupts,
        limit: TimeLimit,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._executor = executor
        self._outbox = outbox
        self._interrupts = interrupts
        self._limit = limit
        """Of what is done to save one variable."""
        self._live = {"event_loop": loop}
        self._path = ImportPath()

    def __repr__(self) -> str:
        return f"<CheckpointJobs {self._executor.namespace_manager!r}>"

    def do(self, message: CheckpointMessage | RestoreMessage) -> CheckpointedMessage | RestoredMessage:
        """Do it; the reply. Raises CheckpointError, or CancelledError if it is cancelled."""
        from .checkpoint import INTERRUPTIBLE

        self._interrupts.aim(Target(message.number, _codes_of(INTERRUPTIBLE), in_loop=False))
        if isinstance(message, CheckpointMessage):
            return self._save(message)
        return self._restore(message)

    def _save(self, message: CheckpointMessage) -> CheckpointedMessage:
        from .checkpoint import INTERRUPTIBLE, write_checkpoint

        started = perf_counter()
        self._limit.set(message.timeout_s, _codes_of(INTERRUPTIBLE))
        checkpoint = write_checkpoint(
            self._executor.namespace_manager,
            live=self._live,
            sources=self._executor.compiler.sources,
            added_path=self._path.added(),
            timeout_s=message.timeout_s,
            limited=partial(self._interrupts.within, self._limit),
        )
        piece = CheckpointChunkMessage(execution_id=message.execution_id, number=message.number)
        try:
            for chunk in checkpoint.chunks():
                self._outbox.send(piece, chunk)
                self._outbox.wait_for_room()
        finally:
            checkpoint.release()
        duration_s = perf_counter() - started
        return CheckpointedMessage(
            execution_id=message.execution_id, number=message.number, duration_s=duration_s
        )

    def _restore(self, message: RestoreMessage) -> RestoredMessage:
        from .checkpoint import restore_checkpoint

        try:
            file = open(message.path, "rb")  # noqa: SIM115 - closed below
        except OSError as error:
            raise CheckpointError(f"cannot read the checkpoint {message.path!r}: {error}") from None
        with file:
            report = restore_checkpoint(
                file,
                self._executor.namespace_manager,
                clear_existing=message.clear_existing,
                allow_other_python=message.allow_other_python,
                live=self._live,
                sources=self._executor.compiler.sources,
            )
        fields: dict[str, Any] = {name: getattr(report, name) for name in report.__struct_fields__}
        return RestoredMessage(execution_id=message.execution_id, number=message.number, **fields)


def _codes_of(functions: Iterable[Callable[..., object]]) -> frozenset[CodeType]:
    return frozenset(function.__code__ for function in functions)
