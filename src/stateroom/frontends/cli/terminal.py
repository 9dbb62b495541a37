"""The cell's output to this process's own streams, and its ``input()`` from standard input."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from ...protocol.messages import DisplayMessage, ProgressMessage
from .keyboard import LineReader, echo_off
from .status import PIPE_CLOSED, is_quiet_exit

if TYPE_CHECKING:
    from ...protocol.messages import ErrorInfo, InputMessage, OutputMessage
    from ...session.execution import ExecutionResult, Rich

__all__ = ["Terminal"]


class Terminal:
    """Standard input, output and error of this process, as a cell sees them.

    When standard output can no longer be written, ``lost`` is the exit status that says so,
    ``on_lost`` is called once, and all further output goes nowhere.
    """

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self.lost: int | None = None
        self._on_lost = on_lost
        self._lines = LineReader(0)
        self._asking = asyncio.Lock()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")

    def __repr__(self) -> str:
        return f"<Terminal lost={self.lost}>"

    def settings(self) -> dict[str, Any]:
        """For a session whose output goes here: whether this is a terminal, and of which size."""
        if sys.stdout is None or not sys.stdout.isatty():
            return {}
        size = shutil.get_terminal_size()
        return {
            "is_terminal": True,
            "env": {"COLUMNS": str(size.columns), "LINES": str(size.lines), **os.environ},
        }

    def write(self, message: OutputMessage) -> None:
        """Write what a cell wrote, at once, to the stream of the same name."""
        self._write(message.data, sys.stderr if message.stream == "stderr" else sys.stdout)

    def display(self, message: Rich) -> None:
        """Show as text what a cell displays; how far it is, only to somebody who looks on."""
        if isinstance(message, DisplayMessage):
            self._write(_as_text(message.mime) + "\n", sys.stdout)
        elif isinstance(message, ProgressMessage) and sys.stderr is not None and sys.stderr.isatty():
            self._write(f"\r\x1b[K{_progress_text(message)}" + "\n" * message.done, sys.stderr)

    def show(self, result: ExecutionResult) -> None:
        """Write what is left to see when a cell has ended: its value, or its error."""
        if result.error is not None:
            self._show_error(result.error)
        elif result.repr is not None and not (result.value is None and result.repr == "None"):
            self._write(result.repr + "\n", sys.stdout)

    def complain(self, text: str) -> None:
        """Say that the session itself, not the cell, has failed."""
        self._write(f"stateroom: {text}\n", sys.stderr)

    async def answer(self, message: InputMessage) -> str:
        """Answer ``input()`` or ``getpass()`` with a line; raise EOFError at the end of input."""
        async with self._asking:
            if not message.password:
                self._write(message.prompt, sys.stdout)
                return await self._lines.read_line()
            with echo_off(self._lines.fd):  # before the prompt: somebody may type at once
                self._write(message.prompt, sys.stderr)
                line = await self._lines.read_line()
            self._write("\n", sys.stderr)
            return line

    def _show_error(self, error: ErrorInfo) -> None:
        if is_quiet_exit(error):
            return
        text = error.message if error.type == "SystemExit" else error.text
        self._write(text.rstrip("\n") + "\n", sys.stderr)

    def _write(self, text: str, stream: TextIO | None) -> None:
        if stream is None:  # closed before this process began
            return
        try:
            stream.write(text)
            stream.flush()
        except OSError as error:
            self._lose(stream, error)

    def _lose(self, stream: TextIO, error: OSError) -> None:
        """Let what is left in the stream's buffer, and all that follows, go nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        if stream is sys.stderr or self.lost is not None:
            return
        self.lost = PIPE_CLOSED if isinstance(error, BrokenPipeError) else 1
        if self.lost != PIPE_CLOSED:
            self.complain(f"cannot write to standard output: {error.strerror}")
        self._on_lost()


def _as_text(mime: dict[str, Any]) -> str:
    """The plainest representation, or which there are."""
    text = mime.get("text/plain")
    if isinstance(text, str):
        return text
    sizes = (f"{kind}, {len(data)} bytes" if isinstance(data, bytes) else kind for kind, data in mime.items())
    return f"<displayed: {'; '.join(sizes)}>"


def _progress_text(message: ProgressMessage) -> str:
    of = "" if message.total is None else f"/{message.total:g}"
    return f"{message.description} {message.completed:g}{of}".strip()
