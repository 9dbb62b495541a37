"""What the pickles of a checkpoint call when they are loaded.

Pickles name these functions by module and name: both are part of the checkpoint format.
"""

from __future__ import annotations

import builtins
import functools
import marshal
import weakref
from collections.abc import Callable
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, NewType

__all__ = [
    "fill_weak_set",
    "load_code",
    "make_cached",
    "make_cached_property",
    "make_cell",
    "make_function",
    "make_in",
    "make_new_type",
    "make_reference",
    "make_view",
    "set_cell",
    "set_function_state",
]


def make_function(
    code: CodeType, home: dict[str, Any] | ModuleType, closure: tuple[CellType, ...] | None
) -> FunctionType:
    """A function whose globals are ``home``, a dict or the dict of a module; its state comes later."""
    namespace = vars(home) if isinstance(home, ModuleType) else home
    return FunctionType(code, namespace, code.co_name, None, closure)


def set_function_state(function: FunctionType, state: tuple[Any, ...]) -> None:
    """Fill the cells that were empty when ``function`` was made, and set its attributes."""
    cells, slots, attributes = state
    for index, value in cells.items():
        set_cell((function.__closure__ or ())[index], value)
    for name, value in slots.items():
        setattr(function, name, value)
    function.__dict__.update(attributes)


def load_code(marshalled: bytes) -> CodeType:
    """A code object; only the Python version that wrote it can run it."""
    code = marshal.loads(marshalled)  # noqa: S302 - the digest was checked, and pickles run code anyway
    assert isinstance(code, CodeType)
    return code


def make_cell() -> CellType:
    """An empty cell; the functions that close over it share it."""
    return CellType()


def set_cell(cell: CellType, value: Any) -> None:
    """Set what a cell holds."""
    cell.cell_contents = value


def make_view(buffer: Any, format: str, shape: tuple[int, ...]) -> memoryview:  # noqa: A002 - its name
    """A memoryview of contiguous data."""
    view: Any = memoryview(buffer).cast("B")
    return view.cast(format, shape)  # type: ignore[no-any-return]


def make_cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:
    """A function behind an empty ``lru_cache``."""
    return functools.lru_cache(maxsize, typed)(function)


def make_cached_property(function: Callable[[Any], Any]) -> functools.cached_property[Any]:
    """A cached property; its name comes with its state."""
    return functools.cached_property(function)


def make_new_type(name: str, supertype: Any) -> Any:
    """A ``typing.NewType`` of a cell."""
    new_type: Any = NewType(name, supertype)  # type: ignore[misc]
    new_type.__module__ = "__main__"
    return new_type


def make_in(module: str, factory: Callable[..., Any], arguments: tuple[Any, ...], keywords: Any) -> Any:
    """``factory(*arguments, **keywords)``, called by code of ``module``: type parameters look who calls."""
    caller = FunctionType(_call.__code__, {"__name__": module, "__builtins__": builtins})
    return caller(factory, arguments, keywords)


def _call(factory: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    return factory(*arguments, **keywords)


class _Gone:
    """What a dead reference was made of."""


def make_reference(target: Any, callback: Callable[[Any], Any] | None) -> weakref.ref[Any]:
    """A weak reference; a dead one if there is no target."""
    return weakref.ref(_Gone() if target is None else target, callback)


def fill_weak_set(found: weakref.WeakSet[Any], items: list[Any]) -> None:
    """Put the items in."""
    found.update(items)
