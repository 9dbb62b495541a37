"""What of a cell's value travels to the session: the plain value, its repr, and notes on what is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import msgspec

from ..config import EngineConfig
from ..errors import FrameTooLarge, NotPlainData
from ..protocol.framing import Buffer
from ..protocol.reprs import cut_repr
from ..protocol.values import encode_value
from .mime import Bundle
from .user_code import failure_of

__all__ = ["Shown", "call_repr", "describe", "show", "user_displayhook"]

REPR_BELOW_BYTES = 1 << 16
"""The session makes the repr of larger plain values itself, rather than receive them twice."""
_DEFAULT_HOOK = sys.displayhook


class Shown(msgspec.Struct):
    """A value, ready to travel."""

    value: bytes | None = None
    buffers: list[Buffer] = []
    repr: str | None = None
    notes: list[str] = []
    mime: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


def show(value: Any, config: EngineConfig) -> Shown:
    """Encode what can be encoded and describe the rest. User code (``_repr_html_``, …) may run in here."""
    if value is None:
        return Shown()
    notes: list[str] = []
    encoded, buffers = _encode(value, config.max_value_bytes, notes)
    if encoded is not None and len(encoded) + sum(map(len, buffers)) > REPR_BELOW_BYTES:
        return Shown(encoded, buffers, None, notes)
    if encoded is None:
        bundle = Bundle(config, notes)
        text = describe(value, bundle, config)
        return Shown(None, [], text, notes, bundle.data, bundle.metadata)
    return Shown(encoded, buffers, _repr(value, config.max_repr_chars, notes), notes)


def user_displayhook() -> Callable[[Any], Any] | None:
    """What user code has put in the place of ``sys.displayhook``."""
    hook = getattr(sys, "displayhook", None)
    return None if hook is None or hook is _DEFAULT_HOOK else hook


def describe(value: Any, bundle: Bundle, config: EngineConfig) -> str | None:
    """Fill the bundle with all representations of a value, plain text included; return its ``repr``."""
    text = _repr(value, config.max_repr_chars, bundle.notes)
    bundle.describe(value)
    if text is not None and "text/plain" not in bundle.data:
        bundle.add("text/plain", text)
    return text


def call_repr(value: Any) -> str:
    """``repr(value)``: the frame that tells the interrupt handler that user code runs here."""
    return repr(value)


def _encode(value: Any, max_bytes: int, notes: list[str]) -> tuple[bytes | None, list[Buffer]]:
    try:
        encoded, buffers = encode_value(value, max_bytes)
    except (NotPlainData, FrameTooLarge) as error:
        notes.append(f"no plain value: {error}")
        return None, []
    return encoded, list(buffers)


def _repr(value: Any, max_chars: int, notes: list[str]) -> str | None:
    try:
        text = call_repr(value)
    except BaseException as error:  # noqa: BLE001 - a cancel is raised again
        failure = failure_of(error)
        notes.append(f"repr() of {type(value).__qualname__} {failure}")
        return f"<{type(value).__module__}.{type(value).__qualname__} whose repr {failure}>"
    return cut_repr(text, max_chars, notes)
