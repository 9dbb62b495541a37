"""Steps of durable cells: each is a promise that is resolved with the step's result."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import quote

from ..protocol.messages import StepMessage, StepReplyMessage
from .promise_desk import PromiseDesk
from .request import Request, reason_of
from .retries import insist

__all__ = ["StepCapability"]

T = TypeVar("T")

MAX_PATH_CHARS = 200
"""What goes beyond is told apart by a digest: PostgreSQL indexes ids of some 2,700 bytes at most."""
MAX_RESULT_BYTES = 100 << 20
"""PostgreSQL takes some 256 MB in one value, and a result grows on its way to 16/9 of its size."""


class StepCapability:
    """Records what steps return, and finds it again: ``{execution_id}:step:{name}:{ordinal}``.

    The name of a step inside of another one's function is ``{outer}%3A{ordinal}/{name}``.
    While the store cannot be used a step waits.
    """

    def __init__(self, desk: PromiseDesk) -> None:
        self._desk = desk
        self._running: dict[str, object] = {}
        """Executions, each with a mark of the attempt that runs."""

    def __repr__(self) -> str:
        return f"<StepCapability running={sorted(self._running)}>"

    def begin(self, execution_id: str) -> None:
        """Record steps of this execution from now on."""
        self._running[execution_id] = object()

    def end(self, execution_id: str) -> None:
        """The execution has its outcome: no step of it is needed again."""
        self._running.pop(execution_id, None)

    async def take(self, message: StepMessage) -> StepReplyMessage:
        """Look a step up, or record it; to be the session's ``on_step``."""
        if message.execution_id not in self._running:
            return StepReplyMessage(request_id=message.request_id)
        request = _request_of(message)
        if message.value is not None:
            return await self._record(request, message)
        record = await self._insist(request, lambda: self._desk.open(request))
        reply = StepReplyMessage(request_id=message.request_id, durable=True)
        if record.state == "resolved":
            recorded: Any = record.value.data
            reply.value = base64.b64decode(recorded["result"])
        elif record.state != "pending":
            reply.error = str(reason_of(request, record))
        return reply

    async def _record(self, request: Request, message: StepMessage) -> StepReplyMessage:
        reply = StepReplyMessage(request_id=message.request_id, durable=True)
        assert message.value is not None
        if len(message.value) > MAX_RESULT_BYTES:
            reply.error = (
                f"its result has {len(message.value)} bytes, over {MAX_RESULT_BYTES}: "
                "put it into a file, and return where that is"
            )
            return reply
        result = {"result": base64.b64encode(message.value).decode("ascii")}
        if not await self._insist(request, lambda: self._desk.resolve(request, result)):
            reply.error = f"{request.promise_id} was settled by somebody else meanwhile"
        return reply

    async def _insist(self, request: Request, attempt: Callable[[], Awaitable[T]]) -> T:
        """As :func:`insist`, as long as the cell runs that waits for it."""
        mark = self._running.get(request.execution_id)

        def is_wanted() -> bool:
            return self._running.get(request.execution_id) is mark and not self._desk.closed

        return await insist(attempt, on=request.promise_id, is_wanted=is_wanted)


def _request_of(message: StepMessage) -> Request:
    """The promise that a step is; its id takes neither every character nor every length."""
    parts = (*message.within, message.name)
    path = "/".join(quote(part, safe=" ", errors="surrogatepass") for part in parts)
    if len(path) > MAX_PATH_CHARS:
        path = f"{path[:MAX_PATH_CHARS]}#{hashlib.sha256(path.encode()).hexdigest()[:32]}"
    return Request(
        capability="step",
        execution_id=message.execution_id or "",
        request_id=f"{path}:{message.ordinal}",
    )
