"""Stacks of tracebacks, made and printed with less work than :mod:`traceback` does.

An error is described when the process has just been woken for it, with every cache cold; what counts
then is how much code runs. The text stays that of :mod:`traceback`: what it prints below the head of
a frame depends on the source lines and the span in them, and is kept by these.
"""

from __future__ import annotations

import linecache
import traceback
from itertools import islice
from types import TracebackType
from typing import Any

__all__ = ["Stack", "short_stack", "traceback_of"]

MAX_SHORT_FRAMES = 50
MAX_BODIES = 512
MAX_SPAN_LINES = 20
MAX_BODY_CHARS = 10_000
_OTHER_SOURCES = ("<stdin", "<string")
"""Files whose lines traceback may take from elsewhere than their name says."""

_bodies: dict[tuple[Any, ...], str] = {}
"""What is printed below the head of a frame, by the lines and the span; cleared when full."""


def traceback_of(error: BaseException) -> TracebackType | None:
    """``error.__traceback__``, not asked of the error, whose attributes may be the user's code."""
    trace: TracebackType | None = BaseException.__dict__["__traceback__"].__get__(error)
    return trace


class Stack(traceback.StackSummary):
    """A stack whose frames are printed once for each span of source."""

    def format_frame_summary(self, frame_summary: traceback.FrameSummary, **options: Any) -> str:
        """The lines that are printed for one frame."""
        key = None if options.get("colorize") else _key_of(frame_summary)
        body = _bodies.get(key) if key is not None else None
        if body is None:
            text = super().format_frame_summary(frame_summary, **options)
            if key is not None and len(text) <= MAX_BODY_CHARS and text.startswith(_head_of(frame_summary)):
                _keep(key, text.removeprefix(_head_of(frame_summary)))
            return text
        return _head_of(frame_summary) + body


def short_stack(start: TracebackType | None, engine_folder: str) -> Stack | None:
    """The frames that are not of the engine; None for a stack that is too long, or has odd files."""
    stack = Stack()
    files: set[str] = set()
    count = 0
    while start is not None:
        frame = start.tb_frame
        filename = frame.f_code.co_filename
        count += 1
        if count > MAX_SHORT_FRAMES or filename.startswith(_OTHER_SOURCES):
            return None
        if not filename.startswith(engine_folder):
            stack.append(_summary(start))
            if filename not in files:
                files.add(filename)
                linecache.lazycache(filename, frame.f_globals)
                linecache.checkcache(filename)
        start = start.tb_next
    return stack


def _summary(entry: TracebackType) -> traceback.FrameSummary:
    code = entry.tb_frame.f_code
    line: int | None = entry.tb_lineno
    end_line = column = end_column = None
    if entry.tb_lasti >= 0:
        positions = next(islice(code.co_positions(), entry.tb_lasti // 2, None), None)
        if positions is not None:
            first, end_line, column, end_column = positions
            line = line if first is None else first
    return traceback.FrameSummary(
        code.co_filename,
        line,
        code.co_name,
        lookup_line=False,
        end_lineno=end_line,
        colno=column,
        end_colno=end_column,
    )


def _head_of(frame: traceback.FrameSummary) -> str:
    return f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}\n'


def _key_of(frame: traceback.FrameSummary) -> tuple[Any, ...] | None:
    """All that the body of a frame is made of, or None if that is too much to keep."""
    first, last = frame.lineno, frame.end_lineno
    if first is None or frame.locals or (last is not None and not 0 <= last - first < MAX_SPAN_LINES):
        return None
    lines = [linecache.getline(frame.filename, number) for number in range(first, (last or first) + 1)]
    return (frame.line, *lines, last is None, frame.colno, frame.end_colno)


def _keep(key: tuple[Any, ...], body: str) -> None:
    if len(_bodies) >= MAX_BODIES:
        _bodies.clear()
    _bodies[key] = body
