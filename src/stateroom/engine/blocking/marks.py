"""What the detector can tell of objects by looking at them: values that compare without user code.

Each reader takes a ``watch`` function, which is told of every object whose ``id`` is in the answer: an
``id`` says something for as long as its object lives.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

from .lookup import MISSING, class_names, dict_of_module, mro_of

__all__ = [
    "Facts",
    "Watch",
    "can_be_watched",
    "facts_of",
    "globals_of",
    "is_immutable",
    "mark",
    "name_of_module",
    "owner_of",
    "shape_of",
]

Watch = Callable[[Any], None]
Facts = Callable[[Any], Any]

_IMMUTABLE = 1 << 8  # the flag of a type whose attributes cannot be set
_MAX_NESTED = 4
_weak_offset = type.__dict__["__weakrefoffset__"].__get__
_flags_of_class = type.__dict__["__flags__"].__get__


def can_be_watched(value: Any) -> bool:
    """Whether a weak reference to ``value`` can be made."""
    return bool(_weak_offset(type(value)))


def mark(value: Any, watch: Watch | None = None, nested: int = 0) -> Any:
    """What the detector can tell of a value without a further look-up; None if it cannot be told.

    Equal marks lead to equal verdicts while none of the objects has gone that were handed to ``watch``.
    """
    if value is MISSING:
        return id(MISSING)
    return _MARKS.get(id(type(value)), _mark_object)(value, watch, nested)


def _mark_object(value: Any, watch: Watch | None, _: int) -> Any:
    kind = type(value)
    if watch is not None:
        watch(kind)
    if not _weak_offset(kind):
        return (id(kind),)
    if watch is not None:
        watch(value)
    return (id(kind), id(value))


def _mark_type(value: Any, _watch: Watch | None, _: int) -> Any:
    return (id(type(value)),)


def _mark_identity(value: Any, watch: Watch | None, _: int) -> Any:
    if watch is not None:
        watch(value)
    return id(value)


def _mark_first_item(value: Any, watch: Watch | None, nested: int) -> Any:
    if nested > _MAX_NESTED:
        return None
    first = mark(value[0] if value else MISSING, watch, nested + 1)
    return None if first is None else (id(type(value)), first)


def _mark_wrapped(value: Any, watch: Watch | None, nested: int) -> Any:
    inner = mark(value.__func__, watch, nested + 1) if nested <= _MAX_NESTED else None
    return None if inner is None else (id(type(value)), inner)


def _mark_name(value: Any, watch: Watch | None, _: int) -> Any:
    return (id(type(value)), mark(value.__objclass__, watch), value.__name__)


def _mark_nothing(_value: Any, _watch: Watch | None, _: int) -> None:
    return None


# Types by id, since a metaclass of the user may define what `==` and `hash` do.
_MARKS: dict[int, Callable[[Any, Watch | None, int], Any]] = {
    id(kind): read
    for read, kinds in {
        _mark_type: (int, float, complex, bool, str, bytes, bytearray, type(None), range, slice),
        _mark_identity: (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type),
        _mark_first_item: (list, tuple),
        _mark_wrapped: (staticmethod, classmethod),
        _mark_name: (
            types.MethodDescriptorType,
            types.WrapperDescriptorType,
            types.ClassMethodDescriptorType,
            types.MemberDescriptorType,
            types.GetSetDescriptorType,
        ),
        _mark_nothing: (types.MethodWrapperType, functools.partial),
    }.items()
    for kind in kinds
}
_MARKS |= dict.fromkeys(map(id, (dict, set, frozenset, property)), _mark_type)


def is_immutable(cls: type) -> bool:
    """Whether nothing in a class can be replaced."""
    return bool(_flags_of_class(cls) & _IMMUTABLE)


def globals_of(function: types.FunctionType) -> dict[str, Any]:
    """Where a function looks for its globals."""
    return function.__globals__


def owner_of(method: Any, watch: Watch | None = None) -> Any:
    """The type of the object that a bound method has."""
    kind = type(method.__self__)
    if watch is not None:
        watch(kind)
    return id(kind)


def shape_of(cls: type, watch: Watch | None = None) -> Any:
    """The classes in an MRO with the modules and names that they have."""
    shape: list[Any] = []
    for base in mro_of(cls):
        if watch is not None:
            watch(base)
        module, name = class_names(base)
        shape += (id(base), _text(module), _text(name))
    return shape


def name_of_module(module: Any, watch: Watch | None = None) -> Any:
    """What a module says that its name is, if that is a string."""
    name = (dict_of_module(module) or {}).get("__name__")
    return _text(name)


def facts_of(function: types.FunctionType, watch: Watch | None = None) -> Any:
    """All that is read of a function itself; None if not all of it can be told."""
    code = function.__code__
    if watch is not None:
        watch(code)
    values = [*(function.__defaults__ or ())]
    facts: list[Any] = [id(code), _text(function.__globals__.get("__name__")), len(values)]
    for name, value in (function.__kwdefaults__ or {}).items():
        facts.append(name)
        values.append(value)
    for cell in function.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:
            values.append(MISSING)
    values.append(function.__dict__.get("__wrapped__", MISSING))
    for value in values:
        known = mark(value, watch)
        if known is None:
            return None
        facts.append(known)
    return facts


def _text(value: Any) -> str | None:
    """A string that compares without code of the user's."""
    return value if type(value) is str else None
