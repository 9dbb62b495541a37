"""How to save what pickle saves as the name of a global, or not at all: type parameters, weak references."""

from __future__ import annotations

import sys
import typing
import weakref
from collections.abc import Callable
from typing import Any

from . import rebuild

__all__ = ["REDUCTIONS"]


def _reduce_type_parameter(parameter: Any) -> Any:
    if _is_global(parameter):
        return NotImplemented
    names = ("covariant", "contravariant", "infer_variance")
    keywords = {name: True for name in names if getattr(parameter, f"__{name}__", False)}
    if getattr(parameter, "__bound__", None) is not None:
        keywords["bound"] = parameter.__bound__
    if hasattr(parameter, "has_default") and parameter.has_default():
        keywords["default"] = parameter.__default__
    arguments = (parameter.__name__, *getattr(parameter, "__constraints__", ()))
    return rebuild.make_in, (parameter.__module__, type(parameter), arguments, keywords)


def _reduce_alias(alias: Any) -> Any:
    """A ``type`` statement; its value is evaluated here, so one that names itself is nested too deeply."""
    if _is_global(alias):
        return NotImplemented
    keywords = {"type_params": alias.__type_params__}
    return rebuild.make_in, (alias.__module__, type(alias), (alias.__name__, alias.__value__), keywords)


def _reduce_reference(reference: weakref.ref[Any]) -> Any:
    return rebuild.make_reference, (reference(), reference.__callback__)


def _reduce_weak_mapping(mapping: Any) -> Any:
    return type(mapping), (), None, None, iter(list(mapping.items()))


def _reduce_weak_set(found: weakref.WeakSet[Any]) -> Any:
    return weakref.WeakSet, (), list(found), None, None, rebuild.fill_weak_set


def _is_global(obj: Any) -> bool:
    """Whether a library has it under its own name."""
    module = sys.modules.get(obj.__module__) if obj.__module__ != "__main__" else None
    return getattr(module, obj.__name__, None) is obj


REDUCTIONS: dict[type, Callable[[Any], Any]] = {
    typing.TypeVar: _reduce_type_parameter,
    typing.ParamSpec: _reduce_type_parameter,
    typing.TypeVarTuple: _reduce_type_parameter,
    weakref.ReferenceType: _reduce_reference,
    weakref.WeakKeyDictionary: _reduce_weak_mapping,
    weakref.WeakValueDictionary: _reduce_weak_mapping,
    weakref.WeakSet: _reduce_weak_set,
}
"""By exact type; a subclass may hold more."""

if sys.version_info >= (3, 12):
    REDUCTIONS[typing.TypeAliasType] = _reduce_alias
