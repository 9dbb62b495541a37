"""Messages of the worker that belong to no single execution."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from ..logs import get_logger
from ..protocol.messages import FaultMessage, HeartbeatMessage, StepMessage, StepReplyMessage, ToSession
from .background_tasks import BackgroundTasks
from .callbacks import pass_on_exit
from .link import WorkerLink
from .supervisor import Supervisor

__all__ = ["ControlMessages", "StepCallback"]

log = get_logger("stateroom.session")

StepCallback = Callable[[StepMessage], Awaitable[StepReplyMessage]]


class ControlMessages:
    """Takes heartbeats, steps, warnings and faults."""

    def __init__(self, supervisor: Supervisor, background: BackgroundTasks) -> None:
        self.on_step: StepCallback | None = None
        """Asked what is recorded of a cell's step, and to record it; without it nothing is recorded."""
        self._supervisor = supervisor
        self._background = background

    def __repr__(self) -> str:
        return f"<ControlMessages on_step={self.on_step}>"

    def take(self, message: ToSession) -> None:
        """Act on the message."""
        if isinstance(message, HeartbeatMessage):
            if self._supervisor.link is not None:
                self._supervisor.link.take_heartbeat(message)
        elif isinstance(message, StepMessage):
            self._background.run(self._take_step(message, self._supervisor.link))
        elif isinstance(message, FaultMessage):
            log.warning("worker_fault", reason=message.reason, fatal=message.fatal)
        else:
            log.warning("worker_warning", message=msgspec.to_builtins(message))

    async def _take_step(self, message: StepMessage, link: WorkerLink | None) -> None:
        reply = StepReplyMessage(request_id=message.request_id)
        if self.on_step is not None:
            try:
                reply = _checked(await self.on_step(message))
            except asyncio.CancelledError:
                reply.error = "on_step was cancelled"
            except BaseException as error:
                log.exception("step_failed", step=message.name, execution_id=message.execution_id)
                reply.error = f"{type(error).__name__}: {error}"
                pass_on_exit(error)
        if link is not None and self._supervisor.link is link:  # else another worker would get it
            link.send(reply)


def _checked(reply: object) -> StepReplyMessage:
    """The reply, if the worker can read it: else the step would wait for ever."""
    if not isinstance(reply, StepReplyMessage):
        raise TypeError(f"on_step returned a {type(reply).__name__}, not a StepReplyMessage")
    if reply.value is not None and not isinstance(reply.value, bytes):
        raise TypeError(f"on_step returned a value of type {type(reply.value).__name__}, not bytes")
    return reply
