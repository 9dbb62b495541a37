"""An exception as data, which is how it crosses from a worker to its session: nothing is unpickled."""

from __future__ import annotations

import msgspec

__all__ = ["ErrorInfo", "FrameInfo"]


class FrameInfo(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One level of a traceback; columns count characters from 0, lines from 1 (PEP 657)."""

    filename: str
    """The file, or the name of the cell: ``<cell 3>``."""
    name: str
    """The name of the function; ``<module>`` at the top of a cell."""
    line: int | None = None
    """Where what was being run begins; None if that is not known."""
    end_line: int | None = None
    """Where it ends."""
    column: int | None = None
    """Its first character in ``line``."""
    end_column: int | None = None
    """The character behind its last one, in ``end_line``."""
    source: str = ""
    """The text of these lines; cut, if it is long."""


class ErrorInfo(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An exception as data. ``text`` is what CPython would print for it."""

    type: str
    """The qualified name of its class."""
    module: str = "builtins"
    """The module of its class."""
    message: str = ""
    """What ``str`` makes of it."""
    text: str = ""
    """The whole traceback, without frames of the engine."""
    notes: list[str] = []
    """What ``add_note`` has added."""
    frames: list[FrameInfo] = []
    """The traceback, outermost first, without frames of the engine."""
    cause: ErrorInfo | None = None
    """The exception that it was raised ``from``."""
    context: ErrorInfo | None = None
    """The exception that was being handled when it was raised."""
    suppress_context: bool = False
    """Whether ``context`` is not to be shown, as after ``raise … from``."""
    group: list[ErrorInfo] | None = None
    """The members of an exception group; None for any other exception."""
    exit_status: int | None = None
    """Of a worker that died: its exit status, if it exited. Of a SystemExit: its status, if it has one."""
    signal: int | None = None
    """Of a worker that died: the signal that killed it."""
