"""Exceptions as data, and as the text that CPython would print for them.

The text comes from :mod:`traceback`, fed with bounded, trimmed parts: each exception is taken up
alone and linked here, so that neither a chain of a million causes nor a group of a million members
is ever walked. What an exception says about itself is hostile until shown otherwise.
"""

from __future__ import annotations

import linecache
import os.path
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any

from ..protocol.messages import ErrorInfo, FrameInfo
from .stacks import short_stack

__all__ = ["STR_CALLERS", "describe_exception", "is_engine_file"]

PACKAGE_FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
MAX_CHAIN = 64
"""Causes and contexts followed from one exception."""
MAX_GROUP_DEPTH = 10
"""Groups in groups, as CPython prints them."""
MAX_GROUP_MEMBERS = 100
"""Members of a group as data; the text shows 15, as CPython does."""
MAX_EXCEPTIONS = 1000
"""Exceptions described in all; chains and groups end early where more would follow."""
MAX_TRACEBACK_DEPTH = 1000
"""Innermost frames in the text, as CPython has it."""
MAX_FRAMES = 200
"""Frames as data; the outer and the inner half of a longer traceback are kept."""
MAX_MESSAGE_CHARS = 2_000_000
MAX_LINE_CHARS = 2000
MAX_SOURCE_LINES = 20
MAX_NOTES = 100

_LOOKS_AT_FRAMES = (NameError, AttributeError, ImportError, SyntaxError)
"""Errors for which traceback looks at more than their frames."""

_IMPORT_HINT = re.compile(r"id you forget to import '\w+'\Z")


def describe_exception(error: BaseException, *, max_chars: int) -> ErrorInfo:
    """Describe ``error``: its type, message, notes, frames, chain and group members, and its text.

    Frames of this package are left out; ``text`` is otherwise equal to what CPython prints for the
    error. ``max_chars`` bounds the text, and all other strings together, in characters; what is
    longer is cut in the middle and says so. Never raises on account of the error.
    """
    try:
        return _Description(max_chars).of(error)
    except Exception as failure:  # noqa: BLE001 - the error is hostile, the answer is due
        name = _type_name(error)
        message = _cut(_safe_str(error), max_chars)
        text = f"{name}: {message}\n(its traceback cannot be shown: {_type_name(failure)})\n"
        return ErrorInfo(type=name, module=_module(error), message=message, text=text)


def is_engine_file(filename: str) -> bool:
    """Does code of this file belong to the package rather than to its user?"""
    return filename.startswith(PACKAGE_FOLDER)


class _Description:
    """One walk over an exception and all that hangs on it."""

    def __init__(self, max_chars: int) -> None:
        self._max_chars = max_chars
        self._left = max_chars
        self._exceptions_left = MAX_EXCEPTIONS
        self._seen: set[int] = set()

    def of(self, error: BaseException) -> ErrorInfo:
        parts, info = self._take_up(error, MAX_CHAIN, 0)
        info.text = _joined(_lines(parts), self._max_chars)
        return info

    def _take_up(
        self, error: BaseException, chain_left: int, group_depth: int
    ) -> tuple[traceback.TracebackException, ErrorInfo]:
        self._seen.add(id(error))
        self._exceptions_left -= 1
        parts = _alone(error)
        info = self._info(error, parts)
        parts.__cause__, info.cause = self._linked(error.__cause__, chain_left, group_depth)
        parts.__context__, info.context = self._linked(error.__context__, chain_left, group_depth)
        parts.exceptions = None
        if isinstance(error, BaseExceptionGroup):
            parts.exceptions, info.group = self._members(error, chain_left, group_depth + 1)
        return parts, info

    def _linked(
        self, error: BaseException | None, chain_left: int, group_depth: int
    ) -> tuple[traceback.TracebackException | None, ErrorInfo | None]:
        if error is None or id(error) in self._seen or min(chain_left, self._exceptions_left) <= 0:
            return None, None
        return self._take_up(error, chain_left - 1, group_depth)

    def _members(
        self, group: BaseExceptionGroup[Any], chain_left: int, group_depth: int
    ) -> tuple[list[Any], list[ErrorInfo]]:
        """The members that are shown. The list for the text keeps its length: it says how many follow."""
        if group_depth > MAX_GROUP_DEPTH or self._exceptions_left <= 0:
            return [], []
        shown = [
            self._take_up(member, chain_left, group_depth)
            for member in islice(group.exceptions, MAX_GROUP_MEMBERS)
        ]
        parts: list[Any] = [part for part, _ in shown]
        parts += [None] * (len(group.exceptions) - len(shown))
        return parts, [info for _, info in shown]

    def _info(self, error: BaseException, parts: traceback.TracebackException) -> ErrorInfo:
        return ErrorInfo(
            type=_type_name(error),
            module=_module(error),
            message=self._take(_message(error, parts)),
            notes=[self._take(note) for note in _notes(parts.__notes__)],
            frames=[self._frame(frame) for frame in _frames(error, parts)],
            suppress_context=bool(parts.__suppress_context__),
        )

    def _frame(self, frame: FrameInfo) -> FrameInfo:
        frame.source = self._take(frame.source)
        return frame

    def _take(self, text: str) -> str:
        """As much of ``text`` as there is room for."""
        text = _cut(text, self._left)
        self._left = max(0, self._left - len(text))
        return text


def _alone(error: BaseException) -> traceback.TracebackException:
    """One exception without its chain, trimmed; a ``_seen`` set keeps ``traceback`` from following it."""
    limit = getattr(sys, "tracebacklimit", MAX_TRACEBACK_DEPTH)
    limit = max(limit, 0) if isinstance(limit, int) else MAX_TRACEBACK_DEPTH
    start = _first_user_frame(error.__traceback__)
    stack = (
        None
        if hasattr(sys, "tracebacklimit") or isinstance(error, _LOOKS_AT_FRAMES)
        else short_stack(start, PACKAGE_FOLDER)
    )
    if stack is None:
        parts = traceback.TracebackException(type(error), error, start, limit=-limit, _seen=set())
        parts.stack[:] = [_short(frame) for frame in parts.stack if not is_engine_file(frame.filename)]
    else:
        parts = traceback.TracebackException(type(error), error, None, _seen=set())
        stack[:] = map(_short, stack)
        parts.stack = stack
    said: Any = parts  # its text has no public name
    said._str = _cut(_as_printed(said._str, error), MAX_MESSAGE_CHARS)
    return parts


def _lines(parts: traceback.TracebackException) -> Iterator[str]:
    """As ``parts.format()``, which for an exception that stands alone does the same with more work."""
    if parts.__cause__ is None and parts.__context__ is None and parts.exceptions is None:
        if parts.stack:
            yield "Traceback (most recent call last):\n"
            yield from parts.stack.format()
        yield from parts.format_exception_only()
    else:
        yield from parts.format()


def _as_printed(message: str, error: BaseException) -> str:
    """What the printer in C of older versions says and their ``traceback`` module does not."""
    if sys.version_info >= (3, 13) or not isinstance(error, NameError | AttributeError):
        return message
    if sys.version_info >= (3, 12):
        return message + "?" if _IMPORT_HINT.search(message) else message
    from .suggestions import suggestion

    name = suggestion(error)
    return message if name is None else f"{message}. Did you mean: '{name}'?"


def _first_user_frame(start: TracebackType | None) -> TracebackType | None:
    while start is not None and is_engine_file(start.tb_frame.f_code.co_filename):
        start = start.tb_next
    return start


def _short(frame: traceback.FrameSummary) -> traceback.FrameSummary:
    """The frame, or one without carets if its line is too long to show."""
    line = frame.line or ""
    if len(line) <= MAX_LINE_CHARS:
        return frame
    return traceback.FrameSummary(
        frame.filename, frame.lineno, frame.name, lookup_line=False, line=_cut(line, MAX_LINE_CHARS)
    )


def _frames(error: BaseException, parts: traceback.TracebackException) -> Iterator[FrameInfo]:
    stack: list[traceback.FrameSummary] = list(parts.stack)
    if len(stack) > MAX_FRAMES:
        half = MAX_FRAMES // 2
        stack = stack[:half] + stack[-half:]
    for frame in stack:
        yield _frame_info(frame)
    if isinstance(error, SyntaxError) and isinstance(error.filename, str):
        yield _syntax_frame(error)


def _frame_info(frame: traceback.FrameSummary) -> FrameInfo:
    line, end_line = frame.lineno, frame.end_lineno or frame.lineno
    if line is None or end_line is None:
        return FrameInfo(filename=frame.filename, name=frame.name)
    last = min(end_line, line + MAX_SOURCE_LINES - 1)
    lines = [linecache.getline(frame.filename, number) for number in range(line, last + 1)]
    final = lines[-1] if last == end_line else linecache.getline(frame.filename, end_line)
    return FrameInfo(
        filename=frame.filename,
        name=frame.name,
        line=line,
        end_line=end_line,
        column=_characters(lines[0], frame.colno),
        end_column=_characters(final, frame.end_colno),
        source=_cut("".join(lines).rstrip("\n"), MAX_LINE_CHARS * MAX_SOURCE_LINES),
    )


def _syntax_frame(error: SyntaxError) -> FrameInfo:
    """Where a SyntaxError is: no frame of a traceback, but the place that its reader looks for."""
    end = error.end_offset
    return FrameInfo(
        filename=error.filename or "",
        name="<module>",
        line=error.lineno,
        end_line=error.end_lineno or error.lineno,
        column=error.offset - 1 if error.offset else None,
        end_column=end - 1 if end is not None and end > 0 else None,
        source=_cut((error.text or "").rstrip("\n"), MAX_LINE_CHARS),
    )


def _characters(line: str, byte_offset: int | None) -> int | None:
    """A column of a code object, which counts bytes of UTF-8, in characters."""
    if byte_offset is None or line.isascii():
        return byte_offset
    return len(line.encode(errors="surrogatepass")[:byte_offset].decode(errors="replace"))


def _message(error: BaseException, parts: traceback.TracebackException) -> str:
    """``str(error)``, asked for once where the text has it unchanged (without a "Did you mean")."""
    if isinstance(error, NameError | AttributeError | ImportError):
        return _safe_str(error)
    return str(parts)


def _notes(notes: Any) -> list[str]:
    if notes is None:
        return []
    if isinstance(notes, list | tuple):
        return [note if isinstance(note, str) else _safe_str(note) for note in notes[:MAX_NOTES]]
    return [_safe_str(notes)]


def _safe_str(value: object) -> str:
    try:
        return str(value)
    except BaseException:  # noqa: BLE001 - CPython's own words for it
        return "<exception str() failed>"


STR_CALLERS = frozenset({_safe_str.__code__, traceback._safe_string.__code__})  # type: ignore[attr-defined]
"""The code that calls ``str()`` of an exception, and takes whatever is raised in there for a failed one."""


def _type_name(error: BaseException) -> str:
    return str(type.__dict__["__qualname__"].__get__(type(error)))


def _module(error: BaseException) -> str:
    module = type.__dict__["__module__"].__get__(type(error))
    return module if isinstance(module, str) else "<unknown>"


def _joined(pieces: Iterable[str], max_chars: int) -> str:
    """All pieces, or their beginning and their end, without keeping what lies between."""
    head_chars = max_chars // 2
    tail_chars = max(1, max_chars - head_chars)
    head, tail, total = "", "", 0
    for piece in pieces:
        total += len(piece)
        head_part = piece[: head_chars - len(head)]
        head += head_part
        tail = (tail + piece[len(head_part) :])[-tail_chars:]
    left_out = total - len(head) - len(tail)
    return head + (_gap(left_out) if left_out else "") + tail


def _cut(text: str, max_chars: int) -> str:
    if len(text) <= max_chars:
        return text
    head, tail = max_chars // 2, max_chars - max_chars // 2
    return text[:head] + _gap(len(text) - max_chars) + text[len(text) - tail :]


def _gap(characters: int) -> str:
    return f"\n... [{characters} characters left out] ...\n"
