"""What Python does with an error that nothing has caught, besides reporting it."""

from __future__ import annotations

import sys
from asyncio import CancelledError
from collections.abc import Callable
from threading import get_ident
from typing import Any

from ..engine.stacks import traceback_of
from ..engine.tracebacks import describe_exception, first_user_frame, text_without_chain
from .user_code import call_user_code

__all__ = ["call_hook", "print_thread_error", "print_unraisable", "remember", "user_hook"]

MAX_CHARS = 100_000
_DEFAULT_HOOKS = (None, sys.excepthook)


def remember(error: BaseException) -> None:
    """Leave it in ``sys.last_exc`` and its elders, for ``traceback.print_last`` and ``pdb.pm``.

    Its traceback begins with the user's code from here on.
    """
    trace = first_user_frame(traceback_of(error))
    BaseException.with_traceback(error, trace)
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
    if sys.version_info >= (3, 12):
        sys.last_exc = error


def user_hook() -> Callable[..., Any] | None:
    """What user code has put in the place of ``sys.excepthook``."""
    hook = getattr(sys, "excepthook", None)
    return None if any(hook is default for default in _DEFAULT_HOOKS) else hook


def call_hook(hook: Callable[..., Any], error: BaseException) -> None:
    """Call the user's hook; say it if that fails. Raises only the CancelledError that ends it."""
    try:
        call_user_code(hook, type(error), error, traceback_of(error))
    except CancelledError:
        raise
    except BaseException as failure:  # noqa: BLE001 - whatever a hook raises, the cell has ended before
        text = describe_exception(failure, max_chars=MAX_CHARS).text
        _write(f"Error in sys.excepthook:\n{text}")


def print_unraisable(unraisable: Any) -> None:
    """``sys.unraisablehook``: as Python's own, which finds the source lines of files only."""
    about, message = unraisable.object, unraisable.err_msg
    if about is not None:
        message = f"{message or 'Exception ignored in'}: {_repr(about)}"
    elif message:
        message = f"{message}:"
    head = f"{message}\n" if message else ""
    _write(head + text_without_chain(unraisable.exc_value))


def print_thread_error(arguments: Any) -> None:
    """``threading.excepthook``: as Python's own, which up to 3.12 finds the source lines of files only."""
    if issubclass(arguments.exc_type, SystemExit):
        return
    name = get_ident() if arguments.thread is None else arguments.thread.name
    text = describe_exception(arguments.exc_value, max_chars=MAX_CHARS).text
    _write(f"Exception in thread {name}:\n{text}")


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - CPython's own words for it
        return "<object repr() failed>"


def _write(text: str) -> None:
    if (stream := getattr(sys, "stderr", None)) is not None:
        stream.write(text)
