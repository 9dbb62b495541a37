"""What a worker does between cells at the session's request: a checkpoint, a restore."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..errors import CheckpointError, UnexpectedMessage
from ..protocol.framing import Buffer
from ..protocol.lifecycle import ExecutionEvent, ExecutionState, advance_execution
from ..protocol.messages import (
    CheckpointChunkMessage,
    CheckpointedMessage,
    CheckpointMessage,
    ErrorInfo,
    ErrorMessage,
    RestoredMessage,
    RestoreMessage,
)

__all__ = ["CheckpointJob"]


class CheckpointJob:
    """Waits its turn among the executions and is cancelled like one; ``done`` gets the worker's reply.

    A failure is a :class:`CheckpointError` there.
    """

    def __init__(
        self,
        message: CheckpointMessage | RestoreMessage,
        on_chunk: Callable[[Buffer], None] = lambda _: None,
        *,
        is_automatic: bool = False,
    ) -> None:
        self.message = message
        self.is_automatic = is_automatic
        """Nobody asked for it, so a cancel without a name means any cell rather than it."""
        self.execution_id = message.execution_id
        self.number = message.number
        self.state = ExecutionState.QUEUED
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.timeout_s: float | None = None
        """Set when the time limit of a recovery has run out."""
        self.cancel_attempts = 0
        self.hard_stopped = False
        self._on_chunk = on_chunk
        self._chunk_error: CheckpointError | None = None

    def __repr__(self) -> str:
        return f"<CheckpointJob {self.execution_id} {self.state.name}>"

    @property
    def is_recovery(self) -> bool:
        """Whether it brings a new worker what the one before it had."""
        return self.is_automatic and isinstance(self.message, RestoreMessage)

    def advance(self, event: ExecutionEvent) -> None:
        """Move to the next state; raises :class:`UnexpectedMessage` if there is none."""
        self.state = advance_execution(self.state, event, self.execution_id)

    def let_pass(self) -> None:
        """Nobody can hold a checkpoint's messages up."""

    def take_chunk(self, message: CheckpointChunkMessage) -> None:
        """Pass a piece on; after a failure the rest is let by, since the worker sends it anyway."""
        self.advance(ExecutionEvent.OUTPUT)
        if self._chunk_error is None:
            try:
                self._on_chunk(message.data)
            except (CheckpointError, OSError, ValueError) as error:  # ValueError: the file was closed
                self._chunk_error = CheckpointError(f"the checkpoint could not be stored: {error}")

    def take_reply(self, message: CheckpointedMessage | RestoredMessage) -> None:
        if isinstance(message, RestoredMessage) != isinstance(self.message, RestoreMessage):
            raise UnexpectedMessage(f"a {type(message).__name__} came for {self.execution_id}")
        self.advance(ExecutionEvent.RESULT)
        self._settle(self._chunk_error, message)

    def take_error(self, message: ErrorMessage) -> None:
        self.advance(ExecutionEvent.CANCELLED if message.cancelled else ExecutionEvent.ERROR)
        self._settle(self._failure(message.error.message or message.error.type, cancelled=message.cancelled))

    def give_up(self, event: ExecutionEvent, error: ErrorInfo, *, cancelled: bool = False) -> None:
        """End without a reply of the worker."""
        self.advance(event)
        what = f"{'cancelled: ' if cancelled else ''}{error.message}"
        self._settle(self._failure(what, cancelled=cancelled))

    def _failure(self, what: str, *, cancelled: bool) -> CheckpointError:
        if cancelled and self.timeout_s is not None:
            what = f"{self.execution_id} did not end within restore_timeout_s ({self.timeout_s} s)"
        return CheckpointError(what)

    def _settle(self, error: CheckpointError | None, reply: Any = None) -> None:
        if error is None:
            self.done.set_result(reply)
        else:
            self.done.set_exception(error)
            self.done.exception()  # nobody has to look at it
