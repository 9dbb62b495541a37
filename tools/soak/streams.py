"""Consumers of a cell's messages: quick ones, slow ones, and some that lose interest."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

from cabins import Cabin
from cells import Cell
from fates import Fate

from stateroom import DisplayMessage, ExecutionResult
from stateroom.errors import InputRefused
from stateroom.protocol.messages import (
    ClearMessage,
    ErrorMessage,
    InputMessage,
    OutputMessage,
    ResultMessage,
    ToSession,
)
from stateroom.protocol.values import decode_value
from stateroom.session.displays import Displays

__all__ = ["consume"]

SLOW_MESSAGES = 40


async def consume(cabin: Cabin, number: int, cell: Cell, dice: Random, fate: Fate) -> ExecutionResult:
    """Run the cell by ``execute``, as ``run`` would report it.

    Raises CancelledError if the consumer stopped early, as for a caller that is gone.
    """
    style = dice.choice(["quick", "slow", "slow", "stall", "stop", "drop"])
    stop_after = dice.randrange(4) if style in ("stop", "drop") else 1 << 60
    if style in ("stop", "drop"):
        fate.meddled.add("stop")
    cabin.figures.count(f"streams: {style}")
    gathered = _Gathered(f"c{number}")
    stream = cabin.open_session.execute(cell.code, execution_id=f"c{number}")
    async with contextlib.AsyncExitStack() as stack:
        if style != "drop":
            stack.push_async_callback(stream.aclose)  # type: ignore[attr-defined]
        count = 0
        async for message in stream:
            if gathered.is_over:
                raise AssertionError(f"{message} came after the end of c{number}")
            if isinstance(message, InputMessage):
                # The cell may have been cancelled since it asked.
                with contextlib.suppress(*[InputRefused] * (fate.name != "none")):
                    _answer(cabin, cell, message)
            gathered.take(message)
            if count >= stop_after:
                break
            await _dawdle(style, count, dice)
            count += 1
    if not gathered.is_over:
        raise asyncio.CancelledError
    return gathered.result


async def _dawdle(style: str, count: int, dice: Random) -> None:
    if style == "slow" and count < SLOW_MESSAGES:
        await asyncio.sleep(dice.random() * 0.005)
    elif style == "stall" and count == 1:
        await asyncio.sleep(0.3)


def _answer(cabin: Cabin, cell: Cell, message: InputMessage) -> None:
    if cell.answer == "text":
        cabin.open_session.input_response(message.input_id, "text")
    elif cell.answer != "never":
        cabin.open_session.input_response(message.input_id, None)


class _Gathered:
    """The messages of one cell, put together."""

    def __init__(self, execution_id: str) -> None:
        self.result = ExecutionResult(execution_id=execution_id)
        self.is_over = False
        self._displays = Displays()

    def take(self, message: ToSession) -> None:
        result = self.result
        if isinstance(message, OutputMessage):
            if message.stream == "stdout":
                result.stdout += message.data
            else:
                result.stderr += message.data
        elif isinstance(message, DisplayMessage | ClearMessage):
            self._displays.take(message)
        elif isinstance(message, ResultMessage):
            if message.value is not None:
                result.value = decode_value(message.value, message.buffers)
            self._end()
        elif isinstance(message, ErrorMessage):
            result.error, result.cancelled = message.error, message.cancelled
            self._end()

    def _end(self) -> None:
        self.is_over = True
        self.result.displays = self._displays.shown
