"""Questions of cells on their way to somebody who can answer them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from ..errors import InputRefused
from ..logs import get_logger
from ..protocol.lifecycle import ExecutionEvent, ExecutionState
from ..protocol.messages import InputMessage, InputResponseMessage
from .background_tasks import BackgroundTasks
from .callbacks import pass_on_exit
from .execution import Execution

__all__ = ["InputCallback", "InputDesk"]

InputCallback = Callable[[InputMessage], str | Awaitable[str]]

log = get_logger("stateroom.session")


class InputDesk:
    """Knows the open input requests of one session; each is answered once, or refused.

    A callback whose question needs no answer any more is cancelled.
    """

    def __init__(self, send: Callable[[InputResponseMessage], None], background: BackgroundTasks) -> None:
        self._send = send
        self._background = background
        self._open: dict[str, Execution | None] = {}
        self._asking: dict[str, asyncio.Task[Any] | None] = {}

    def __repr__(self) -> str:
        return f"<InputDesk open={sorted(self._open)}>"

    def take(self, message: InputMessage, execution: Execution | None) -> None:
        """A request has come: hand it to the callback of its execution, or refuse it."""
        self._open[message.input_id] = execution
        if execution is not None:
            execution.take_input(message)
        if execution is None or (execution.on_input is None and not execution.streams):
            self._reply(message.input_id, None, "no on_input callback was given")
        elif execution.on_input is not None:
            self._background.run(self._ask(message, execution, execution.on_input))

    def respond(self, input_id: str, text: str | None) -> None:
        """Answer a request; None is the end of the file. Raises :class:`InputRefused` if it is not open."""
        if text is not None and not isinstance(text, str):
            raise TypeError(
                f"the answer to input {input_id!r} is a {type(text).__name__}: give a string, or None"
            )
        if input_id not in self._open:
            raise InputRefused(f"input {input_id!r} is not open: it was answered, or its cell was cancelled")
        self._reply(input_id, text, None)

    def refuse_all(self, execution: Execution) -> None:
        """The execution was cancelled: its threads, too, get no more answers."""
        for input_id in [key for key, asker in self._open.items() if asker is execution]:
            self._reply(input_id, None, "its cell was cancelled")

    def forget(self) -> None:
        """The worker is gone: nobody waits for an answer any more."""
        self._open.clear()
        for input_id in list(self._asking):
            self._stop_asking(input_id)

    async def _ask(self, message: InputMessage, execution: Execution, on_input: InputCallback) -> None:
        if self._open.get(message.input_id) is not execution:
            return  # its cell was cancelled before this had its turn
        self._asking[message.input_id] = asyncio.current_task()
        text: Any = None
        reason: str | None = None
        try:
            given = on_input(message)
            text = await given if inspect.isawaitable(given) else given
        except EOFError as error:
            reason = str(error) or None
        except asyncio.CancelledError:
            reason = "on_input was cancelled"  # if not by us: then nobody waits for it any more
        except BaseException as error:
            log.exception("on_input_failed", input_id=message.input_id)
            reason = f"on_input raised {type(error).__name__}: {error}"
            pass_on_exit(error)
        if text is not None and not isinstance(text, str):
            text, reason = None, f"on_input returned a {type(text).__name__}, not a string"
        # Its cell may have been cancelled meanwhile, and another worker use the same id again.
        if self._open.get(message.input_id) is execution:
            self._reply(message.input_id, text, reason)

    def _reply(self, input_id: str, text: str | None, reason: str | None) -> None:
        execution = self._open.pop(input_id)
        self._stop_asking(input_id)
        if execution is not None and execution.state is ExecutionState.WAITING_INPUT:
            execution.advance(ExecutionEvent.INPUT_RESPONSE)
        self._send(InputResponseMessage(input_id=input_id, data=text, error=reason))

    def _stop_asking(self, input_id: str) -> None:
        task = self._asking.pop(input_id, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
