"""The one frame through which the engine runs user code on a cell's behalf, besides the cell itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["call_user_code"]


def call_user_code(function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Any:
    """Call it: this frame tells the interrupt handler that what runs inside may be cancelled."""
    return function(*arguments, **keywords)
