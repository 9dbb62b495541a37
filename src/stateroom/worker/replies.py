"""The one reply to each job, made of what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import Any, NoReturn

from ..engine.compiler import ExecutionMode
from ..engine.tracebacks import describe_exception
from ..protocol.messages import ErrorInfo, ErrorMessage, ExecuteMessage, Job, ResultMessage
from .display import Shown

__all__ = ["busy", "failure", "leave_child", "shortened", "success", "withdrawn"]


def success(message: ExecuteMessage, mode: ExecutionMode, duration_s: float, shown: Shown) -> ResultMessage:
    """A cell has run to its end."""
    return ResultMessage(
        execution_id=message.execution_id,
        number=message.number,
        mode=mode,
        duration_s=duration_s,
        value=shown.value,
        repr=shown.repr,
        mime=shown.mime,
        metadata=shown.metadata,
        notes=shown.notes,
    )


def failure(
    job: Job,
    error: BaseException,
    *,
    max_chars: int,
    mode: ExecutionMode = ExecutionMode.UNKNOWN,
    duration_s: float = 0.0,
) -> ErrorMessage:
    """A job has ended with an exception."""
    info = describe_exception(error, max_chars=max_chars)
    if issubclass(type(error), SystemExit):  # isinstance would ask the error
        info.exit_status = exit_status(error)
    return ErrorMessage(
        execution_id=job.execution_id,
        number=job.number,
        error=info,
        mode=mode,
        duration_s=duration_s,
        cancelled=issubclass(type(error), asyncio.CancelledError),
    )


def exit_status(error: BaseException) -> int | None:
    """The status that ``python`` would exit with; None for a message, which it prints, exiting with 1."""
    code = SystemExit.__dict__["code"].__get__(error)
    if code is None:
        return 0
    return int.__and__(code, 0xFF) if issubclass(type(code), int) else None


def leave_child(reply: ResultMessage | ErrorMessage) -> NoReturn:
    """The cell forked, and this is the child coming out of it: it ends as a script does."""
    status = 0
    with contextlib.suppress(BaseException):  # streams that the cell has put there
        if isinstance(reply, ErrorMessage):
            error, status = reply.error, 1
            if error.exit_status is not None:
                status = error.exit_status
            else:
                sys.stderr.write(f"{error.message}\n" if error.type == "SystemExit" else error.text)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    os._exit(status)


def busy(job: Job, running: Job) -> ErrorMessage:
    """A job came while another one ran."""
    reason = f"{job.execution_id} was refused: {running.execution_id} is running"
    error = ErrorInfo(type="Busy", module="stateroom.errors", message=reason)
    return ErrorMessage(execution_id=job.execution_id, number=job.number, error=error, busy=True)


def withdrawn(job: Job) -> ErrorMessage:
    """A job was taken back before it began."""
    error = ErrorInfo(
        type="CancelledError", module="asyncio.exceptions", message="the cell was cancelled before it began"
    )
    return ErrorMessage(execution_id=job.execution_id, number=job.number, error=error, cancelled=True)


def shortened(reply: ResultMessage | ErrorMessage, reason: str) -> ResultMessage | ErrorMessage:
    """What is left of a reply that cannot be sent."""
    common: dict[str, Any] = {
        "execution_id": reply.execution_id,
        "number": reply.number,
        "mode": reply.mode,
        "duration_s": reply.duration_s,
        "notes": [reason],
    }
    if isinstance(reply, ResultMessage):
        return ResultMessage(**common)
    error = ErrorInfo(type=reply.error.type[:1000], module=reply.error.module[:1000], message=reason)
    error.text = f"{error.type}: {reason}\n"
    return ErrorMessage(**common, error=error, cancelled=reply.cancelled)
