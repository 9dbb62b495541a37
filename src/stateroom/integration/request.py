"""What is asked for and answered by a promise, and the errors that such a promise is rejected with."""

from __future__ import annotations

import json
import math
from typing import Any, Literal

import msgspec

from ..errors import ConfigError, DurableRejected
from .sdk import PromiseRecord

__all__ = [
    "Capability",
    "Request",
    "check_cell",
    "check_id",
    "check_timeout",
    "ended_error",
    "execution_request",
    "reason_of",
    "shutdown_error",
    "timeout_error",
]

Capability = Literal["execute", "input", "step"]

MAX_ID_CHARS = 300
MAX_TIMEOUT_S = 1e9


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Something asked for whose answer is a promise."""

    capability: Capability
    execution_id: str
    request_id: str
    """Within the execution: of an input, its ordinal; of a step, its name and ordinal."""
    timeout_s: float | None = None

    @property
    def promise_id(self) -> str:
        """``exec:{execution_id}``, or ``{execution_id}:{capability}:{request_id}``."""
        if self.capability == "execute":
            return f"exec:{self.execution_id}"
        return f"{self.execution_id}:{self.capability}:{self.request_id}"


def execution_request(execution_id: str, timeout_s: float | None = None) -> Request:
    """The request that an execution is."""
    return Request(
        capability="execute", execution_id=execution_id, request_id=execution_id, timeout_s=timeout_s
    )


def check_id(what: str, value: Any) -> None:
    """Raise :class:`ConfigError` unless ``value`` can name an execution or a session in every store."""
    usable = type(value) is str and 0 < len(value) <= MAX_ID_CHARS and value.isprintable()
    if not usable or ":" in value:
        raise ConfigError(
            f"{what}={value!r}: give printable text of at most {MAX_ID_CHARS} characters without a colon"
        )


def check_timeout(timeout_s: Any) -> None:
    """Raise :class:`ConfigError` unless it is None, or a number of seconds that can be waited for."""
    if timeout_s is None:
        return
    is_number = isinstance(timeout_s, int | float) and math.isfinite(timeout_s)
    if not is_number or not 0 <= timeout_s < MAX_TIMEOUT_S:
        raise ConfigError(f"timeout_s={timeout_s!r}: give seconds, 0 or more, or None for no limit")


def check_cell(*, session: Any, execution_id: Any, code: Any, timeout_s: Any) -> None:
    """Raise :class:`ConfigError` for what cannot be submitted as a cell, to whichever store."""
    check_id("session", session)
    check_id("execution_id", execution_id)
    check_timeout(timeout_s)
    if type(code) is not str or not _is_encodable(code):
        raise ConfigError(f"code={code!r:.100}: give text that can be encoded")


def timeout_error(request: Request) -> dict[str, Any]:
    """What a promise that ran out of time is rejected with."""
    return {
        "capability": request.capability,
        "execution_id": request.execution_id,
        "request_id": request.request_id,
        "timeout": request.timeout_s,
    }


def shutdown_error(request: Request) -> dict[str, Any]:
    """What is rejected with when its bridge is closed."""
    return _given_up(request, "shutdown", "the bridge was closed before this was answered")


def ended_error(request: Request) -> dict[str, Any]:
    """What is rejected with that nobody waits for, as its execution has ended."""
    return _given_up(request, "ended", "the execution ended before this was answered")


def reason_of(request: Request, record: PromiseRecord) -> DurableRejected:
    """Why a settled promise has no result, as an error to raise."""
    data = timeout_error(request) if record.state == "rejected_timedout" else _decode(record.value.data)
    if "timeout" in data:
        text = f"was not settled within {data['timeout']} s"
    else:
        text = f"was {record.state}: {data.get('message') or data}"
    return DurableRejected(f"{record.id} {text}", data)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _given_up(request: Request, error: str, message: str) -> dict[str, Any]:
    return {
        "error": error,
        "message": message,
        "capability": request.capability,
        "execution_id": request.execution_id,
        "request_id": request.request_id,
    }


def _decode(value: Any) -> dict[str, Any]:
    """What a rejection says, whoever wrote it."""
    text = value.get("message") if isinstance(value, dict) else value
    try:
        data = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        data = None
    return data if isinstance(data, dict) else {"message": str(text)}
