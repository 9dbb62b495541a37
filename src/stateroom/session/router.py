"""Where each message from a worker goes: the one place that reads them, in order."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from typing import Any

from ..errors import ProtocolError, UnexpectedMessage
from ..logs import get_logger
from ..protocol.messages import (
    CheckpointChunkMessage,
    CheckpointedMessage,
    ClearMessage,
    DisplayMessage,
    ErrorMessage,
    FaultMessage,
    HeartbeatMessage,
    InputMessage,
    OutputMessage,
    ProgressMessage,
    ReadyMessage,
    RestoredMessage,
    ResultMessage,
    StepMessage,
    ToSession,
    WarningMessage,
)
from .checkpoint_job import CheckpointJob
from .execution import Execution, Rich
from .interceptors import Interceptors

__all__ = ["Router", "Work"]

log = get_logger("stateroom.session")

Work = Execution | CheckpointJob
"""What a worker does one at a time."""
Reply = ResultMessage | ErrorMessage | CheckpointChunkMessage | CheckpointedMessage | RestoredMessage
"""What comes of it, and only of it."""


class Router:
    """Hands messages to the execution they belong to, everything else to ``on_control``.

    A message that breaks the protocol goes to ``on_violation``; the session then gives the worker up.
    Late output of an execution that has ended goes to ``on_late_output`` and ``on_late_display``.
    """

    def __init__(
        self,
        interceptors: Interceptors,
        *,
        on_control: Callable[[HeartbeatMessage | StepMessage | WarningMessage | FaultMessage], None],
        on_input: Callable[[InputMessage, Execution | None], None],
        on_finished: Callable[[Work], None],
        on_late_output: Callable[[OutputMessage], None],
        on_late_display: Callable[[Rich], None],
        on_violation: Callable[[ProtocolError], None],
    ) -> None:
        self.running: Work | None = None
        self.withdrawn: set[int] = set()
        """Executions that the worker has got and will not begin; it says so when their turn comes."""
        self.messages = 0
        self.executions = 0
        """Executions that were sent and have ended, however."""
        self._interceptors = interceptors
        self._on_control = on_control
        self._on_input = on_input
        self._on_finished = on_finished
        self._on_late_output = on_late_output
        self._on_late_display = on_late_display
        self._on_violation = on_violation

    def __repr__(self) -> str:
        return f"<Router running={self.running!r} messages={self.messages}>"

    def deliver(self, item: ToSession | ProtocolError) -> None:
        """Take one message from the transport."""
        self.messages += 1
        try:
            if isinstance(item, ProtocolError):
                raise item
            if self._interceptors:
                self._interceptors.see(item)
            self._route(item)
        except ProtocolError as error:
            self._on_violation(error)
        except (Exception, CancelledError) as error:
            # A fault of ours must not take the transport, and with it the worker, along in silence.
            log.exception("message_not_handled", message=type(item).__name__)
            self._on_violation(ProtocolError(f"a {type(item).__name__} could not be handled: {error!r}"))

    def release(self) -> Work | None:
        """What was running runs no more: its reply has come, or its worker is gone."""
        work, self.running = self.running, None
        self.executions += isinstance(work, Execution)
        return work

    def _route(self, message: ToSession) -> None:
        way = _WAYS.get(type(message))
        if way is not None:
            way(self, message)
        else:
            self._on_control(message)  # type: ignore[arg-type]

    def _route_output(self, message: OutputMessage) -> None:
        execution = self._execution_of(message.execution_id)
        if execution is None:
            self._on_late_output(message)
        else:
            execution.take_output(message)

    def _route_rich(self, message: Rich) -> None:
        execution = self._execution_of(message.execution_id)
        if execution is None:
            self._on_late_display(message)
        else:
            execution.take_rich(message)

    def _route_input(self, message: InputMessage) -> None:
        self._on_input(message, self._execution_of(message.execution_id))

    def _route_result(self, message: ResultMessage) -> None:
        self._finish(message, _take_result)

    def _route_error(self, message: ErrorMessage) -> None:
        if message.cancelled and message.number in self.withdrawn:
            self.withdrawn.remove(message.number)
        else:
            self._finish(message, _take_error)

    def _route_chunk(self, message: CheckpointChunkMessage) -> None:
        running = self._owner(message)
        if not isinstance(running, CheckpointJob):
            raise UnexpectedMessage(f"a piece of checkpoint {message.execution_id} came unasked")
        running.take_chunk(message)

    def _route_checkpoint_reply(self, message: CheckpointedMessage | RestoredMessage) -> None:
        self._finish(message, _take_reply)

    def _refuse_ready(self, _message: ReadyMessage) -> None:
        raise UnexpectedMessage("a ReadyMessage came from a worker that was ready")

    def _execution_of(self, execution_id: str | None) -> Execution | None:
        """Whose output this is: threads and tasks know their cell by its id."""
        running = self.running
        is_its = isinstance(running, Execution) and running.execution_id == execution_id
        return running if is_its else None  # type: ignore[return-value]

    def _owner(self, reply: Reply) -> Work | None:
        """Whom this is a reply to, by the number: an id may be used again."""
        running = self.running
        return running if running is not None and running.number == reply.number else None

    def _finish(self, message: Reply, take: Callable[[Any, Any], None]) -> None:
        work = self._owner(message)
        if work is None:
            running = self.running.execution_id if self.running is not None else "nothing"
            raise UnexpectedMessage(
                f"a {type(message).__name__} came for {message.execution_id} (number {message.number}), "
                f"but {running} is running"
            )
        take(work, message)
        self.release()
        self._on_finished(work)


_WAYS: dict[type, Callable[[Router, Any], None]] = {
    OutputMessage: Router._route_output,
    DisplayMessage: Router._route_rich,
    ClearMessage: Router._route_rich,
    ProgressMessage: Router._route_rich,
    InputMessage: Router._route_input,
    ResultMessage: Router._route_result,
    ErrorMessage: Router._route_error,
    CheckpointChunkMessage: Router._route_chunk,
    CheckpointedMessage: Router._route_checkpoint_reply,
    RestoredMessage: Router._route_checkpoint_reply,
    ReadyMessage: Router._refuse_ready,
}
"""All others are of the worker, not of an execution."""


def _take_result(work: Work, message: ResultMessage) -> None:
    if not isinstance(work, Execution):
        raise UnexpectedMessage(f"a result came for {work.execution_id}, which is no cell")
    work.take_result(message)


def _take_reply(work: Work, message: CheckpointedMessage | RestoredMessage) -> None:
    if not isinstance(work, CheckpointJob):
        raise UnexpectedMessage(f"a {type(message).__name__} came for {work.execution_id}, which is a cell")
    work.take_reply(message)


def _take_error(work: Work, message: ErrorMessage) -> None:
    work.take_error(message)
