"""What callers may give to a session and a pool, looked at before anything is begun."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable
from typing import Any

__all__ = [
    "check_argv",
    "check_encodable",
    "check_inputs",
    "check_launcher",
    "check_text",
    "check_timeout",
    "check_work",
]


def check_text(name: str, text: Any) -> None:
    """Raise TypeError for what is no text."""
    if not isinstance(text, str):
        raise TypeError(f"{name} is a {type(text).__name__}: give a string")


def check_argv(argv: Any) -> None:
    """Raise TypeError for what is no list of texts, nor None."""
    is_list = isinstance(argv, list | tuple) and all(isinstance(word, str) for word in argv)
    if argv is not None and not is_list:
        raise TypeError(f"argv={argv!r}: give a list of strings")


def check_encodable(execution_id: str) -> None:
    """Raise ValueError for an id that cannot be sent: what the cell prints would have another one."""
    try:
        execution_id.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"execution_id={execution_id!r}: it holds lone surrogates, which cannot be sent; give another one"
        ) from None


def check_timeout(timeout_s: Any) -> None:
    """Raise TypeError for what is no number of seconds, nor None."""
    if timeout_s is not None and (not isinstance(timeout_s, int | float) or math.isnan(timeout_s)):
        raise TypeError(f"timeout={timeout_s!r}: give seconds, as a number")


def check_launcher(launcher: Any) -> None:
    """Raise TypeError for what cannot start a worker."""
    if not callable(launcher):
        raise TypeError(f"launcher={launcher!r}: give a function that starts a worker, a Launcher")


def check_work(work: Any) -> None:
    """Raise TypeError for what cannot be done for each input."""
    if not isinstance(work, str) and not callable(work):
        raise TypeError(f"work={work!r}: give code, as a string, or a function of one argument")


def check_inputs(inputs: Any) -> None:
    """Raise TypeError for what cannot be gone through."""
    kind = type(inputs)
    if not (isinstance(inputs, AsyncIterable) or hasattr(kind, "__iter__") or hasattr(kind, "__getitem__")):
        raise TypeError(f"inputs={inputs!r}: give a list, or what else can be iterated over")
