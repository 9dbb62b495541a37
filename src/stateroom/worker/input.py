"""``input()``, ``getpass`` and ``sys.stdin`` for cells: each line is asked of the session."""

from __future__ import annotations

import builtins
import getpass
import io
import itertools
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from ..protocol.messages import InputMessage, InputResponseMessage
from .origin import current_origin

__all__ = ["InputBroker"]


class _Request:
    """One question on its way; ``gate`` opens when ``answer`` is there."""

    __slots__ = ("answer", "gate")

    def __init__(self) -> None:
        self.gate = threading.Lock()
        self.gate.acquire()
        self.answer: InputResponseMessage | None = None


class InputBroker:
    """Asks the session for lines of text, from any thread, and waits for the answers."""

    def __init__(
        self,
        send: Callable[[Any], None],
        before_asking: Callable[[], None],
        *,
        listen: Callable[[], None],
        timeout_s: float | None,
    ) -> None:
        self.timeout_s = timeout_s
        self.running: str | None = None
        self._send = send
        self._before_asking = before_asking
        self._listen = listen
        """Called when an answer is going to come, whatever the event loop is doing."""
        self._numbers = itertools.count(1)
        self._open: dict[str, _Request] = {}
        self._given_up: set[str] = set()
        self._closed = False
        self.forked = False

    def __repr__(self) -> str:
        return f"<InputBroker open={sorted(self._open)}>"

    def is_asking(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._open)

    def install(self) -> None:
        """Put the asking versions in the place of ``input`` and ``getpass``."""
        self._original = builtins.input
        builtins.input = self.input
        getpass.getpass = self.getpass

    def stdin(self) -> io.TextIOWrapper:
        """A text stream whose every line is asked of the session."""
        self._stdin = io.TextIOWrapper(io.BufferedReader(_LineSource(self)), encoding="utf-8")
        return self._stdin

    def is_closed_stdin(self, stream: object) -> bool:
        """Whether that is the stream made here, and closed."""
        return stream is self._stdin and self._stdin.closed

    def input(self, prompt: object = "", /, *more: object, **named: object) -> str:
        """Read a line from the session's client; the prompt travels with the request.

        As the builtin does, it reads what ``sys.stdin`` is at the moment, if that was replaced.
        Raises EOFError if the client gives no line, TimeoutError if none comes in time.
        """
        if more or named:
            return self._original(prompt, *more, **named)  # raises TypeError in its own words
        if self.forked or getattr(sys, "stdin", None) is not self._stdin:
            return self._original(prompt)
        return self.ask(str(prompt))

    def getpass(self, prompt: str = "Password: ", stream: Any = None) -> str:
        """As :func:`getpass.getpass`; the client is told not to show what is typed."""
        return self.ask(prompt, password=True)

    def ask(self, prompt: str, *, password: bool = False) -> str:
        """Ask, and wait for the answer. Raises EOFError or TimeoutError."""
        if self.forked:
            raise EOFError("a forked child process cannot ask for input")
        if self._closed:
            raise EOFError("the session is closed")
        self._before_asking()
        request = _Request()
        origin = current_origin() or self.running
        input_id = str(next(self._numbers))
        self._open[input_id] = request
        self._listen()
        try:
            self._send(InputMessage(input_id=input_id, execution_id=origin, prompt=prompt, password=password))
            wait_for_answer(request.gate, -1 if self.timeout_s is None else self.timeout_s)
        finally:
            if self._open.pop(input_id, None) is not None:
                self._given_up.add(input_id)
        return self._line(request.answer)

    def answer(self, message: InputResponseMessage) -> bool:
        """An answer has come. False if it is to a question that nobody has asked, or that was answered."""
        request = self._open.pop(message.input_id, None)
        if request is None:
            given_up = message.input_id in self._given_up
            self._given_up.discard(message.input_id)
            return given_up
        request.answer = message
        request.gate.release()
        return True

    def close(self) -> None:
        """The worker ends: threads that wait for an answer must not keep it."""
        self._closed = True
        for input_id in list(self._open):
            self.answer(InputResponseMessage(input_id=input_id, error="the session is closed"))

    def forget_after_fork(self) -> None:
        """In a forked child: the transport belongs to the parent."""
        self.forked = True

    def _line(self, answer: InputResponseMessage | None) -> str:
        if answer is None:
            raise TimeoutError(f"no answer to input() within {self.timeout_s} s")
        if answer.data is None:
            raise EOFError(answer.error or "EOF when reading a line")
        return answer.data


def wait_for_answer(gate: threading.Lock, timeout_s: float) -> bool:
    """Wait for the answer; a cancel may end it."""
    return gate.acquire(timeout=timeout_s)


class _LineSource(io.RawIOBase):
    """The raw side of ``sys.stdin``."""

    def __init__(self, broker: InputBroker) -> None:
        self.name = "<stdin>"
        self._broker = broker
        self._rest = b""

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 0

    def isatty(self) -> bool:
        return self._broker.forked and os.isatty(0)

    def readinto(self, buffer: Any) -> int:
        if self._broker.forked:  # the transport is the parent's, descriptor 0 is ours
            return os.readv(0, [buffer])
        if not self._rest:
            try:
                self._rest = self._broker.ask("").encode("utf-8", "replace") + b"\n"
            except EOFError:
                return 0
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def reopen_stdin(broker: InputBroker) -> None:
    """``exit()`` closes ``sys.stdin``, and a cell may delete it: the next cell has an open one again."""
    stream = getattr(sys, "stdin", None)
    if stream is None or broker.is_closed_stdin(stream):
        sys.stdin = broker.stdin()
