"""What is asked for and answered by a promise, and the errors that such a promise is rejected with."""

from __future__ import annotations

import json
from typing import Any, Literal

import msgspec

from ..errors import DurableRejected
from .sdk import PromiseRecord

__all__ = ["Capability", "Request", "execution_request", "reason_of", "shutdown_error", "timeout_error"]

Capability = Literal["execute", "input", "step"]


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
    return {
        "error": "shutdown",
        "message": "the bridge was closed before this was answered",
        "capability": request.capability,
        "execution_id": request.execution_id,
        "request_id": request.request_id,
    }


def reason_of(request: Request, record: PromiseRecord) -> DurableRejected:
    """Why a settled promise has no result, as an error to raise."""
    data = timeout_error(request) if record.state == "rejected_timedout" else _decode(record.value.data)
    if "timeout" in data:
        text = f"was not settled within {data['timeout']} s"
    else:
        text = f"was {record.state}: {data.get('message') or data}"
    return DurableRejected(f"{request.promise_id} {text}", data)


def _decode(value: Any) -> dict[str, Any]:
    """What a rejection says, whoever wrote it."""
    text = value.get("message") if isinstance(value, dict) else value
    try:
        data = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        data = None
    return data if isinstance(data, dict) else {"message": str(text)}
