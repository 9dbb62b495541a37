"""The messages that cross between a session and its worker, as tagged msgspec structs.

``ToWorker`` and ``ToSession`` are the two unions; nothing else crosses. A message with a large
payload (output text, buffers of a value, a checkpoint) names it in ``attach``: the payload
travels as raw bytes behind the message (see :mod:`stateroom.protocol.framing`).
"""

from __future__ import annotations

from typing import Any, Literal

from ..config import EngineConfig
from ..errors import NotPlainData
from .checkpoint_messages import (
    CheckpointChunkMessage,
    CheckpointedMessage,
    CheckpointMessage,
    RestoredMessage,
    RestoreMessage,
)
from .error_info import ErrorInfo, FrameInfo
from .message import Message, Payload

__all__ = [
    "PROTOCOL_VERSION",
    "CheckpointChunkMessage",
    "CheckpointMessage",
    "CheckpointedMessage",
    "ClearMessage",
    "ConfigureMessage",
    "DisplayMessage",
    "ErrorInfo",
    "ErrorMessage",
    "ExecuteMessage",
    "FaultMessage",
    "FrameInfo",
    "HeartbeatMessage",
    "InputMessage",
    "InputResponseMessage",
    "Job",
    "OutputMessage",
    "ProgressMessage",
    "ReadyMessage",
    "RestoreMessage",
    "RestoredMessage",
    "ResultMessage",
    "ShutdownMessage",
    "StepMessage",
    "StepReplyMessage",
    "Stream",
    "ToSession",
    "ToWorker",
    "WarningMessage",
]

PROTOCOL_VERSION = 2
"""Of messages and of the cancel page: raised with each change that the other side must know of."""

Stream = Literal["stdout", "stderr"]

# To the worker


class ConfigureMessage(Message, tag="configure"):
    """The first message on a transport: who speaks, and the settings (see :class:`SessionConfig`)."""

    protocol_version: int = PROTOCOL_VERSION
    engine: EngineConfig = EngineConfig()
    heartbeat_interval_s: float = 2.0
    input_timeout_s: float | None = None
    max_frame_bytes: int = (1 << 31) - 1
    max_outbox_bytes: int = 1 << 20


class ExecuteMessage(Message, tag="execute"):
    """Run one cell. ``number`` is what replies and the cancel page name it by, for ids may be used again.

    While execution ``after`` runs, the worker keeps this one, and begins it when that one has ended.
    With ``filename`` and ``argv`` the cell finds what a script finds.
    """

    execution_id: str
    number: int
    code: str
    filename: str | None = None
    argv: list[str] | None = None
    after: int = 0


class InputResponseMessage(Message, tag="input_response"):
    """The answer to an input request: text, or without ``data`` the end of the file, ``error`` its reason."""

    input_id: str
    data: str | None = None
    error: str | None = None


class StepReplyMessage(Message, tag="step_reply"):
    """What is known of a step: its recorded result, or that it may run, or that it is recorded now."""

    request_id: str
    durable: bool = False
    """Whether anybody records steps here."""
    value: bytes | None = None
    """The recorded result, encoded by :mod:`stateroom.protocol.values`; None if there is none."""
    error: str | None = None
    """Why the step can be neither looked up nor recorded."""


class ShutdownMessage(Message, tag="shutdown"):
    """End now: cancel what runs, run atexit handlers, exit with status 0."""


# To the session


class ReadyMessage(Message, tag="ready"):
    """The worker takes cells from here on. ``python_version`` is that of its Python, in full."""

    protocol_version: int
    python_version: str
    pid: int


class HeartbeatMessage(Message, tag="heartbeat"):
    """A sign of life from the worker's i/o thread."""

    telemetry: dict[str, float] = {}
    """The counters of the worker's engine (:class:`stateroom.engine.telemetry.Telemetry`)."""


class OutputMessage(Message, tag="output"):
    """Text that a cell wrote. ``execution_id`` is the cell that wrote it, if that is known."""

    stream: Stream = "stdout"
    """"stdout" or "stderr"."""
    execution_id: str | None = None
    """Of the cell; None if that is not known."""
    data: str = ""
    """The text."""

    def attach(self, payload: memoryview) -> None:
        self.data = str(payload, "utf-8", "replace")


class DisplayMessage(Message, tag="display"):
    """Something to show other than text: one object, by MIME type, for the client to choose from.

    Text is ``str``, pictures and other binary data are ``bytes``, JSON is plain data. With ``update``
    it takes the place of all that was shown under its ``display_id``.
    """

    execution_id: str | None = None
    """Of the cell; None if that is not known."""
    mime: dict[str, Any] = {}
    """The representations, by MIME type."""
    metadata: dict[str, Any] = {}
    """What the object says about its representations, by MIME type."""
    display_id: str | None = None
    """What later messages can replace it by."""
    update: bool = False
    """Whether it replaces what was shown."""
    notes: list[str] = []
    """Representations that are missing, and why."""


class ClearMessage(Message, tag="clear"):
    """What the cell has shown so far is to go; with ``wait``, only when it shows something new."""

    execution_id: str | None = None
    """Of the cell; None if that is not known."""
    wait: bool = False
    """Whether to wait for something new."""


class ProgressMessage(Message, tag="progress"):
    """How far something has come. The last message of each ``progress_id`` is ``done``."""

    progress_id: str
    """Of what progresses: a cell may have several."""
    execution_id: str | None = None
    """Of the cell; None if that is not known."""
    completed: float = 0
    """How much is done, in the unit of ``total``."""
    total: float | None = None
    """How much there is to do; None if that is not known."""
    description: str = ""
    """What it is about."""
    done: bool = False
    """Whether this is the last message of it."""


class InputMessage(Message, tag="input"):
    """A cell asks for a line of text."""

    input_id: str
    """For :meth:`Session.input_response`."""
    execution_id: str | None = None
    """Of the cell; None if that is not known."""
    prompt: str = ""
    """What is asked."""
    password: bool = False
    """Whether the answer should not be shown."""


class StepMessage(Message, tag="step"):
    """A cell comes to a step: without ``value`` it asks for the recorded result, with it records one."""

    request_id: str
    name: str
    execution_id: str | None = None
    within: list[str] = []
    """The steps whose functions came to this one, outermost first, each as ``name:ordinal``."""
    ordinal: int = 1
    """Which step of this name it is within those, from 1."""
    value: bytes | None = None


class ResultMessage(Message, tag="result", dict=True):
    """A cell ended normally. ``value`` is encoded: :meth:`plain_value` has what it means.

    ``buffers`` is no field, so it is not in the header: the sender sets it to what
    ``encode_value`` kept out of ``value``, the receiver finds all of it as one view.
    """

    execution_id: str
    """Of the cell."""
    number: int
    """Its number, which no other has."""
    mode: str
    """How it ran: a value of :class:`ExecutionMode`."""
    duration_s: float
    """Compiling and running, in the worker, in seconds."""
    value: bytes | None = None
    """The encoded value; None if there is none, or none that is plain data."""
    repr: str | None = None
    """The text of a value that is not plain data."""
    mime: dict[str, Any] = {}
    """Representations of a value that is not plain data; see :class:`DisplayMessage`."""
    metadata: dict[str, Any] = {}
    """What the value says about them."""
    notes: list[str] = []
    """What is missing, and why."""

    def plain_value(self) -> Any:
        """The last expression's value. Raises :class:`NotPlainData` if it is not plain data: see ``repr``."""
        from .values import decode_value

        if self.value is not None:
            return decode_value(self.value, self.buffers)
        if self.repr is None:
            return None
        raise NotPlainData(f"{self.execution_id}: {'; '.join(self.notes)}")

    @property
    def buffers(self) -> Any:
        """What of the value is not in ``value``; None if all of it is."""
        return self.__dict__.get("buffers")

    @buffers.setter
    def buffers(self, buffers: Any) -> None:
        self.__dict__["buffers"] = buffers

    @property
    def payload(self) -> Payload:
        buffers: Payload = self.buffers
        return buffers

    def attach(self, payload: memoryview) -> None:
        self.buffers = payload


class ErrorMessage(Message, tag="error"):
    """A cell ended with an exception, or was cancelled, or was never begun."""

    execution_id: str
    """Of the cell."""
    number: int
    """Its number, which no other has."""
    error: ErrorInfo
    """What ended it."""
    mode: str = "unknown"
    """How it ran: a value of :class:`ExecutionMode`."""
    duration_s: float = 0.0
    """Compiling and running, in the worker, in seconds."""
    cancelled: bool = False
    """Whether a cancel or a time limit has ended it."""
    busy: bool = False
    """Whether the worker refused it, since another one ran."""
    notes: list[str] = []
    """What is missing, and why."""


class WarningMessage(Message, tag="warning"):
    """Something that a user of the session should know; ``fields`` is structured."""

    event: str
    """What has happened, such as "blocking_call" or "loop_lag"."""
    execution_id: str | None = None
    """Of the cell; None if that is not known."""
    fields: dict[str, Any] = {}
    """The particulars, by name."""


class FaultMessage(Message, tag="fault"):
    """The worker could not use something that it was sent; ``fatal`` says that it ends for that."""

    reason: str
    fatal: bool = False


Job = ExecuteMessage | CheckpointMessage | RestoreMessage
"""What a worker does one at a time, in its main thread."""

ToWorker = ConfigureMessage | Job | InputResponseMessage | StepReplyMessage | ShutdownMessage
ToSession = (
    ReadyMessage
    | HeartbeatMessage
    | OutputMessage
    | DisplayMessage
    | ClearMessage
    | ProgressMessage
    | InputMessage
    | StepMessage
    | ResultMessage
    | ErrorMessage
    | CheckpointChunkMessage
    | CheckpointedMessage
    | RestoredMessage
    | WarningMessage
    | FaultMessage
)
