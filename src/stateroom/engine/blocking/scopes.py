"""Which functions are looked into, and the steps of those that were."""

from __future__ import annotations

import sys
from types import CodeType
from typing import Any

from .read_bytecode import read_function
from .steps import Scope

__all__ = ["ScopeCache"]

_LIBRARY_PARTS = ("site-packages", "dist-packages", "<frozen ")
_OWN_PACKAGE = __name__.partition(".")[0]


class ScopeCache:
    """Steps of user functions by code object; the oldest half goes when it is full.

    The code object is kept with its steps, so that its ``id`` stays its own.
    """

    __slots__ = ("_harmless", "_scopes", "_size")

    def __init__(self, size: int = 1024) -> None:
        self._scopes: dict[int, tuple[CodeType, Scope | None]] = {}
        self._harmless: dict[int, Any] = {}
        self._size = size

    def __repr__(self) -> str:
        return f"<ScopeCache {len(self._scopes)}/{self._size}>"

    def is_harmless(self, value: Any) -> bool:
        """Whether ``add_harmless`` was told so."""
        return id(value) in self._harmless

    def add_harmless(self, value: Any) -> None:
        """Remember a function or class of a library that neither blocks nor hands out what does."""
        if len(self._harmless) < self._size:
            self._harmless[id(value)] = value

    def of(self, code: CodeType, globals_: Any) -> Scope | None:
        """The steps of a function with these globals; None for one of a library."""
        try:
            return self._scopes[id(code)][1]
        except KeyError:
            scope = None if is_library(code, globals_.get("__name__")) else read_function(code)
            if len(self._scopes) >= self._size:
                for key in list(self._scopes)[: self._size // 2 + 1]:
                    del self._scopes[key]
            self._scopes[id(code)] = (code, scope)
            return scope


def is_library(code: CodeType, module: Any) -> bool:
    """Whether a function belongs to the standard library, an installed package or this engine."""
    if is_standard(module) or (type(module) is str and module.partition(".")[0] == _OWN_PACKAGE):
        return True
    return any(part in code.co_filename for part in _LIBRARY_PARTS)


def is_standard(module: Any) -> bool:
    """Whether ``module`` is the name of a module of the standard library."""
    return type(module) is str and module.partition(".")[0] in sys.stdlib_module_names
