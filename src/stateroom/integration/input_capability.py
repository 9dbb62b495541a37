"""``input()`` in a durable execution: a question that anybody may answer, later and elsewhere.

The n-th question of an execution is the promise ``{execution_id}:input:{n}``. A cell that is run again
asks the same questions in the same order, and what was answered before is answered at once.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from ..errors import DurableError
from ..logs import get_logger
from ..protocol.messages import InputMessage
from .promise_desk import PromiseDesk
from .request import Request, reason_of
from .retries import insist
from .sdk import PromiseRecord

__all__ = ["Asker", "InputCapability", "answer_to_data"]

log = get_logger("stateroom.durable")

Asker = Callable[[InputMessage], str | Awaitable[str]]


class InputCapability:
    """The questions of the executions of one session."""

    def __init__(self, desk: PromiseDesk, *, timeout_s: float | None = None) -> None:
        self.timeout_s = timeout_s
        """How long a question waits for its answer; None for ever."""
        self._desk = desk
        self._counts: Counter[str] = Counter()
        self._requests: dict[tuple[str, str], Request] = {}

    def __repr__(self) -> str:
        return f"<InputCapability open={[request.promise_id for request in self.open]}>"

    @property
    def open(self) -> list[Request]:
        """Questions without an answer, oldest first."""
        return [request for request in self._desk.pending if request.capability == "input"]

    def begin(self, execution_id: str) -> None:
        """A cell begins, perhaps again: its questions count from 1."""
        self._counts[execution_id] = 0

    def end(self, execution_id: str) -> None:
        """The execution has its outcome."""
        self._counts.pop(execution_id, None)
        for key in [key for key in self._requests if key[0] == execution_id]:
            del self._requests[key]

    def see(self, message: InputMessage) -> None:
        """A question goes by, in order: give it its number, if its execution is a durable one."""
        execution_id = message.execution_id
        if execution_id is None or execution_id not in self._counts:
            return
        self._counts[execution_id] += 1
        self._requests[execution_id, message.input_id] = Request(
            capability="input",
            execution_id=execution_id,
            request_id=str(self._counts[execution_id]),
            timeout_s=self.timeout_s,
        )

    async def answer(self, message: InputMessage, *, also: Asker | None = None) -> str:
        """The answer, as soon as somebody gives it; to be the ``on_input`` of the cell.

        ``also`` is asked at the same time, unless the answer is known already, and its answer is as good
        as any; EOFError from it means that it has none. Raises EOFError, as ``input()`` will in the
        cell, if the answer is that there is none, or ``also`` fails: the question stays open then. While
        the store cannot be used the question waits.
        """
        request = self._request_of(message)
        record = await insist(lambda: self._ask(request, message), on=request.promise_id)
        if record.state == "pending":
            try:
                record = await self._wait(request, message, also)
            except DurableError as error:  # closed; the cell is going to be stopped
                raise EOFError(str(error)) from error
        return _text_of(request, record)

    async def _wait(self, request: Request, message: InputMessage, also: Asker | None) -> PromiseRecord:
        """Until the promise is settled, or asking fails."""
        waiting = insist(lambda: self._desk.wait(request, watch=True), on=request.promise_id)
        settled = asyncio.ensure_future(waiting)
        asking = asyncio.ensure_future(self._ask_also(request, message, also))
        try:
            await asyncio.wait([settled, asking], return_when=asyncio.FIRST_COMPLETED)
            if asking.done() and not settled.done():
                asking.result()
            return await settled
        finally:
            for task in (settled, asking):
                task.cancel()
            await asyncio.gather(settled, asking, return_exceptions=True)

    async def _ask_also(self, request: Request, message: InputMessage, also: Asker | None) -> None:
        if also is None:
            return
        try:
            given: Any = also(message)
            text = await given if inspect.isawaitable(given) else given
        except EOFError:
            return
        except Exception as error:
            log.exception("on_input_failed", input_id=message.input_id)
            raise EOFError(f"on_input raised {type(error).__name__}: {error}") from error
        if text is not None and not isinstance(text, str):
            raise EOFError(f"on_input returned a {type(text).__name__}, not a string")
        await insist(lambda: self._desk.resolve(request, answer_to_data(text)), on=request.promise_id)

    def _request_of(self, message: InputMessage) -> Request:
        """What the question has become."""
        request = self._requests.get((message.execution_id or "", message.input_id))
        if request is None:
            raise DurableError(f"input {message.input_id} belongs to no durable execution that runs here")
        return request

    async def _ask(self, request: Request, message: InputMessage) -> PromiseRecord:
        """Make the question known; what is known of its answer."""
        question = {"prompt": message.prompt, "password": message.password}
        record = await self._desk.open(request, question)
        asked = record.param.data
        if isinstance(asked, dict) and asked.get("prompt") != message.prompt:
            raise EOFError(
                f"{request.promise_id} was {asked.get('prompt')!r} when this cell was run before, and is "
                f"{message.prompt!r} now; ask the same questions in the same order each time"
            )
        return record


def answer_to_data(text: str | None) -> dict[str, Any]:
    """An answer, as its promise carries it."""
    return {"eof": True} if text is None else {"text": text}


def _text_of(request: Request, record: PromiseRecord) -> str:
    if record.state != "resolved":
        raise EOFError(str(reason_of(request, record)))
    data = record.value.data
    text = data.get("text") if isinstance(data, dict) else data
    if isinstance(text, str):
        return text
    raise EOFError("EOF when reading a line")
