"""``step``: work inside a cell whose result is recorded, so that it is not repeated with the cell."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

import msgspec

from ..errors import NotPlainData, StepFailed
from ..protocol.messages import StepMessage, StepReplyMessage
from ..protocol.values import decode_value, encode_value
from .origin import current_origin
from .user_code import call_user_code

__all__ = ["StepBroker", "step"]

EXECUTIONS_REMEMBERED = 1000

_broker: StepBroker | None = None
_within: ContextVar[tuple[str, ...]] = ContextVar("stateroom_within_steps", default=())
"""The steps whose functions run, outermost first."""


class _Place(NamedTuple):
    """Where a step stands in its execution: the same each time that its cell is run."""

    origin: str | None
    within: tuple[str, ...]
    name: str
    ordinal: int

    @property
    def path(self) -> tuple[str, ...]:
        """What the steps that its function comes to are within."""
        return (*self.within, f"{self.name}:{self.ordinal}")


async def step(name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Return ``function(*args, **kwargs)``, awaited if it is awaitable, and record it under ``name``.

    In a durable execution the result is on the disk before this returns; when the cell is run again
    after a crash, the recorded result is returned and ``function`` is not called. Steps of one name are
    told apart by their order, within the step that ``function`` may itself be part of; so a cell must
    come to them in the same order each time. Arguments are not compared. What ``function`` raises is not
    recorded. Elsewhere this only calls ``function``.

    Raises :class:`NotPlainData` for a result that cannot be recorded, :class:`StepFailed` if the
    session cannot record it.
    """
    if type(name) is not str or not name or not name.isprintable():
        raise TypeError(f"a step needs a name of printable text, not {name!r}")
    if not callable(function):
        raise TypeError(f"step {name!r} needs a function to call, not a {type(function).__name__}")
    if _broker is None:
        return await _call(function, args, kwargs)
    return await _broker.run(name, function, args, kwargs)


class StepBroker:
    """Asks the session what is recorded of a step, and has results recorded; for any event loop."""

    def __init__(
        self, send: Callable[[StepMessage], None], *, listen: Callable[[], None], max_value_bytes: int
    ) -> None:
        self._send = send
        self._listen = listen
        """Called when a reply is going to come, whatever the event loop is doing."""
        self._max_value_bytes = max_value_bytes
        self._numbers = itertools.count(1)
        self._ordinals: dict[str | None, Counter[tuple[str, ...]]] = {}
        """By execution, then the steps around and the name; of ended ones too: their tasks may go on."""
        self._counting = threading.Lock()
        """Held while these are read and changed: a cell may have steps in several threads."""
        self._open: dict[str, asyncio.Future[StepReplyMessage]] = {}

    def __repr__(self) -> str:
        return f"<StepBroker open={sorted(self._open)}>"

    def is_asking(self) -> bool:
        """Whether somebody waits for a reply."""
        return bool(self._open)

    def install(self) -> None:
        """Be the one whom ``step`` finds."""
        global _broker
        _broker = self

    def forget_after_fork(self) -> None:
        """In a forked child: the transport belongs to the parent, so steps only call their functions."""
        global _broker
        _broker = None

    def begin(self, execution_id: str) -> None:
        """A cell begins: its steps count from 1, also if an execution of this id was here before."""
        with self._counting:
            self._ordinals.pop(execution_id, None)
            while len(self._ordinals) > EXECUTIONS_REMEMBERED:
                del self._ordinals[next(iter(self._ordinals))]

    async def run(
        self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """See :func:`step`."""
        place = self._next_place(name)
        known = await self._ask(place, None)
        if known.value is not None:
            return _decode(known.value)
        entered = _within.set(place.path)
        try:
            result = await _call(function, args, kwargs)
        finally:
            _within.reset(entered)
        if known.durable:
            await self._ask(place, self._encode(name, result))
        return result

    def _next_place(self, name: str) -> _Place:
        origin, within = current_origin(), _within.get()
        with self._counting:
            ordinals = self._ordinals.setdefault(origin, Counter())
            ordinal = ordinals[*within, name] = ordinals[*within, name] + 1
        return _Place(origin, within, name, ordinal)

    def answer(self, message: StepReplyMessage) -> None:
        """A reply has come; called in whichever thread reads. Nobody may wait for it any more."""
        future = self._open.pop(message.request_id, None)
        if future is not None:
            try:
                future.get_loop().call_soon_threadsafe(_set_if_open, future, message)
            except RuntimeError:  # the loop of an ``asyncio.run`` that has ended
                pass

    async def _ask(self, place: _Place, value: bytes | None) -> StepReplyMessage:
        request_id = str(next(self._numbers))
        future: asyncio.Future[StepReplyMessage] = asyncio.get_running_loop().create_future()
        self._open[request_id] = future
        self._listen()
        try:
            self._send(_message_of(request_id, place, value))
            reply = await future
        finally:
            self._open.pop(request_id, None)
        if reply.error is not None:
            raise StepFailed(f"step {place.name!r}: {reply.error}")
        return reply

    def _encode(self, name: str, result: object) -> bytes:
        try:
            data, buffers = encode_value(result, self._max_value_bytes)
        except NotPlainData as error:
            raise NotPlainData(
                f"step {name!r} has run, but its result cannot be recorded: {error}; return plain data"
            ) from None
        return msgspec.msgpack.encode((data, b"".join(buffers)))


def _message_of(request_id: str, place: _Place, value: bytes | None) -> StepMessage:
    return StepMessage(
        request_id=request_id,
        execution_id=place.origin,
        name=place.name,
        within=list(place.within),
        ordinal=place.ordinal,
        value=value,
    )


def _decode(recorded: bytes) -> Any:
    data, buffers = msgspec.msgpack.decode(recorded, type=tuple[bytes, bytes])
    return decode_value(data, buffers)


async def _call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = call_user_code(function, *args, **kwargs)
    return await result if hasattr(result, "__await__") else result


def _set_if_open(future: asyncio.Future[StepReplyMessage], reply: StepReplyMessage) -> None:
    if not future.done():
        future.set_result(reply)
