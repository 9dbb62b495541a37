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
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any

from ..protocol.messages import ErrorInfo, FrameInfo
from .stacks import short_stack, traceback_of

__all__ = ["ASKING", "describe_exception", "first_user_frame", "is_engine_file", "text_without_chain"]

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
    except BaseException as failure:  # noqa: BLE001 - the error is hostile, the answer is due
        return _from_outside(error, failure, max_chars)


def text_without_chain(error: BaseException) -> str:
    """What Python prints for ``error`` alone; raises what a hostile one raises."""
    parts = _alone(error)
    parts.__cause__ = parts.__context__ = parts.exceptions = None
    return "".join(parts.format())


def is_engine_file(filename: str) -> bool:
    """Does code of this file belong to the package rather than to its user?"""
    return filename.startswith(PACKAGE_FOLDER)


def _from_outside(error: BaseException, failure: BaseException, max_chars: int) -> ErrorInfo:
    """What can be said of an exception that is asked for nothing but its ``str``."""
    name, message = _type_name(error), _cut(_safe_str(error), max_chars)
    frames = list(deque(_frames_from_outside(traceback_of(error)), MAX_FRAMES))
    lines = ["Traceback (most recent call last):"] if frames else []
    for frame in frames:
        lines.append(f'  File "{frame.filename}", line {frame.line}, in {frame.name}')
        if frame.source:
            lines.append(f"    {frame.source}")
    lines += [f"{name}: {message}", f"(no more of it can be shown: {_type_name(failure)})"]
    text = _cut("\n".join(lines) + "\n", max_chars)
    return ErrorInfo(type=name, module=_module(error), message=message, frames=frames, text=text)


def _frames_from_outside(start: TracebackType | None) -> Iterator[FrameInfo]:
    while start is not None:
        code = start.tb_frame.f_code
        if not is_engine_file(code.co_filename):
            frame = FrameInfo(filename=code.co_filename, name=code.co_name, line=start.tb_lineno)
            try:
                frame.source = _cut(
                    linecache.getline(code.co_filename, start.tb_lineno).strip(), MAX_LINE_CHARS
                )
            except BaseException:  # noqa: BLE001, S110 - a loader, asked for the source
                pass
            yield frame
        start = start.tb_next


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
        if _is_a(error, BaseExceptionGroup):
            assert isinstance(error, BaseExceptionGroup)
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
    start = first_user_frame(error.__traceback__)
    stack = (
        None
        if hasattr(sys, "tracebacklimit") or _is_a(error, *_LOOKS_AT_FRAMES)
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
    if sys.version_info >= (3, 13) or not _is_a(error, NameError, AttributeError):
        return message
    if sys.version_info >= (3, 12):
        return message + "?" if _IMPORT_HINT.search(message) else message
    from .suggestions import suggestion

    assert isinstance(error, NameError | AttributeError)
    name = suggestion(error)
    return message if name is None else f"{message}. Did you mean: '{name}'?"


def first_user_frame(start: TracebackType | None) -> TracebackType | None:
    """A traceback from where the package's own frames end."""
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
    if _is_a(error, SyntaxError):
        assert isinstance(error, SyntaxError)
        if isinstance(error.filename, str):
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
    line, column, end_column = _place(error.lineno), _place(error.offset), _place(error.end_offset)
    return FrameInfo(
        filename=_plain(error.filename or ""),
        name="<module>",
        line=line,
        end_line=_place(error.end_lineno) or line,
        column=column and column - 1,
        end_column=end_column and end_column - 1,
        source=_cut(_plain(error.text or "").rstrip("\n"), MAX_LINE_CHARS),
    )


def _place(number: object) -> int | None:
    """A line or a column of a SyntaxError, which may be made with anything for it; both count from 1."""
    return number if type(number) is int and 0 < number < 1 << 31 else None


def _characters(line: str, byte_offset: int | None) -> int | None:
    """A column of a code object, which counts bytes of UTF-8, in characters."""
    if byte_offset is None or line.isascii():
        return byte_offset
    return len(line.encode(errors="surrogatepass")[:byte_offset].decode(errors="replace"))


def _message(error: BaseException, parts: traceback.TracebackException) -> str:
    """``str(error)``, asked for once where the text has it unchanged (without a "Did you mean")."""
    if _is_a(error, NameError, AttributeError, ImportError):
        return _safe_str(error)
    return str(parts)


def _is_a(error: BaseException, *kinds: type[BaseException]) -> bool:
    """``isinstance``, without the attribute ``__class__``, which may be anything or raise."""
    return issubclass(type(error), kinds)


def _notes(notes: Any) -> list[str]:
    if notes is None:
        return []
    if isinstance(notes, list | tuple):
        return [_safe_str(note) for note in notes[:MAX_NOTES]]
    return [_safe_str(notes)]


def _safe_str(value: object) -> str:
    try:
        return _plain(str(value))
    except BaseException:  # noqa: BLE001 - CPython's own words for it
        return "<exception str() failed>"


def _plain(text: str) -> str:
    """The text without a subclass, whose methods are the user's."""
    return str.__str__(text)


def _type_name(error: BaseException) -> str:
    return _plain(type.__dict__["__qualname__"].__get__(type(error)))


def _module(error: BaseException) -> str:
    module = type.__dict__["__module__"].__get__(type(error))
    return _plain(module) if isinstance(module, str) else "<unknown>"


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


ASKING = frozenset(
    function.__code__
    for function in (
        _Description._take_up,
        _Description._members,
        _alone,
        _frames,
        _syntax_frame,
        _frame_info,
        _notes,
        _safe_str,
        _joined,
        traceback._safe_string,  # type: ignore[attr-defined]
    )
)
"""The code that asks an exception about itself, and copes with whatever is raised in there."""


def _cut(text: str, max_chars: int) -> str:
    if len(text) <= max_chars:
        return text
    head, tail = max_chars // 2, max_chars - max_chars // 2
    return text[:head] + _gap(len(text) - max_chars) + text[len(text) - tail :]


def _gap(characters: int) -> str:
    return f"\n... [{characters} characters left out] ...\n"
