"""Every error that stateroom raises, in one tree.

::

    StateroomError
    ├── ConfigError              a setting has a value that cannot work
    ├── ProtocolError            the two ends of a transport disagree
    │   ├── FrameTooLarge        a frame is over ``max_frame_bytes``
    │   ├── MalformedFrame       bytes that are not a frame, or not a message
    │   ├── UnexpectedMessage    a message that the lifecycle does not allow now
    │   └── VersionMismatch      the worker speaks another protocol version, or runs another Python
    ├── SessionError             the session cannot do what was asked
    │   ├── SessionClosed        it was closed, or was never started
    │   ├── SessionBroken        its worker is gone; ``restart()`` brings a new one
    │   │   └── WorkerDied       the worker ended while a cell ran; in the result of that cell
    │   ├── Busy                 an execution is running and ``queue=False`` was said
    │   ├── WorkerStartError     no worker became ready
    │   ├── PoolTimeout          no session of a pool came free in time
    │   └── InputRefused         an answer for an input request that is not open
    ├── ExecutionError           a cell failed and ``check=True`` was said
    ├── NotPlainData             a value that does not cross the process boundary
    ├── CheckpointError          a checkpoint cannot be written or read
    │   └── StaleSave            of a ``CellStore``: somebody else has finished that cell meanwhile
    ├── DurableError             a durable execution cannot be begun, continued or settled
    │   ├── DurableRejected      it was rejected: out of time, shut down, or by somebody
    │   ├── StepFailed           a step of a cell can be neither looked up nor recorded
    │   └── StoreError           a durable store cannot be opened or used
    └── NoRunningLoop            something that needs an event loop was called without it, or in another one

Every error pickles: what it was built from is in ``args``. All are here but ``StaleSave``, which is in
:mod:`stateroom.integration.cell_store`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .session.execution import ExecutionResult

__all__ = [
    "Busy",
    "CheckpointError",
    "ConfigError",
    "DurableError",
    "DurableRejected",
    "ExecutionError",
    "FrameTooLarge",
    "InputRefused",
    "MalformedFrame",
    "NoRunningLoop",
    "NotPlainData",
    "PoolTimeout",
    "ProtocolError",
    "SessionBroken",
    "SessionClosed",
    "SessionError",
    "StateroomError",
    "StepFailed",
    "StoreError",
    "UnexpectedMessage",
    "VersionMismatch",
    "WorkerDied",
    "WorkerStartError",
]


class StateroomError(Exception):
    """The root of the tree: ``except StateroomError`` catches all that this package raises."""


class ConfigError(StateroomError, ValueError):
    """A setting has a value that cannot work."""


class ProtocolError(StateroomError):
    """The two ends of a transport disagree."""


class FrameTooLarge(ProtocolError):
    """A frame is over the limit that both ends agreed on."""


class MalformedFrame(ProtocolError):
    """Bytes that are not a frame, or a frame that holds no known message."""


class UnexpectedMessage(ProtocolError):
    """A message that the lifecycle of its execution does not allow at this point."""


class VersionMismatch(ProtocolError):
    """The worker speaks another version of the protocol, or runs a Python that the session does not want."""


class SessionError(StateroomError):
    """The session cannot do what was asked of it."""


class SessionClosed(SessionError):
    """The session was closed, or never started."""


class SessionBroken(SessionError):
    """The session's worker is gone; ``restart()`` brings a new one."""


class WorkerDied(SessionBroken):
    """The worker ended while a cell ran: the error in that cell's result, with exit status or signal."""


class Busy(SessionError):
    """An execution is running, and the caller did not want to wait for its turn."""


class WorkerStartError(SessionError):
    """No worker became ready; the message holds the tail of what it wrote to stderr."""


class PoolTimeout(SessionError, TimeoutError):
    """No session of a pool came free within the time limit."""


class InputRefused(SessionError):
    """An answer for an input request that is not open: unknown, answered, or out of time."""


class ExecutionError(StateroomError):
    """A cell failed; ``result`` is its whole :class:`ExecutionResult`, ``result.error`` the cause."""

    def __init__(self, result: ExecutionResult) -> None:
        super().__init__(result)
        self.result = result

    def __str__(self) -> str:
        error = self.result.error
        return error.text.rstrip() if error is not None else "the cell was cancelled"


class NotPlainData(StateroomError, TypeError):
    """A value that does not cross the process boundary as itself."""


class CheckpointError(StateroomError):
    """A checkpoint cannot be written, or what was given cannot be read as one."""


class DurableError(StateroomError):
    """A durable execution cannot be begun, continued or settled."""


class DurableRejected(DurableError):
    """A promise was rejected; ``data`` says why, as plain data (for a timeout: what, whose, how long)."""

    def __init__(self, message: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(message, data)
        self.data: dict[str, Any] = data or {}

    def __str__(self) -> str:
        return str(self.args[0])


class StepFailed(DurableError):
    """A step of a cell can be neither looked up nor recorded."""


class StoreError(DurableError):
    """A durable store cannot be opened or used: in use, damaged, foreign, of a newer format, or not there."""


class NoRunningLoop(StateroomError, RuntimeError):
    """Something that needs the running event loop was called where none runs, or another one."""
